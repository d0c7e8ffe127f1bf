"""What a formula Model is made of: names, hashing, default priors, new data, saving."""

import json

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

from hierjax.arguments import Arguments
from hierjax.errors import (
    ColumnTypeError,
    DataError,
    GroupIndexError,
    PriorError,
    SupportError,
    UnknownColumnError,
)
from hierjax.formula import Variance, formula, rebuild
from hierjax.formula.priors import resolve

RNG = np.random.default_rng(3)
ROWS = 30
FRAME = pd.DataFrame(
    {
        "y": 10 + 3 * RNG.normal(size=ROWS),
        "x": RNG.normal(5.0, 2.0, size=ROWS),
        "g": np.tile(list("abcde"), 6),
        "h": np.repeat(list("uvw"), 10),
        "n": RNG.poisson(6, size=ROWS),
        "s": RNG.uniform(1, 2, size=ROWS),
    }
)
SD_Y, SD_X, MEAN_X = FRAME.y.std(ddof=0), FRAME.x.std(ddof=0), FRAME.x.mean()


@pytest.mark.parametrize(
    ("text", "dims", "labels", "blocks"),
    [
        ("y ~ x", {}, {}, {"b_Intercept": "coefficient", "b_x": "coefficient", "sigma": "other"}),
        ("y ~ 0 + h + (1 | g)", {"b_h": ("h",)}, {"h": ("u", "v", "w"), "g": tuple("abcde")},
         {"b_h": "coefficient", "sd_g": "level", "r_g": "effect", "sigma": "other"}),
        ("y ~ (x | g)",
         {"sd_g": ("g_term",), "r_g": ("g_term",), "L_g": ("g_term", "g_term_bis"),
          "cor_g": ("g_term", "g_term_bis")},
         {"g": tuple("abcde"), "g_term": ("Intercept", "x"), "g_term_bis": ("Intercept", "x")},
         {"b_Intercept": "coefficient", "sd_g": "level", "L_g": "hidden", "cor_g": "level",
          "r_g": "effect", "sigma": "other"}),
        ("y ~ (h || g)", {"sd_g__h": ("g__h_term",), "r_g__h": ("g__h_term",)},
         {"g": tuple("abcde"), "g__h_term": ("h[v]", "h[w]")},
         {"b_Intercept": "coefficient", "sd_g__Intercept": "level", "r_g__Intercept": "effect",
          "sd_g__h": "level", "r_g__h": "effect", "sigma": "other"}),
        ("y ~ (1 | h:g)", {}, {"h:g": ("u:a", "u:b", "u:c", "u:d", "u:e", "v:a", "v:b", "v:c",
                                       "v:d", "v:e", "w:a", "w:b", "w:c", "w:d", "w:e")},
         {"b_Intercept": "coefficient", "sd_h:g": "level", "r_h:g": "effect", "sigma": "other"}),
    ],
)  # fmt: skip
def test_names_dimensions_and_blocks(text, dims, labels, blocks):
    model = formula(text, FRAME)
    assert dict(model.dims) == dims
    assert dict(model.labels) == labels
    assert dict(model.blocks) == blocks
    assert model.name == text


def test_columns_named_like_sites_keep_their_names():
    frame = FRAME.rename(columns={"y": "rows", "x": "sigma", "g": "X", "h": "priors"})
    model = formula("rows ~ sigma + (sigma | X) + (1 | priors)", frame)
    plain = formula("y ~ x + (x | g) + (1 | h)", FRAME)
    assert {"rows", "X", "priors", "X_", "priors_", "b_sigma", "sigma"} <= {
        *model.data,
        *model.blocks,
    }
    np.testing.assert_array_equal(model.data["X_"], plain.data["X"])
    np.testing.assert_array_equal(model.data["X"], plain.data["g"])
    outcome = formula("sigma ~ x", FRAME.rename(columns={"y": "sigma"}))
    assert "sigma_" in outcome.blocks
    assert formula("y ~ x + (1 | sigma)", FRAME.rename(columns={"g": "sigma"})).blocks["sigma_"]


