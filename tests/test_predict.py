"""Predictions against hand computations in NumPy from the same draws; no fit is needed for that."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest

import hierjax as hj
from hierjax import errors
from hierjax.draws import FitInfo
from tests import models

CHAINS, DRAWS = 4, 500
COUNT = CHAINS * DRAWS


def posterior(model, draws):
    info = FitInfo("nuts", {}, 0, "float64", {}, {}, (0,) * CHAINS, {})
    return hj.Posterior(model, draws, {}, info)


def normal(*shape, seed, centre=0.0, scale=1.0):
    return centre + scale * np.random.default_rng(seed).normal(size=(CHAINS, DRAWS, *shape))


def positive(*shape, seed, scale=1.0):
    generator = np.random.default_rng(seed)
    return scale * (0.5 + generator.gamma(4.0, 0.25, size=(CHAINS, DRAWS, *shape)))


def correlations(seed):
    """Cholesky factors of correlation matrices of two effects, and the matrices."""
    rho = np.random.default_rng(seed).uniform(-0.8, 0.8, size=(CHAINS, DRAWS))
    factor = np.zeros((CHAINS, DRAWS, 2, 2))
    factor[..., 0, 0], factor[..., 1, 0] = 1.0, rho
    factor[..., 1, 1] = np.sqrt(1 - rho**2)
    return factor, factor @ np.swapaxes(factor, -1, -2)


@pytest.fixture(scope="module")
def sleep():
    frame = hj.load_data("sleepstudy")
    model = hj.formula("Reaction ~ Days + (1 + Days | Subject)", frame)
    factor, matrix = correlations(5)
    groups = len(model.labels["Subject"])
    return posterior(
        model,
        {
            "b_Intercept": normal(seed=1, centre=250.0),
            "b_Days": normal(seed=2, centre=10.0),
            "sd_Subject": positive(2, seed=3, scale=10.0),
            "L_Subject": factor,
            "cor_Subject": matrix,
            "r_Subject": normal(groups, 2, seed=4, scale=20.0),
            "sigma": positive(seed=6, scale=25.0),
        },
    )


@pytest.fixture(scope="module")
def pastes():
    model = hj.formula("strength ~ 1 + (1 | batch/cask)", hj.load_data("pastes"))
    return posterior(
        model,
        {
            "b_Intercept": normal(seed=1, centre=60.0),
            "sd_batch": positive(seed=2),
            "sd_batch:cask": positive(seed=3, scale=3.0),
            "r_batch": normal(10, seed=4),
            "r_batch:cask": normal(30, seed=5, scale=3.0),
            "sigma": positive(seed=6),
        },
    )


def assert_standard_normal(values):
    """Means, variances and covariances of independent rows (n, k), within 4 standard errors."""
    values = np.reshape(values, (-1, values.shape[-1]))
    count, width = values.shape
    assert np.all(np.abs(values.mean(0)) < 4 / np.sqrt(count))
    moments = values.T @ values / count
    error = np.sqrt(1.0 + np.eye(width)) / np.sqrt(count)  # sd of z_i z_j is 1, of z_i^2 sqrt 2
    assert np.all(np.abs(moments - np.eye(width)) < 4 * error)
    lagged = np.mean(values[1:] * values[:-1], axis=0)
    assert np.all(np.abs(lagged) < 4 / np.sqrt(count))


def test_known_groups_are_predicted_with_their_draws(sleep):
    new = pd.DataFrame({"Days": [0.0, 2.5, 11.0], "Subject": ["308", "372", "308"]})
    found = sleep.predict(new)
    labels = list(sleep.model.labels["Subject"])
    place = [labels.index(name) for name in new["Subject"]]
    effects = sleep.draws["r_Subject"][:, :, place]
    days = new["Days"].to_numpy()
    expected = sleep.draws["b_Intercept"][..., None] + sleep.draws["b_Days"][..., None] * days
    expected = expected + effects[..., 0] + effects[..., 1] * days
    assert found.values.shape == (CHAINS, DRAWS, 3)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert found.dims == ("rows",)


def test_rows_of_the_fit_are_predicted_without_new_data(sleep):
    frame = hj.load_data("sleepstudy")
    np.testing.assert_allclose(sleep.predict().values, sleep.predict(frame).values, rtol=1e-12)


def new_subject_effects(sleep, names, **options):
    """Intercept and slope of new subjects (chain, draw, n, 2), from predictions at days 0 and 1."""
    rows = [(day, name) for name in names for day in (0.0, 1.0)]
    new = pd.DataFrame(rows, columns=["Days", "Subject"])
    values = sleep.predict(new, **options).values.reshape(CHAINS, DRAWS, len(names), 2)
    at_zero = values[..., 0] - sleep.draws["b_Intercept"][..., None]
    slope = values[..., 1] - values[..., 0] - sleep.draws["b_Days"][..., None]
    return np.stack([at_zero, slope], axis=-1)


def test_new_groups_are_independent_draws_from_their_population(sleep):
    effects = new_subject_effects(sleep, ["new a", "new b"])
    root = sleep.draws["sd_Subject"][..., None] * sleep.draws["L_Subject"]
    white = np.linalg.solve(root[:, :, None], effects[..., None])[..., 0]
    # Four numbers a draw: correlated slopes within a subject, nothing between subjects.
    assert_standard_normal(white.reshape(COUNT, 4))


def test_one_new_label_in_several_rows_is_one_group(sleep):
    new = pd.DataFrame({"Days": [3.0, 3.0, 3.0], "Subject": ["x", "x", "y"]})
    values = sleep.predict(new).values
    np.testing.assert_array_equal(values[..., 0], values[..., 1])
    assert np.all(values[..., 0] != values[..., 2])


def test_the_seed_decides(sleep):
    new = {"Days": [3.0], "Subject": ["x"]}
    first, second, third = (sleep.predict(new, seed=seed).values for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.all(first != third)


@pytest.mark.parametrize("name", ["new", None, np.nan])
def test_population_puts_effects_of_new_and_missing_groups_at_zero(sleep, name):
    new = pd.DataFrame({"Days": [4.0, 4.0], "Subject": ["308", name]})
    values = sleep.predict(new, groups="population").values
    expected = sleep.draws["b_Intercept"] + 4.0 * sleep.draws["b_Days"]
    np.testing.assert_allclose(values[..., 1], expected, rtol=1e-12)
    known = expected + sleep.draws["r_Subject"][:, :, 0] @ [1.0, 4.0]
    np.testing.assert_allclose(values[..., 0], known, rtol=1e-12)


def test_observations_are_drawn_around_the_mean(sleep):
    new = pd.DataFrame({"Days": [1.0, 2.0], "Subject": ["308", "372"]})
    mean = sleep.predict(new).values
    drawn = sleep.predict(new, kind="draw").values
    assert_standard_normal((drawn - mean) / sleep.draws["sigma"][..., None])


def test_a_missing_label_is_an_average_over_the_groups(sleep):
    new = pd.DataFrame({"Days": [2.0, 5.0, 2.0], "Subject": ["308", None, None]})
    values = sleep.predict(new).values
    known = [
        sleep.predict({"Days": [day] * 18, "Subject": list(sleep.model.labels["Subject"])}).values
        for day in (5.0, 2.0)
    ]
    np.testing.assert_allclose(values[..., 1], known[0].mean(-1), rtol=1e-12)
    np.testing.assert_allclose(values[..., 2], known[1].mean(-1), rtol=1e-12)
    np.testing.assert_allclose(values[..., 0], known[1][..., 0], rtol=1e-12)


def test_an_observation_of_a_missing_label_is_of_one_group_at_random(sleep):
    values = sleep.predict({"Days": [0.0, 0.0], "Subject": [None, None]}, kind="draw").values
    effects = sleep.draws["r_Subject"][..., 0]
    noise = values - sleep.draws["b_Intercept"][..., None]
    variance = np.mean(effects**2, axis=-1) + sleep.draws["sigma"] ** 2
    scaled = noise / np.sqrt(variance)[..., None]
    assert_standard_normal(scaled)


def test_a_new_child_of_a_known_parent_keeps_the_parents_effect(pastes):
    new = pd.DataFrame({"batch": ["A", "A", "A", "Z"], "cask": ["z", "z", "y", "a"]})
    values = pastes.predict(new).values - pastes.draws["b_Intercept"][..., None]
    np.testing.assert_array_equal(values[..., 0], values[..., 1])
    own = values - pastes.draws["r_batch"][..., :1]
    parts = [
        own[..., 0] / pastes.draws["sd_batch:cask"],
        own[..., 2] / pastes.draws["sd_batch:cask"],
    ]
    total = np.sqrt(pastes.draws["sd_batch"] ** 2 + pastes.draws["sd_batch:cask"] ** 2)
    parts.append(values[..., 3] / total)
    assert_standard_normal(np.stack(parts, -1).reshape(COUNT, 3))


def test_a_missing_child_is_an_average_over_its_parents_children(pastes):
    values = pastes.predict({"batch": ["B"], "cask": [None]}).values[..., 0]
    labels = list(pastes.model.labels["batch:cask"])
    children = [place for place, label in enumerate(labels) if label.startswith("B:")]
    assert len(children) == 3
    expected = pastes.draws["b_Intercept"] + pastes.draws["r_batch"][..., 1]
    expected = expected + pastes.draws["r_batch:cask"][..., children].mean(-1)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_missing_parent_and_child_average_over_pairs_that_occur(pastes):
    values = pastes.predict({"batch": [None], "cask": [None]}).values[..., 0]
    expected = pastes.draws["b_Intercept"] + pastes.draws["r_batch"].mean(-1)
    expected = expected + pastes.draws["r_batch:cask"].mean(-1)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_a_missing_child_of_a_new_parent_is_a_new_child(pastes):
    values = pastes.predict({"batch": ["Z", "Z"], "cask": [None, None]}).values
    values = values - pastes.draws["b_Intercept"][..., None]
    difference = (values[..., 0] - values[..., 1]) / np.sqrt(2) / pastes.draws["sd_batch:cask"]
    assert_standard_normal(difference[..., None])  # one parent, two children


@pytest.fixture(scope="module")
def counts():
    """Counts with an exposure, a category and two crossed factors."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "cases": generator.poisson(3.0, 60),
            "years": generator.uniform(1.0, 4.0, 60),
            "dose": np.tile(["high", "low", "none"], 20),
            "site": np.repeat(np.arange(6), 10),
            "nurse": np.tile(np.arange(5), 12),
        }
    )
    text = "cases ~ dose + offset(log(years)) + (1 | site) + (1 | nurse)"
    model = hj.formula(text, frame, family="poisson")
    draws = {
        "b_Intercept": normal(seed=1, scale=0.2),
        "b_dose": normal(2, seed=2, scale=0.2),
        "sd_site": positive(seed=3, scale=0.3),
        "r_site": normal(6, seed=4, scale=0.3),
        "sd_nurse": positive(seed=5, scale=0.2),
        "r_nurse": normal(5, seed=6, scale=0.2),
    }
    return posterior(model, draws)


