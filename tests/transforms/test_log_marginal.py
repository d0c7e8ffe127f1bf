"""Marginal likelihoods against brute-force integration, dense densities and lme4."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.optimize import minimize, minimize_scalar

import hierjax as hj
from hierjax.errors import DataError, ModelError, SettingsError
from hierjax.transforms.log_marginal import log_marginal
from hierjax.transforms.settle import settle
from tests.helpers import reference, reference_json
from tests.models import known_variances, known_variances_data


def binary(y, group, num_groups):
    b = numpyro.sample("b", dist.Normal(0.0, 2.0))
    sd = numpyro.sample("sd", dist.HalfNormal(2.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=b + u[group]), obs=y)


def counts(y, x, group, num_groups, weights, extra):
    """Correlated slopes, replicate weights, and a response that no effect enters."""
    b = numpyro.sample("b", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    cholesky = numpyro.sample("cholesky", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.MultivariateNormal(b, scale_tril=sd[:, None] * cholesky))
    with numpyro.plate("rows", len(y)), numpyro.handlers.scale(scale=weights):
        numpyro.sample("y", dist.Poisson(jnp.exp(u[group, 0] + u[group, 1] * x)), obs=y)
    numpyro.sample("extra", dist.Normal(b[0], 1.0), obs=extra)


def crossed(y, g, h, num_g, num_h):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("g", num_g):
        a = numpyro.sample("a", dist.Normal(0.0, sd[0]))
    with numpyro.plate("h", num_h):
        c = numpyro.sample("c", dist.Normal(0.0, sd[1]))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=a[g] + c[h]), obs=y)


def heteroscedastic(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
        v = numpyro.sample("v", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(u[group], jnp.exp(v[group])), obs=y)


def categories(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(jnp.zeros(3), sd).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Categorical(logits=u[group]), obs=y)


BINARY = {
    "y": np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]),
    "group": np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]),
    "num_groups": 5,
}
BINARY_AT = {"b": 0.4, "sd": 1.7}
COUNTS = {
    "y": np.array([1.0, 4.0, 0.0, 2.0, 7.0, 1.0, 0.0]),
    "x": np.array([0.5, 1.0, -1.0, 0.2, 1.5, -0.7, 0.1]),
    "group": np.array([0, 0, 0, 1, 1, 2, 2]),
    "num_groups": 3,
    "weights": np.array([1.0, 1.0, 2.0, 1.0, 1.0, 3.0, 1.0]),
    "extra": 0.3,
}
COUNTS_AT = {
    "b": np.array([0.2, 0.5]),
    "sd": np.array([0.9, 0.4]),
    "cholesky": np.array([[1.0, 0.0], [-0.6, 0.8]]),
}
CASES = {"binary": (binary, BINARY, BINARY_AT), "counts": (counts, COUNTS, COUNTS_AT)}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@functools.cache
def built(name, method="auto"):
    fn, data, at = CASES[name]
    return log_marginal(fn, data, method=method, at=at)


def brute_binary():
    """Sum of log integrals over a fine grid, group by group, in NumPy."""
    u = np.linspace(-16.0, 16.0, 4001) * BINARY_AT["sd"] / 2.0
    total = 0.0
    for group in range(BINARY["num_groups"]):
        y = BINARY["y"][BINARY["group"] == group]
        p = 1.0 / (1.0 + np.exp(-(BINARY_AT["b"] + u)))
        density = np.prod([np.where(each, p, 1.0 - p) for each in y], axis=0)
        total += np.log(np.trapezoid(density * stats.norm.pdf(u, 0, BINARY_AT["sd"]), u))
    return total


def brute_counts():
    z = np.linspace(-9.0, 9.0, 721)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), -1)
    prior = np.prod(stats.norm.pdf(grid), -1)
    root = COUNTS_AT["sd"][:, None] * COUNTS_AT["cholesky"]
    u = COUNTS_AT["b"] + grid @ root.T
    total = stats.norm.logpdf(COUNTS["extra"], COUNTS_AT["b"][0], 1.0)
    for group in range(COUNTS["num_groups"]):
        log_density = 0.0
        for row in np.flatnonzero(COUNTS["group"] == group):
            rate = np.exp(u[..., 0] + u[..., 1] * COUNTS["x"][row])
            log_density += COUNTS["weights"][row] * stats.poisson.logpmf(COUNTS["y"][row], rate)
        whole = np.trapezoid(np.trapezoid(prior * np.exp(log_density), z), z)
        total += np.log(whole)
    return total


SLOW_COUNTS = pytest.param("counts", brute_counts, marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "brute"), [("binary", brute_binary), SLOW_COUNTS])
def test_quadrature_is_the_integral_and_the_error_of_laplace_is_shown(name, brute):
    logp, at, expected = built(name), CASES[name][2], brute()
    assert logp.method == "quadrature"
    assert float(logp(at)) == pytest.approx(expected, abs=0.01)
    assert float(logp.at_order(33)(at)) == pytest.approx(expected, abs=1e-6)
    shown = logp.compare(at)
    assert shown.quadrature == pytest.approx(expected, abs=0.01)
    assert abs(shown.error) > 0.005
    assert shown.laplace == float(logp.at_order(1)(at))
    assert shown.error == shown.laplace - shown.quadrature


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("binary", 1),
        ("binary", 5),
        ("counts", 1),
        pytest.param("counts", 5, marks=pytest.mark.slow),
    ],
)
def test_gradients_are_those_of_finite_differences(name, order):
    at = {site: np.asarray(value) for site, value in CASES[name][2].items()}
    free = {site: value for site, value in at.items() if site != "cholesky"}
    flat, rebuild = ravel_pytree(free)
    logp = built(name).at_order(order)
    both = jax.jit(jax.value_and_grad(lambda position: logp(at | rebuild(position))))
    gradient = both(flat)[1]
    for k, step in enumerate(1e-4 * np.eye(flat.size)):
        numeric = float(both(flat + step)[0] - both(flat - step)[0]) / 2e-4
        assert float(gradient[k]) == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def test_joint_adds_the_prior_and_vmap_equals_a_loop():
    logp = built("binary")
    many = {"b": np.array([0.0, 1.0, -2.0]), "sd": np.array([0.3, 1.0, 3.0])}
    together = jax.jit(jax.vmap(logp))(many)
    prior = stats.norm.logpdf(many["b"], 0, 2) + stats.halfnorm.logpdf(many["sd"], 0, 2)
    for k in range(3):
        one = {site: value[k] for site, value in many.items()}
        np.testing.assert_allclose(together[k], logp(one), rtol=1e-12)
        np.testing.assert_allclose(logp.joint(one), logp(one) + prior[k], rtol=1e-12)


def test_other_data_are_read_again_also_inside_vmap():
    logp = built("binary").at_order(1)
    generator = np.random.default_rng(3)
    ys = np.stack([generator.permutation(BINARY["y"]) for _ in range(2)])
    groups = np.stack([BINARY["group"][::-1], generator.permutation(BINARY["group"])])
    both = jax.vmap(lambda y, group: logp(BINARY_AT, {**BINARY, "y": y, "group": group}))(
        ys, groups
    )
    for value, y, group in zip(both, ys, groups, strict=True):
        data = {**BINARY, "y": y, "group": group}
        np.testing.assert_allclose(value, logp(BINARY_AT, data), rtol=1e-12)
    made_with_them = log_marginal(binary, data, method="laplace")
    np.testing.assert_allclose(value, made_with_them(BINARY_AT), rtol=1e-12)


def test_a_gaussian_likelihood_is_integrated_exactly_and_laplace_is_exact_too():
    data = known_variances_data()
    logp = log_marginal(known_variances, data)
    assert (logp.method, logp.sites, logp.latents) == ("exact", ("effect",), ("mu",))
    z = np.eye(data["num_groups"])[data["group"]]
    covariance = 1.5**2 * z @ z.T + 0.8**2 * np.eye(len(data["y"]))
    expected = stats.multivariate_normal.logpdf(data["y"], np.full(len(z), 2.5), covariance)
    np.testing.assert_allclose(logp({"mu": 2.5}), expected, rtol=1e-10)
    np.testing.assert_allclose(logp({"mu": 2.5}, data), expected, rtol=1e-10)
    np.testing.assert_allclose(logp.at_order(1)({"mu": 2.5}), expected, rtol=1e-10)
    np.testing.assert_allclose(
        logp.joint({"mu": 2.5}), expected + stats.norm.logpdf(2.5, 0, 10), rtol=1e-10
    )
    shown = logp.compare({"mu": 2.5})
    assert abs(shown.error) < 1e-9
    assert shown.order is None
    mean = 2.5 + 1.5**2 * z.T @ np.linalg.solve(covariance, data["y"] - 2.5)
    np.testing.assert_allclose(logp.mode({"mu": 2.5}).values["effect"], mean, rtol=1e-10)


def test_the_maximum_for_binary_pairs_is_biased_by_laplace_and_not_by_quadrature():
    u = np.linspace(-9.0, 9.0, 2001)
    p = 1.0 / (1.0 + np.exp(-u))
    outcomes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    chance = [
        np.trapezoid(p ** sum(y) * (1 - p) ** (2 - sum(y)) * stats.norm.pdf(u), u) for y in outcomes
    ]
    pairs = {"y": np.array([1, 0, 1, 1]), "group": np.array([0, 0, 1, 1]), "num_groups": 2}
    function = log_marginal(binary, pairs, method="laplace")

    def best(order):
        logp = function.at_order(order)

        @jax.jit
        def expected(sd):
            """Expected log likelihood of a pair: each outcome by its probability."""
            alone = jax.vmap(lambda y: logp({"b": 0.0, "sd": sd}, {**pairs, "y": y}) / 2)
            return -jnp.dot(jnp.asarray(chance), alone(np.tile(outcomes, 2)))

        return minimize_scalar(
            lambda sd: float(expected(sd)),
            bounds=(0.1, 4),
            method="bounded",
            options={"xatol": 1e-5},
        ).x

    assert best(1) == pytest.approx(0.702, abs=1e-3)
    assert best(9) == pytest.approx(1.0, abs=1e-3)


def test_the_order_grows_with_the_sd_and_says_when_it_does_not_suffice():
    logp = built("binary")
    few, many = (logp.choose_order({"b": 0.4, "sd": sd}) for sd in (0.3, 6.0))
    assert few < many
    values = iter(range(10))
    with pytest.warns(UserWarning, match="not settled"):
        settle(lambda grid: next(values), width=1)


def test_a_start_changes_how_long_the_search_takes_and_nothing_else():
    logp = built("binary").at_order(1)
    warm = logp.starting_at(BINARY_AT)
    assert warm.mode(BINARY_AT).iterations < logp.mode(BINARY_AT).iterations
    np.testing.assert_allclose(warm(BINARY_AT), logp(BINARY_AT), rtol=1e-12)


def test_crossed_effects_have_laplace_alone_and_say_so():
    generator = np.random.default_rng(0)
    data = {
        "y": generator.integers(0, 2, 40),
        "g": np.arange(40) % 8,
        "h": np.arange(40) // 8,
        "num_g": 8,
        "num_h": 5,
    }
    logp = log_marginal(crossed, data)
    at = {"sd": np.array([0.7, 0.4])}
    assert (logp.method, logp.sites) == ("laplace", ("a", "c"))
    shown = logp.compare(at)
    assert (shown.quadrature, shown.error) == (None, None)
    with pytest.raises(SettingsError, match="one grouping factor"):
        logp.at_order(5)


def test_the_mode_is_where_the_joint_density_of_data_and_effects_is_flat():
    found = built("binary").mode(BINARY_AT)

    def joint(effects):
        return numpyro.infer.util.log_density(binary, (), BINARY, {**effects, **BINARY_AT})[0]

    assert found.converged
    np.testing.assert_allclose(jax.grad(joint)(found.values)["u"], 0.0, atol=1e-8)


@pytest.mark.parametrize(("fn", "y"), [(heteroscedastic, 1.0), (categories, 1)])
def test_a_likelihood_that_couples_predictors_is_refused(fn, y):
    data = {"y": np.full(6, y), "group": np.arange(6) // 2, "num_groups": 3}
    with pytest.raises(ModelError, match="one linear predictor each"):
        log_marginal(fn, data)


MISTAKES = {
    "missing site": (lambda logp: logp({"b": 0.0}), ModelError, "lacks sd"),
    "effects given": (lambda logp: logp(BINARY_AT | {"u": np.zeros(5)}), ModelError, "has u"),
    "other groups": (lambda logp: logp(BINARY_AT, BINARY | {"num_groups": 6}), DataError, "number"),
    "method": (lambda _: log_marginal(binary, BINARY, method="exact"), SettingsError, "method"),
    "order": (lambda _: log_marginal(binary, BINARY, order=0), SettingsError, "order"),
    "no data": (lambda _: log_marginal(binary), DataError, "arguments of the model"),
    "no effects": (
        lambda _: log_marginal(lambda y: numpyro.sample("y", dist.Normal(0, 1), obs=y), {"y": 1.0}),
        ModelError,
        "no effects to integrate",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name):
    call, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        call(built("binary"))


def test_where_there_is_no_mode_the_density_is_nan_and_the_status_says_so():
    logp = built("binary", "laplace")
    at = {"b": jnp.nan, "sd": 1.0}
    assert np.isnan(logp(at))
    assert not logp.mode(at).converged


def cbpp():
    frame = pd.read_csv(reference("csv/cbpp.csv"))
    frame["period"] = frame["period"].astype(str)
    return hj.formula("incidence | trials(size) ~ period + (1 | herd)", frame, family="binomial")


def grouseticks():
    frame = pd.read_csv(reference("csv/grouseticks.csv"))
    frame = frame.astype({name: str for name in ("BROOD", "INDEX", "LOCATION", "YEAR")})
    frame["hz"] = (frame.HEIGHT - frame.HEIGHT.mean()) / frame.HEIGHT.std()
    return hj.formula(
        "TICKS ~ YEAR + hz + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", frame, family="poisson"
    )


def verbagg():
    frame = pd.read_csv(reference("csv/verbagg.csv.gz"))
    frame["y"] = (frame.r2 == "Y").astype(int)
    return hj.formula(
        "y ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", frame, family="bernoulli"
    )


def values_of(answer, latents):
    """Estimates of lme4 as sites: `period2` is an element of `b_period`."""
    fixed, sds = answer["fixef"], answer["sdcor"]
    sites = {}
    for site in latents:
        kind, _, term = site.partition("_")
        if kind == "sd":
            sites[site] = np.array([sds[f"{term}|(Intercept)|"]])
        elif term == "Intercept":
            sites[site] = np.array(fixed["(Intercept)"])
        elif term in fixed:
            sites[site] = np.array(fixed[term])
        else:
            sites[site] = np.array([v for name, v in fixed.items() if name.startswith(term)])
    return sites


FITS = [
    ("cbpp", cbpp, "nAGQ1"),
    pytest.param("cbpp", cbpp, "nAGQ9", marks=pytest.mark.slow),
    pytest.param("cbpp", cbpp, "nAGQ5", marks=pytest.mark.slow),
    pytest.param("cbpp", cbpp, "nAGQ25", marks=pytest.mark.slow),
    pytest.param("grouseticks", grouseticks, "nAGQ1", marks=pytest.mark.slow),
    pytest.param("verbagg", verbagg, "nAGQ1", marks=pytest.mark.slow),
]


@functools.cache
def laplace_of(build):
    return log_marginal(build(), method="laplace")


@pytest.mark.parametrize(("name", "build", "method"), FITS)
def test_the_maximum_of_the_likelihood_is_that_of_lme4(name, build, method):
    answer = reference_json("lme4.json")[name]["fits"][method]
    order = int(method.removeprefix("nAGQ"))
    logp = laplace_of(build).at_order(order)
    at = values_of(answer, logp.latents)
    flat, rebuild = ravel_pytree(at)
    negative = jax.jit(jax.value_and_grad(lambda position: -logp(rebuild(position))))
    found = minimize(
        lambda position: [np.asarray(each) for each in negative(position)],
        np.asarray(flat), jac=True, method="BFGS", options={"gtol": 1e-4},
    )  # fmt: skip
    constant = 0.0
    if order > 1:  # lme4 leaves out the log likelihood of the saturated model
        frame = pd.read_csv(reference(f"csv/{name}.csv"))
        y, n = frame["incidence"], frame["size"]
        constant = stats.binom.logpmf(y, n, y / n).sum()
    assert -found.fun == pytest.approx(answer["loglik"] + constant, abs=1e-4)
    assert np.max(np.abs(found.x - flat)) < 1e-3
