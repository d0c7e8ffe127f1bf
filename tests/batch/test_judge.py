"""judge: verdicts of many data sets at once are those of the diagnostics of each."""

import numpy as np
import pytest

from hierjax.batch.chunks import Chunk
from hierjax.batch.judge import judge
from hierjax.diagnostics import ess_bulk, rhat
from hierjax.draws import Status
from hierjax.importance_weights import pareto_k, weight_ess


def chunk(values, stats=None, status=None, trace=None):
    shape = values.shape[:3]
    status = np.zeros(shape[:2], int) if status is None else status
    stats = {"diverging": np.zeros(shape, bool)} if stats is None else stats
    return Chunk({"x": values}, stats, status, trace or {}, {})


def normal(count=4, elements=3, draws=500):
    return np.random.default_rng(0).normal(size=(count, 2, draws, elements))


EVERY = np.ones((4, 3), bool)


def test_the_worst_element_counts_and_padding_does_not():
    values = normal()
    values[1, 0, :, 2] += 3.0
    counts = EVERY.copy()
    counts[1, 2] = False
    with_padding, without = judge(chunk(values), {"x": EVERY}), judge(chunk(values), {"x": counts})
    assert with_padding[1].rhat > 1.5
    assert with_padding[1].retry
    assert with_padding[1].status == "check"
    assert without[1].rhat < 1.05
    for place in (0, 2, 3):
        assert with_padding[place] == without[place]
        np.testing.assert_allclose(with_padding[place].rhat, rhat(values[place]).max())
        np.testing.assert_allclose(with_padding[place].ess_bulk, ess_bulk(values[place]).min())


@pytest.mark.parametrize(
    ("share", "retry"), [(0.0, False), (0.004, False), (0.02, True)], ids=["none", "few", "many"]
)
def test_divergences(share, retry):
    diverging = np.zeros((4, 2, 500), bool)
    diverging[2, 0, : int(1000 * share)] = True
    verdicts = judge(chunk(normal(), {"diverging": diverging}), {"x": EVERY})
    assert verdicts[2].divergences == int(1000 * share)
    assert verdicts[2].retry is retry
    assert ("divergent" in verdicts[2].message) == (share > 0)
    assert not verdicts[0].divergences


def test_a_chain_that_did_not_finish_is_a_failure_and_frozen_draws_are_seen():
    status = np.zeros((4, 2), int)
    status[0, 1] = Status.NO_FINITE_START
    values = normal()
    values[3, :, :, 0] = 1.0
    verdicts = judge(chunk(values, status=status), {"x": EVERY})
    assert verdicts[0].status == "failed"
    assert verdicts[0].retry
    assert "no starting point" in verdicts[0].message
    assert "constant" in verdicts[3].message
    assert verdicts[3].retry
    assert verdicts[0].badness > verdicts[3].badness > verdicts[1].badness


def test_weights():
    weights = (
        np.random.default_rng(1).normal(size=(4, 1, 1000))
        * np.array([0.1, 0.5, 1, 4])[:, None, None]
    )
    verdicts = judge(chunk(normal(draws=1000)[:, :1], {"log_weight": weights}), {"x": EVERY})
    for each, verdict in zip(weights, verdicts, strict=True):
        np.testing.assert_allclose(
            [verdict.k_hat, verdict.ess_bulk], [pareto_k(each), weight_ess(each)]
        )
        assert np.isnan(verdict.rhat)
    assert verdicts[0].status == "ok"
    assert "k-hat" in verdicts[3].message


def test_what_a_method_recorded_of_its_weights_counts():
    stats = {"log_weight": np.zeros((4, 2, 500))}
    trace = {
        "k_hat": np.full((4, 1, 3), [0.9, 0.3, np.nan]),
        "effective_draws": np.full((4, 1), 77.0),
    }
    verdict = judge(chunk(normal(), stats, trace=trace), {"x": EVERY})[0]
    assert verdict.k_hat == 0.3
    assert verdict.ess_bulk == 77.0
    assert "worth 77 draws" in verdict.message