def test_offsets_categories_and_links_enter(counts):
    new = {"dose": ["none", "high"], "years": [10.0, 1.0], "site": [5, 0], "nurse": [0, 4]}
    draws = counts.draws
    predictor = np.stack([
        draws["b_Intercept"] + draws["b_dose"][..., 1] + draws["r_site"][..., 5]
        + draws["r_nurse"][..., 0] + np.log(10.0),
        draws["b_Intercept"] + draws["r_site"][..., 0] + draws["r_nurse"][..., 4],
    ], -1)  # fmt: skip
    np.testing.assert_allclose(counts.predict(new).values, np.exp(predictor), rtol=1e-12)
    drawn = counts.predict(new, kind="draw").values
    assert drawn.dtype.kind == "i"
    gap = (drawn - np.exp(predictor)) / np.exp(predictor / 2)
    assert np.all(np.abs(gap.mean((0, 1))) < 4 / np.sqrt(COUNT))


def test_crossed_missing_labels_average_over_all_pairs_on_the_response_scale(counts):
    new = {"dose": ["high"], "years": [2.0], "site": [None], "nurse": [None]}
    both = counts.draws["r_site"][..., :, None] + counts.draws["r_nurse"][..., None, :]
    rates = 2.0 * np.exp(counts.draws["b_Intercept"][..., None, None] + both)
    expected = rates.mean((-1, -2))
    np.testing.assert_allclose(counts.predict(new).values[..., 0], expected, rtol=1e-10)


