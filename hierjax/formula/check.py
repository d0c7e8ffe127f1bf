"""Checks that need the data: each raises its own error with the column, the rows and the remedy."""

from collections.abc import Sequence

import numpy as np

from hierjax.errors import GroupCountError, LengthError, RankError, SupportError
from hierjax.formula.families import Family
from hierjax.formula.frame import listed_rows
from hierjax.formula.groups import Grouping

TOLERANCE = 1e-11
"""Part of a unit column left over by the columns before it, under which it adds nothing."""


def check_rank(matrix: np.ndarray, labels: Sequence[str], place: str) -> None:
    """Refuse columns that are linear combinations of the columns before them.

    Raises
    ------
    RankError
        Names each such column and the columns that make it up.
    """
    norms = np.linalg.norm(matrix, axis=0)
    unit = matrix / np.where(norms > 0, norms, 1.0)
    basis = np.zeros((matrix.shape[0], 0))
    kept: list[int] = []
    found: list[str] = []
    for column in range(matrix.shape[1]):
        rest = unit[:, column]
        # Projecting twice keeps the basis orthogonal to rounding error.
        for _ in range(2):
            rest = rest - basis @ (basis.T @ rest)
        left = np.linalg.norm(rest)
        if left > TOLERANCE:
            basis = np.column_stack([basis, rest / left])
            kept.append(column)
            continue
        found.append(f"`{labels[column]}` {_made_of(unit, column, kept, labels)}")
    if found:
        remedy = "Leave them out of the formula."
        if any(_is_cubic_spline(label) for label in labels):
            remedy = "With an intercept, write cr(..., constraints='center'), the same for cs, cc."
        raise RankError(f"Columns of {place} are linearly dependent: {'; '.join(found)}. {remedy}")


def _is_cubic_spline(label: str) -> bool:
    """Whether a column is of a spline whose columns add up to a constant unless constrained."""
    return label.startswith(("cr(", "cs(", "cc(")) and "constraints=" not in label


def _made_of(unit: np.ndarray, column: int, kept: list[int], labels: Sequence[str]) -> str:
    if not unit[:, column].any():
        return "is 0 in every row"
    if len(kept) >= unit.shape[0]:
        return f"(there are only {unit.shape[0]} rows)"
    weights = np.linalg.lstsq(unit[:, kept], unit[:, column], rcond=None)[0]
    used = [f"`{labels[k]}`" for k, w in zip(kept, weights, strict=True) if abs(w) > 1e-6]
    if used == ["`Intercept`"]:
        return "has one value only, like `Intercept`"
    return f"follows from {', '.join(used)}"


def check_groups(grouping: Grouping, index: np.ndarray, *, residual_scale: bool) -> None:
    """Refuse a grouping factor from which nothing can be learnt.

    Raises
    ------
    GroupCountError
        There is one group, or one row a group beside a residual scale.
    """
    count = grouping.count
    if count == 1:
        raise GroupCountError(
            f"Grouping factor `{grouping.name}` has one group only ({grouping.labels[0]!r}), so "
            "its variation cannot be learnt. Leave its term out."
        )
    if residual_scale and count == len(index):
        raise GroupCountError(
            f"Grouping factor `{grouping.name}` has as many groups as there are rows ({count}), so "
            "its effects cannot be told from the residuals. Leave its term out, or give the "
            "residual standard deviations with known_sd=."
        )


def check_response(
    response: np.ndarray, family: Family, trials: np.ndarray | None, name: str
) -> None:
    """Refuse a response that the family cannot produce.

    Raises
    ------
    SupportError
        Names the rows.
    """
    bad = family.outside(response, trials)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        value = f"{response[row]:g}"
        if trials is not None:
            value = f"{value} of {trials[row]:g} trials"
        raise SupportError(
            f"The response `{name}` must be {family.support} for the family {family.name}, but it "
            f"is not in {listed_rows(bad)} (the first value is {value}). {family.remedy}"
        )


def check_positive(values: np.ndarray, role: str) -> None:
    """Refuse weights or standard deviations that are not positive.

    Raises
    ------
    SupportError
        Names the rows.
    """
    if not (values > 0).all():
        raise SupportError(
            f"The {role} must be positive, but they are not in {listed_rows(~(values > 0))}."
        )


def check_trials(values: np.ndarray) -> None:
    """Refuse numbers of trials that are negative or not whole.

    Raises
    ------
    SupportError
        Names the rows.
    """
    bad = (values < 0) | (values != np.floor(values))
    if bad.any():
        raise SupportError(
            f"Numbers of trials must be whole numbers, but they are not in {listed_rows(bad)}."
        )


def check_length(name: str, length: int, rows: int) -> None:
    """Refuse an array argument that does not have one value a row.

    Raises
    ------
    LengthError
        Names the argument and both lengths.
    """
    if length != rows:
        raise LengthError(
            f"`{name}` has {length} values, but the data have {rows} rows; give one value a row."
        )
