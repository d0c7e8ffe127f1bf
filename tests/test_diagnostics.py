"""Diagnostics against ArviZ on many shapes, against known truth, and on draws nobody can judge."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from hierjax import diagnostics, importance_weights

SHAPES = [(4, 1000), (4, 1001), (1, 500), (2, 4), (2, 5), (3, 6), (2, 7), (2, 9), (8, 31)]
KINDS = ("independent", "slow", "tied", "antithetic")
NUM_PARAMETERS = 7


def make_draws(shape, kind, seed=0):
    """Draws (chain, draw, parameter) of one kind of trouble."""
    noise = np.random.default_rng(seed).normal(size=(*shape, NUM_PARAMETERS))
    if kind == "tied":
        return np.round(2 * noise)
    draws = noise.copy()
    coefficient = {"slow": 0.9, "antithetic": -0.7}.get(kind, 0.0)
    for t in range(1, shape[1]):
        draws[:, t] += coefficient * draws[:, t - 1]
    return draws


OURS_AND_ARVIZ = {
    "rhat": (diagnostics.rhat, array_stats.rhat),
    "ess_bulk": (diagnostics.ess_bulk, lambda x: array_stats.ess(x, method="bulk")),
    "ess_tail": (
        diagnostics.ess_tail,
        lambda x: array_stats.ess(x, method="tail", prob=diagnostics.TAILS),
    ),
    "ess_mean": (diagnostics.ess_mean, lambda x: array_stats.ess(x, method="mean")),
    "mcse_mean": (diagnostics.mcse_mean, array_stats.mcse),
    "mcse_sd": (diagnostics.mcse_sd, lambda x: array_stats.mcse(x, method="sd")),
    "mcse_quantile": (
        lambda x: diagnostics.mcse_quantile(x, 0.9),
        lambda x: array_stats.mcse(x, method="quantile", prob=0.9),
    ),
}


# ArviZ has no R-hat of one chain.
GRID = [(n, s) for n in OURS_AND_ARVIZ for s in SHAPES if not (n == "rhat" and s[0] == 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "shape"), GRID, ids=str)
def test_equals_arviz(name, shape, kind):
    ours, theirs = OURS_AND_ARVIZ[name]
    draws = make_draws(shape, kind)
    np.testing.assert_allclose(ours(draws), theirs(np.moveaxis(draws, -1, 0)), rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_pass_equals_the_single_functions(shape):
    draws = make_draws(shape, "slow")
    table = diagnostics.chain_summary(draws)
    for name in ("rhat", "ess_bulk", "ess_tail"):
        np.testing.assert_array_equal(getattr(table, name), getattr(diagnostics, name)(draws))
    np.testing.assert_allclose(table.mcse, diagnostics.mcse_mean(draws), rtol=1e-12)
    np.testing.assert_allclose(table.mean, draws.mean((0, 1)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(table.sd, draws.std((0, 1), ddof=1), rtol=1e-12)
    expected = np.quantile(draws, [0.05, 0.5, 0.95], axis=(0, 1))
    np.testing.assert_allclose(table.quantiles, expected, rtol=1e-13)


def test_elements_are_judged_one_by_one_over_chunks():
    draws = np.random.default_rng(1).normal(size=(2, 20, 3, 50))
    table = diagnostics.chain_summary(draws)
    assert table.rhat.shape == table.mean.shape == (3, 50)
    assert table.quantiles.shape == (3, 3, 50)
    alone = diagnostics.chain_summary(draws[:, :, 2, 41])
    assert alone.ess_bulk.shape == ()
    assert table.ess_bulk[2, 41] == alone.ess_bulk
    assert diagnostics.chain_summary(np.zeros((2, 20, 0))).rhat.shape == (0,)


@pytest.mark.parametrize("coefficient", [0.5, 0.9])
def test_effective_size_of_an_autoregression(coefficient):
    # ess / draws of AR(1) is (1 - c) / (1 + c). With 200 replicates of 4 x 2,000 draws the mean
    # estimate has a standard error below 1%; the estimator itself is biased by a few per cent.
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(4, 2000, 200))
    noise[:, 0] /= np.sqrt(1 - coefficient**2)
    for t in range(1, 2000):
        noise[:, t] += coefficient * noise[:, t - 1]
    truth = 8000 * (1 - coefficient) / (1 + coefficient)
    assert diagnostics.ess_mean(noise).mean() == pytest.approx(truth, rel=0.05)
    assert diagnostics.ess_bulk(noise).mean() == pytest.approx(truth, rel=0.05)
    means = noise.mean((0, 1))
    assert diagnostics.mcse_mean(noise).mean() == pytest.approx(means.std(), rel=0.2)
    assert np.all(diagnostics.rhat(noise) < 1.05)


@pytest.mark.parametrize("trouble", ["place", "spread", "drift"])
def test_rhat_sees_chains_that_disagree(trouble):
    draws = np.random.default_rng(3).normal(size=(4, 500))
    fine = float(diagnostics.rhat(draws))
    if trouble == "place":
        draws[0] += 1.0
    elif trouble == "spread":
        draws[0] *= 4.0
    else:
        draws += np.linspace(0, 2, 500)
    assert fine < 1.01 < float(diagnostics.rhat(draws))


def test_one_chain_is_judged_by_its_halves():
    draws = np.random.default_rng(4).normal(size=(1, 400))
    assert float(diagnostics.rhat(draws)) < 1.02
    assert float(diagnostics.rhat(draws + np.linspace(0, 3, 400))) > 1.1


@pytest.mark.parametrize(
    "spoil", [lambda x: np.full_like(x, 3.0), lambda x: x * np.nan, lambda x: x[:, :3]]
)
def test_draws_that_cannot_be_judged_give_nan_without_a_warning(spoil):
    draws = spoil(np.random.default_rng(5).normal(size=(2, 50)))
    table = diagnostics.chain_summary(draws)
    for name in ("rhat", "ess_bulk", "ess_tail", "mcse"):
        assert np.isnan(getattr(table, name)), name
    for name, (ours, _) in OURS_AND_ARVIZ.items():
        assert np.isnan(ours(draws)), name


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_draw_spoils_its_own_element_only(bad):
    draws = np.random.default_rng(6).normal(size=(2, 50, 3))
    draws[1, 7, 1] = bad
    table = diagnostics.chain_summary(draws)
    np.testing.assert_array_equal(np.isnan(table.rhat), [False, True, False])
    np.testing.assert_array_equal(np.isnan(table.ess_tail), [False, True, False])


def test_chains_stuck_at_different_values_have_infinite_rhat():
    draws = np.repeat(np.array([[1.0], [2.0]]), 20, axis=1)
    assert diagnostics.rhat(draws) == np.inf


def test_precision_of_float32_draws_is_not_inherited():
    draws = np.random.default_rng(7).normal(size=(2, 100)).astype(np.float32)
    assert diagnostics.rhat(draws) == diagnostics.rhat(draws.astype(np.float64))


def test_energy_fraction():
    energy = np.random.default_rng(8).normal(size=(3, 2000))
    energy[2] = np.cumsum(energy[2])
    np.testing.assert_allclose(
        diagnostics.e_bfmi(energy), array_stats.bfmi(energy[None])[0], rtol=1e-12
    )
    # White noise has E-BFMI 2, a random walk has almost none.
    assert diagnostics.e_bfmi(energy)[0] == pytest.approx(2.0, rel=0.1)
    assert diagnostics.e_bfmi(energy)[2] < 0.05
    assert np.isnan(diagnostics.e_bfmi(np.ones((1, 10)))[0])


@pytest.mark.parametrize("size", [30, 100, 1000, 10_000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_pareto_k_equals_arviz(size, spread):
    log_weight = spread * np.random.default_rng(9).normal(size=size)
    expected = array_stats.psislw(-log_weight)[1]
    assert importance_weights.pareto_k(log_weight + 7e2) == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.parametrize("shape", [0.2, 0.9])
def test_pareto_k_of_a_pareto_tail(shape):
    # The asymptotic sd of the maximum likelihood estimate is (1 + k) / sqrt(size of the tail).
    draws = np.random.default_rng(10).pareto(1 / shape, size=1_000_000)
    tail = 3 * np.sqrt(draws.size)
    error = (1 + shape) / np.sqrt(tail)
    assert abs(importance_weights.pareto_k(np.log(draws)) - shape) < 5 * error + 0.01


@pytest.mark.parametrize("weights", [np.zeros(100), np.zeros(10), np.full(100, np.nan)])
def test_pareto_k_that_cannot_be_fitted(weights):
    assert np.isnan(importance_weights.pareto_k(weights))


def test_effective_size_of_weights():
    assert importance_weights.weight_ess(np.full((2, 50), -1e4)) == pytest.approx(100)
    assert importance_weights.weight_ess(np.array([0.0, -np.inf, -np.inf])) == pytest.approx(1)