GOOD = {"dose": ["none"], "years": [1.0], "site": [5], "nurse": [0]}


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        ({"dose": None}, {}, errors.UnknownColumnError, "no column `dose`"),
        ({"site": None}, {}, errors.UnknownColumnError, "no column `site`"),
        ({"dose": ["medium"]}, {}, errors.UnknownLevelError, "medium"),
        ({"dose": [None]}, {}, errors.MissingValueError, "`dose` in row 0"),
        ({"years": [np.inf]}, {}, errors.NonFiniteError, "`years`"),
        ({"years": [-1.0]}, {}, errors.NonFiniteError, "row 0"),
        ({"years": [np.nan]}, {}, errors.MissingValueError, "`years` in row 0"),
        ({"years": ["long"]}, {}, errors.DataError, "years"),
        ({"site": ["5"]}, {}, errors.ColumnTypeError, "text in the new data, such as '5'"),
        (
            {"site": [9]},
            {"groups": "error"},
            errors.GroupIndexError,
            "no group 9 of `site` (in row 0",
        ),
        (
            {"site": [None]},
            {"groups": "error"},
            errors.MissingValueError,
            "`site` are missing in row 0",
        ),
        ({"years": [1.0, 2.0]}, {}, errors.LengthError, "one length"),
        ({}, {"groups": "new"}, errors.SettingsError, "`groups` must be one of"),
        ({}, {"kind": "median"}, errors.SettingsError, "`kind` must be one of"),
        ({}, {"trials": [3]}, errors.SettingsError, "trials"),
    ],
)
def test_bad_new_data_are_refused(counts, change, options, error, words):
    new = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(error) as raised:
        counts.predict(new, **options)
    assert words in str(raised.value)