def test_equal_formulas_share_programs_and_other_formulas_do_not():
    model = formula("y ~ x*h + (x | g)", FRAME)
    later = formula("y~x * h+( 1+x|g )", FRAME.assign(y=FRAME.y * 7, x=FRAME.x - 4))
    assert model.fn == later.fn
    assert hash(model.fn) == hash(later.fn)
    assert Arguments.of(model.data) == Arguments.of(later.data)
    user = formula("y ~ x*h + (x | g)", FRAME, priors={"b_x": dist.Normal(1.0, 2.0)})
    assert (user.fn, Arguments.of(user.data)) == (model.fn, Arguments.of(model.data))
    others = ["y ~ x*h + (x || g)", "y ~ x + (x | g)", "y ~ x*h + (1 | g)", "n ~ x*h + (x | g)"]
    assert len({model.fn, *(formula(text, FRAME).fn for text in others)}) == 5
    family = formula("y ~ x*h + (x | g)", FRAME, "student_t")
    variance = formula(
        "y ~ x*h + (x | g)", FRAME, priors={"sd_g": Variance(dist.InverseGamma(2.0, 1.0))}
    )
    assert model.fn not in (family.fn, variance.fn)


def test_data_are_numpy_and_every_prior_is_traced():
    model = formula("y ~ x + (x | g)", FRAME, priors={"sd": Variance(dist.InverseGamma(2, 1))})
    assert model.data["num_rows"] == ROWS and model.data["num_g"] == 5
    leaves = jax.tree.leaves(model.data["priors"])
    assert leaves and all(isinstance(leaf, np.ndarray) for leaf in leaves)
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float64)}


def priors_of(text, *args, **options):
    table = formula(text, FRAME, *args, **options).priors()
    return dict(zip(table["slot"], table["distribution"], strict=True))


def test_default_priors_follow_the_written_rules():
    model = formula("y ~ x + (x | g)", FRAME)
    priors = model.data["priors"]
    slope = 2.5 * SD_Y / SD_X
    assert priors["b_x"].scale == pytest.approx(slope)
    assert priors["b_Intercept"].loc == pytest.approx(FRAME.y.mean())
    assert priors["b_Intercept"].scale == pytest.approx(np.hypot(2.5 * SD_Y, slope * MEAN_X))
    np.testing.assert_allclose(priors["sd_g"].scale, [2.5 * SD_Y, slope])
    assert priors["sigma"].rate == pytest.approx(1 / SD_Y)
    assert priors["L_g"].concentration == 2.0
    weighted = formula("y ~ x", FRAME, weights=np.full(ROWS, 4.0)).data["priors"]
    assert weighted["sigma"].rate == pytest.approx(0.5 / SD_Y)
    shifted = formula("y ~ 1", FRAME, offset="s").data["priors"]["b_Intercept"]
    assert shifted.loc == pytest.approx((FRAME.y - FRAME.s).mean())
    size = np.sqrt((FRAME.y**2).mean())
    bare = formula("y ~ 0 + x + (1 | g)", FRAME).data["priors"]
    assert bare["b_x"].scale == pytest.approx(2.5 * size / np.sqrt((FRAME.x**2).mean()))
    assert bare["sd_g"].scale == pytest.approx(2.5 * size)


def test_default_priors_of_other_links_are_on_the_link_scale():
    counts = formula("n ~ x + (1 | g) + offset(log(s))", FRAME, "negative_binomial").data["priors"]
    rate = np.log(FRAME.n.sum() / FRAME.s.sum())
    assert counts["b_Intercept"].loc == pytest.approx(rate)
    assert counts["b_x"].scale == pytest.approx(2.5 / SD_X)
    assert counts["sd_g"].scale == 2.5
    zero = formula("z ~ 1", {"z": [0, 0, 0, 0]}, "poisson").data["priors"]["b_Intercept"]
    assert zero.loc == pytest.approx(np.log(0.5 / 4))
    assert formula("n / 30 ~ 1", FRAME, "binomial").data["priors"]["b_Intercept"].loc == 0.0


def test_constant_response_has_proper_priors():
    assert formula("z ~ 1", {"z": [2.0, 2.0]}).data["priors"]["sigma"].rate == 1.0


def test_table_of_priors():
    table = formula(
        "y ~ x + h + (x | g)",
        FRAME,
        priors={"b": dist.Normal(0, 5), "sd_g__x": dist.Exponential(2.0), "cor": 4},
    ).priors()
    assert table["slot"].tolist() == [
        "b_Intercept", "b_x", "b_h", "sd_g__Intercept", "sd_g__x", "cor_g", "sigma",
    ]  # fmt: skip
    assert table["source"].tolist() == [
        "default", "user (b)", "user (b)", "default", "user (sd_g__x)", "user (cor)", "default",
    ]  # fmt: skip
    rows = table.set_index("slot")
    assert rows.loc["b_h", "distribution"] == "Normal(0, 5)"
    assert rows.loc["sd_g__x", "distribution"] == "Exponential(2)"
    assert rows.loc["cor_g", "distribution"] == "LKJCholesky(2, 4)"
    assert rows.loc["sd_g__Intercept", "also_set_by"] == "sd_g, sd"


