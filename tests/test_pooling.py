"""Pooling against textbook formulas, computed in NumPy from the same draws."""

import numpy as np
import pandas as pd
import pytest

import hierjax as hj
from hierjax import errors
from hierjax.draws import FitInfo
from tests import models

CHAINS, DRAWS = 2, 2000
SHAPE = (CHAINS, DRAWS)
SIZES = np.array([1, 2, 4, 8, 16])


def posterior(model, draws):
    info = FitInfo("nuts", {}, 0, "float64", {}, {}, (0,) * CHAINS, {})
    return hj.Posterior(model, draws, {}, info)


def positive(*shape, seed, scale=1.0):
    return scale * (0.5 + np.random.default_rng(seed).gamma(4.0, 0.25, size=(*SHAPE, *shape)))


def normal(*shape, seed, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(*SHAPE, *shape))


@pytest.fixture(scope="module")
def balanced():
    """Normal model with known hyperparameters and exact draws of its effects."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(5), SIZES)
    y = generator.normal(size=5)[group] + 2.0 * generator.normal(size=len(group))
    model = hj.formula("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": group}))
    weight = (4.0 / SIZES) / (4.0 / SIZES + 1.0)  # of the population
    means = np.bincount(group, y) / SIZES
    sd = np.sqrt(weight)
    draws = {
        "b_Intercept": np.zeros(SHAPE),
        "sd_g": np.ones(SHAPE),
        "r_g": (1 - weight) * means + sd * generator.normal(size=(*SHAPE, 5)),
        "sigma": np.full(SHAPE, 2.0),
    }
    return posterior(model, draws), weight, means


def test_pooling_factors_are_the_weights_of_the_population(balanced):
    post, weight, means = balanced
    table = post.shrinkage()
    assert list(table.columns) == [
        "rows", "no_pooling", "partial_pooling", "complete_pooling", "pooling of r_g"
    ]  # fmt: skip
    assert list(table.index) == [0, 1, 2, 3, 4]
    assert list(table["rows"]) == list(SIZES)
    np.testing.assert_allclose(table["no_pooling"], means, rtol=1e-12)
    np.testing.assert_array_equal(table["complete_pooling"], np.zeros(5))
    count = CHAINS * DRAWS
    error = weight * np.sqrt(2 / count)  # of a variance
    assert np.all(np.abs(table["pooling of r_g"] - weight) < 4 * error)
    thinned = np.sqrt(weight / 200)
    assert np.all(np.abs(table["partial_pooling"] - (1 - weight) * means) < 4 * thinned)


def test_effects_of_a_numpyro_function_are_judged_against_their_prior():
    model = hj.library.eight_schools(models.SCHOOLS_Y, models.SCHOOLS_SIGMA)
    mu, tau, z = normal(seed=1), positive(seed=2), normal(8, seed=3, scale=0.5)
    draws = {"mu": mu, "tau": tau, "theta": mu[..., None] + tau[..., None] * z}
    table = posterior(model, draws).shrinkage()
    np.testing.assert_allclose(table["pooling of theta"], z.reshape(-1, 8).var(axis=0), rtol=1e-10)


def test_slopes_have_a_factor_each():
    frame = hj.load_data("sleepstudy")
    model = hj.formula("Reaction ~ Days + (1 + Days | Subject)", frame)
    factor = np.broadcast_to(np.eye(2), (*SHAPE, 2, 2))
    sd = np.broadcast_to([10.0, 5.0], (*SHAPE, 2))
    effects = normal(18, 2, seed=1) * [1.0, 5.0]
    draws = {
        "b_Intercept": normal(seed=2), "b_Days": normal(seed=3), "sd_Subject": sd,
        "L_Subject": factor, "cor_Subject": factor, "r_Subject": effects,
        "sigma": positive(seed=4),
    }  # fmt: skip
    table = posterior(model, draws).shrinkage()
    for term, expected in (("Intercept", 0.01), ("Days", 1.0)):
        found = table[f"pooling of r_Subject[{term}]"]
        assert np.all(np.abs(found / expected - 1) < 4 * np.sqrt(2 / (CHAINS * DRAWS)))


def test_intraclass_correlation_of_one_factor(balanced):
    post, _, _ = balanced
    shares = post.variance_partition().shares
    np.testing.assert_allclose(shares["g"], 0.2)
    np.testing.assert_allclose(shares["residual"], 0.8)
    np.testing.assert_allclose(post.r2().shares["marginal"], 0.0, atol=1e-12)
    np.testing.assert_allclose(post.r2().shares["conditional"], 0.2)


def test_slopes_by_rows():
    """Against the mean of the diagonal of Z S Z', row by row and draw by draw."""
    frame = hj.load_data("sleepstudy")
    model = hj.formula("Reaction ~ Days + (1 + Days | Subject)", frame)
    rho = np.random.default_rng(0).uniform(-0.8, 0.8, SHAPE)
    factor = np.zeros((*SHAPE, 2, 2))
    factor[..., 0, 0], factor[..., 1, 0], factor[..., 1, 1] = 1.0, rho, np.sqrt(1 - rho**2)
    draws = {
        "b_Intercept": normal(seed=1), "b_Days": normal(seed=2), "sd_Subject": positive(2, seed=3),
        "L_Subject": factor, "cor_Subject": factor @ np.swapaxes(factor, -1, -2),
        "r_Subject": normal(18, 2, seed=4), "sigma": positive(seed=5),
    }  # fmt: skip
    post = posterior(model, draws)
    sd, days = draws["sd_Subject"], frame["Days"].to_numpy(dtype=float)
    by_row = (
        sd[..., :1] ** 2 + days**2 * sd[..., 1:] ** 2
        + 2 * days * (rho * sd[..., 0] * sd[..., 1])[..., None]
    )  # fmt: skip
    group = by_row.mean(-1)
    fixed = draws["b_Days"] ** 2 * days.var()
    residual = draws["sigma"] ** 2
    np.testing.assert_allclose(
        post.variance_partition().shares["Subject"], group / (group + residual), rtol=1e-10
    )
    found = post.r2().shares
    total = fixed + group + residual
    np.testing.assert_allclose(found["marginal"], fixed / total, rtol=1e-10)
    np.testing.assert_allclose(found["conditional"], (fixed + group) / total, rtol=1e-10)