def test_trials_weights_and_known_errors_are_taken_from_new_data():
    frame = hj.load_data("cbpp")
    model = hj.formula("incidence / size ~ 1 + (1 | herd)", frame, family="binomial")
    post = posterior(
        model,
        {
            "b_Intercept": normal(seed=1, centre=-1.0, scale=0.2),
            "sd_herd": positive(seed=2, scale=0.5),
            "r_herd": normal(15, seed=3, scale=0.5),
        },
    )
    herd = model.labels["herd"][3]
    values = post.predict({"herd": [herd, herd], "size": [10, 30]}).values
    chance = 1 / (1 + np.exp(-post.draws["b_Intercept"] - post.draws["r_herd"][..., 3]))
    np.testing.assert_allclose(values, chance[..., None] * [10, 30], rtol=1e-12)
    drawn = post.predict({"herd": [herd], "size": [10]}, kind="draw").values
    assert drawn.min() >= 0
    assert drawn.max() <= 10


def test_means_need_no_weights_and_draws_do():
    generator = np.random.default_rng(0)
    frame = {
        "y": generator.normal(size=20), "w": generator.uniform(1, 3, 20), "g": np.arange(20) % 4
    }  # fmt: skip
    post = posterior(
        hj.formula("y | weights(w) ~ 1 + (1 | g)", frame),
        {
            "b_Intercept": normal(seed=1),
            "sd_g": positive(seed=2),
            "r_g": normal(4, seed=3),
            "sigma": positive(seed=4),
        },
    )
    mean = post.predict({"g": [0, 2]}).values
    drawn = post.predict({"g": [0, 2], "w": [1.0, 100.0]}, kind="draw").values
    scale = post.draws["sigma"][..., None] / np.sqrt([1.0, 100.0])
    assert_standard_normal((drawn - mean) / scale)
    with pytest.raises(errors.UnknownColumnError, match="`w`"):
        post.predict({"g": [0]}, kind="draw")


def test_arguments_given_as_arrays_are_given_again():
    frame = {"y": np.arange(12.0), "g": np.arange(12) % 4}
    model = hj.formula("y ~ 1 + (1 | g)", frame, offset=np.ones(12))
    draws = {
        "b_Intercept": normal(seed=1), "sd_g": positive(seed=2), "r_g": normal(4, seed=3),
        "sigma": positive(seed=4),
    }  # fmt: skip
    post = posterior(model, draws)
    values = post.predict({"g": [1]}, offset=[5.0]).values[..., 0]
    expected = draws["b_Intercept"] + draws["r_g"][..., 1] + 5.0
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    with pytest.raises(errors.DataError, match="pass offset="):
        post.predict({"g": [1]})


@pytest.fixture(scope="module")
def slopes():
    """A NumPyro function with correlated slopes, whose effects are not centred at zero."""
    model = hj.Model(models.correlated_slopes, models.correlated_slopes_data())
    factor, _ = correlations(7)
    return posterior(
        model,
        {
            "b": normal(2, seed=1, centre=2.0),
            "sd": positive(2, seed=2),
            "cholesky": factor,
            "effect": normal(5, 2, seed=3),
            "sigma": positive(seed=4),
        },
    )


