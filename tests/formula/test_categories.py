"""Responses in categories: densities by SciPy, names and priors, refusals, predictions."""

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.infer.util import log_density
from scipy import special, stats

import hierjax as hj
from hierjax import errors
from hierjax.batch.bucket import make_buckets
from hierjax.draws import FitInfo
from hierjax.formula import rebuild
from hierjax.formula.distributions import OrderStatistics
from hierjax.formula.likelihoods import cumulative_logits

RNG = np.random.default_rng(8)
ROWS = 24
WORDS = ("no", "perhaps", "yes")
CODES = np.tile([2, 0, 1, 1], 6)
FRAME = pd.DataFrame(
    {
        "word": pd.Categorical.from_codes(CODES, WORDS, ordered=True),
        "text": np.array(["walk", "bus", "car", "bus"] * 6),
        "grade": CODES * 2 + 1,
        "x": RNG.normal(5.0, 2.0, size=ROWS),
        "z": RNG.normal(size=ROWS),
        "h": np.repeat(list("uv"), 12),
        "g": np.tile(list("abcdef"), 4),
        "w": RNG.uniform(0.5, 2.0, size=ROWS),
        "one": 1,
    }
)
GROUP = np.tile(np.arange(6), 4)
X, Z = FRAME.x.to_numpy(), FRAME.z.to_numpy()
SHAPE = (2, 3)


def density(model, params):
    with jax.enable_x64(True):
        return float(log_density(model.fn, (), dict(model.data), params)[0])


def posterior(model, draws):
    info = FitInfo("nuts", {}, 0, "float64", {}, {}, (0, 0), {})
    return hj.Posterior(model, draws, {}, info)


THRESHOLD, SLOPE, SD = np.array([-0.7, 1.4]), 0.3, 0.8
EFFECT = RNG.normal(size=6)


def ordered_logpmf(eta, codes):
    """Of the difference of two cumulative probabilities, by SciPy's logistic distribution."""
    edges = np.concatenate([[-np.inf], THRESHOLD, [np.inf]])
    upper, lower = (
        stats.logistic.cdf(edges[codes + 1] - eta),
        stats.logistic.cdf(edges[codes] - eta),
    )
    return np.log(upper - lower)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("word ~ x + (1 | g)", {}),
        ("grade ~ x + (1 | g)", {}),
        ("grade | weights(w) ~ x + offset(z) + (1 | g)", {}),
    ],
)
def test_ordered_response_has_the_density_of_scipy(text, options):
    priors = {"threshold": dist.Normal(0.0, 5.0), "b": dist.Normal(0.0, 2.0)}
    priors |= {"sd": dist.HalfNormal(1.5)}
    model = hj.formula(text, FRAME, "ordered", priors=priors, **options)
    np.testing.assert_array_equal(model.data[model.fn.response], CODES)
    params = {"threshold": THRESHOLD, "b_x": np.float64(SLOPE), "sd_g": np.float64(SD)}
    params |= {"r_g": EFFECT}
    eta = SLOPE * X + EFFECT[GROUP] + (Z if "offset" in text else 0.0)
    weight = FRAME.w.to_numpy() if "weights" in text else 1.0
    wanted = np.sum(weight * ordered_logpmf(eta, CODES))
    wanted += np.sum(stats.norm.logpdf(THRESHOLD, 0, 5)) + np.log(2.0)  # two orders of two draws
    wanted += stats.norm.logpdf(SLOPE, 0, 2) + stats.halfnorm.logpdf(SD, scale=1.5)
    wanted += np.sum(stats.norm.logpdf(EFFECT, 0, SD))
    assert density(model, params) == pytest.approx(wanted, abs=1e-10)


def test_cumulative_log_odds_are_exact_in_the_tails():
    """Far from all thresholds the probability of the middle is exp(-distance) (exp(gap) - 1)."""
    with jax.enable_x64(True):
        found = np.asarray(cumulative_logits(np.array([200.0, -200.0]), np.array([0.0, 1e-3])))
        slope = jax.jacfwd(lambda eta: cumulative_logits(eta, THRESHOLD))(np.array([900.0, -900.0]))
    middle = -200.0 + np.log(np.expm1(1e-3))
    wanted = [[-200.0, middle, 0.0], [0.0, middle - 1e-3, -200.001]]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-80)
    assert np.isfinite(slope).all()


