"""Which responses are limits: -1 and 1 for censored on the left and on the right, 0 for known."""

from typing import TYPE_CHECKING

import numpy as np

from hierjax.errors import SupportError
from hierjax.formula.design import Design, build_column, column_of
from hierjax.formula.frame import listed_rows
from hierjax.formula.terms import Factor, Side, Term

if TYPE_CHECKING:
    import pandas as pd

MARKS = {"left": -1, "none": 0, "right": 1}


def build_censoring(factor: Factor, frame: "pd.DataFrame") -> Design:
    """Make the design of the marks of censoring, which may be words.

    Raises
    ------
    ColumnTypeError
        They are neither one word nor one number a row.
    """
    if _in_words(factor, frame):
        return Design(Side(False, (Term((factor,)),)), (), None, {})
    return build_column(factor, frame, "censoring")[1]


def censoring_of(design: Design, frame: "pd.DataFrame") -> np.ndarray:
    """Mark of every row, shape (rows,): -1 left, 0 known, 1 right.

    Raises
    ------
    SupportError
        A mark is another one, or no response is known.
    """
    factor = design.side.terms[0].factors[0]
    if _in_words(factor, frame):
        given = np.asarray(frame[factor.text].astype(object))
        marks = np.array([MARKS.get(word, 2) for word in given])
    else:
        given = column_of(design, frame)
        marks = np.where(np.isin(given, list(MARKS.values())), given, 2).astype(np.int64)
    bad = marks == 2
    if bad.any():
        raise SupportError(
            f"Marks of censoring are 'none', 'left' and 'right', or 0, -1 and 1, but "
            f"`{factor.text}` has {given[bad][0]!r} in {listed_rows(bad)}. Values known to lie in "
            "an interval are not supported."
        )
    if marks.all():
        raise SupportError(
            f"Every response is censored (`{factor.text}` is 'none' or 0 in no row), so that the "
            "spread of the responses cannot be learnt. 'none' or 0 marks those that are known."
        )
    return marks


def _in_words(factor: Factor, frame: "pd.DataFrame") -> bool:
    return factor.expression is None and hasattr(frame[factor.text], "cat")