def test_plates_of_a_numpyro_function_grow(slopes):
    new = {"y": np.zeros(3), "x": np.array([0.0, 1.0, 1.0]), "group": [5, 5, 2], "num_groups": 6}
    values = slopes.predict(new).values
    effects = np.stack([values[..., 0], values[..., 1] - values[..., 0]], -1)
    root = slopes.draws["sd"][..., None] * slopes.draws["cholesky"]
    white = np.linalg.solve(root, (effects - slopes.draws["b"])[..., None])[..., 0]
    assert_standard_normal(white)
    known = slopes.draws["effect"][:, :, 2].sum(-1)
    np.testing.assert_allclose(values[..., 2], known, rtol=1e-12)
    at_mean = slopes.predict(new, groups="population").values
    np.testing.assert_allclose(at_mean[..., 1], slopes.draws["b"].sum(-1), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        ({"group": [7, 0, 0]}, {}, errors.GroupIndexError, "allowed are 0 to 5"),
        ({"group": [-1, 0, 0]}, {}, errors.GroupIndexError, "allowed are 0 to 5"),
        ({"group": [0.5, 0, 0]}, {}, errors.ModelError, "must have integer"),
        ({"num_groups": 4, "group": [0, 0, 0]}, {}, errors.DataError, "all_new='group'"),
        ({}, {"groups": "error"}, errors.DataError, "1 of 'group'"),
        ({"x": None}, {}, errors.UnknownColumnError, "lack 'x'"),
        ({"x": 1.0}, {}, errors.ColumnTypeError, "an array with 1 axes in the data of the fit"),
        ({"x": [np.nan, 0.0, 0.0]}, {}, errors.MissingValueError, "data['x']"),
        ({"z": 1.0}, {}, errors.UnknownColumnError, "no argument 'z'"),
        ({"x": ["a", "b", "c"]}, {}, errors.DataError, "text"),
        ({}, {"all_new": "county"}, errors.SettingsError, "`all_new`"),
    ],
)
def test_bad_arguments_of_a_function_are_refused(slopes, change, options, error, words):
    new = {"y": np.zeros(3), "x": np.ones(3), "group": [5, 5, 2], "num_groups": 6} | change
    new = {name: value for name, value in new.items() if value is not None}
    with pytest.raises(error) as raised:
        slopes.predict(new, **options)
    assert words in str(raised.value)


def test_schools_none_of_which_was_in_the_fit():
    model = hj.library.eight_schools(models.SCHOOLS_Y, models.SCHOOLS_SIGMA)
    draws = {"mu": normal(seed=1), "tau": positive(seed=2), "theta": normal(8, seed=3)}
    post = posterior(model, draws)
    values = post.predict({"sigma": [10.0, 12.0]}, all_new="school").values
    assert_standard_normal((values - draws["mu"][..., None]) / draws["tau"][..., None])
    known = post.predict({"sigma": np.ones(8)}).values
    np.testing.assert_array_equal(known, draws["theta"])


