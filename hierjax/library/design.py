"""What a classic design consists of, and the checks that their builders share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from hierjax.errors import (
    ColumnTypeError,
    DataError,
    EmptyDataError,
    GroupCountError,
    GroupIndexError,
    LengthError,
    MissingValueError,
    NonFiniteError,
    PriorError,
)
from hierjax.groups import encode
from hierjax.model import Model


@dataclasses.dataclass(frozen=True)
class Design:
    """One row of the table of designs.

    Attributes
    ----------
    fn
        The NumPyro function, written with centred effects.
    build
        Checks the user's data and returns a `Model` of `fn`.
    example
        Returns a small model of the design, for the test grid and a first look.
    """

    fn: Callable[..., None]
    build: Callable[..., Model]
    example: Callable[[], Model]


def column(name: str, values: Any, length: int | None = None) -> np.ndarray:
    """Return `values` as a finite float array of shape (length,), or say what is wrong with it.

    Raises
    ------
    ColumnTypeError, EmptyDataError, LengthError, MissingValueError, NonFiniteError
        The message names the argument and the first rows.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        try:
            array = array.astype(float)
        except (TypeError, ValueError):
            raise ColumnTypeError(f"`{name}` must hold numbers; got {array.dtype}.") from None
    if array.ndim != 1:
        raise LengthError(f"`{name}` must have one dimension; got shape {array.shape}.")
    if not array.size:
        raise EmptyDataError(f"`{name}` is empty: there is nothing to fit.")
    if length is not None and len(array) != length:
        raise LengthError(f"`{name}` has {len(array)} rows, but there are {length} of `y`.")
    array = array.astype(float)
    for wrong, error, word in (
        (np.isnan(array), MissingValueError, "missing"),
        (np.isinf(array), NonFiniteError, "infinite"),
    ):
        if wrong.any():
            raise error(f"`{name}` is {word} in {rows_text(wrong)}; drop or correct those rows.")
    return array


def group_index(values: Any, length: int) -> tuple[np.ndarray, list[Any]]:
    """Return (index, labels) of the grouping factor `group` with `length` rows.

    Raises
    ------
    LengthError, MissingValueError, GroupIndexError, GroupCountError
        A wrong number of rows, a missing label, a negative index, or so few groups, or so many,
        that the spread between groups cannot be told from the spread within.
    """
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != length:
        raise LengthError(f"`group` has shape {array.shape}, but there are {length} rows of `y`.")
    if array.dtype.kind == "i" and (array < 0).any():
        raise GroupIndexError(
            f"`group` is negative in {rows_text(array < 0)}; -1 is how pandas codes a missing "
            "label. Drop those rows, or give the labels themselves."
        )
    index, labels = encode(values)
    if len(labels) < 2:
        raise GroupCountError(
            "`group` has one group only, so there is no spread between groups to learn; fit the "
            "model without groups."
        )
    if len(labels) == length:
        raise GroupCountError(
            f"`group` has as many groups as rows ({length}), so the spread between groups cannot "
            "be told from the spread within; give several rows a group, or known standard errors "
            "(eight_schools)."
        )
    return index, list(labels)


def positive(name: str, values: np.ndarray) -> np.ndarray:
    """Return `values` if all are above zero, else raise `DataError` naming the rows."""
    if (values <= 0).any():
        raise DataError(f"`{name}` must be above zero; it is not in {rows_text(values <= 0)}.")
    return values


def hyper(name: str, value: Any, *, above_zero: bool = True) -> np.ndarray:
    """Return a prior's parameter as a traced scalar, so that changing it re-uses the program.

    Raises
    ------
    PriorError
        It is not a finite number, or not above zero where it must be.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise PriorError(f"`{name}` must be a number; got {value!r}.") from None
    if not np.isfinite(number) or (above_zero and number <= 0):
        bound = " above zero" if above_zero else ""
        raise PriorError(f"`{name}` must be a finite number{bound}; got {value!r}.")
    return np.asarray(number)


def rows_text(wrong: np.ndarray, shown: int = 5) -> str:
    """Name the first rows where `wrong` is true, counted from zero: "rows 3, 17 and 4 more"."""
    where = np.flatnonzero(wrong)
    more = f" and {len(where) - shown} more" if len(where) > shown else ""
    listed = ", ".join(str(row) for row in where[:shown])
    return f"row{'s' if len(where) > 1 else ''} {listed}{more}"
