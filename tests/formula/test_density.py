"""Formula models have the density of the model written by hand, in NumPyro or SciPy."""

import jax
import numpy as np
import numpyro
import pandas as pd
import pytest
from jax import numpy as jnp
from numpyro import distributions as dist
from numpyro.infer.util import log_density
from scipy import stats

from hierjax.arguments import Arguments
from hierjax.formula import Variance, formula
from hierjax.trace import abstract_trace

RNG = np.random.default_rng(7)
ROWS, GROUPS = 36, 6
FRAME = pd.DataFrame(
    {
        "y": 250 + 30 * RNG.normal(size=ROWS),
        "x": np.tile(np.arange(6.0), GROUPS),
        "g": np.repeat(list("abcdef"), 6),
        "h": np.tile(list("uvw"), 12),
        "n": RNG.poisson(5, size=ROWS),
        "m": RNG.integers(12, 20, size=ROWS),
        "bit": RNG.integers(0, 2, size=ROWS),
        "w": RNG.uniform(0.5, 2.0, size=ROWS),
        "t": RNG.uniform(1.0, 3.0, size=ROWS),
        "share": np.linspace(0.02, 0.97, ROWS),
        "z": np.tile([0, 2, 0, 1], 9),
        "side": np.tile(["none", "left", "right"], 12),
    }
)
INDEX = np.repeat(np.arange(GROUPS), 6)
X = FRAME.x.to_numpy()
PRIORS = {
    "b_Intercept": dist.Normal(250.0, 100.0),
    "b": dist.Normal(0.0, 20.0),
    "sd": dist.HalfNormal(50.0),
    "cor": 2.0,
    "sigma": dist.HalfNormal(50.0),
}
INDEPENDENT = {name: prior for name, prior in PRIORS.items() if name != "cor"}
CHOLESKY = np.array([[1.0, 0.0], [0.3, np.sqrt(1 - 0.09)]])


def values(**more):
    found = {
        "b_Intercept": np.float64(240.0),
        "b_x": np.float64(9.5),
        "sigma": np.float64(24.0),
    }
    return found | more


def density(model, params, wrap=lambda function: function):
    with jax.enable_x64(True):
        total = wrap(lambda p: log_density(model.fn, (), dict(model.data), p)[0])
        return float(total(params))


def by_hand(function, params):
    with jax.enable_x64(True):
        return float(jax.jit(lambda p: log_density(function, (), {}, p)[0])(params))


def normal(value, mean, sd):
    return np.sum(stats.norm.logpdf(value, mean, sd))


def half_normal(value, scale):
    return np.sum(stats.halfnorm.logpdf(value, scale=scale))


def test_correlated_slopes_are_the_numpyro_model():
    model = formula("y ~ x + (x | g)", FRAME, priors=PRIORS)

    def sleepstudy():
        intercept = numpyro.sample("b_Intercept", dist.Normal(250.0, 100.0))
        slope = numpyro.sample("b_x", dist.Normal(0.0, 20.0))
        sd = numpyro.sample("sd_g", dist.HalfNormal(50.0).expand([2]).to_event(1))
        cholesky = numpyro.sample("L_g", dist.LKJCholesky(2, 2.0))
        sigma = numpyro.sample("sigma", dist.HalfNormal(50.0))
        with numpyro.plate("g", GROUPS):
            prior = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(sd) @ cholesky)
            effect = numpyro.sample("r_g", prior)
        mean = intercept + slope * X + effect[INDEX, 0] + effect[INDEX, 1] * X
        numpyro.sample("y", dist.Normal(mean, sigma).to_event(1), obs=FRAME.y.to_numpy())

    params = values(
        sd_g=np.array([20.0, 6.0]), L_g=CHOLESKY, r_g=RNG.normal(size=(GROUPS, 2)) * [20, 6]
    )
    assert density(model, params, jax.jit) == pytest.approx(by_hand(sleepstudy, params), abs=1e-10)


