"""Design matrices against matrices made by hand, and the same design again for new data."""

import numpy as np
import pandas as pd
import pytest

from hierjax.errors import NonFiniteError, RankError, UnknownLevelError
from hierjax.formula import formula
from hierjax.formula.design import build_design
from hierjax.formula.frame import used_columns
from hierjax.formula.parse import parse

FRAME = pd.DataFrame(
    {
        "x": [1.0, 2.0, 4.0, 7.0, 3.0, 5.0],
        "z": [2, 1, 0, 5, 4, 1],
        "h": ["b", "a", "c", "a", "b", "c"],
        "k": [True, False, True, True, False, False],
        "o": pd.Categorical(
            ["low", "high", "mid", "low", "mid", "high"],
            categories=["low", "mid", "high", "never"],
            ordered=True,
        ),
        "a b": [0.5, 1.5, 2.5, 0.0, 1.0, 3.0],
        "year": [2001, 2002, 2003, 2001, 2002, 2003],
    }
)
ONE = np.ones(6)
X = FRAME.x.to_numpy()
Z = FRAME.z.to_numpy(dtype=float)
B = (FRAME.h == "b").to_numpy(dtype=float)
C = (FRAME.h == "c").to_numpy(dtype=float)
A = 1 - B - C
K = FRAME.k.to_numpy(dtype=float)


def design(right, frame=FRAME):
    side = parse(f"y ~ {right}").common
    return build_design(side, used_columns(frame, side.columns))


@pytest.mark.parametrize(
    ("right", "columns", "terms"),
    [
        ("1", [ONE], {"Intercept": None}),
        ("x", [ONE, X], {"Intercept": None, "x": None}),
        ("0 + x", [X], {"x": None}),
        ("x + z", [ONE, X, Z], {"Intercept": None, "x": None, "z": None}),
        ("x:z", [ONE, X * Z], {"Intercept": None, "x:z": None}),
        ("x*z", [ONE, X, Z, X * Z], {"Intercept": None, "x": None, "z": None, "x:z": None}),
        ("x:z + x", [ONE, X, X * Z], {"Intercept": None, "x": None, "x:z": None}),
        ("h", [ONE, B, C], {"Intercept": None, "h": ("b", "c")}),
        ("0 + h", [A, B, C], {"h": ("a", "b", "c")}),
        ("k", [ONE, K], {"Intercept": None, "k": None}),
        ("x*h", [ONE, X, B, C, X * B, X * C],
         {"Intercept": None, "x": None, "h": ("b", "c"), "x:h": ("b", "c")}),
        ("h:x", [ONE, A * X, B * X, C * X], {"Intercept": None, "h:x": ("a", "b", "c")}),
        ("C(k):h", [ONE, (1 - K) * B, K * B, (1 - K) * C, K * C, K],
         {"Intercept": None}),
        ("o", [ONE, FRAME.o == "mid", FRAME.o == "high"],
         {"Intercept": None, "o": ("mid", "high")}),
        ("C(year)", [ONE, FRAME.year == 2002, FRAME.year == 2003],
         {"Intercept": None, "C(year)": ("2002", "2003")}),
        ("C(h, Treatment('b'))", [ONE, A, C],
         {"Intercept": None, "C(h, Treatment('b'))": ("a", "c")}),
        ("C(h, contr.sum)", [ONE, A - C, B - C],
         {"Intercept": None, "C(h, contr.sum)": ("a", "b")}),
        ("log(x)", [ONE, np.log(X)], {"Intercept": None, "log(x)": None}),
        ("np.log1p(x)", [ONE, np.log1p(X)], {"Intercept": None, "np.log1p(x)": None}),
        ("I(x**2)", [ONE, X**2], {"Intercept": None, "I(x ** 2)": None}),
        ("I(x**-1)", [ONE, 1 / X], {"Intercept": None, "I(x ** -1)": None}),
        ("I(z**-1 * (z > 0) * 0 + x)", None, NonFiniteError),
        ("I(x > 3)", [ONE, X > 3], {"Intercept": None, "I(x > 3)": None}),
        ("I(h == 'b')", [ONE, B], {"Intercept": None, "I(h == 'b')": None}),
        ("`a b` + sqrt(`a b`)", [ONE, FRAME["a b"], np.sqrt(FRAME["a b"])],
         {"Intercept": None, "a b": None, "sqrt(`a b`)": None}),
        ("center(x)", [ONE, X - X.mean()], {"Intercept": None, "center(x)": None}),
        ("scale(x)", [ONE, (X - X.mean()) / X.std(ddof=1)], {"Intercept": None, "scale(x)": None}),
    ],
)  # fmt: skip
def test_matrix_is_the_one_made_by_hand(right, columns, terms):
    if columns is None:
        with pytest.raises(terms):
            design(right)
        return
    matrix, made = design(right)
    wanted = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    if right == "C(k):h":  # the order within this interaction is the library's
        assert np.linalg.matrix_rank(np.column_stack([matrix, wanted])) == matrix.shape[1]
        return
    np.testing.assert_allclose(matrix, wanted, atol=1e-14)
    assert {term.name: term.labels for term in made.terms} == terms
    assert made.width == matrix.shape[1] == len(made.column_labels)


