"""Families as users meet them: what is refused, default priors, predictions, R squared, padding."""

import inspect

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import special, stats

import hierjax as hj
from hierjax import errors
from hierjax.batch.bucket import make_buckets
from hierjax.draws import FitInfo
from hierjax.formula import likelihoods, rebuild
from hierjax.formula.families import FAMILIES
from hierjax.sbc_simulate import Simulator

RNG = np.random.default_rng(5)
ROWS = 24
FRAME = pd.DataFrame(
    {
        "y": RNG.normal(size=ROWS),
        "x": RNG.normal(size=ROWS),
        "g": np.tile(list("abcd"), 6),
        "positive": RNG.uniform(0.5, 2.0, size=ROWS),
        "share": RNG.uniform(0.1, 0.9, size=ROWS),
        "n": np.tile([0, 1, 2, 5], 6),
        "side": np.tile(["none", "left", "right"], 8),
        "sign": np.tile([0, 1, -1], 8),
        "gone": "left",
        "odd": np.tile(["none", "interval", "right"], 8),
    }
)
SHAPE = (2, 3)


def changed(column, row, value):
    values = FRAME[column].astype(float).to_numpy(copy=True)
    values[row] = value
    return FRAME.assign(**{column: values})


@pytest.mark.parametrize(
    ("text", "frame", "options", "error", "message"),
    [
        ("positive ~ x", changed("positive", 3, 0.0), {"family": "gamma"}, "SupportError",
         r"`positive` must be greater than 0 for the family gamma, .*row 3 .*value is 0\)"),
        ("y ~ x", FRAME, {"family": "lognormal"}, "SupportError", "greater than 0"),
        ("share ~ x", changed("share", 5, 1.0), {"family": "beta"}, "SupportError",
         r"greater than 0 and less than 1 .*row 5 .*value is 1\)\. Move exact zeros and ones"),
        ("y ~ x", FRAME, {"family": "zip"}, "SupportError", "whole number, 0 or more"),
        ("y ~ x", FRAME, {"censored": "odd"}, "SupportError",
         "`odd` has 'interval' in rows 1, 4, .*interval"),
        ("y ~ x", FRAME, {"censored": "n"}, "SupportError", r"`n` has .*2.* in rows 2, 3, 6"),
        ("y ~ x", FRAME, {"censored": "gone"}, "SupportError", "Every response is censored"),
        ("y ~ x", FRAME, {"censored": 1}, "SupportError", "Every response is censored"),
        ("n ~ x", FRAME, {"family": "poisson", "censored": "side"}, "FormulaError",
         "Censored responses need the family gaussian or lognormal, not poisson"),
        ("positive ~ x", FRAME, {"family": "lognormal", "known_sd": "x"}, "FormulaError",
         "need the family gaussian or student_t, not lognormal"),
        ("y | cens(side) ~ x", FRAME, {"censored": "side"}, "FormulaError", "given twice"),
        ("y ~ x", FRAME, {"censored": np.ones(3)}, "LengthError", "`censored` has 3 values"),
        ("y ~ x", FRAME, {"censored": "sides"}, "UnknownColumnError", "Did you mean `side`"),
        ("n ~ x", FRAME, {"family": "zip", "priors": {"zi": dist.HalfNormal(1.0)}}, "PriorError",
         r"`zi` is a probability, but the prior HalfNormal\(1\).*above 1.*Beta"),
        ("n ~ x", FRAME, {"family": "zip", "priors": {"zi": dist.Normal(0.0, 1.0)}}, "PriorError",
         "negative values; use for example dist.Beta"),
        ("n ~ 0", FRAME, {"family": "poisson"}, "FormulaError", "nothing to learn.*Take out `0`"),
        ("y ~ 0", FRAME, {"known_sd": 1.0}, "FormulaError", "leaves nothing to learn"),
        ("n ~ x", FRAME, {"family": "beta", "priors": {"shape": dist.HalfNormal(1.0)}},
         "PriorError", "no prior slot 'shape'"),
    ],
)  # fmt: skip
def test_what_a_family_cannot_have_is_refused(text, frame, options, error, message):
    with pytest.raises(getattr(errors, error), match=f"(?s){message}"):
        hj.formula(text, frame, **options)


def test_fits_take_marks_of_censoring():
    with pytest.raises(errors.SupportError, match="'interval' in rows 1, 4"):
        hj.fit("y ~ x", FRAME, censored="odd")