def test_independent_and_crossed_effects_with_categorical_slopes():
    model = formula("y ~ x*h + (h || g) + (1 | h)", FRAME, priors=INDEPENDENT)
    v, w = (FRAME.h == "v").to_numpy(float), (FRAME.h == "w").to_numpy(float)
    r0, rh, rc = RNG.normal(size=GROUPS), RNG.normal(size=(GROUPS, 2)), RNG.normal(size=3)
    b_h, b_xh = np.array([3.0, -4.0]), np.array([0.5, 0.25])
    params = values(b_h=b_h, sd_g__Intercept=np.float64(3.0), r_g__Intercept=r0)
    params |= {"sd_g__h": np.array([2.0, 5.0]), "r_g__h": rh, "sd_h": np.float64(4.0)}
    params |= {"r_h": rc, "b_x:h": b_xh}
    mean = 240.0 + 9.5 * X + b_h[0] * v + b_h[1] * w + X * (b_xh[0] * v + b_xh[1] * w)
    mean += r0[INDEX] + rh[INDEX, 0] * v + rh[INDEX, 1] * w + rc[np.tile(np.arange(3), 12)]
    wanted = normal(240.0, 250.0, 100.0) + normal([9.5, *b_h, *b_xh], 0, 20)
    wanted += half_normal([3.0, 2.0, 5.0, 4.0], 50) + half_normal(24.0, 50)
    wanted += normal(r0, 0, 3) + normal(rh, 0, [2.0, 5.0]) + normal(rc, 0, 4)
    wanted += normal(FRAME.y, mean, 24.0)
    assert density(model, params) == pytest.approx(wanted, abs=1e-10)


def nested_index():
    return np.unique(FRAME.g + ":" + FRAME.h, return_inverse=True)[1]


def test_nested_effects():
    model = formula("y ~ x + (1 | g/h)", FRAME, priors=INDEPENDENT)
    outer, inner = RNG.normal(size=GROUPS), RNG.normal(size=18)
    params = values(sd_g=np.float64(5.0), r_g=outer)
    params |= {"sd_g:h": np.float64(2.0), "r_g:h": inner}
    mean = 240.0 + 9.5 * X + outer[INDEX] + inner[nested_index()]
    wanted = normal(240.0, 250.0, 100.0) + normal(9.5, 0, 20) + half_normal([5.0, 2.0, 24.0], 50)
    wanted += normal(outer, 0, 5) + normal(inner, 0, 2) + normal(FRAME.y, mean, 24.0)
    assert density(model, params) == pytest.approx(wanted, abs=1e-10)