def test_thresholds_have_a_prior_that_can_be_drawn_from():
    prior = OrderStatistics(dist.Normal(1.0, 2.0), 3)
    drawn = np.asarray(prior.sample(jax.random.key(0), (20_000,)))
    assert (np.diff(drawn) > 0).all()
    # The middle of three: its distribution function is 3 F^2 - 2 F^3.
    share = (drawn[:, 1] < 0.0).mean()
    below = stats.norm.cdf(0.0, 1.0, 2.0)
    assert share == pytest.approx(3 * below**2 - 2 * below**3, abs=4 * 0.5 / np.sqrt(20_000))
    grid = np.linspace(-9, 11, 61)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    pairs = np.exp(OrderStatistics(dist.Normal(1.0, 2.0), 2).log_prob(np.stack([a, b], -1)))
    total = np.sum(np.where(a < b, pairs, 0.5 * pairs * (a == b))) * (grid[1] - grid[0]) ** 2
    assert total == pytest.approx(1.0, abs=1e-3)


def test_names_and_priors_of_an_ordered_model():
    model = hj.formula("word ~ x + h + (x | g)", FRAME, "ordered")
    assert model.dims["threshold"] == ("thresholds",)
    assert model.labels["thresholds"] == ("no|perhaps", "perhaps|yes")
    assert model.blocks["threshold"] == "coefficient"
    assert "b_Intercept" not in model.blocks
    assert model.data["X"].shape == (ROWS, 2)
    tree = str(model.levels())
    assert "rows: 24" in tree and "rows of" not in tree
    prior = model.data["priors"]["threshold"].base
    wide = np.sqrt(2.5**2 + (2.5 * X.mean() / X.std()) ** 2 + 2.5**2)
    assert prior.scale == pytest.approx(wide)
    row = model.priors().set_index("slot").loc["threshold"]
    assert row["distribution"].startswith("2 ordered StudentT(3, 0, ")
    given = hj.formula("word ~ 1", FRAME, "ordered", priors={"threshold": dist.Normal(0, 2)})
    assert given.priors()["distribution"].tolist() == ["2 ordered Normal(0, 2)"]


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("text ~ x", {"family": "ordered"}, "ColumnTypeError",
         r"order of the categories of `text` is not known.*pd\.Categorical\(data\['text'\]"),
        ("x ~ z", {"family": "ordered"}, "SupportError", r"text or whole numbers.*rows 0, 1"),
        ("one ~ x", {"family": "ordered"}, "SupportError", r"one category only \(1\)"),
        ("I(grade > 1) ~ x", {"family": "ordered"}, "ColumnTypeError", "must be a column"),
        ("word ~ 0 + x", {"family": "ordered"}, "FormulaError", r"thresholds.*leave `0 \+` out"),
        ("word ~ x", {"family": "ordered", "known_sd": 1.0}, "FormulaError", "gaussian or student"),
        ("word ~ x", {"family": "ordered", "censored": 1}, "FormulaError", "gaussian or lognormal"),
        ("word ~ x", {"family": "ordered", "priors": {"b_Intercept": dist.Normal(0, 1)}},
         "PriorError", "no prior slot 'b_Intercept'"),
        ("word ~ x", {"family": "ordered", "priors": {"threshold": dist.HalfNormal(1.0)}},
         "PriorError", "prior of each of the thresholds"),
        ("word ~ x", {"family": "ordered", "priors": {"threshold": dist.Normal(np.zeros(2), 1)}},
         "PriorError", "prior of each of the thresholds|has shape"),
    ],
)  # fmt: skip
def test_what_categories_cannot_be_is_refused(text, options, error, message):
    with pytest.raises(getattr(errors, error), match=f"(?s){message}"):
        hj.formula(text, FRAME, **options)


def test_other_data_have_the_same_categories():
    model = hj.formula("word ~ x + (1 | g)", FRAME, "ordered")
    few = model.with_data(FRAME.iloc[[1, 2, 3]])
    assert few.data["word"].tolist() == [0, 1, 1]
    plain = model.with_data(FRAME.iloc[[1, 2]].assign(word=["yes", "no"]))
    assert plain.data["word"].tolist() == [2, 0]
    with pytest.raises(errors.SupportError, match=r"category 'maybe' in row 1 .*'no', 'perhaps'"):
        model.with_data(FRAME.iloc[[1, 2]].assign(word=["yes", "maybe"]))
    again = rebuild(model.origin.describe(), model.origin.frame)
    assert again.fn == model.fn and again.labels == model.labels
    np.testing.assert_array_equal(again.data["word"], model.data["word"])