def prior_of(slot, text, family, frame=FRAME, **options):
    model = hj.formula(text, frame, family, **options)
    assert slot in set(model.priors()["slot"])
    return model.data["priors"][slot]


def test_default_priors_follow_the_written_rules():
    spread = np.log(FRAME.positive).std(ddof=0)
    assert prior_of("sigma", "positive ~ x", "lognormal").rate == pytest.approx(1 / spread)
    intercept = prior_of("b_Intercept", "positive ~ 1", "lognormal")
    assert intercept.loc == pytest.approx(np.log(FRAME.positive).mean())
    assert intercept.scale == pytest.approx(2.5 * spread)
    tiny = FRAME.assign(positive=FRAME.positive * 1e-9)
    assert prior_of("b_Intercept", "positive ~ 1", "gamma", tiny).loc == pytest.approx(
        np.log(tiny.positive.mean())
    )
    for slot, text, family in (("shape", "positive ~ 1", "gamma"), ("phi", "share ~ 1", "beta")):
        prior = prior_of(slot, text, family)
        assert (prior.loc, prior.scale) == (2.0, 2.0)
    zi = prior_of("zi", "n ~ 1", "zero_inflated_poisson")
    assert (zi.concentration1, zi.concentration0) == (1.0, 1.0)


def test_every_likelihood_is_one_expression_of_named_arguments():
    for row in FAMILIES.values():
        for function in filter(None, (row.likelihood, row.censored)):
            wanted = {"predictor", *row.parameters, *(["trials"] * row.trials)}
            wanted |= {"censored"} if function is row.censored else set()
            assert set(inspect.signature(function).parameters) == wanted
            assert inspect.getmodule(function) is likelihoods


def posterior(model, **more):
    """Posterior with draws of our own: two chains of three."""
    generator = np.random.default_rng(1)
    draws = {
        "b_Intercept": generator.normal(size=SHAPE), "b_x": generator.normal(size=SHAPE),
        "sd_g": 0.5 + generator.uniform(size=SHAPE), "r_g": generator.normal(size=(*SHAPE, 4)),
        "sigma": 0.5 + generator.uniform(size=SHAPE), "shape": 2 + generator.uniform(size=SHAPE),
        "phi": 2 + generator.uniform(size=SHAPE), "zi": generator.uniform(size=SHAPE),
    }  # fmt: skip
    info = FitInfo("nuts", {}, 0, "float64", {}, {}, (0, 0), {})
    return hj.Posterior(model, draws | more, {}, info)


def predictor_of(draws):
    eta = draws["b_Intercept"][..., None] + draws["b_x"][..., None] * FRAME.x.to_numpy()
    return eta + draws["r_g"][..., np.tile(np.arange(4), 6)]


