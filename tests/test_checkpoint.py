"""checkpoint: an interrupted fit goes on to the draws that it would have given."""

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hierjax as hj
from hierjax.errors import FileError
from hierjax.infer import nuts
from hierjax.programs import PROGRAMS
from tests import models

pytestmark = pytest.mark.faults
MODEL = hj.Model(models.known_variances, models.known_variances_data(0), name="known")
SETTINGS = hj.NUTS(chains=2, warmup=60, draws=60)


@pytest.fixture(autouse=True, scope="module")
def short_chunks():
    """Cut a short run into six chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nuts, "MAX_CHUNK", 20)
        PROGRAMS.clear()
        yield
    PROGRAMS.clear()


def fit(path, model=MODEL, **options):
    options = {"method": SETTINGS, "effects": "centred", **options}
    return hj.fit(model, checkpoint=path, progress=False, **options)


def chunks(folder):
    return sorted(folder.glob("*.chunk"))


def assert_same(first, second):
    assert first.draws.keys() == second.draws.keys()
    for name, values in first.draws.items():
        np.testing.assert_array_equal(values, second.draws[name], err_msg=name)
    for name, values in first.stats.items():
        np.testing.assert_array_equal(values, second.stats[name], err_msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "fit"
    return folder, fit(folder)


def counting(monkeypatch):
    """Count the chunks that are computed, not read: each of those is saved."""
    saved = []
    original = hj.fit.__globals__["Pieces"].save
    monkeypatch.setattr(
        hj.fit.__globals__["Pieces"],
        "save",
        lambda self, chunk, values: (saved.append(chunk), original(self, chunk, values)),
    )
    return saved


def test_a_checkpoint_changes_no_draw(finished):
    assert_same(fit(None), finished[1])


def test_what_is_finished_is_not_computed_again(finished, monkeypatch):
    folder, post = finished
    assert len(chunks(folder)) == 6
    computed = counting(monkeypatch)
    assert_same(fit(folder), post)
    assert not computed
    for place in (5, 3):
        chunks(folder)[place].unlink()
    assert_same(fit(folder), post)
    assert computed == [3, 5]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 1}, "another fit: seed was '0' and is '1' now"),
        ({"method": hj.NUTS(chains=2, warmup=60, draws=61)}, "method was"),
        ({"effects": "noncentred"}, "effects was 'centred' and is 'noncentred' now"),
        ({"dtype": "float32"}, "dtype was"),
        ({"model": MODEL.with_data(models.known_variances_data(1))}, "data or priors was"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_fit_is_refused(finished, change, reason):
    folder, _ = finished
    before = [path.read_bytes() for path in chunks(folder)]
    with pytest.raises(FileError, match=reason):
        fit(folder, **change)
    assert [path.read_bytes() for path in chunks(folder)] == before


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:200] + b"x" + b[201:], len])
def test_damage_is_seen(finished, damage):
    path = chunks(finished[0])[0]
    whole = path.read_bytes()
    path.write_bytes(b"" if damage is len else damage(whole))
    try:
        with pytest.raises(FileError, match=r"00000\.chunk: is damaged"):
            fit(finished[0])
    finally:
        path.write_bytes(whole)


def test_a_checkpoint_of_a_batch_is_none_of_a_fit(tmp_path):
    (tmp_path / "batch.json").write_text("{}")
    with pytest.raises(FileError, match="is no checkpoint of a fit"):
        fit(tmp_path)


def test_a_full_disk_is_said_and_loses_no_finished_piece(finished, tmp_path):
    _, post = finished
    fit(tmp_path / "sizes")
    largest = max(path.stat().st_size for path in chunks(tmp_path / "sizes"))
    smallest = min(path.stat().st_size for path in chunks(tmp_path / "sizes"))
    assert smallest < largest - 100  # warm-up keeps no record
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 50, before[1]))
    try:
        with pytest.raises(FileError, match="cannot be written"):
            fit(tmp_path / "fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert chunks(tmp_path / "fit")
    assert_same(fit(tmp_path / "fit"), post)


KILLED = """
import sys
from hierjax.infer import nuts
from tests import test_checkpoint as t
nuts.MAX_CHUNK = 20
t.fit(sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_gives_the_same_draws(finished, tmp_path):
    _, post = finished
    folder, generator = tmp_path / "fit", random.Random(0)
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs")}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], env=environment)
        wanted, deadline = len(chunks(folder)) + 1, time.monotonic() + 300
        while len(chunks(folder)) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(generator.uniform(0.0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in chunks(folder)[generator.randrange(1, 6) :]:
            path.unlink()  # so that there is always something left to do
    assert chunks(folder)
    assert_same(fit(folder), post)


@pytest.mark.slow
def test_two_processes_may_write_one_checkpoint(finished, tmp_path):
    _, post = finished
    folder = tmp_path / "fit"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_fit_in_chunks, args=(folder,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert len(chunks(folder)) == 6
    assert_same(fit(folder), post)


def _fit_in_chunks(folder):
    nuts.MAX_CHUNK = 20
    fit(folder)


AUTOMATIC = hj.formula(
    "y ~ x + (1 | g)",
    {
        "y": np.random.default_rng(1).normal(size=40).tolist(),
        "x": np.random.default_rng(2).normal(size=40).tolist(),
        "g": [f"g{n % 8}" for n in range(40)],
    },
)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "laplace", "empirical_bayes", "gibbs", "svi"])
def test_every_method_resumes(method, tmp_path):
    folder = tmp_path / "fit"
    post = fit(folder, AUTOMATIC, method=method, effects="auto")
    for path in chunks(folder)[1:]:
        path.unlink()
    assert_same(fit(folder, AUTOMATIC, method=method, effects="auto"), post)