@pytest.mark.parametrize(
    ("priors", "shown"),
    [
        ({"sd": dist.HalfNormal(3.0)}, {"sd_g": "HalfNormal(3)"}),
        ({"sd": dist.HalfNormal(3.0), "sd_g": dist.Gamma(2.0, 1)}, {"sd_g": "Gamma(2, 1)"}),
        ({"sd_g": dist.HalfNormal(3.0), "sd_g__x": dist.Exponential(1.0)},
         {"sd_g__Intercept": "HalfNormal(3)", "sd_g__x": "Exponential(1)"}),
        ({"sd_g": dist.HalfNormal(np.array([1.0, 2.0]))}, {"sd_g": "HalfNormal([1, 2])"}),
        ({"sd": dist.Uniform(0.0, 9.0)}, {"sd_g": "Uniform(0, 9)"}),
        ({"sd": dist.TruncatedNormal(0.0, 1.0, low=0.0)},
         {"sd_g": "LeftTruncatedDistribution(Normal(0, 1), low=0)"}),
        ({"sd_g": Variance(dist.InverseGamma(2.0, 1.0))},
         {"sd_g": "variance ~ InverseGamma(2, 1)"}),
        ({"cor_g": dist.LKJ(2, 1.5)}, {"cor_g": "LKJCholesky(2, 1.5)"}),
        ({"cor_g": dist.LKJCholesky(2, 1.5)}, {"cor_g": "LKJCholesky(2, 1.5)"}),
        ({"b_h": dist.Normal(np.zeros(2), np.array([1.0, 2.0]))}, {"b_h": "Normal(0, [1, 2])"}),
        ({"b": dist.StudentT(3.0, 0.0, 1.0), "b_x": dist.HalfNormal(1.0)},
         {"b_h": "StudentT(3, 0, 1)", "b_x": "HalfNormal(1)"}),
    ],
)  # fmt: skip
def test_the_most_specific_slot_wins_and_survives_saving(priors, shown):
    model = formula("y ~ x + h + (x | g)", FRAME, priors=priors)
    table = model.priors().set_index("slot")["distribution"]
    for slot, text in shown.items():
        found = table[slot] if slot in table else table[f"{slot}__Intercept"]
        assert found == text or (slot == "sd_g" and text.endswith("[1, 2])"))
    saved = json.loads(json.dumps(model.origin.describe()))
    again = rebuild(saved, model.origin.frame)
    assert again.fn == model.fn
    assert again.priors().equals(model.priors())


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({"sdg": dist.HalfNormal(1.0)}, "no prior slot 'sdg'. Did you mean `sd_g`.*Slots: b_Int"),
        ({"nu": dist.Gamma(2.0, 1.0)}, "no prior slot 'nu'"),
        ({"sd_g": dist.Normal(0.0, 1.0)}, "`sd_g` is positive, but the prior Normal"),
        ({"sigma": dist.Uniform(-1.0, 1.0)}, "`sigma` is positive"),
        ({"sd": dist.TruncatedNormal(0.0, 1.0, low=-1e-2)}, "`sd_g` is positive"),
        ({"b_x": dist.Poisson(2.0)}, "distribution over numbers"),
        ({"b_x": dist.LKJ(2)}, "has shape"),
        ({"b_x": dist.MultivariateNormal(np.zeros(2), np.eye(2))}, "over numbers|has shape"),
        ({"b_x": 3.0}, "must be a NumPyro distribution.*got 3.0"),
        ({"b_x": Variance(dist.HalfNormal(1.0))}, "`b_x` is not a standard deviation"),
        ({"b_x": dist.Normal(np.zeros(3), 1.0)}, r"has shape \(3,\).*must be scalar"),
        ({"b_h": dist.Normal(np.zeros(3), 1.0)}, r"must be scalar or of shape \(2,\)"),
        ({"sd_g__x": Variance(dist.HalfNormal(1.0))}, "one kind for all"),
        ({"sd_g__x": dist.Uniform(0.0, 1.0)}, "independent with `||`"),
        ({"cor": dist.LKJ(3, 1.0)}, "`cor_g` is 2 x 2"),
        ({"cor": -1.0}, "positive concentration; got -1.0"),
        ({"cor": dist.Normal(0.0, 1.0)}, "positive concentration"),
    ],
)
def test_unfit_priors_are_refused(priors, message):
    with pytest.raises(PriorError, match=f"(?s){message}"):
        formula("y ~ x + h + (x | g)", FRAME, priors=priors)


