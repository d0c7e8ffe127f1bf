"""Builders with several columns: what they make of the data, and what they refuse."""

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro import handlers

from hierjax import library
from hierjax.errors import (
    DataError,
    GroupCountError,
    LengthError,
    MissingValueError,
    ModelError,
    PriorError,
    SettingsError,
    SupportError,
    UnknownColumnError,
    UnknownLevelError,
)
from hierjax.trace import abstract_trace

Y = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 7.0, 6.0, 9.0])
X = np.arange(8.0)
G = ["b", "a", "b", "a", "d", "c", "d", "c"]
P = ["q", "q", "q", "q", "p", "p", "p", "p"]


def site_of(model, name, **values):
    """Value of a deterministic site when the latent ones have `values`."""
    with jax.enable_x64(True):
        fn = handlers.seed(handlers.substitute(model.fn, values), jax.random.key(0))
        return np.asarray(handlers.trace(fn).get_trace(**model.data)[name]["value"])


def test_groups_nested_in_larger_ones():
    model = library.three_level(Y, G, P, {"x": X})
    assert model.labels["group"] == ["a", "b", "c", "d"]
    assert model.labels["parent"] == ["p", "q"]
    np.testing.assert_array_equal(model.data["parent"], [1, 1, 0, 0])
    np.testing.assert_array_equal(library.nested_slopes(Y, X, G, P).data["parent"], [1, 1, 0, 0])
    plain = library.three_level(Y, G, P)
    assert plain.data["x"] is None
    assert "b" not in plain.blocks


@pytest.mark.parametrize("x", [X, X[:, None], {"x": X}, pd.DataFrame({"x": X})])
def test_predictors_come_in_several_forms(x):
    model = library.varying_slopes(Y, x, G, {"where": [0, 0, 0, 0, 1, 1, 1, 1]})
    np.testing.assert_array_equal(model.data["x"], np.column_stack([np.ones(8), X]))
    np.testing.assert_array_equal(model.data["group_x"][:, 1], [0, 0, 1, 1])
    assert next(iter(model.labels["term"])) == "Intercept"


def test_default_priors_scale_with_the_data():
    """In other units it is the same model."""
    small = library.varying_slopes(Y, X, G).data
    large = library.varying_slopes(10 * Y, 2 * X, G).data
    np.testing.assert_allclose(large["gamma_sd"], small["gamma_sd"] * [[10.0], [5.0]])
    np.testing.assert_allclose(large["tau_sd"], small["tau_sd"] * [10.0, 5.0])
    assert large["sigma_prior"].scale == pytest.approx(10 * small["sigma_prior"].scale)


def test_given_priors_are_used():
    model = library.anova(Y, {"g": G}, sd_prior=dist.Gamma(2.0, 3.0))
    assert isinstance(model.data["sd_prior"], dist.Gamma)
    assert float(model.data["sd_prior"].rate) == 3.0
    assert library.varying_slopes(Y, X, G, tau_sd=[2, 1]).data["tau_sd"].tolist() == [2, 1]


def test_independent_coefficients_have_no_correlation():
    model = library.varying_slopes(Y, X, G, correlation=None)
    assert not {"L", "cor"} & set(abstract_trace(model.fn, model.data).sites)


def test_rates_are_measured_from_the_target():
    model = library.basket_trial([1, 2], [10, 20], target=[0.2, 0.4])
    np.testing.assert_allclose(site_of(model, "p", theta=np.zeros(2)), [0.2, 0.4])


def test_arms_of_a_study_share_its_baseline():
    model = library.meta_arms([1, 2], [10, 20], [3, 4], [30, 40], labels=["a", "b"])
    assert model.labels["arms"] == ["a, control", "b, control", "a, treated", "b, treated"]
    np.testing.assert_array_equal(model.data["y"], [3, 4, 1, 2])
    np.testing.assert_array_equal(model.data["treated"], [0, 0, 1, 1])


