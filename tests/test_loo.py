"""Leave-one-out: pointwise densities against SciPy, sums against ArviZ, groups against re-fits."""

import dataclasses

import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import stats

import hierjax as hj
from hierjax import errors
from hierjax.draws import FitInfo
from hierjax.loo import _relative_size
from hierjax.loo_pointwise import by_group, by_row
from tests import models

CHAINS, DRAWS = 2, 100
SHAPE = (CHAINS, DRAWS)


def posterior(model, draws, **info):
    given = {"method": "nuts", "dtype": "float64", "estimates": {}} | info
    found = FitInfo(
        settings={}, seed=0, effects={}, seconds={}, status=(0,) * CHAINS, versions={}, **given
    )
    return hj.Posterior(model, draws, {}, found)


def normal(*shape, seed, centre=0.0, scale=1.0):
    return centre + scale * np.random.default_rng(seed).normal(size=(*SHAPE, *shape))


def positive(*shape, seed, scale=1.0):
    return scale * (0.5 + np.random.default_rng(seed).gamma(4.0, 0.25, size=(*SHAPE, *shape)))


@pytest.fixture(scope="module")
def sleep():
    frame = hj.load_data("sleepstudy")
    model = hj.formula("Reaction ~ Days + (1 + Days | Subject)", frame)
    rho = np.random.default_rng(0).uniform(-0.8, 0.8, SHAPE)
    factor = np.zeros((*SHAPE, 2, 2))
    factor[..., 0, 0], factor[..., 1, 0], factor[..., 1, 1] = 1.0, rho, np.sqrt(1 - rho**2)
    draws = {
        "b_Intercept": normal(seed=1, centre=250.0), "b_Days": normal(seed=2, centre=10.0),
        "sd_Subject": positive(2, seed=3, scale=10.0), "L_Subject": factor,
        "cor_Subject": factor @ np.swapaxes(factor, -1, -2),
        "r_Subject": normal(18, 2, seed=4, scale=5.0), "sigma": positive(seed=5, scale=30.0),
    }  # fmt: skip
    return posterior(model, draws), frame


def test_densities_of_rows(sleep):
    post, frame = sleep
    mean, sigma = post.predict().values, post.draws["sigma"][..., None]
    expected = stats.norm.logpdf(frame["Reaction"].to_numpy(), mean, sigma)
    np.testing.assert_allclose(by_row(post.model, post.draws, post.info), expected, rtol=1e-10)


def test_few_draws_are_spread_evenly(sleep):
    post, _ = sleep
    few = by_row(post.model, post.draws, post.info, most=20)
    assert few.shape == (CHAINS, 10, 180)
    every = by_row(post.model, post.draws, post.info)
    np.testing.assert_array_equal(few, every[:, np.linspace(0, DRAWS - 1, 10).astype(int)])


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # of these made-up draws
def test_sums_are_those_of_arviz(sleep):
    import arviz_base
    import arviz_stats

    post, _ = sleep
    values = by_row(post.model, post.draws, post.info)
    tree = arviz_base.from_dict(
        {"posterior": {"sigma": post.draws["sigma"]}, "log_likelihood": {"y": values}}
    )
    relative = _relative_size(post.model, post.draws)
    expected = arviz_stats.loo(tree, pointwise=True, reff=relative)
    found = post.loo()
    np.testing.assert_allclose(found.pointwise, expected.elpd_i, rtol=1e-10)
    np.testing.assert_allclose(found.k_hat, expected.pareto_k, rtol=1e-10)
    assert found.elpd == pytest.approx(expected.elpd)
    assert found.se == pytest.approx(expected.se)
    assert found.p_loo == pytest.approx(expected.p)
    assert found.largest_good_k == pytest.approx(expected.good_k)