MEANS = {
    "gaussian": ("y | cens(side) ~ x + (1 | g)", lambda eta, d: eta),
    "gamma": ("positive ~ x + (1 | g)", lambda eta, d: np.exp(eta)),
    "beta": ("share ~ x + (1 | g)", lambda eta, d: special.expit(eta)),
    "lognormal": (
        "positive | cens(sign) ~ x + (1 | g)",
        lambda eta, d: np.exp(eta + d["sigma"][..., None] ** 2 / 2),
    ),
    "zero_inflated_poisson": (
        "n ~ x + (1 | g)", lambda eta, d: (1 - d["zi"][..., None]) * np.exp(eta)
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", MEANS)
def test_predicted_means(family):
    text, mean = MEANS[family]
    post = posterior(hj.formula(text, FRAME, family))
    wanted = mean(predictor_of(post.draws), post.draws)
    # New rows need no marks of censoring: what is predicted is the value itself.
    for new in (None, FRAME[["x", "g"]]):
        np.testing.assert_allclose(np.asarray(post.predict(new)), wanted, rtol=1e-10)


SPREADS = {
    "gaussian": lambda eta, d: d["sigma"],
    "gamma": lambda eta, d: np.exp(eta) / np.sqrt(d["shape"]),
    "beta": lambda eta, d: np.sqrt(special.expit(eta) * special.expit(-eta) / (1 + d["phi"])),
    "lognormal": lambda eta, d: stats.lognorm.std(d["sigma"], scale=np.exp(eta)),
    "zero_inflated_poisson": lambda eta, d: np.sqrt(
        (1 - d["zi"]) * np.exp(eta) * (1 + d["zi"] * np.exp(eta))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", MEANS)
def test_predicted_observations_have_the_moments_of_the_family(family):
    text, mean = MEANS[family]
    many = FRAME.iloc[np.zeros(40_000, dtype=int)]
    post = posterior(hj.formula(text, FRAME, family))
    drawn = np.asarray(post.predict(many, kind="draw"))
    eta, draws = predictor_of(post.draws)[..., 0], post.draws
    wanted, spread = mean(eta[..., None], draws)[..., 0], SPREADS[family](eta, draws)
    assert np.all(np.abs(drawn.mean(-1) - wanted) < 4.5 * spread / np.sqrt(40_000))
    np.testing.assert_allclose(drawn.std(-1), spread, rtol=0.1)


def test_r_squared_of_positive_responses():
    for family, residual, scale in (
        ("gamma", lambda d: special.polygamma(1, d["shape"]), "trigamma(shape)"),
        ("lognormal", lambda d: d["sigma"] ** 2, "logarithm of the response"),
    ):
        post = posterior(hj.formula("positive ~ x + (1 | g)", FRAME, family))
        found = post.variance_partition()
        rest = residual(post.draws)
        wanted = post.draws["sd_g"] ** 2 / (post.draws["sd_g"] ** 2 + rest)
        np.testing.assert_allclose(found.shares["g"], wanted, rtol=1e-12)
        assert scale in repr(found)


@pytest.mark.parametrize(
    ("text", "family", "reason"),
    [("share ~ x + (1 | g)", "beta", "log odds"), ("n ~ x + (1 | g)", "zip", "two processes")],
)
def test_families_without_a_residual_variance_say_why(text, family, reason):
    post = posterior(hj.formula(text, FRAME, family))
    for ask in (post.r2, post.variance_partition):
        with pytest.raises(errors.ModelError, match=f"no residual variance for .*{reason}"):
            ask()


def test_censored_responses_are_not_simulated():
    with pytest.raises(errors.ModelError, match=r"limits of values.*without censoring"):
        Simulator.of(hj.formula("y | cens(side) ~ x", FRAME))


def test_marks_of_censoring_survive_saving_and_other_data():
    model = hj.formula("y ~ x + (1 | g)", FRAME, censored=FRAME.side.to_numpy())
    wanted = np.tile([0, -1, 1], 8)
    np.testing.assert_array_equal(model.data["censored"], wanted)
    again = rebuild(model.origin.describe(), model.origin.frame)
    assert again.fn == model.fn
    np.testing.assert_array_equal(again.data["censored"], wanted)
    named = hj.formula("y | cens(side) ~ x", FRAME).with_data(FRAME.iloc[4:9].assign(side="none"))
    np.testing.assert_array_equal(named.data["censored"], np.zeros(5))


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=[] if f == "gaussian" else [pytest.mark.slow]) for f in MEANS]
)
def test_padded_data_are_the_same_model(family):
    first = hj.formula(MEANS[family][0], FRAME, family)
    models = {0: first, 1: first.with_data(FRAME.iloc[:19])}
    (bucket,) = make_buckets(models)
    assert bucket.padding.classes and not bucket.note


FAR = (
    (likelihoods.gamma, {"shape": 2.0}, 1.5, 600.0),
    (likelihoods.zero_inflated_poisson, {"zi": 0.5}, 0.0, 600.0),
    (likelihoods.censored_gaussian, {"sigma": 1.0, "censored": np.array([1, 1, -1])}, 0.5, 600.0),
)


@pytest.mark.parametrize(("function", "given", "value", "distance"), FAR)
def test_slopes_far_from_the_data_are_finite(function, given, value, distance):
    with jax.enable_x64(True):
        slope = jax.grad(lambda eta: function(eta, **given).log_prob(np.full(3, value)).sum())
        assert np.isfinite(slope(np.array([-distance, 0.0, distance]))).all()


@pytest.mark.parametrize(
    "function", [likelihoods.gamma, likelihoods.poisson, likelihoods.censored_lognormal]
)
def test_own_distributions_survive_as_leaves(function):
    """Programs hand distributions on as pytrees: every array must be a leaf."""
    numbers = {"shape": 0.3, "sigma": 0.3, "censored": np.array([0, 1])}
    names = list(inspect.signature(function).parameters)[1:]
    made = function(np.array([0.1, 0.2]), **{name: numbers[name] for name in names})
    again = jax.tree.map(lambda leaf: leaf, made)
    value = np.array([1, 2])
    np.testing.assert_array_equal(again.log_prob(value), made.log_prob(value))