@pytest.mark.parametrize(
    "right",
    ["x*h", "center(x) + scale(z)", "bs(x, df=4)", "cr(x, df=3, constraints='center')",
     "poly(x, 2)", "C(year) + o", "C(h, contr.sum):x", "log(x) + I(x**2)", "x:z:h"],
)  # fmt: skip
def test_new_data_get_the_same_design(right):
    matrix, made = design(right)
    order = [4, 1]
    rows = used_columns(FRAME.iloc[order], made.side.columns)
    np.testing.assert_allclose(made.matrix(rows), matrix[order], atol=1e-12)


@pytest.mark.parametrize("right", ["h", "C(h)", "x:h"])
def test_new_level_is_refused(right):
    _, made = design(right)
    new = used_columns({"x": [1.0, 2.0], "h": ["a", "d"]}, made.side.columns)
    with pytest.raises(UnknownLevelError, match=r"`h` has the value 'd' in row 1 .* 'a', 'b', 'c'"):
        made.matrix(new)


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ("x + I(2 * x)", "`I(2 * x)` follows from `x`"),
        ("x + I(2 * x + 1)", "`I(2 * x + 1)` follows from `Intercept`, `x`"),
        ("x + I(x - x)", "`I(x - x)` is 0 in every row"),
        ("x + I(x - x + 3)", "has one value only, like `Intercept`"),
        ("bs(x, df=4) + h + poly(z, 3)", "there are only 6 rows"),
        ("cr(x, df=3)", "constraints='center'"),
        ("h + I(h == 'b')", "`I(h == 'b')` follows from `h[b]`"),
    ],
)
def test_dependent_columns_are_named(right, message):
    frame = FRAME.assign(y=[1.0, 3.0, 2.0, 5.0, 4.0, 0.0])
    with pytest.raises(RankError) as caught:
        formula(f"y ~ {right}", frame)
    assert message in str(caught.value)


def test_nearly_collinear_years_are_accepted():
    years = np.arange(1990.0, 2020.0)
    frame = {"y": np.sin(years), "t": years}
    assert formula("y ~ t + I(t**2)", frame).data["X"].shape == (30, 3)


def test_dependent_effects_of_a_group_are_named():
    frame = FRAME.assign(y=[1.0, 3.0, 2.0, 5.0, 4.0, 0.0], g=[1, 1, 2, 2, 3, 3])
    with pytest.raises(RankError, match="the group term of `g`"):
        formula("y ~ (x + I(2 * x) | g)", frame)


def test_one_level_is_no_term():
    with pytest.raises(RankError, match="`c` adds nothing"):
        design("c", {"c": ["u", "u"]})
