"""checkpoint: finished chunks are taken from disk, and only those of the same batch, undamaged."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hierjax as hj
from hierjax.batch import jobs
from hierjax.batch.chunks import LANES
from hierjax.errors import FileError
from tests import models
from tests.batch.cases import lanes_for

pytestmark = pytest.mark.faults
SHORT = hj.NUTS(chains=2, warmup=40, draws=40)
DATASETS = [models.known_variances_data(seed) for seed in range(5)]


@pytest.fixture(autouse=True, scope="module")
def few_lanes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LANES, "cpu", lanes_for(2))
        yield


def fit(path, datasets=DATASETS, fn=models.known_variances, **options):
    options = {"method": SHORT, "effects": "centred", "retries": 0, **options}
    model = hj.Model(fn, DATASETS[0], name="known")
    return hj.fit_many(model, datasets, checkpoint=path, progress=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with three finished chunks, and the draws."""
    folder = tmp_path_factory.mktemp("checkpoint") / "batch"
    return folder, fit(folder)


def chunks(folder):
    return sorted(folder.glob("*.chunk"))


def counting(monkeypatch):
    """Count the chunks that are computed, not read."""
    computed = []
    original = jobs.run_chunk

    def counted(*arguments, **options):
        computed.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(jobs, "run_chunk", counted)
    return computed


def test_a_rerun_takes_what_is_finished_and_gives_the_same(finished, monkeypatch):
    folder, batch = finished
    computed = counting(monkeypatch)
    assert len(chunks(folder)) == 3
    again = fit(folder)
    assert not computed
    chunks(folder)[1].unlink()
    resumed = fit(folder)
    assert len(computed) == 1
    assert len(chunks(folder)) == 3
    for place in range(5):
        for other in (again, resumed):
            np.testing.assert_array_equal(
                other[place].draws["effect"], batch[place].draws["effect"]
            )
    assert again.report().equals(batch.report())


def wider(y, group, num_groups, sd_group, sd_rows):
    models.known_variances(y, group, num_groups, 2.0 * sd_group, sd_rows)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 1}, "seed was '0' and is '1' now"),
        ({"datasets": DATASETS[:4]}, "data was '5 data sets"),
        ({"datasets": [*DATASETS[:4], models.known_variances_data(9)]}, "data was"),
        ({"method": hj.NUTS(chains=2, warmup=40, draws=41)}, "method was"),
        ({"fn": wider}, "model was 'known"),
        ({"dtype": "float32"}, "dtype was"),
    ],
)
def test_another_batch_is_refused(finished, change, reason):
    folder, _ = finished
    before = [path.read_bytes() for path in chunks(folder)]
    with pytest.raises(FileError, match=reason):
        fit(folder, **change)
    assert [path.read_bytes() for path in chunks(folder)] == before


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:200] + b"x" + b[201:], len])
def test_damage_is_seen(finished, damage):
    folder, _ = finished
    path = chunks(folder)[0]
    whole = path.read_bytes()
    changed = b"" if damage is len else damage(whole)
    path.write_bytes(changed)
    try:
        with pytest.raises(FileError, match="is damaged"):
            fit(folder)
    finally:
        path.write_bytes(whole)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileError, match="is no checkpoint"):
        fit(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


KILLED = """
import sys
from tests.batch import test_checkpoint as t
t.LANES["cpu"] = t.lanes_for(2)
t.fit(sys.argv[1])
"""


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_draws(finished, tmp_path):
    _, batch = finished
    folder = tmp_path / "batch"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    deadline = time.monotonic() + 600
    while not chunks(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert chunks(folder)
    resumed = fit(folder)
    for place in range(5):
        np.testing.assert_array_equal(resumed[place].draws["mu"], batch[place].draws["mu"])