def likelihoods():
    """Text, options, values of the family's own sites and the log likelihood by SciPy."""
    eta = 240.0 + 9.5 * X
    y, w, t, n = (FRAME[c].to_numpy() for c in ("y", "w", "t", "n"))
    gaussian = {"sigma": 24.0}
    yield "y ~ x", {}, 1.0, gaussian, lambda: stats.norm.logpdf(y, eta, 24.0)
    yield "y ~ x", {"weights": w}, 1.0, gaussian, lambda: stats.norm.logpdf(y, eta, 24 / np.sqrt(w))
    yield (
        "y | weights(w * 2) ~ x", {}, 1.0, gaussian,
        lambda: stats.norm.logpdf(y, eta, 24 / np.sqrt(2 * w)),
    )  # fmt: skip
    yield "y ~ x", {"known_sd": "t"}, 1.0, {}, lambda: stats.norm.logpdf(y, eta, t)
    yield "y | se(t) ~ x", {}, 1.0, {}, lambda: stats.norm.logpdf(y, eta, t)
    yield "y ~ x", {"known_sd": 7.0}, 1.0, {}, lambda: stats.norm.logpdf(y, eta, 7.0)
    yield (
        "y ~ x + offset(log(t)) + offset(w)", {"offset": "t"}, 1.0, gaussian,
        lambda: stats.norm.logpdf(y, eta + np.log(t) + w + t, 24.0),
    )  # fmt: skip
    yield (
        "log(y) ~ x", {}, 0.01, gaussian,
        lambda: stats.norm.logpdf(np.log(y), eta * 0.01, 24.0),
    )  # fmt: skip
    yield (
        "y ~ x", {"family": "student_t"}, 1.0, {"sigma": 24.0, "nu": 4.5},
        lambda: stats.t.logpdf(y, 4.5, eta, 24.0),
    )  # fmt: skip
    p = 1 / (1 + np.exp(-eta * 0.001))
    yield (
        "bit ~ x", {"family": "bernoulli"}, 0.001, {},
        lambda: stats.bernoulli.logpmf(FRAME.bit, p),
    )  # fmt: skip
    for text, options in (
        ("n / m ~ x", {}),
        ("n / (m + 0) ~ x", {}),
        ("n | trials(m) ~ x", {}),
        ("n ~ x", {"trials": "m"}),
        ("n ~ x", {"trials": FRAME.m.to_numpy()}),
    ):
        yield (
            text, {"family": "binomial", **options}, 0.001, {},
            lambda: stats.binom.logpmf(n, FRAME.m, p),
        )  # fmt: skip
    yield (
        "n / 30 ~ x", {"family": "binomial"}, 0.001, {}, lambda: stats.binom.logpmf(n, 30, p)
    )  # fmt: skip
    rate = np.exp(eta * 0.005)
    yield (
        "n ~ x + offset(log(t))", {"family": "poisson"}, 0.005, {},
        lambda: stats.poisson.logpmf(n, rate * t),
    )  # fmt: skip
    yield (
        "n ~ x", {"family": "poisson", "weights": "w"}, 0.005, {},
        lambda: w * stats.poisson.logpmf(n, rate),
    )  # fmt: skip
    yield (
        "n ~ x", {"family": "negative_binomial"}, 0.005, {"shape": 3.0},
        lambda: stats.nbinom.logpmf(n, 3.0, 3.0 / (3.0 + rate)),
    )  # fmt: skip
    zeros = np.where(n == 0, 0.3, 0.0)
    yield (
        "n ~ x + offset(log(t))", {"family": "zero_inflated_poisson"}, 0.005, {"zi": 0.3},
        lambda: np.log(zeros + 0.7 * stats.poisson.pmf(n, rate * t)),
    )  # fmt: skip
    low = np.exp(eta * 0.0001)
    yield (
        "z ~ x", {"family": "zero_inflated_poisson"}, 0.0001, {"zi": 0.3},
        lambda: np.log(np.where(FRAME.z == 0, 0.3, 0.0) + 0.7 * stats.poisson.pmf(FRAME.z, low)),
    )  # fmt: skip
    yield (
        "t ~ x", {"family": "gamma"}, 0.005, {"shape": 7.0},
        lambda: stats.gamma.logpdf(t, 7.0, scale=rate / 7.0),
    )  # fmt: skip
    yield (
        "t ~ x", {"family": "gamma", "weights": "w"}, 0.005, {"shape": 0.2},
        lambda: w * stats.gamma.logpdf(t, 0.2, scale=rate / 0.2),
    )  # fmt: skip
    share = FRAME.share.to_numpy()
    yield (
        "share ~ x", {"family": "beta"}, 0.001, {"phi": 6.0},
        lambda: stats.beta.logpdf(share, 6.0 * p, 6.0 * (1 - p)),
    )  # fmt: skip
    yield (
        "t ~ x", {"family": "lognormal", "weights": "w"}, 0.005, {"sigma": 2.0},
        lambda: stats.lognorm.logpdf(t, 2.0 / np.sqrt(w), scale=rate),
    )  # fmt: skip
    yield from censored(eta)


def censored(eta):
    """Limits by SciPy's logcdf and logsf, in words, numbers and True or False."""
    y, w, t, side = (FRAME[c].to_numpy() for c in ("y", "w", "t", "side"))

    def of(distribution, value, marks=side):
        left, right = distribution.logcdf(value), distribution.logsf(value)
        return np.select(
            [marks == "left", marks == "right"], [left, right], distribution.logpdf(value)
        )

    numbers = np.select([side == "left", side == "right"], [-1, 1], 0)
    right = np.where(numbers == 1, "right", "none")
    options = (
        ("y ~ x", {"censored": "side"}, side, 1.0),
        ("y | cens(side) ~ x", {}, side, 1.0),
        ("y ~ x", {"censored": numbers}, side, 1.0),
        ("y ~ x", {"censored": numbers == 1}, right, 1.0),
        ("y ~ x", {"censored": "side"}, side, 8.0),  # 60 to 80 standard deviations away
    )
    for text, given, marks, scale in options:
        yield (
            text, given, scale, {"sigma": 24.0},
            lambda marks=marks, scale=scale: of(stats.norm(eta * scale, 24.0), y, marks),
        )  # fmt: skip
    yield (
        "y ~ x", {"censored": "side", "weights": "w"}, 1.0, {"sigma": 24.0},
        lambda: of(stats.norm(eta, 24.0 / np.sqrt(w)), y),
    )  # fmt: skip
    yield (
        "y ~ x", {"censored": "side", "known_sd": "t"}, 1.0, {}, lambda: of(stats.norm(eta, t), y)
    )  # fmt: skip
    yield (
        "t ~ x", {"family": "lognormal", "censored": "side"}, 0.005, {"sigma": 2.0},
        lambda: of(stats.lognorm(2.0, scale=np.exp(eta * 0.005)), t),
    )  # fmt: skip


