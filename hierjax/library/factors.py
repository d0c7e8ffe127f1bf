"""Grouping factors that builders are given: indexes and labels, checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hierjax.errors import DataError, GroupCountError, GroupIndexError, LengthError
from hierjax.groups import encode, parent_of_group
from hierjax.library.columns import rows_text


def group_index(
    values: Any, length: int, name: str = "group", *, several_rows: bool = True
) -> tuple[np.ndarray, list[Any]]:
    """Return (index, labels) of the grouping factor `name` with `length` rows.

    `several_rows` refuses a factor with as many groups as rows, which a model with a residual sd
    cannot tell from the residuals.

    Raises
    ------
    LengthError, MissingValueError, GroupIndexError, GroupCountError
        A wrong number of rows, a missing label, a negative index, or so few groups, or so many,
        that the spread between groups cannot be told from the spread within.
    """
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != length:
        raise LengthError(f"`{name}` has shape {array.shape}, but there are {length} rows of `y`.")
    if array.dtype.kind == "i" and (array < 0).any():
        raise GroupIndexError(
            f"`{name}` is negative in {rows_text(array < 0)}; -1 is how pandas codes a missing "
            "label. Drop those rows, or give the labels themselves."
        )
    index, labels = encode(values)
    if len(labels) < 2:
        raise GroupCountError(
            f"`{name}` has one group only, so there is no spread between groups to learn; fit the "
            "model without groups."
        )
    if several_rows and len(labels) == length:
        raise GroupCountError(
            f"`{name}` has as many groups as rows ({length}), so the spread between groups cannot "
            "be told from the spread within; give several rows a group, or known standard errors "
            "(eight_schools)."
        )
    return index, list(labels)


def parent_index(
    child: np.ndarray, parent: Any, name: str, parent_name: str
) -> tuple[np.ndarray, list[Any]]:
    """Return (parent of every group, labels of the parents) of groups nested in larger ones.

    Parameters
    ----------
    child
        Index of the group of each row.
    parent
        Label of the larger group of each row.
    name, parent_name
        What messages call the two factors.

    Raises
    ------
    LengthError, MissingValueError, GroupCountError
        As of `group_index`.
    DataError
        A group lies in several larger ones.
    """
    index, labels = group_index(parent, len(child), parent_name)
    num_children = int(child.max()) + 1
    found = parent_of_group(child, index, num_children)
    if found is None:
        first = next(c for c in range(num_children) if len(np.unique(index[child == c])) > 1)
        row = int(np.flatnonzero(child == first)[0])
        raise DataError(
            f"`{name}` is not nested in `{parent_name}`: the group of row {row} lies in several "
            f"of them. If its labels repeat, join both labels into one."
        )
    if len(labels) == num_children:
        raise GroupCountError(
            f"`{parent_name}` has as many groups as `{name}` ({num_children}), so the two levels "
            "cannot be told apart; leave one out."
        )
    return found, labels


def label_list(name: str, labels: Sequence[Any] | None, length: int) -> list[Any]:
    """Return names of `length` units: those given, or numbers from 0.

    Raises
    ------
    LengthError
        There are not as many names as units.
    """
    if labels is None:
        return list(range(length))
    if len(labels) != length:
        raise LengthError(f"`{name}` has {len(labels)} names, but there are {length} rows of `y`.")
    return list(labels)
