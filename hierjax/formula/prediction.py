"""Rows to predict for: which belong to groups of the fit, which to new ones, and which to nobody.

A label that the fit has not seen is a new group, the same label in several rows the same one. A
combination such as `a:b` is new if it was not seen, whether or not its `a` was: a new child of a
known parent has the parent's effect and one of its own. A missing label stands for any group of the
fit that agrees with the labels that the row does have, each as likely as the others.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import ColumnTypeError, DataError, GroupIndexError, MissingValueError
from hierjax.formula.frame import listed_rows
from hierjax.formula.groups import Grouping

if TYPE_CHECKING:
    import pandas as pd

MOST_CANDIDATES = 1_000_000  # rows in all, once each missing label is filled in by every candidate


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedRows:
    """Rows with their groups.

    Attributes
    ----------
    rows
        Row of the table that each row here belongs to, ascending.
    index
        Grouping factor -> group of each row; new groups have numbers after those of the fit.
    labels
        Grouping factor -> labels of its groups, those of the fit first.
    repeated
        Whether a row of the table stands here more than once.
    """

    rows: np.ndarray
    index: Mapping[str, np.ndarray]
    labels: Mapping[str, tuple[Any, ...]]
    repeated: bool


def rows_of_groups(
    groupings: Sequence[Grouping], known: "pd.DataFrame", new: "pd.DataFrame", groups: str
) -> GroupedRows:
    """Give every row its groups.

    Parameters
    ----------
    groupings
        Grouping factors with the groups of the fit.
    known, new
        Columns of the grouping factors: in the data of the fit, and in the rows to predict for,
        where values may be missing.
    groups
        "sample": new groups are numbered, and a row with a missing label is repeated for each group
        that it may belong to. "population": a missing label is a new group. "error": neither is
        allowed.

    Raises
    ------
    GroupIndexError, MissingValueError
        Groups are new, or labels missing, and that is not allowed.
    ColumnTypeError
        Labels are numbers where those of the fit are text, or the other way round.
    DataError
        There are too many candidates for missing labels.
    """
    levels = {
        column: values
        for grouping in groupings
        for column, values in zip(grouping.columns, grouping.levels, strict=True)
    }
    labels = {column: _as_labels(new[column]) for column in levels}
    for column, values in labels.items():
        _check_type(column, values, levels[column])
    if groups == "error":
        _check_present(labels)
    rows = np.arange(len(new))
    if groups == "sample":
        rows, labels = _filled_in(groupings, known, labels, rows)
    index, named = {}, {}
    for grouping in groupings:
        each = [labels[column] for column in grouping.columns]
        index[grouping.name], fresh = _placed(grouping, each, rows)
        if groups == "error" and fresh:
            _refuse(grouping, index[grouping.name], fresh)
        named[grouping.name] = (*grouping.labels, *fresh)
    return GroupedRows(rows, index, named, len(rows) != len(new))


def _as_labels(column: Any) -> np.ndarray:
    """Values as Python objects, None where they are missing."""
    missing = np.asarray(column.isna())
    values = np.empty(len(column), dtype=object)
    values[:] = column.tolist()
    values[missing] = None
    return values


def _check_type(column: str, values: np.ndarray, levels: Sequence[Any]) -> None:
    given = [value for value in values if value is not None]
    text = isinstance(levels[0], str)
    wrong = next((value for value in given if isinstance(value, str) != text), None)
    if wrong is not None:
        words = ("text", "numbers") if text else ("numbers", "text")
        raise ColumnTypeError(
            f"Labels of the column `{column}` are {words[0]} in the data of the fit, such as "
            f"{levels[0]!r}, and {words[1]} in the new data, such as {wrong!r}. Every one of them "
            "would count as a new group; make them the same type."
        )


def _check_present(labels: Mapping[str, np.ndarray]) -> None:
    for column, values in labels.items():
        missing = np.array([value is None for value in values])
        if missing.any():
            raise MissingValueError(
                f"Labels of the column `{column}` are missing in {listed_rows(missing)}. Fill them "
                'in, or write groups="sample" to average over the groups of the fit.'
            )


def _placed(
    grouping: Grouping, labels: Sequence[np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Group of each row, and the labels of new groups in the order in which they come."""
    index, known = grouping.place(labels)
    keys = [
        # Two rows without a label are not known to belong together.
        tuple(f"missing in row {row}" if value is None else value for value in key)
        for row, key in zip(
            rows[~known], zip(*(each[~known] for each in labels), strict=True), strict=True
        )
    ]
    numbers = {key: place for place, key in enumerate(dict.fromkeys(keys), grouping.count)}
    index = index.copy()
    index[~known] = [numbers[key] for key in keys]
    names = [key[0] if len(key) == 1 else ":".join(map(str, key)) for key in numbers]
    return index.astype(np.int32), names


