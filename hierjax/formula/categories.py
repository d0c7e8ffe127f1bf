"""Responses in categories: their order, learnt once, and the number of every row's category."""

from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import ColumnTypeError, SupportError
from hierjax.formula.design import Design
from hierjax.formula.frame import listed_rows
from hierjax.formula.terms import Factor, Side, Term

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20


def build_categories(
    factor: Factor, frame: "pd.DataFrame", *, ordered: bool
) -> tuple[Design, tuple[Any, ...]]:
    """Learn the categories of a response, the first of which is the lowest or the reference.

    Categories are those of the data: levels of a categorical column in their order, other text in
    alphabetical order (where order does not matter), whole numbers from the smallest.

    Returns
    -------
    design : Design
        Of the one column of the response.
    categories : tuple
        Their labels.

    Raises
    ------
    ColumnTypeError
        The response is no column, or its order is not known.
    SupportError
        It is not in whole numbers, or has one category only.
    """
    name = factor.text
    if factor.expression is not None:
        raise ColumnTypeError(
            f"A response in categories must be a column, not the expression `{name}`; add it to "
            "the data."
        )
    column = frame[name]
    if hasattr(column, "cat"):
        if ordered and not column.cat.ordered:
            raise ColumnTypeError(
                f"The order of the categories of `{name}` is not known: text has none. Write "
                f"data[{name!r}] = pd.Categorical(data[{name!r}], [lowest, ..., highest], "
                "ordered=True), or use whole numbers."
            )
        found: tuple[Any, ...] = tuple(column.cat.categories.tolist())
    else:
        values = column.to_numpy()
        bad = values != np.floor(values)
        if bad.any():
            raise SupportError(
                f"Categories of the response `{name}` must be text or whole numbers, but they are "
                f"not in {listed_rows(bad)} (the first value is {values[bad][0]:g}). Round them, "
                "or choose another family."
            )
        found = tuple(np.unique(values.astype(np.int64)).tolist())
    if len(found) < 2:
        only = ", ".join(map(repr, found))
        raise SupportError(
            f"The response `{name}` has one category only ({only}), so there is nothing to learn "
            "from it."
        )
    return Design(Side(False, (Term((factor,)),)), (), None, {}), found


def codes_of(design: Design, frame: "pd.DataFrame", categories: tuple[Any, ...]) -> np.ndarray:
    """Return the number of the category of every row, from 0, shape (rows,).

    Raises
    ------
    SupportError
        A row has a category that the model was not built with.
    """
    import pandas as pd

    (name,) = design.side.columns
    column = frame[name]
    values = np.asarray(column.astype(object) if hasattr(column, "cat") else column)
    codes = pd.Index(categories).get_indexer(values)
    bad = codes < 0
    if bad.any():
        known = ", ".join(repr(each) for each in categories[:SHOWN])
        raise SupportError(
            f"The response `{name}` has the category {values[bad][0]!r} in {listed_rows(bad)}, "
            f"which the model was not built with. Its categories: {known}."
        )
    return codes.astype(np.int64)
