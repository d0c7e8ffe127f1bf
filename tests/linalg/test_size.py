"""Crossed factors whose dense matrix does not fit into memory are refused, or treated otherwise."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import hierjax as hj
from hierjax import memory
from hierjax.errors import FitError, ModelError
from hierjax.linalg import size
from hierjax.linalg.size import bytes_needed, check_size
from hierjax.linalg.structure import Crossing, Factor, Structure
from hierjax.methods import Problem
from hierjax.transforms.coordinates import INTEGRATED, NONCENTRED, RECENTRED

GROUPS = 40
LARGE = Structure((Factor("r_a", 60_000, 1), Factor("r_b", 50_000, 1)), columns=3)


def crossed(family="gaussian"):
    rng = np.random.default_rng(1)
    groups = [np.concatenate([rng.permutation(GROUPS), rng.integers(0, GROUPS, 160)]) for _ in "ab"]
    y = rng.normal(size=200)
    table = {"y": y if family == "gaussian" else (y > 0).astype(int)}
    table |= dict(zip("ab", (each.astype(str) for each in groups), strict=True))
    return hj.formula("y ~ 1 + (1 | a) + (1 | b)", table, family=family)


def treatments(model, effects="auto"):
    with jax.enable_x64(True):
        return dict(Problem(model.fn, model.data, effects).coordinates.choices)


def test_the_estimate_counts_what_the_matrix_is_made_of():
    with jax.enable_x64(True):
        rest, eliminated = 50_003, 60_000
        assert bytes_needed(LARGE) == 8 * (20 * rest**2 + 6 * rest * eliminated)
        few = Structure(LARGE.factors, columns=3, crossing=Crossing("r_b", 100_000, 300_000))
        assert bytes_needed(few) == 8 * (20 * rest**2 + 8 * 300_000)


def test_the_error_names_factors_sizes_and_what_to_do():
    with pytest.raises(ModelError) as caught:
        check_size(LARGE)
    for words in (
        "'r_a' (60,000 groups)",
        "'r_b' (50,000",
        "50,003 rows",
        " GB",
        "gibbs",
        "noncent",
    ):
        assert words in str(caught.value)


def test_one_factor_is_never_too_large(monkeypatch):
    monkeypatch.setattr(size, "device_memory", lambda: 1)
    check_size(Structure((Factor("r_a", 10**9, 2),), columns=3))


@pytest.mark.parametrize("family, before", [("gaussian", INTEGRATED), ("bernoulli", RECENTRED)])
def test_auto_samples_what_does_not_fit(monkeypatch, family, before):
    model = crossed(family)
    assert set(treatments(model).values()) == {before}
    monkeypatch.setattr(size, "device_memory", lambda: 1000)
    assert treatments(model) == {"r_a": NONCENTRED, "r_b": NONCENTRED}


@pytest.mark.parametrize("effects, family", [("integrate", "gaussian"), ("recentre", "bernoulli")])
def test_what_is_asked_for_and_does_not_fit_is_an_error(monkeypatch, effects, family):
    monkeypatch.setattr(size, "device_memory", lambda: 1000)
    with pytest.raises(ModelError, match=r"dense matrix with 4[01] rows"):
        hj.fit(crossed(family), effects=effects, progress=False)


def test_gibbs_sampling_by_factor_needs_no_such_matrix(monkeypatch):
    monkeypatch.setattr(size, "device_memory", lambda: 1000)
    short = hj.Gibbs(chains=1, warmup=20, draws=5, blocks="factor")
    assert hj.fit(crossed(), method=short, progress=False).draws["r_a"].shape == (1, 5, GROUPS)


@pytest.mark.parametrize(
    "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")]
)
def test_memory_that_runs_out_is_an_error_of_ours(error):
    with pytest.raises(FitError, match=r"memory ran out .*fewer draws or chains"):
        with memory.enough_memory():
            raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(jax.errors.JaxRuntimeError, match="device is gone"):
        with memory.enough_memory():
            raise jax.errors.JaxRuntimeError("INTERNAL: the device is gone")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space")
def test_the_limit_of_the_shell_counts():
    code = (
        "import resource; from hierjax.memory import device_memory; b = device_memory(); "
        "resource.setrlimit(resource.RLIMIT_AS, (b - 4096, -1)); assert device_memory() == b - 4096"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