def _refuse(grouping: Grouping, index: np.ndarray, labels: Sequence[Any]) -> None:
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    raise GroupIndexError(
        f"The fit has no group {', '.join(map(repr, labels[:5]))}{more} of `{grouping.name}` (in "
        f"{listed_rows(index >= grouping.count)}); it has {grouping.count} groups. "
        'groups="sample" draws the effects of new groups from their population, '
        'groups="population" puts them at zero.'
    )


def _filled_in(
    groupings: Sequence[Grouping],
    known: "pd.DataFrame",
    labels: Mapping[str, np.ndarray],
    rows: np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Repeat rows with missing labels for every group of the fit that they may belong to."""
    missing = np.zeros(len(rows), dtype=bool)
    for values in labels.values():
        missing |= np.array([value is None for value in values], dtype=bool)
    if not missing.any():
        return rows, dict(labels)
    together = [
        (columns, known.filter(columns).drop_duplicates().astype(object))
        for columns in _linked([grouping.columns for grouping in groupings])
    ]
    found: list[int] = []
    filled: dict[str, list[Any]] = {column: [] for column in labels}
    for row in rows.tolist():
        own = {column: values[row] for column, values in labels.items()}
        for candidate in _candidates(own, together) if missing[row] else [own]:
            found.append(row)
            for column, value in candidate.items():
                filled[column].append(value)
        if len(found) > MOST_CANDIDATES:
            raise DataError(
                f"Labels are missing in {listed_rows(missing)}, and there are more than "
                f"{MOST_CANDIDATES:,} ways to fill them in with groups of the fit. Predict for "
                'fewer such rows at a time, or write groups="population".'
            )
    return np.array(found), {column: _objects(values) for column, values in filled.items()}


def _linked(factors: Iterable[tuple[str, ...]]) -> list[list[str]]:
    """Collect sets of columns that grouping factors link, directly or through other columns."""
    sets: list[list[str]] = []
    for columns in factors:
        touched = [each for each in sets if set(each) & set(columns)]
        merged = dict.fromkeys(itertools.chain(*touched, columns))
        sets = [each for each in sets if each not in touched] + [list(merged)]
    return sets


def _candidates(
    own: Mapping[str, Any], together: Sequence[tuple[list[str], "pd.DataFrame"]]
) -> Iterable[dict[str, Any]]:
    """Labels of a row with every way to fill in those that are missing.

    Factors without a column in common are crossed, so that each may be in any of its groups. A row
    whose other labels fit no group of the fit keeps its gap, and gets a new group.
    """
    choices = []
    for columns, combinations in together:
        part = {column: own[column] for column in columns}
        present = {column: value for column, value in part.items() if value is not None}
        options = [part]
        if len(present) < len(part):
            agree = np.ones(len(combinations), dtype=bool)
            for column, value in present.items():
                agree &= combinations[column].to_numpy() == value
            found = combinations.loc[agree].to_numpy().tolist()
            options = [dict(zip(columns, values, strict=True)) for values in found] or [part]
        choices.append(options)
    for parts in itertools.product(*choices):
        yield {column: value for part in parts for column, value in part.items()}


def _objects(values: Sequence[Any]) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
