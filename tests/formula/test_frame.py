"""Data frames of all kinds, and data that cannot be used: each its own error with the place."""

import numpy as np
import pandas as pd
import pytest

from hierjax import errors
from hierjax.formula import formula
from hierjax.formula.frame import used_columns

RNG = np.random.default_rng(1)
ROWS = 24
GOOD = pd.DataFrame(
    {
        "y": RNG.normal(size=ROWS),
        "x": RNG.normal(size=ROWS),
        "n": RNG.poisson(4, size=ROWS),
        "bit": np.arange(ROWS) % 2,
        "g": np.repeat(list("abcd"), 6),
        "row": np.arange(ROWS),
        "one": np.ones(ROWS),
        "same": ["u"] * ROWS,
    }
)


def at(column, row, value):
    """GOOD with one value changed (as objects where the type must give way)."""
    values = GOOD[column].astype(object).tolist()
    values[row] = value
    return GOOD.assign(**{column: values})


@pytest.mark.parametrize(
    "frame",
    [
        GOOD,
        GOOD.to_dict("list"),
        {name: GOOD[name].to_numpy() for name in GOOD},
        GOOD.set_index(np.zeros(ROWS, dtype=int)),
        GOOD.to_records(index=False),
        GOOD.convert_dtypes(),
        GOOD.astype({"g": "category", "x": object}),
        GOOD.assign(g=pd.Categorical(GOOD.g, categories=list("zabcdy"))),
    ],
    ids=["frame", "lists", "arrays", "index", "records", "nullable", "category", "unused"],
)
def test_every_kind_of_frame_makes_the_same_model(frame):
    model, wanted = formula("y ~ x + (1 | g)", frame), formula("y ~ x + (1 | g)", GOOD)
    assert model.fn == wanted.fn
    assert tuple(model.labels["g"]) == ("a", "b", "c", "d")
    for name in ("y", "X", "g"):
        np.testing.assert_array_equal(model.data[name], wanted.data[name])


class Foreign:
    """A frame that is not pandas, with nothing but names and columns."""

    columns = tuple(GOOD.columns)

    def __getitem__(self, name):
        return GOOD[name].to_numpy()

    def __len__(self):
        return ROWS


def test_foreign_frame_is_read():
    np.testing.assert_array_equal(formula("y ~ x", Foreign()).data["X"][:, 1], GOOD.x)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", "b", "a"], ("a", "b")),
        ([10, 2, 10, 2], (2, 10)),
        ([True, False, True, False], (0, 1)),
        ([0.5, 0.25, 0.5, 0.25], (0.25, 0.5)),
        (pd.Categorical(["lo", "hi", "lo", "hi"], categories=["lo", "hi"]), ("lo", "hi")),
        (pd.array([10, 2, 10, 2], dtype="Int64"), (2, 10)),
    ],
)
def test_groups_keep_their_order(values, labels):
    model = formula("y ~ (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": values})
    assert tuple(model.labels["g"]) == labels
    assert [labels[i] for i in model.data["g"]] == list(values)