FAMILY_CASES = [
    ("bernoulli", lambda draws, rate: np.pi**2 / 3, "latent (logit)"),
    ("poisson", lambda draws, rate: np.log1p(1 / rate), "latent (log)"),
    (
        "negative_binomial",
        lambda draws, rate: np.log1p(1 / rate + 1 / draws["shape"]),
        "latent (log)",
    ),
    (
        "student_t",
        lambda draws, rate: draws["sigma"] ** 2 * draws["nu"] / (draws["nu"] - 2),
        "resp",
    ),
]


@pytest.mark.parametrize(("family", "residual", "scale"), FAMILY_CASES)
def test_residual_variance_of_a_family(family, residual, scale):
    generator = np.random.default_rng(0)
    frame = {
        "y": generator.integers(0, 2, 40), "x": generator.normal(size=40),
        "g": np.arange(40) % 5, "h": np.arange(40) // 8,
    }  # fmt: skip
    model = hj.formula("y ~ x + (1 | g) + (1 | h)", frame, family=family)
    draws = {
        "b_Intercept": normal(seed=1), "b_x": normal(seed=2), "sd_g": positive(seed=3),
        "sd_h": positive(seed=4), "sigma": positive(seed=5), "nu": 2.5 + positive(seed=6),
        "shape": positive(seed=7),
    }  # fmt: skip
    fixed = draws["b_Intercept"][..., None] + draws["b_x"][..., None] * frame["x"]
    groups = draws["sd_g"] ** 2 + draws["sd_h"] ** 2
    rate = np.exp(fixed + groups[..., None] / 2).mean(-1)
    total = groups + residual(draws, rate)
    found = posterior(model, draws).variance_partition()
    np.testing.assert_allclose(found.shares["g"], draws["sd_g"] ** 2 / total, rtol=1e-10)
    assert scale in repr(found)
    summary = found.summary()
    assert list(summary.index) == ["g", "h", "residual"]
    assert summary["mean"].sum() == pytest.approx(1.0)
    assert summary.loc["h", "q5"] == pytest.approx(np.quantile(draws["sd_h"] ** 2 / total, 0.05))


def test_a_function_has_no_variance_partition():
    model = hj.library.eight_schools(models.SCHOOLS_Y, models.SCHOOLS_SIGMA)
    post = posterior(model, {"mu": normal(seed=1), "tau": positive(seed=2)})
    with pytest.raises(errors.ModelError, match="formula models only"):
        post.variance_partition()
