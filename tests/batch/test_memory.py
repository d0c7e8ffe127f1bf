"""A chunk that does not fit into memory is fitted with fewer data sets at a time, and said so."""

import dataclasses
import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.batch import chunks, jobs
from hierjax.batch.chunks import LANES
from hierjax.batch.memory import ran_out, with_fewer_lanes
from hierjax.draws import Draws
from hierjax.errors import FitError
from hierjax.infer.program import Program
from tests import models

pytestmark = pytest.mark.faults
SHORT = hj.NUTS(chains=2, warmup=40, draws=40)
DATASETS = [models.known_variances_data(seed) for seed in range(6)]
WORDS = "RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."


def device_error(words=WORDS):
    return jax.errors.JaxRuntimeError(words)


def work(most, made=None, error=device_error):
    """Work that fits with at most so many data sets at a time; which numbers were tried."""
    tried = []

    def run(lanes):
        tried.append(lanes)
        if lanes > most:
            raise error()
        return lanes

    return run, tried


@pytest.mark.parametrize("error", [device_error, MemoryError])
def test_numbers_are_halved_until_they_fit(error):
    run, tried = work(2, error=error)
    with pytest.warns(UserWarning, match="memory ran out") as caught:
        assert with_fewer_lanes(run, 16) == (2, 2)
    assert tried == [16, 8, 4, 2]
    assert "going on with 2 data sets at a time" in str(caught[-1].message)


def test_one_that_does_not_fit_is_an_error_that_says_what_to_do():
    run, tried = work(0)
    with warnings.catch_warnings(), pytest.raises(FitError, match=r'keep="hyper", fewer draws'):
        warnings.simplefilter("ignore")
        with_fewer_lanes(run, 2)
    assert tried == [2, 1]


def test_other_errors_are_not_hidden():
    run, tried = work(0, error=lambda: device_error("INTERNAL: the device is gone"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="the device is gone"):
        with_fewer_lanes(run, 16)
    assert tried == [16]
    assert not ran_out(ValueError(WORDS))


def test_later_chunks_start_with_what_there_was_memory_for(monkeypatch):
    tried = []

    def run_chunk(spec, arrays, keys, *, lanes, report):
        tried.append(lanes)
        if lanes > 2:
            raise device_error()
        return lanes

    monkeypatch.setattr(jobs, "run_chunk", run_chunk)
    several = {n: jobs.Job(None, (), np.zeros(4), 8, True) for n in range(3)}
    with pytest.warns(UserWarning, match="memory ran out"):
        assert dict(jobs.work_off(several, None, lambda n: None)) == {0: 2, 1: 2, 2: 2}
    assert tried == [8, 4, 2, 2, 2]


def fit(**options):
    model = hj.Model(models.known_variances, DATASETS[0])
    return hj.fit_many(
        model, DATASETS, method=SHORT, effects="centred", progress=False, retries=0, **options
    )


@pytest.mark.slow
def test_a_batch_goes_on_with_fewer_at_a_time(monkeypatch, tmp_path):
    """As on a device on which the program for two data sets fits, and that for four does not."""
    monkeypatch.setitem(LANES, "cpu", 2)
    expected = fit()
    monkeypatch.setitem(LANES, "cpu", 4)
    original, ran = chunks._run_block, []

    def run_block(block, arrays, keys, report):
        ran.append(len(keys))
        if len(keys) > 2:
            raise device_error()
        return original(block, arrays, keys, report)

    monkeypatch.setattr(chunks, "_run_block", run_block)
    with pytest.warns(UserWarning, match="memory ran out .RESOURCE_EXHAUSTED") as caught:
        found = fit(checkpoint=tmp_path / "batch")
    assert len(caught) == 1
    assert ran == [4, 2, 2, 2]  # the second chunk is not tried with four again
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.draws["effect"], other.draws["effect"])
    ran.clear()
    again = fit(checkpoint=tmp_path / "batch")
    assert ran == []
    np.testing.assert_array_equal(again[5].draws["mu"], found[5].draws["mu"])


@pytest.mark.slow
def test_data_sets_that_never_fit_are_reported_and_the_others_are_there(monkeypatch):
    def exhausted(*arguments, **options):
        raise device_error()

    monkeypatch.setattr(jobs, "run_chunk", exhausted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit()
    report = found.report()
    assert (report["status"] == "not fitted").all()
    assert report["message"].str.contains("memory ran out with one data set").all()


SIZE = 6000  # a square of it has 288 MB


@dataclasses.dataclass(frozen=True)
class Hungry:
    """What it keeps is small; a matrix is needed in between, which no estimate counts."""

    name: str = "hungry"

    def program(self, fn, data):
        def advance(state, arrays):
            row = jnp.linspace(0.0, 1.0, SIZE) + jnp.sum(arrays[0])
            return {"mean": jnp.mean(jnp.tanh(row[:, None] * row) @ row)}, None

        def finish(state, records, arrays):
            sites = {"slope": jnp.full((1, 4), state["mean"])}
            return Draws(sites, {"log_density": jnp.zeros((1, 4))}, jnp.zeros(1, int), {})

        return Program(
            start=lambda key, arrays: {"mean": jnp.zeros(())},
            advance=advance,
            finish=finish,
            num_chunks=1,
            num_discarded=1,
            report=lambda state: {},
        )


def line(y):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(slope, 1.0), obs=y)


LIMITED = """
import resource
from tests.batch import test_memory as t
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2 ** 30, -1))
t.fit_hungry()
"""


def fit_hungry():
    data = [{"y": np.full(3, place)} for place in np.linspace(0.0, 0.1, 16)]
    found = hj.fit_many(
        hj.Model(line, data[0]), data, method=Hungry(), effects="centred", progress=False, retries=0
    )
    means = [posterior.draws["slope"][0, 0] for posterior in found]
    assert np.all(np.diff(means) > 0), means


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_really_runs_out_goes_on():
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}  # each other one claims address space
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "memory ran out" in done.stderr, done.stderr[-2000:]