def test_predictions_of_an_ordered_response():
    model = hj.formula("word ~ x + (1 | g)", FRAME, "ordered")
    generator = np.random.default_rng(2)
    draws = {
        "threshold": np.sort(generator.normal(size=(*SHAPE, 2)), -1),
        "b_x": generator.normal(size=SHAPE), "sd_g": np.ones(SHAPE),
        "r_g": generator.normal(size=(*SHAPE, 6)),
    }  # fmt: skip
    post = posterior(model, draws)
    found = post.predict(FRAME[["x", "g"]])
    assert found.dims == ("rows", "word_category")
    assert tuple(found.coordinates["word_category"]) == WORDS
    eta = draws["b_x"][..., None] * X + draws["r_g"][..., GROUP]
    below = special.expit(draws["threshold"][..., None, :] - eta[..., None])
    edge = np.zeros((*eta.shape, 1))
    wanted = np.diff(np.concatenate([edge, below, edge + 1.0], -1))
    np.testing.assert_allclose(found.values, wanted, atol=1e-12)
    assert found.summary().loc[(3, "yes"), "mean"] == pytest.approx(wanted[..., 3, 2].mean())
    table = found.by_row()
    assert list(table.columns) == list(WORDS)
    np.testing.assert_allclose(table.to_numpy(), wanted.mean((0, 1)), atol=1e-12)
    observed = post.predict(FRAME[["x", "g"]], kind="draw")
    pd.testing.assert_frame_equal(observed.by_row(), observed.summary())
    assert observed.categories == WORDS and set(np.unique(observed.values)) <= {0, 1, 2}
    shares = observed.summary()
    assert list(shares.columns) == list(WORDS)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    # A row whose group is not known: the average over all groups, category by category.
    unnamed = post.predict(FRAME[["x", "g"]].iloc[:2].assign(g=[None, "b"]))
    eta = draws["b_x"][..., None] * X[0] + draws["r_g"]
    first = special.expit(draws["threshold"][..., :1] - eta).mean(-1)
    np.testing.assert_allclose(unnamed.values[..., 0, 0], first, atol=1e-12)
    np.testing.assert_allclose(unnamed.values[..., 1, :], wanted[..., 1, :], atol=1e-12)
    groups = draws["sd_g"] ** 2
    shares = post.variance_partition().shares["g"]
    np.testing.assert_allclose(shares, groups / (groups + np.pi**2 / 3))


FAMILIES = {"ordered": "word ~ x + (1 | g)", "categorical": "text ~ x + (z | g)"}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_padded_data_are_the_same_model(family):
    first = hj.formula(FAMILIES[family], FRAME, family)
    (bucket,) = make_buckets({0: first, 1: first.with_data(FRAME.iloc[:19])})
    assert bucket.padding.classes and not bucket.note


def test_categorical_response_has_the_density_of_scipy():
    priors = {"b_Intercept": dist.Normal(0.0, 3.0), "b": dist.Normal(0.0, 2.0)}
    priors |= {"b_car_x": dist.Normal(1.0, 1.0), "sd": dist.HalfNormal(1.5), "cor": 2.0}
    priors |= {"sd_walk_g": dist.Exponential(2.0)}
    model = hj.formula("text ~ x + (z | g)", FRAME, "categorical", priors=priors)
    codes = np.array([2, 0, 1, 0] * 6)
    np.testing.assert_array_equal(model.data["text"], codes)
    generator = np.random.default_rng(4)
    params, eta, wanted = {}, [np.zeros(ROWS)], 0.0
    root = np.array([[1.0, 0.0], [0.6, 0.8]])
    for label in ("car", "walk"):
        start, slope = generator.normal(size=2)
        sd, effect = generator.uniform(0.5, 1.5, size=2), generator.normal(size=(6, 2))
        params |= {f"b_{label}_Intercept": start, f"b_{label}_x": slope, f"sd_{label}_g": sd}
        params |= {f"L_{label}_g": root, f"r_{label}_g": effect}
        eta.append(start + slope * X + effect[GROUP, 0] + effect[GROUP, 1] * Z)
        wanted += stats.norm.logpdf(start, 0, 3)
        wanted += (
            stats.norm.logpdf(slope, 1, 1) if label == "car" else stats.norm.logpdf(slope, 0, 2)
        )
        wanted += np.sum(
            stats.expon.logpdf(sd, scale=0.5)
            if label == "walk"
            else stats.halfnorm.logpdf(sd, scale=1.5)
        )
        cov = np.diag(sd) @ root @ root.T @ np.diag(sd)
        wanted += np.sum(stats.multivariate_normal.logpdf(effect, cov=cov))
        with jax.enable_x64(True):
            wanted += float(dist.LKJCholesky(2, 2.0).log_prob(root))
    wanted += np.sum(special.log_softmax(np.stack(eta, -1), axis=-1)[np.arange(ROWS), codes])
    assert density(model, params) == pytest.approx(wanted, abs=1e-10)