PARAMETER_PRIORS = {
    "sigma": stats.halfnorm(scale=50.0),
    "nu": stats.gamma(2.0, scale=10.0),
    "shape": stats.lognorm(1.5, scale=np.e),
    "phi": stats.lognorm(2.0, scale=np.e**2),
    "zi": stats.uniform(),
}
GAMMA_SHAPE = stats.lognorm(2.0, scale=np.e**2)


@pytest.mark.parametrize(
    ("text", "options", "scale", "parameters", "likelihood"), list(likelihoods())
)
def test_family_has_the_density_of_scipy(text, options, scale, parameters, likelihood):
    slots = ("b_Intercept", "b", "sigma") if "sigma" in parameters else ("b_Intercept", "b")
    model = formula(text, FRAME, priors={s: PRIORS[s] for s in slots}, **options)
    b = {"b_Intercept": np.float64(240.0 * scale), "b_x": np.float64(9.5 * scale)}
    params = b | {name: np.float64(value) for name, value in parameters.items()}
    wanted = normal(b["b_Intercept"], 250.0, 100.0) + normal(b["b_x"], 0, 20)
    own = {"shape": GAMMA_SHAPE} if options.get("family") == "gamma" else {}
    priors = PARAMETER_PRIORS | own
    wanted += sum(priors[name].logpdf(value) for name, value in parameters.items())
    wanted += np.sum(likelihood())
    assert density(model, params) == pytest.approx(wanted, rel=1e-12, abs=1e-10)


def test_prior_on_the_variance():
    priors = {name: prior for name, prior in INDEPENDENT.items() if name != "sd"} | {
        "sd_g": Variance(dist.InverseGamma(2.0, 30.0)),
        "sigma": Variance(dist.InverseGamma(3.0, 900.0)),
    }
    model = formula("y ~ x + (1 | g)", FRAME, priors=priors)
    effect = RNG.normal(size=GROUPS)
    params = values(variance_g=np.float64(25.0), r_g=effect, variance_sigma=np.float64(400.0))
    params.pop("sigma")
    wanted = normal(240.0, 250.0, 100.0) + normal(9.5, 0, 20)
    wanted += stats.invgamma.logpdf(25.0, 2, scale=30) + stats.invgamma.logpdf(400, 3, scale=900)
    wanted += normal(effect, 0, 5) + normal(FRAME.y, 240.0 + 9.5 * X + effect[INDEX], 20.0)
    assert density(model, params) == pytest.approx(wanted, abs=1e-10)
    with jax.enable_x64(True), numpyro.handlers.substitute(data=params):
        trace = numpyro.handlers.trace(model.fn).get_trace(**model.data)
    assert float(trace["sd_g"]["value"]) == 5.0
    assert float(trace["sigma"]["value"]) == 20.0


def test_elements_of_one_site_with_priors_of_different_kinds():
    priors = PRIORS | {"sd_g__x": dist.Exponential(0.5), "sd_g": dist.LogNormal(1.0, 2.0)}
    model = formula("y ~ x + (x | g)", FRAME, priors=priors)
    base = values(L_g=CHOLESKY, r_g=RNG.normal(size=(GROUPS, 2)))
    low, high = ({**base, "sd_g": np.array(sd)} for sd in ([20.0, 6.0], [25.0, 7.0]))

    def part(params):
        sd = params["sd_g"]
        scale = np.diag(sd) @ CHOLESKY
        prior = stats.lognorm.logpdf(sd[0], 2.0, scale=np.e) + stats.expon.logpdf(sd[1], scale=2)
        return prior + np.sum(stats.multivariate_normal.logpdf(base["r_g"], cov=scale @ scale.T))

    difference = density(model, high) - density(model, low)
    assert difference == pytest.approx(part(high) - part(low), abs=1e-10)


@pytest.mark.parametrize(
    "text", ["y ~ x*h + (x | g) + (h || h)", "y ~ 0 + (0 + x | g)", "y ~ 1", "y ~ 0 + h + (h | g)"]
)
def test_no_rank_is_promoted(text):
    model = formula(text, FRAME)
    sites = abstract_trace(model.fn, model.data).sites.values()
    params = {
        site.name: jax.ShapeDtypeStruct(site.shape, np.float32)
        for site in sites
        if site.kind == "latent"
    }
    arguments = Arguments.of(model.data)

    def total(params, arrays):
        return log_density(model.fn, (), arguments.rebuild(arrays), params)[0]

    with jax.numpy_rank_promotion("raise"):
        assert jax.eval_shape(total, params, arguments.arrays(model.data)).shape == ()