@pytest.mark.parametrize(
    ("text", "frame", "options", "error", "message"),
    [
        ("y ~ xx", GOOD, {}, "UnknownColumnError", "no column `xx`. Did you mean `x`"),
        ("y ~ (1 | school)", GOOD, {}, "UnknownColumnError", "no column `school`.*Columns: `y`"),
        ("y ~ x", GOOD, {"weights": "w"}, "UnknownColumnError", "no column `w`"),
        (
            "y ~ x + n",
            at("x", 3, None),
            {},
            "MissingValueError",
            r"`x` in row 3 .*dropna\(subset=\['x'\]\)",
        ),
        ("y ~ (1 | g)", at("g", 5, None), {}, "MissingValueError", "`g` in row 5"),
        (
            "y ~ x",
            GOOD.assign(y=[np.nan] * 12 + [1.0] * 12, x=pd.array([None] + [1] * 23, "Int64")),
            {},
            "MissingValueError",
            "`y` in rows 0, 1, .* and 2 more .*; `x` in row 0",
        ),
        ("y ~ x", at("x", 3, np.inf), {}, "NonFiniteError", "Column `x` .* row 3"),
        ("y ~ log(bit)", GOOD, {}, "NonFiniteError", r"`log\(bit\)` .* rows 0, 2, 4"),
        ("log(bit) ~ x", GOOD, {}, "NonFiniteError", r"`log\(bit\)` .* rows 0, 2, 4"),
        ("y ~ scale(one)", GOOD, {}, "NonFiniteError", r"`scale\(one\)`"),
        ("y ~ x", GOOD.iloc[:0], {}, "EmptyDataError", "no rows"),
        ("y ~ x", {"y": [1.0, 2.0], "x": [1.0]}, {}, "LengthError", "`y` 2, `x` 1"),
        ("y ~ x", {"y": [1.0, 2.0], "x": np.ones((2, 2))}, {}, "LengthError", "`x` .*shape"),
        ("y ~ x", GOOD, {"weights": np.ones(3)}, "LengthError", "`weights` has 3 values.*24 rows"),
        ("y ~ x", GOOD, {"offset": [[1.0] * ROWS]}, "LengthError", "`offset=`"),
        ("g ~ x", GOOD, {}, "ColumnTypeError", r"response `g` holds text.*data\['g'\] == 'd'"),
        ("y ~ x", GOOD, {"weights": "g"}, "ColumnTypeError", "weights `g` holds text"),
        ("bs(y, df=4) ~ x", GOOD, {}, "ColumnTypeError", "one number a row"),
        ("C(g) ~ x", GOOD, {}, "ColumnTypeError", "one number a row"),
        (
            "y ~ x",
            GOOD.assign(x=pd.Timestamp("2020-01-01")),
            {},
            "ColumnTypeError",
            "`x` holds date",
        ),
        ("y ~ x", GOOD.assign(x=1j), {}, "ColumnTypeError", "`x` holds complex"),
        ("y ~ x", at("x", 2, "?"), {}, "ColumnTypeError", r"`x` mixes .*\(float, str\)"),
        ("y ~ x", at("x", 2, object()), {}, "ColumnTypeError", "`x` mixes"),
        ("y ~ x", 3, {}, "ColumnTypeError", "must be a data frame"),
        (
            "y ~ x",
            pd.concat([GOOD, GOOD[["x"]]], axis=1),
            {},
            "DataError",
            "two columns called `x`",
        ),
        ("y ~ I(g + 1)", GOOD, {}, "DataError", r"cannot be worked out.*I\(g \+ 1\)"),
        ("y ~ (1 | same)", GOOD, {}, "GroupCountError", "`same` has one group only .'u'."),
        ("y ~ (1 | row)", GOOD, {}, "GroupCountError", r"`row` has as many groups .*\(24\)"),
        (
            "y ~ (1 | g:row)",
            GOOD,
            {"family": "student_t"},
            "GroupCountError",
            "`g:row` has as many",
        ),
        ("n ~ x", GOOD, {"family": "bernoulli"}, "SupportError", "`n` must be 0 or 1"),
        ("y ~ x", GOOD, {"family": "poisson"}, "SupportError", "whole number, 0 or more"),
        (
            "n ~ x",
            at("n", 7, -1),
            {"family": "negative_binomial"},
            "SupportError",
            r"in row 7 .*first value is -1\)",
        ),
        ("n ~ x", at("n", 7, 2.5), {"family": "poisson"}, "SupportError", r"row 7 .*2\.5"),
        (
            "n / 3 ~ x",
            GOOD.assign(n=[1, 2, 3, 5] + [0] * 20),
            {"family": "binomial"},
            "SupportError",
            "row 3 .*first value is 5 of 3 trials",
        ),
        (
            "bit ~ x",
            GOOD,
            {"family": "binomial", "trials": -1},
            "SupportError",
            "Numbers of trials",
        ),
        (
            "bit ~ x",
            GOOD,
            {"family": "binomial", "trials": 1.5},
            "SupportError",
            "Numbers of trials",
        ),
        ("y ~ x", GOOD, {"weights": "bit"}, "SupportError", "weights must be positive.*rows 0, 2"),
        ("y ~ x", GOOD, {"known_sd": -1.0}, "SupportError", "standard errors must be positive"),
        ("bit ~ x", GOOD, {"family": "binomial"}, "FormulaError", "needs the number of trials"),
        ("bit ~ x", GOOD, {"trials": 3}, "FormulaError", "has no trials"),
        ("n / 3 ~ x", GOOD, {"family": "binomial", "trials": 3}, "FormulaError", "given twice"),
        ("n / 3 | trials(3) ~ x", GOOD, {"family": "binomial"}, "FormulaError", "given twice"),
        (
            "n ~ x",
            GOOD,
            {"family": "poisson", "known_sd": 1.0},
            "FormulaError",
            "gaussian or student_t",
        ),
        ("y | se(one) ~ x", GOOD, {"weights": "one"}, "FormulaError", "not both"),
        ("y ~ x + y", GOOD, {}, "FormulaError", "both sides"),
        ("y ~ x", GOOD, {"family": "poison"}, "FormulaError", "Did you mean `poisson`"),
        ("y ~ x", GOOD, {"family": None}, "FormulaError", "families are gaussian, student_t"),
        ("y ~ log(log)", GOOD.assign(log=GOOD.n + 1), {}, "FormulaError", "rename the column"),
        (None, GOOD, {}, "FormulaError", "A formula, the first argument, is a text"),
    ],
)
def test_bad_input_is_named(text, frame, options, error, message):
    with pytest.raises(getattr(errors, error), match=f"(?s){message}") as caught:
        formula(text, frame, **options)
    assert type(caught.value) is getattr(errors, error)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("n ~ (1 | row)", {"family": "poisson"}),
        ("bit / 1 ~ (1 | row)", {"family": "binomial"}),
        ("y | se(one) ~ (1 | row)", {}),
    ],
)
def test_one_row_a_group_is_legal_without_a_residual_scale(text, options):
    assert formula(text, GOOD, **options).data["num_row"] == ROWS


def test_only_used_columns_must_be_complete():
    frame = GOOD.assign(unused=None, also=np.inf)
    assert formula("y ~ x", frame).origin.table.columns.tolist() == ["y", "x"]


def test_the_frame_is_left_alone():
    before = GOOD.copy()
    used = used_columns(GOOD, ["x", "g"])
    used.loc[:, "x"] = 0.0
    formula("y ~ x + (1 | g)", GOOD)
    pd.testing.assert_frame_equal(GOOD, before)