def test_names_and_priors_of_a_categorical_model():
    model = hj.formula("text ~ x + h + (z | g)", FRAME, "categorical")
    assert [name for name in model.blocks if name.startswith(("b_", "sd_", "cor_", "r_"))] == [
        "b_car_Intercept", "b_car_x", "b_car_h", "b_walk_Intercept", "b_walk_x", "b_walk_h",
        "sd_car_g", "cor_car_g", "r_car_g", "sd_walk_g", "cor_walk_g", "r_walk_g",
    ]  # fmt: skip
    assert model.dims["b_car_h"] == model.dims["b_walk_h"] == ("h",)
    assert model.dims["r_car_g"] == model.dims["r_walk_g"] == ("g_term",)
    assert [name for name in model.data if name.startswith("Z_")] == ["Z_g"]
    table = model.priors().set_index("slot")
    assert table.loc["b_car_x", "also_set_by"] == "b_x, b"
    assert table.loc["sd_walk_g__z", "also_set_by"] == "sd_walk_g, sd_g__z, sd_g, sd"
    assert "in the predictor of walk" in table.loc["b_walk_x", "applies_to"]
    second = hj.formula("text ~ x + (z || g)", FRAME, "categorical")
    assert {"r_car_g__Intercept", "r_walk_g__z"} <= set(second.blocks)
    reference = FRAME.assign(text=pd.Categorical(FRAME.text, ["walk", "bus", "car"]))
    assert "b_bus_x" in hj.formula("text ~ x", reference, "categorical").blocks
    assert "b_3_x" in hj.formula("grade ~ x", FRAME, "categorical").blocks


def test_predictions_of_a_categorical_response():
    model = hj.formula("text ~ x", FRAME, "categorical")
    generator = np.random.default_rng(3)
    draws = {name: generator.normal(size=SHAPE) for name in model.data["priors"]}
    post = posterior(model, draws)
    eta = [np.zeros((*SHAPE, ROWS))]
    for label in ("car", "walk"):
        slope = draws[f"b_{label}_x"][..., None] * X
        eta.append(draws[f"b_{label}_Intercept"][..., None] + slope)
    found = post.predict(FRAME[["x"]])
    np.testing.assert_allclose(found.values, special.softmax(np.stack(eta, -1), -1), atol=1e-12)
    assert tuple(found.coordinates["text_category"]) == ("bus", "car", "walk")
    with pytest.raises(errors.ModelError, match=r"categorical: each category has a predictor"):
        post.r2()
    grouped = hj.formula("text ~ x + (1 | g)", FRAME, "categorical")
    draws = {
        name: generator.uniform(1.0, 2.0, size=(*SHAPE, *[6] * name.startswith("r_")))
        for name, block in grouped.blocks.items()
    }
    with pytest.raises(errors.ModelError, match="'text' is in categories, which have no mean"):
        posterior(grouped, draws).shrinkage()


def test_offsets_of_a_categorical_response_are_refused():
    for text, options in (("text ~ x + offset(z)", {}), ("text ~ x", {"offset": "z"})):
        with pytest.raises(errors.FormulaError, match="one offset for all of them has no meaning"):
            hj.formula(text, FRAME, "categorical", **options)
