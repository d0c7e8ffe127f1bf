"""Checks of the columns that builders are given; every message names the column and the rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hierjax.errors import (
    ColumnTypeError,
    DataError,
    EmptyDataError,
    LengthError,
    MissingValueError,
    NonFiniteError,
    SupportError,
)


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


def counts(
    name: str, values: Any, length: int | None = None, *, most: np.ndarray | None = None
) -> np.ndarray:
    """Return `values` as an array of whole numbers from 0, at most `most`, of shape (length,).

    Raises
    ------
    SupportError
        A value is negative, not whole, or above `most`; the message names the rows.
    ColumnTypeError, EmptyDataError, LengthError, MissingValueError, NonFiniteError
        As of `column`.
    """
    array = column(name, values, length)
    wrong = (array < 0) | (array != np.floor(array))
    if wrong.any():
        raise SupportError(
            f"`{name}` holds counts, so whole numbers from 0; it does not in {rows_text(wrong)}."
        )
    if most is not None and (array > most).any():
        raise SupportError(f"`{name}` is more than the trials in {rows_text(array > most)}.")
    return array.astype(np.int64)


def design_matrix(name: str, values: Any, length: int) -> tuple[np.ndarray, list[Any]]:
    """Return a finite matrix (length, columns) and names of its columns; `None` has no columns.

    A data frame or a mapping gives the names; a vector is one column.

    Raises
    ------
    ColumnTypeError, LengthError, MissingValueError, NonFiniteError
        As of `column`, naming the column.
    """
    if values is None:
        return np.zeros((length, 0)), []
    if hasattr(values, "columns") or isinstance(values, Mapping):
        names = list(values)
        columns = [values[each] for each in names]
    else:
        array = np.asarray(values)
        if array.ndim > 2:
            raise LengthError(f"`{name}` must have two dimensions; got shape {array.shape}.")
        columns = [array] if array.ndim < 2 else list(array.T)
        names = [name] if array.ndim < 2 else [f"{name}{k}" for k in range(len(columns))]
    checked = [
        column(str(each), values, length) for each, values in zip(names, columns, strict=True)
    ]
    return np.stack(checked, axis=-1), names


def positive(name: str, values: np.ndarray) -> np.ndarray:
    """Return `values` if all are above zero, else raise `DataError` naming the rows."""
    if (values <= 0).any():
        raise DataError(f"`{name}` must be above zero; it is not in {rows_text(values <= 0)}.")
    return values


def rows_text(wrong: np.ndarray, shown: int = 5) -> str:
    """Name the first rows where `wrong` is true, counted from zero: "rows 3, 17 and 4 more"."""
    where = np.flatnonzero(wrong)
    more = f" and {len(where) - shown} more" if len(where) > shown else ""
    listed = ", ".join(str(row) for row in where[:shown])
    return f"row{'s' if len(where) > 1 else ''} {listed}{more}"


def spreads(columns: np.ndarray, names: Sequence[Any]) -> np.ndarray:
    """Return the sd of every column of a design, or raise `DataError` naming a constant one."""
    spread = np.std(columns, axis=0)
    for name, sd in zip(names, spread, strict=True):
        if sd == 0:
            raise DataError(
                f"Predictor {name!r} is constant, and there is a constant already; leave it out."
            )
    return spread


def by_group(
    values: np.ndarray, index: np.ndarray, num_groups: int, names: Sequence[Any], argument: str
) -> np.ndarray:
    """Return one row of predictors for each group, shape (groups, columns).

    Raises
    ------
    DataError
        A predictor varies within a group; `argument` is what the message calls the predictors.
    """
    of_groups = np.zeros((num_groups, values.shape[1]))
    of_groups[index] = values
    wrong = (of_groups[index] != values).T
    for name, rows in zip(names, wrong, strict=True):
        if rows.any():
            raise DataError(
                f"`{argument}` column {name!r} varies within groups, see {rows_text(rows)}; a "
                "predictor of rows cannot be one of groups."
            )
    return of_groups
