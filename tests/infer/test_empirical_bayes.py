"""Empirical Bayes against dense twins, at a variance of zero, and where it cannot work."""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest

import hierjax as hj
from hierjax import cli
from hierjax.draws import FitInfo, Status
from hierjax.errors import ModelError, SettingsError
from hierjax.infer.newton import DONE, LOWER, begin_search, search_on
from tests import models

KINDS = ("ml", "reml", "map")


# -- a model with a dense twin ---------------------------------------------------------------------


def slopes(y, x, group, num_groups):
    b = numpyro.sample("b", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd).to_event(1))
    with numpyro.plate("rows", len(y)):
        mean = b[0] + u[group, 0] + (b[1] + u[group, 1]) * x
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def slopes_data(seed=1, num_groups=9, rows=50):
    generator = np.random.default_rng(seed)
    group = np.sort(np.append(np.arange(num_groups), generator.integers(0, 4, rows - num_groups)))
    x, u = generator.normal(size=rows), generator.normal(size=(2, num_groups))
    y = 1.0 + u[0, group] + (0.5 + 0.7 * u[1, group]) * x + 0.5 * generator.normal(size=rows)
    return {"y": y, "x": x, "group": group, "num_groups": num_groups}


DATA = slopes_data()


def dense_parts(scales):
    """Rows' covariance, columns of coefficients and of effects, and the effects' variances."""
    x = np.stack([np.ones(50), DATA["x"]], axis=1)
    groups = np.eye(9)[DATA["group"]]
    z = (groups[:, :, None] * x[:, None]).reshape(50, 18)
    variances = jnp.tile(scales[:2] ** 2, 9)
    return (z * variances) @ z.T + scales[2] ** 2 * jnp.eye(50), x, z, variances


def dense_target(logs, kind):
    """What is maximised over logs of (sd, sd, sigma), with rows by rows matrices."""
    scales = jnp.exp(logs)
    covariance, x, _, _ = dense_parts(scales)
    if kind == "map":
        covariance += 9.0 * x @ x.T
        priors = dist.HalfNormal(1.0).log_prob(scales[:2]).sum()
        priors += dist.Exponential(1.0).log_prob(scales[2])
        return dist.MultivariateNormal(jnp.zeros(50), covariance).log_prob(DATA["y"]) + priors
    information = x.T @ jnp.linalg.solve(covariance, x)
    b = jnp.linalg.solve(information, x.T @ jnp.linalg.solve(covariance, DATA["y"]))
    value = dist.MultivariateNormal(x @ b, covariance).log_prob(DATA["y"])
    if kind == "reml":
        value += jnp.log(2 * jnp.pi) - jnp.linalg.slogdet(information)[1] / 2
    return value


def dense_moments(scales, kind):
    """Mean and covariance of coefficients and effects given the scales."""
    _, x, z, variances = dense_parts(scales)
    columns = jnp.hstack([x, z])
    prior = jnp.concatenate([jnp.full(2, 1 / 9.0 if kind == "map" else 0.0), 1 / variances])
    precision = columns.T @ columns / scales[2] ** 2 + jnp.diag(prior)
    covariance = jnp.linalg.inv(precision)
    return covariance @ columns.T @ DATA["y"] / scales[2] ** 2, covariance


@functools.partial(jax.jit, static_argnums=1)
def dense_answer(scales, kind):
    """What is maximised, its slope, the covariance of log scales, and moments given scales."""
    logs = jnp.log(scales)
    value, slope = jax.value_and_grad(dense_target)(logs, kind)
    covariance = jnp.linalg.inv(-jax.hessian(dense_target)(logs, kind))
    return value, slope, covariance, *dense_moments(scales, kind)