def test_only_numpyro_distributions_are_rebuilt():
    model = formula("y ~ x", FRAME, priors={"b_x": dist.Normal(0.0, 1.0)})
    saved = model.origin.describe()
    for name in ("Distribution.__init__", "os", "constraints", "transforms"):
        saved["priors"]["b_x"]["class"] = name
        with pytest.raises(PriorError, match="not a distribution of NumPyro"):
            rebuild(saved, model.origin.frame)
    assert resolve([], {}) == ()


MODELS = [
    ("y ~ x*h + (x | g) + (1 | h:g)", {}),
    ("y ~ scale(s) + bs(x, df=4) + C(n) + (0 + h | g)", {}),
    ("n / 40 ~ poly(x, 2) + (1 | g)", {"family": "binomial"}),
    ("n ~ x + offset(log(s))", {"family": "poisson", "weights": "s"}),
    ("scale(y) ~ h", {"family": "student_t"}),
    ("y | se(s) ~ 1 + (1 | g)", {"offset": 3}),
    ("y ~ x", {"weights": FRAME.s.to_numpy(), "offset": np.ones(ROWS)}),
]


@pytest.mark.parametrize(("text", "options"), MODELS)
def test_a_saved_description_makes_the_same_model(text, options):
    frame = FRAME.assign(g=pd.Categorical(FRAME.g, categories=list("edcba")))
    model = formula(text, frame, **options)
    again = rebuild(json.loads(json.dumps(model.origin.describe())), model.origin.frame)
    assert again.fn == model.fn
    assert Arguments.of(again.data) == Arguments.of(model.data)
    jax.tree.map(np.testing.assert_array_equal, dict(again.data), dict(model.data))
    assert again.labels == model.labels


@pytest.mark.parametrize(("text", "options"), MODELS)
def test_new_data_get_the_same_design_and_groups(text, options):
    model = formula(text, FRAME, **options)
    rows = [7, 21]
    arrays = {k: np.asarray(v)[rows] for k, v in options.items() if isinstance(v, np.ndarray)}
    names = model.fn.arguments
    for response in (True, False):
        new = model.origin.data_for(FRAME.iloc[rows], response=response, **arrays)
        assert (model.fn.response in new) == response
        assert new[names.num_rows] == 2
        for name, value in new.items():
            old = model.data[name]
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(value, old[rows], atol=1e-12)
            elif name not in (names.num_rows, names.priors):
                assert value == old


def test_a_model_takes_another_frame():
    model = formula("y ~ x + (1 | g)", FRAME).with_data(FRAME.iloc[:12].assign(y=0.0))
    assert model.data["num_rows"] == 12 and not model.data["y"].any()


def test_prediction_needs_no_response():
    model = formula("log(y) ~ x + (1 | g)", FRAME.assign(y=FRAME.y.abs() + 1))
    data = model.origin.data_for({"x": [1.0], "g": ["c"]}, response=False)
    assert data["g"].tolist() == [2] and data["num_g"] == 5


@pytest.mark.parametrize(
    ("text", "new", "error", "message"),
    [
        ("y ~ (1 | g)", {"y": [1.0, 2.0, 3.0], "g": ["a", "q", "z"]}, GroupIndexError,
         r"without q, z of the grouping factor `g` \(in rows 1, 2"),
        ("y ~ (1 | g:h)", {"y": [1.0], "g": ["a"], "h": ["q"]}, GroupIndexError, "without a:q"),
        ("y ~ (1 | g)", {"y": [1.0], "g": [3]}, GroupIndexError, "without 3 of"),
        ("y ~ x", {"y": [1.0]}, UnknownColumnError, "`x`"),
        ("y ~ x", {"y": [1.0], "x": ["a"]}, ColumnTypeError, "must hold numbers"),
        ("y ~ h", {"y": [1.0], "h": [2.0]}, ColumnTypeError, "must hold categories"),
        ("n ~ x", {"n": [-1], "x": [2.0]}, SupportError, "row 0"),
        ("y ~ bs(x, df=4)", {"y": [1.0], "x": [99.0]}, DataError, "cannot be worked out"),
    ],
)  # fmt: skip
def test_new_data_that_do_not_fit(text, new, error, message):
    family = "poisson" if text.startswith("n") else "gaussian"
    with pytest.raises(error, match=message):
        formula(text, FRAME, family).origin.data_for(new)


def test_arrays_are_asked_for_again():
    model = formula("y ~ x", FRAME, weights=FRAME.s.to_numpy())
    with pytest.raises(DataError, match="`weights` was given as an array"):
        model.origin.data_for(FRAME)


def test_levels_are_read_from_a_formula_model():
    tree = str(formula("y ~ x + (x | g/h)", FRAME).levels())
    assert all(
        f"{plate}: {count}" in tree for plate, count in (("g", 5), ("g:h", 15), ("rows", 30))
    )