def nested(school, district, num_schools, num_districts, y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.plate("district", num_districts):
        alpha = numpyro.sample("alpha", dist.Normal(mu, 1.0))
    with numpyro.plate("school", num_schools):
        beta = numpyro.sample("beta", dist.Normal(alpha[district], 0.5))
    with numpyro.plate("rows", len(school)):
        numpyro.sample("y", dist.Normal(beta[school], 0.1), obs=y)


def test_a_new_child_in_a_function_starts_from_its_parent():
    data = {
        "school": np.array([0, 1, 2, 2]), "district": np.array([0, 0, 1]), "num_schools": 3,
        "num_districts": 2, "y": np.zeros(4),
    }  # fmt: skip
    draws = {"mu": normal(seed=1), "alpha": normal(2, seed=2), "beta": normal(3, seed=3)}
    post = posterior(hj.Model(nested, data), draws)
    new = {
        "school": [3, 4], "district": [0, 0, 1, 1, 2], "num_schools": 5, "num_districts": 3
    }  # fmt: skip
    values = post.predict(new).values
    parts = [
        (values[..., 0] - draws["alpha"][..., 1]) / 0.5,
        (values[..., 1] - draws["mu"]) / np.sqrt(1.0 + 0.25),
    ]
    assert_standard_normal(np.stack(parts, -1).reshape(COUNT, 2))


def test_houses_in_known_and_new_counties():
    """Radon: a predictor of the group and slopes that are not correlated with intercepts."""
    text = "log_radon ~ floor + log_uranium + (1 + floor || county)"
    model = hj.formula(text, hj.load_data("radon"))
    draws = {
        "b_Intercept": normal(seed=1), "b_floor": normal(seed=2), "b_log_uranium": normal(seed=3),
        "sd_county__Intercept": positive(seed=4), "sd_county__floor": positive(seed=5),
        "r_county__Intercept": normal(85, seed=6), "r_county__floor": normal(85, seed=7),
        "sigma": positive(seed=8),
    }  # fmt: skip
    post = posterior(model, draws)
    county = model.labels["county"][40]
    new = {
        "floor": [1, 0, 1], "log_uranium": [0.3, -0.2, -0.2], "county": [county, "new", "new"]
    }  # fmt: skip
    values = post.predict(new).values
    fixed = draws["b_Intercept"] + draws["b_floor"] + 0.3 * draws["b_log_uranium"]
    own = draws["r_county__Intercept"][..., 40] + draws["r_county__floor"][..., 40]
    np.testing.assert_allclose(values[..., 0], fixed + own, rtol=1e-10, atol=1e-12)
    intercept = values[..., 1] - draws["b_Intercept"] + 0.2 * draws["b_log_uranium"]
    slope = values[..., 2] - values[..., 1] - draws["b_floor"]
    scales = [draws["sd_county__Intercept"], draws["sd_county__floor"]]
    assert_standard_normal(np.stack([intercept, slope], -1) / np.stack(scales, -1))


def test_fewer_draws_can_be_used(sleep):
    new = {"Days": [1.0], "Subject": ["308"]}
    few = sleep.predict(new, most_draws=40).values
    assert few.shape == (CHAINS, 10, 1)
    kept = np.linspace(0, DRAWS - 1, 10).astype(int)
    np.testing.assert_array_equal(few, sleep.predict(new).values[:, kept])


def test_a_prediction_is_an_array_a_table_and_an_xarray(sleep):
    found = sleep.predict({"Days": [1.0, 2.0], "Subject": ["308", "new"]})
    assert repr(found) == (
        f"Prediction(expected response of Reaction: {CHAINS} chains x {DRAWS} draws, rows 2)"
    )
    np.testing.assert_array_equal(np.asarray(found), found.values)
    table = found.summary()
    assert list(table.columns) == ["mean", "sd", "q5", "q50", "q95"]
    np.testing.assert_allclose(table["mean"], found.values.mean((0, 1)))
    np.testing.assert_allclose(table["q95"], np.quantile(found.values, 0.95, axis=(0, 1)))
    array = found.to_xarray()
    assert array.dims == ("chain", "draw", "rows")
    assert array.attrs == {"kind": "mean", "groups": "sample"}


def test_a_response_without_a_mean_can_be_drawn():
    def shocks(x, y=None):
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        with numpyro.plate("rows", len(x)):
            numpyro.sample("y", dist.StudentT(1.0, x, scale), obs=y)

    data = {"x": np.arange(5.0), "y": np.zeros(5)}
    post = posterior(hj.Model(shocks, data), {"scale": positive(seed=1)})
    with pytest.raises(errors.ModelError, match='kind="draw"'):
        post.predict({"x": [0.0]})
    assert post.predict({"x": [0.0]}, kind="draw").values.shape == (CHAINS, DRAWS, 1)


def test_dropped_effects_are_missed(sleep):
    draws = {name: values for name, values in sleep.draws.items() if name != "r_Subject"}
    with pytest.raises(errors.ModelError, match="no draws of site 'r_Subject'"):
        posterior(sleep.model, draws).predict()


def test_prior_predictions_come_from_the_prior():
    model = hj.library.eight_schools(models.SCHOOLS_Y, models.SCHOOLS_SIGMA, tau_scale=2.0)
    found = hj.prior_predict(model, draws=4000, seed=1)
    assert found.values.shape == (1, 4000, 8)
    spread = np.quantile(found.values[0], 0.75, axis=0)  # heavy tails: quantiles, not moments
    generator = np.random.default_rng(0)
    tau = np.abs(2.0 * generator.standard_cauchy(200_000))
    y = generator.normal(size=200_000) * np.sqrt(25.0 + tau**2 + 15.0**2)
    assert abs(spread[0] - np.quantile(y, 0.75)) < 4 * 1.36 * 17.0 / np.sqrt(4000)
    means = hj.prior_predict(model, draws=100, kind="mean").values
    again = hj.prior_predict(model, draws=100, kind="mean").values
    np.testing.assert_array_equal(means, again)
    other = hj.prior_predict(model, {"sigma": np.ones(3)}, draws=10)
    assert other.values.shape == (1, 10, 3)