@pytest.fixture(scope="module")
def fits():
    model = hj.Model(slopes, DATA)
    return {kind: hj.fit(model, method=hj.EmpiricalBayes(kind), progress=False) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_errors_and_draws_are_those_of_the_dense_twin(fits, kind):
    post = fits[kind]
    estimates = post.info.estimates
    with jax.enable_x64(True):
        scales = np.append(estimates["sd"][0], estimates["sigma"][0])
        found = dense_answer(scales, kind)
    value, slope, covariance, mean, conditional = map(np.asarray, found)
    assert np.max(np.abs(slope)) < 1e-6
    np.testing.assert_allclose(post.info.trace["log_density"][0], value, atol=1e-8)
    errors = np.append(estimates["sd"][1], estimates["sigma"][1])
    np.testing.assert_allclose(errors, scales * np.sqrt(np.diag(covariance)), rtol=1e-4)
    found = np.hstack([estimates["b"], estimates["u"].reshape(2, 18)])
    np.testing.assert_allclose(found[0], mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found[1], np.sqrt(np.diag(conditional)), rtol=1e-6)
    # Draws: those of the same normal distribution, scales constant.
    draws = np.hstack([post.draws["b"][0], post.draws["u"].reshape(1000, 18)])
    root = np.linalg.cholesky(np.linalg.inv(conditional))
    white = (draws - mean) @ root
    np.testing.assert_array_less(np.abs(white.mean(0)), 4 / np.sqrt(1000))
    np.testing.assert_array_less(np.abs(np.cov(white.T) - np.eye(20)), 5 / np.sqrt(500))
    np.testing.assert_array_equal(post.draws["sd"][0], np.tile(estimates["sd"][0], (1000, 1)))


@pytest.mark.parametrize(("kind", "parameters"), [("ml", 5), ("reml", 5), ("map", 3)])
def test_the_report_has_estimates_errors_and_what_is_not_in_the_draws(fits, kind, parameters):
    post = fits[kind]
    table, found = post.summary(effects=True), post.diagnostics()
    assert list(table.columns) == ["estimate", "se", "q5", "q50", "q95"]
    row = table.loc[("level sds and correlations", "sd[1]")]
    np.testing.assert_array_equal(row[["estimate", "se"]], post.info.estimates["sd"][:, 1])
    assert row[["q5", "q50", "q95"]].isna().all()
    effect = table.loc[("effects", "u[3, 0]")]
    np.testing.assert_array_equal(effect[["estimate", "se"]], post.info.estimates["u"][:, 3, 0])
    assert effect["q5"] == np.quantile(post.draws["u"][0, :, 3, 0], 0.05)
    assert found.ok
    assert found.rhat is None
    assert found.verdict.startswith(f"Good: converged, log-likelihood {post.log_likelihood:,.3f}")
    assert f"parameters {parameters} estimated" in found.verdict
    assert "sds and correlations is not in them" in found.verdict
    assert f"empirical_bayes ({kind})" in post.report()
    assert "rhat" not in post.report()


def test_the_log_likelihood_of_a_maximum_a_posteriori_has_no_priors_in_it(fits):
    post = fits["map"]
    scales = np.append(post.info.estimates["sd"][0], post.info.estimates["sigma"][0])
    priors = np.log(2 / np.pi) - (scales[:2] ** 2).sum() / 2 - scales[2]
    found = post.info.trace["log_density"][0] - priors
    np.testing.assert_allclose(post.log_likelihood, found, rtol=1e-10)


def test_a_fit_survives_saving_and_loading(fits, tmp_path):
    post = fits["ml"]
    loaded = hj.load(post.save(tmp_path / "fit.nc"), post.model)
    assert loaded.report() == post.report()
    assert loaded.log_likelihood == post.log_likelihood
    for name, values in post.info.estimates.items():
        np.testing.assert_array_equal(loaded.info.estimates[name], values)


# -- variances of zero -----------------------------------------------------------------------------

# Box and Tiao (1973), Bayesian Inference in Statistical Analysis, table 5.1.4: simulated yields
# whose batches differ less than by chance. lme4 finds: log-likelihood -81.43652, residual 3.653231,
# intercept 5.6656 with error 0.6669858.
YIELDS = [
    7.298, 3.846, 2.434, 9.566, 7.990, 5.220, 6.556, 0.608, 11.788, -0.892,
    0.110, 10.386, 13.434, 5.510, 8.166, 2.212, 4.852, 7.092, 9.288, 4.980,
    0.282, 9.014, 4.458, 9.446, 7.198, 1.722, 4.782, 8.106, 0.758, 3.758,
]  # fmt: skip
BATCHES = {"yields": YIELDS, "batch": list(np.repeat(list("ABCDEF"), 5))}
BATCHED = "yields ~ 1 + (1 | batch)"


def test_a_variance_of_zero_is_an_answer(tmp_path):
    post = hj.fit(BATCHED, BATCHES, method="empirical_bayes", progress=False)
    assert post.info.status == (Status.OK,)
    assert post.info.estimates["sd_batch"][0].item() == 0.0
    np.testing.assert_allclose(post.log_likelihood, -81.43652, atol=1e-5)
    np.testing.assert_allclose(post.info.estimates["sigma"][0], 3.653231, rtol=1e-6)
    np.testing.assert_allclose(post.info.estimates["b_Intercept"], [5.6656, 0.6669858], rtol=1e-6)
    np.testing.assert_array_equal(post.info.estimates["r_batch"], 0.0)
    verdict = post.diagnostics().verdict
    assert verdict.startswith("Good: converged")
    assert "sd_batch is estimated as zero: the groups differ no more" in verdict
    assert "singular" not in post.report()
    assert hj.load(post.save(tmp_path / "fit.nc")).report() == post.report()


def test_a_search_that_is_cut_off_says_how_far_it_is():
    post = hj.fit(BATCHED, BATCHES, method=hj.EmpiricalBayes(steps=1, draws=2), progress=False)
    assert post.info.status == (Status.NOT_CONVERGED,)
    found = post.diagnostics()
    assert not found.ok
    assert "stopped after 1 step before it converged" in found.verdict
    assert "raised the log-likelihood by" in found.verdict
    assert "EmpiricalBayes(steps=200)" in found.verdict


# -- the search on its own -------------------------------------------------------------------------


def rosenbrock(x):
    return -((1.0 - x[0]) ** 2) - 100.0 * (x[1] - x[0] ** 2) ** 2


def level_below(x):
    """Level where x[0] is low, as a likelihood is at sds near zero."""
    return -jnp.exp(2 * x[0]) - (x[1] - 2.0) ** 2


def searched(function, start, bounded):
    evaluate = jax.jit(jax.value_and_grad(function))
    first = begin_search(jnp.asarray(start)[None], np.array(bounded), jnp.ones(2), 200)
    return search_on(first, evaluate, 5000)


def test_the_search_finds_the_maximum_along_a_bent_ridge():
    with jax.enable_x64(True):
        found = searched(rosenbrock, [-1.2, 1.0], [False, False])
    assert found.phase == DONE
    assert found.converged
    np.testing.assert_allclose(found.centre, [1.0, 1.0], atol=1e-6)


def test_the_search_knows_a_maximum_at_a_limit():
    with jax.enable_x64(True):
        found = searched(level_below, [1.0, 0.0], [True, False])
    assert found.converged
    assert list(found.limit) == [LOWER, 0]
    np.testing.assert_allclose(found.centre[1], 2.0, atol=1e-8)


# -- where it cannot work --------------------------------------------------------------------------


def counts(y, group, num_groups):
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Poisson(jnp.exp(b + u[group])), obs=y)


