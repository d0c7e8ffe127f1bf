"""Maps between levels: concrete index arrays, followed upwards through chains of them."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hierjax.provenance import Index

Rows = tuple[str, ...]
"""Levels that the axes of an index array run along; their product is the set of rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Map:
    """The group in `level` of each of the `rows`, in C order; None if the array cannot be used."""

    rows: Rows
    level: str
    index: Index
    values: np.ndarray | None


def index_values(
    index: Index, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int]
) -> np.ndarray | None:
    """Compute an index from the data; None unless every number in it is a valid position.

    `sizes` has the plates whose units are all in the program: which units a plate that subsamples
    picks is not known.
    """
    if index.kind == "plate":
        return np.arange(sizes[index.name]) + index.offset if index.name in sizes else None
    values = arrays.get(index.name) if index.kind == "data" else None
    if values is None or values.dtype.kind not in "iu":
        return None
    if index.of is not None:
        positions = index_values(index.of, arrays, sizes)
        if positions is None or not valid(positions, len(values)):
            return None
        values = values[positions]
    return values.astype(np.int64) + index.offset


def valid(values: np.ndarray, size: int) -> bool:
    """Whether all of `values` are positions along an axis of length `size`."""
    return bool(((values >= 0) & (values < size)).all())


def reachable(maps: list[Map], rows: Rows) -> dict[str, list[np.ndarray | None]]:
    """Follow the index arrays from `rows` upwards.

    Returns
    -------
    dict
        Level -> the different ways in which the rows are grouped by it: one array, several (a row
        belongs to more than one group) or None where an array cannot be used.
    """
    found: dict[str, list[np.ndarray | None]] = {}
    waiting = [(each.level, each.values) for each in maps if each.rows == rows]
    while waiting:
        level, values = waiting.pop(0)
        if level in rows or any(_same(values, known) for known in found.get(level, [])):
            continue
        found.setdefault(level, []).append(values)
        for above in maps:
            if above.rows == (level,):
                composed = None
                if values is not None and above.values is not None:
                    composed = above.values[values]
                waiting.append((above.level, composed))
    return found


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)