def test_part_worths_of_alternatives():
    """The first alternative has no constant; attributes come last."""
    attributes = {"price": np.arange(24.0).reshape(8, 3)}
    model = library.choice(list("abcabcab"), attributes, G, alternatives="abc")
    assert model.labels["part_worth"] == ["b", "c", "price"]
    np.testing.assert_array_equal(model.data["x"][1], [[0, 0, 3], [1, 0, 4], [0, 1, 5]])
    np.testing.assert_array_equal(model.data["y"], [0, 1, 2, 0, 1, 2, 0, 1])


def test_visits_that_were_not_made_do_not_count():
    """Whatever stands in their place, the density is that of the other visits."""
    counted = np.array([[1.0, 2.0, np.nan], [0.0, 1.0, 3.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    data = library.n_mixture(counted, [0, 0, 1, 1]).data
    assert not data["surveyed"][0, 2] and data["surveyed"].sum() == 11
    logits = np.full((4, 3), -0.4)
    with jax.enable_x64(True):
        whole = library.RepeatedCounts(np.full(4, 3.0), logits, data["surveyed"], 60)
        part = library.RepeatedCounts(np.full(1, 3.0), logits[:1, :2], np.ones((1, 2), bool), 60)
        expected = jax.jit(part.log_prob)(np.array([[1, 2]]))[0]
        density = jax.jit(whole.log_prob)
        found, other = density(data["y"])[0], density(np.where(data["surveyed"], data["y"], 7))[0]
    np.testing.assert_allclose([found, other], expected, rtol=1e-12)


def test_share_of_an_area_is_weighted_by_its_people():
    """One area has cells that the survey never reached."""
    population = {
        "area": ["a", "a", "b", "b"],
        "age": ["old", "young", "old", "young"],
        "count": [100, 300, 50, 150],
    }
    model = library.poststratification(
        [3, 1], [5, 4], ["a", "b"], {"age": ["old", "old"]}, population
    )
    values = {"mu": 0.2, "r_age": np.array([-0.5, 0.7]), "r_area": np.array([0.3, -0.1])}
    found = site_of(model, "share", **values)
    logits = 0.2 + np.array([[-0.5 + 0.3, 0.7 + 0.3], [-0.5 - 0.1, 0.7 - 0.1]])
    chance = 1.0 / (1.0 + np.exp(-logits))
    people = np.array([[100, 300], [50, 150]])
    np.testing.assert_allclose(found, (chance * people).sum(1) / people.sum(1), rtol=1e-12)


def test_effect_sizes_of_two_by_two_tables():
    """Aronson 1948 of the BCG trials: 4 of 123 against 11 of 139."""
    estimate, error = library.effect_sizes([4], [123], [11], [139])
    np.testing.assert_allclose(estimate, np.log(4 * 128 / (119 * 11)))
    np.testing.assert_allclose(error, np.sqrt(1 / 4 + 1 / 119 + 1 / 11 + 1 / 128))
    ratio, error = library.effect_sizes([4], [123], [11], [139], measure="risk_ratio")
    np.testing.assert_allclose(ratio, np.log((4 / 123) / (11 / 139)))
    np.testing.assert_allclose(error, np.sqrt(1 / 4 - 1 / 123 + 1 / 11 - 1 / 139))
    gap, error = library.effect_sizes([4], [123], [11], [139], measure="risk_difference")
    p, q = 4 / 123, 11 / 139
    np.testing.assert_allclose(gap, p - q)
    np.testing.assert_allclose(error, np.sqrt(p * (1 - p) / 123 + q * (1 - q) / 139))
    zero, _ = library.effect_sizes([0, 4], [10, 123], [2, 11], [10, 139])
    np.testing.assert_allclose(zero, [np.log(0.5 * 8.5 / (10.5 * 2.5)), estimate[0]])


def test_prior_of_the_root_of_a_variance():
    """Its density is that of the variance times the derivative 2 s."""
    sd = np.array([0.1, 1.0, 3.0])
    with jax.enable_x64(True):
        variance = dist.InverseGamma(2.0, 0.5)
        found = library.root(variance).log_prob(sd)
        np.testing.assert_allclose(found, variance.log_prob(sd**2) + np.log(2 * sd), rtol=1e-12)


ARMS = ([1, 2], [10, 20], [3, 4], [30, 40])
CELLS = {"area": list("aabb"), "age": list("oyoy"), "count": [1, 2, 3, 4]}
SURVEY = ([3, 1], [5, 4], ["a", "b"], {"age": ["o", "o"]})
PRICE = {"price": np.arange(24.0).reshape(8, 3)}
BRANDS = list("abcabcab")
WORDS = [[1, 2, 0], [3, 0, 1], [0, 1, 1]]
ANSWERS = [1, 0, 1, 1, 0, 0, 1, 0]

WRONG = [
    ("anova", (Y, {}), {}, ModelError, "`factors` is empty"),
    ("anova", (Y, {"mu_prior": G}), {}, ModelError, "cannot be called 'mu_prior'"),
    ("anova", (Y, {"lab": ["a"] * 8}), {}, GroupCountError, "`lab` has one group"),
    ("anova", ([1.0] * 8, {"g": G}), {}, DataError, "`y` does not vary"),
    ("anova", (Y, {"g": G}), {"sd_prior": dist.Normal(0, 1)}, PriorError, "allows negative"),
    ("anova", (Y, {"g": G}), {"mu_prior": 3.0}, PriorError, r"dist.Normal\(0, 1\); got 3.0"),
    ("anova", (Y, {"g": G}), {"mu_prior": dist.Poisson(1.0)}, PriorError, "one real number"),
    ("three_level", (Y, G, G), {}, GroupCountError, "as many groups as `group`"),
    ("three_level", (Y, G, G[1:] + G[:1]), {}, DataError, "not nested in `parent`.*row 1 "),
    ("three_level", (Y, G, P[:3]), {}, LengthError, r"`parent` has shape \(3,\)"),
    ("three_level", (Y, G, P, {"one": [1.0] * 8}), {}, DataError, "'one' is constant"),
    ("varying_slopes", (Y, {"x": X}, G, {"w": X}), {}, DataError, "'w' varies within groups"),
    ("varying_slopes", (Y, X, G), {"tau_sd": -1}, PriorError, "`tau_sd`.*above zero"),
    ("varying_slopes", (Y, X, G), {"correlation": 0}, PriorError, "`correlation`.*above zero"),
    ("varying_slopes", (Y, np.zeros((8, 2, 2)), G), {}, LengthError, "two dimensions"),
    ("nested_slopes", (Y, X, G, G[1:] + G[:1]), {}, DataError, "not nested"),
    ("binomial_groups", ([5, 1], [4, 9]), {}, SupportError, "more than the trials in row 0"),
    ("binomial_groups", ([0.5, 1], [4, 9]), {}, SupportError, "`y` holds counts.*row 0"),
    ("binomial_groups", ([1, 0], [4, 0]), {}, DataError, "`trials` is zero in row 1"),
    ("binomial_groups", ([1], [4]), {}, GroupCountError, "one group only"),
    ("binomial_groups", ([1, 2], [4, 9]), {"labels": "abc"}, LengthError, "`labels` has 3"),
    ("basket_trial", ([1, 2], [4, 9]), {"target": 1.2}, DataError, "`target` must lie"),
    ("meta_arms", ([11, 2], *ARMS[1:]), {}, SupportError, "`events` is more than"),
    ("meta_arms", (ARMS[0], [10, 0], *ARMS[2:]), {}, DataError, "`total` is zero in row 1"),
    ("meta_arms", ([1], [2], [1], [2]), {}, GroupCountError, "one study only"),
    ("meta_arms", (*ARMS[:3], [30]), {}, LengthError, "`control_total` has 1 rows"),
    ("gamma_poisson", ([1, 2], [1.0, 0.0]), {}, DataError, "`exposure` must be above zero"),
    ("gamma_poisson", ([1, -2], [1.0, 1.0]), {}, SupportError, "row 1"),
    ("gamma_poisson", ([1], [1.0]), {}, GroupCountError, "one group only"),
    ("item_response", ([2] * 8, G, P), {}, SupportError, "more than the trials"),
    ("item_response", (ANSWERS, G, P), {"parameters": 3}, SettingsError, "must be 1 or 2"),
    (
        "item_response",
        (ANSWERS, G, P),
        {"discrimination_sd_prior": dist.HalfNormal(1.0)},
        SettingsError,
        "has no use with parameters=1",
    ),
    ("choice", (BRANDS, PRICE, G), {"alternatives": "abd"}, UnknownLevelError, "rows 2, 5"),
    ("choice", (BRANDS, PRICE, G), {"alternatives": "ab"}, UnknownLevelError, "none of the"),
    ("choice", (BRANDS, PRICE, G), {"alternatives": "aab"}, DataError, "different labels"),
    ("choice", (BRANDS, {"p": X}, G), {"alternatives": "abc"}, LengthError, "8 choices among 3"),
    (
        "choice",
        (BRANDS, {"p": np.ones((8, 3))}, G),
        {"alternatives": "abc"},
        DataError,
        "is constant",
    ),
    ("choice", (BRANDS, PRICE, G, X), {"alternatives": "abc"}, DataError, "varies within groups"),
    ("abundance", (ANSWERS, G, P), {"family": "gamma"}, SettingsError, "family"),
    ("abundance", (ANSWERS, G, P), {"effort": X}, DataError, "`effort` must be above zero"),
    ("abundance", (Y + 0.5, G, P), {}, SupportError, "`y` holds counts"),
    ("n_mixture", (Y, G), {}, LengthError, r"\(units, visits\)"),
    ("n_mixture", ([[1, 2], [0, -1]], [0, 1]), {}, SupportError, "row 1"),
    ("n_mixture", ([[1, 2], [0, 1]], [0, 1]), {"most": 2}, SettingsError, "largest count, 2"),
    (
        "n_mixture",
        ([[1, 2], [0, 1]], [0, 1], None, {"rain": [1, 2]}),
        {},
        LengthError,
        "'rain'",
    ),
    (
        "poststratification",
        (*SURVEY, {"area": ["a"], "count": [1]}),
        {},
        UnknownColumnError,
        "no column 'age'",
    ),
    (
        "poststratification",
        (*SURVEY[:3], {"age": ["o", "x"]}, CELLS),
        {},
        DataError,
        "'age' has levels that are not in `population`, in row 1",
    ),
    (
        "poststratification",
        (*SURVEY, CELLS | {"count": [1, 2, 0, 0]}),
        {},
        DataError,
        "area 'b' has no people",
    ),
    (
        "poststratification",
        (*SURVEY, CELLS | {"count": [1, 2, 0, -1]}),
        {},
        DataError,
        "negative in row 3",
    ),
    ("poststratification", (*SURVEY, CELLS, X[:4]), {}, DataError, "varies within groups"),
    ("topics", (WORDS, 1), {}, SettingsError, "num_topics"),
    ("topics", ([[1, 0], [2, 0]], 2), {}, DataError, "a word has no counts, see row 1"),
    ("topics", ([[1, 0.5], [2, 0]], 2), {}, SupportError, "`y` holds counts.*row 0"),
    ("topics", (WORDS, 2), {"vocabulary": "ab"}, LengthError, "`vocabulary` has 2 words"),
    ("topics", (WORDS, 2), {"mixing": 0}, PriorError, "`mixing`"),
    ("nested_topics", (WORDS, ["a", "b", "c"], 2), {}, GroupCountError, "as many groups as rows"),
    ("nested_topics", (WORDS, ["a", None, "b"], 2), {}, MissingValueError, "missing"),
    ("effect_sizes", (ARMS[0], [10, 0], *ARMS[2:]), {}, DataError, "`total` is zero in row 1"),
    ("effect_sizes", ARMS, {"measure": "odds"}, SettingsError, "measure"),
]


@pytest.mark.parametrize(("build", "arguments", "options", "error", "message"), WRONG)
def test_wrong_input_says_what_and_where(build, arguments, options, error, message):
    with pytest.raises(error, match=message):
        getattr(library, build)(*arguments, **options)