def heavy_tails(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.StudentT(3.0, 0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(u[group], 1.0), obs=y)


def by_group(fn):
    group = np.repeat(np.arange(3), 4)
    return hj.Model(fn, {"y": np.arange(12) % 5, "group": group, "num_groups": 3})


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (by_group(counts), {"method": hj.EmpiricalBayes("reml")}, SettingsError,
         "needs a normal response"),
        (by_group(counts), {"method": "empirical_bayes", "effects": "centred"}, SettingsError,
         'leave effects="auto"'),
        (by_group(heavy_tails), {"method": "empirical_bayes"}, ModelError, "it is not normal"),
        (hj.Model(models.known_variances, models.known_variances_data()),
         {"method": "empirical_bayes"}, ModelError, "nothing to maximise"),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_is_refused_with_the_reason(model, options, error, message):
    with pytest.raises(error, match=message):
        hj.fit(model, progress=False, **options)


@pytest.mark.parametrize("options", [{"kind": "lm"}, {"draws": 0}, {"order": 0}, {"steps": 0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError):
        hj.EmpiricalBayes(**options)


def test_batches_say_why_they_do_not_take_it():
    model = by_group(counts)
    with pytest.raises(SettingsError, match="maximise"):
        hj.fit_many(model, [model.data], method="empirical_bayes", progress=False)


def test_other_methods_have_no_log_likelihood(fits):
    info = fits["ml"].info
    sampled = FitInfo(**dataclasses.asdict(info) | {"method": "nuts", "estimates": {}})
    with pytest.raises(SettingsError, match="samples a posterior"):
        _ = dataclasses.replace(fits["ml"], info=sampled).log_likelihood


def test_the_command_line_knows_it(monkeypatch, capsys, tmp_path):
    data = tmp_path / "batches.csv"
    pd.DataFrame(BATCHES).to_csv(data)
    arguments = [BATCHED, "--data", str(data), "--out", str(tmp_path / "out")]
    options = ["--method", "empirical_bayes"]
    monkeypatch.setattr(sys, "argv", ["hierjax", "fit", *arguments, *options])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    assert "sd_batch is estimated as zero" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert {"estimate", "se"} <= set(table.columns)


def test_a_second_fit_to_other_counts_compiles_nothing(caplog):
    """The first fit has something to compile, this one nothing."""
    table = hj.load_data("cbpp").iloc[:53].copy()  # no other test has compiled for so many rows
    other = table.assign(incidence=table["incidence"].to_numpy()[::-1].clip(max=table["size"]))

    def programs(rows):
        caplog.clear()
        model = hj.formula("incidence / size ~ 1 + (1 | herd)", rows, family="binomial")
        with jax.log_compiles():
            hj.fit(model, method="empirical_bayes", progress=False)
        return [text for text in caplog.messages if text.startswith("Finished XLA compilation")]

    assert programs(table)
    assert programs(other) == []