def test_slopes_are_integrated_out_exactly(sleep):
    """Against the normal density of all rows of a subject, N(X b, Z S Z' + sigma^2 I)."""
    post, frame = sleep
    found, _ = by_group(post.model, post.draws, post.info, "Subject")
    draws, days = post.draws, np.arange(10.0)
    design = np.stack([np.ones(10), days], 1)
    y = frame["Reaction"].to_numpy().reshape(18, 10)
    for chain, draw in ((0, 0), (1, 37)):
        at = (chain, draw)
        root = design @ (draws["sd_Subject"][at][:, None] * draws["L_Subject"][at])
        covariance = root @ root.T + draws["sigma"][at] ** 2 * np.eye(10)
        mean = draws["b_Intercept"][at] + draws["b_Days"][at] * days
        expected = stats.multivariate_normal(mean, covariance).logpdf(y)
        np.testing.assert_allclose(found[at], expected, rtol=1e-10)


def test_groups_of_a_likelihood_that_is_not_gaussian():
    """Against a trapezoid of 4,001 points; the other crossed factor stays at its draws."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "y": generator.integers(0, 2, 60),
            "g": np.repeat(np.arange(6), 10),
            "h": np.arange(60) % 4,
        }
    )
    frame.loc[frame["g"] == 0, "y"] = 1  # no finite estimate of its own
    model = hj.formula("y ~ 1 + (1 | g) + (1 | h)", frame, family="bernoulli")
    draws = {
        "b_Intercept": normal(seed=1), "sd_g": positive(seed=2, scale=2.0),
        "sd_h": positive(seed=4), "r_g": normal(6, seed=3), "r_h": normal(4, seed=5),
    }  # fmt: skip
    post = posterior(model, draws)
    found, _ = by_group(model, draws, post.info, "g")
    nodes = np.linspace(-10.0, 10.0, 4001)
    for chain, draw in ((0, 0), (1, 50)):
        at = (chain, draw)
        rest = draws["b_Intercept"][at] + draws["r_h"][at][frame["h"]]
        logits = rest + draws["sd_g"][at] * nodes[:, None]
        rows = -np.logaddexp(0.0, np.where(frame["y"] == 1, -logits, logits))
        by_node = rows.reshape(4001, 6, 10).sum(-1) + stats.norm.logpdf(nodes)[:, None]
        expected = np.log(np.exp(by_node).sum(0) * (nodes[1] - nodes[0]))
        np.testing.assert_allclose(found[at], expected, atol=1e-5)


def test_each_kind_says_which_it_is(sleep):
    post, _ = sleep
    rows, groups = post.loo(), post.loo(by="Subject")
    assert repr(rows).startswith("leave one observation of Reaction out, given the effects")
    assert "leave one group of Subject out" in repr(groups)
    assert "(r_Subject integrated out)" in repr(groups)
    assert list(groups.table().index) == list(post.model.labels["Subject"])
    assert groups.table()["elpd"].sum() == pytest.approx(groups.elpd)


def test_doubtful_estimates_are_named(sleep):
    post, _ = sleep
    found = post.loo()
    assert found.doubtful == [place for place in range(180) if found.k_hat[place] > 0.5655]
    assert "fit again without them" in repr(found)


def test_weights_of_an_approximation_enter():
    """Draws from twice too wide a proposal, weighted, against the exact predictive density."""
    generator = np.random.default_rng(0)
    y = generator.normal(size=10)

    def function(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 10.0))
        with numpyro.plate("rows", 10):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    def exact(values):
        variance = 1.0 / (1.0 / 100.0 + len(values))
        return variance * values.sum(), np.sqrt(variance)

    centre, sd = exact(y)
    mean = centre + 2.0 * sd * generator.normal(size=(1, 8000))
    weight = stats.norm.logpdf(mean, centre, sd) - stats.norm.logpdf(mean, centre, 2.0 * sd)
    post = posterior(hj.Model(function, {"y": y}), {"mean": mean})
    weighted = hj.Posterior(post.model, post.draws, {"log_weight": weight}, post.info)
    expected = []
    for left in range(10):
        centre_left, sd_left = exact(np.delete(y, left))
        expected.append(stats.norm.logpdf(y[left], centre_left, np.hypot(sd_left, 1.0)))
    np.testing.assert_allclose(weighted.loo().pointwise, expected, atol=0.02)
    assert np.max(np.abs(post.loo().pointwise - expected)) > 0.05
    # Draws that were resampled by their weights are not weighted again.
    exact_draws = {"mean": centre + sd * generator.normal(size=(1, 8000))}
    info = dataclasses.replace(post.info, trace={"effective_draws": (8000.0,)})
    resampled = hj.Posterior(post.model, exact_draws, {"log_weight": weight}, info)
    np.testing.assert_allclose(resampled.loo().pointwise, expected, atol=0.02)


def test_comparison_pairs_the_rows(sleep):
    post, frame = sleep
    constant = hj.formula("Reaction ~ 1 + (1 | Subject)", frame)
    draws = {
        "b_Intercept": normal(seed=1, centre=300.0), "sd_Subject": positive(seed=2, scale=10.0),
        "r_Subject": normal(18, seed=3), "sigma": positive(seed=4, scale=50.0),
    }  # fmt: skip
    other = posterior(constant, draws)
    table = hj.compare({"constant": other, "slopes": post})
    assert table.index.name == "leave one observation out"
    first, second = post.loo(), other.loo()
    best, worst = (first, second) if first.elpd > second.elpd else (second, first)
    gap = worst.pointwise - best.pointwise
    assert list(table["difference"]) == pytest.approx([0.0, gap.sum()])
    assert table["se_difference"].iloc[1] == pytest.approx(np.sqrt(180) * gap.std())
    assert hj.compare({"a": post, "b": other}, by="Subject").index.name == "leave one Subject out"
    with pytest.raises(errors.DataError, match="leaves out other things"):
        hj.compare({"a": first, "b": post.loo(by="Subject")})
    changed = posterior(constant.with_data(frame.assign(Reaction=frame["Reaction"] / 2)), draws)
    with pytest.raises(errors.DataError, match="other observations"):
        hj.compare({"a": first, "b": changed})
    with pytest.raises(errors.SettingsError, match="two models"):
        hj.compare({"a": first})


def test_what_cannot_be_left_out_is_refused(sleep):
    post, _ = sleep
    with pytest.raises(errors.SettingsError, match="`by` must be one of 'Subject'"):
        post.loo(by="Days")
    nested = hj.formula("strength ~ 1 + (1 | batch/cask)", hj.load_data("pastes"))
    draws = {
        "b_Intercept": normal(seed=1), "sd_batch": positive(seed=2),
        "sd_batch:cask": positive(seed=3), "r_batch": normal(10, seed=4),
        "r_batch:cask": normal(30, seed=5), "sigma": positive(seed=6),
    }  # fmt: skip
    with pytest.raises(errors.ModelError, match="'batch:cask' lie within them"):
        posterior(nested, draws).loo(by="batch")
    few = {name: values for name, values in post.draws.items() if name != "r_Subject"}
    with pytest.raises(errors.ModelError, match="no draws of r_Subject"):
        posterior(post.model, few).loo()
    with pytest.raises(errors.SettingsError, match="estimates a point"):
        posterior(post.model, post.draws, estimates={"sigma": np.ones(2)}).loo()


@pytest.mark.slow
def test_left_out_schools_against_fits_without_them():
    y, sigma = np.asarray(models.SCHOOLS_Y), np.asarray(models.SCHOOLS_SIGMA)
    method = hj.Laplace(draws=20_000, points=4000)
    post = hj.fit(hj.library.eight_schools(y, sigma), method=method)
    found = post.loo(by="school")
    for left in range(8):
        rest = hj.library.eight_schools(np.delete(y, left), np.delete(sigma, left))
        fit = hj.fit(rest, method=method)
        fitted, effective = fit.draws, fit.info.trace["effective_draws"][-1]
        assert effective > 5000
        spread = np.hypot(fitted["tau"], sigma[left])
        density = stats.norm.pdf(y[left], fitted["mu"], spread)
        error = density.std() / density.mean() / np.sqrt(effective)
        gap = found.pointwise[left] - np.log(density.mean())
        # The same error again for the estimate from all schools, whose weights are uneven.
        assert abs(gap) < 4 * np.sqrt(3) * error
