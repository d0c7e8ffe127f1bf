"""Chunks on an executor's workers: the draws of a batch without it, whatever happens to workers."""

import concurrent.futures
import pickle

import numpy as np
import pytest

import hierjax as hj
from hierjax.batch.chunks import LANES
from hierjax.errors import SettingsError
from tests import models
from tests.batch.cases import lanes_for

pytestmark = pytest.mark.faults
SHORT = hj.NUTS(chains=2, warmup=60, draws=60)
DATASETS = [models.known_variances_data(seed) for seed in range(5)]


@pytest.fixture(autouse=True, scope="module")
def two_lanes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LANES, "cpu", lanes_for(2))
        yield


def fit(**options):
    model = hj.Model(models.known_variances, DATASETS[0], labels={"group": "ABCDEF"})
    return hj.fit_many(
        model, DATASETS, method=SHORT, effects="centred", progress=False, retries=0, **options
    )


@pytest.fixture(scope="module")
def alone():
    return fit()


def assert_same(batch, other):
    assert len(batch) == len(other)
    for one, two in zip(batch, other, strict=True):
        np.testing.assert_array_equal(one.draws["effect"], two.draws["effect"])


class Pool(concurrent.futures.Executor):
    """Runs what comes through pickle, as a worker would; jobs listed in `lost` are lost."""

    def __init__(self, lost=(), broken_after=None):
        self.lost, self.broken_after, self.submitted = lost, broken_after, 0

    def submit(self, fn, /, *args, **kwargs):
        place, self.submitted = self.submitted, self.submitted + 1
        if self.broken_after is not None and place >= self.broken_after:
            raise concurrent.futures.BrokenExecutor("the pool is broken")
        future = concurrent.futures.Future()
        if place in self.lost:
            future.set_exception(OSError("a worker died"))
        else:
            fn, args = pickle.loads(pickle.dumps((fn, args)))
            future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
        return future


def test_workers_give_the_same_draws(alone):
    pool = Pool()
    assert_same(fit(executor=pool), alone)
    assert pool.submitted == 3


@pytest.mark.parametrize(
    ("pool", "words"),
    [(Pool(lost=(1, 2)), "OSError: a worker died"), (Pool(broken_after=1), "the pool is broken")],
    ids=["lost jobs", "broken pool"],
)
def test_a_lost_chunk_is_fitted_here_and_said_once(alone, pool, words):
    with pytest.warns(UserWarning, match=words) as caught:
        batch = fit(executor=pool)
    assert len(caught) == 1
    assert_same(batch, alone)


def test_finished_chunks_of_workers_are_kept(alone, tmp_path):
    fit(executor=Pool(), checkpoint=tmp_path / "batch")
    unused = Pool()
    assert_same(fit(executor=unused, checkpoint=tmp_path / "batch"), alone)
    assert unused.submitted == 0


def test_an_executor_is_something_that_takes_jobs():
    with pytest.raises(SettingsError, match=r"client\.get_executor"):
        fit(executor="dask")
