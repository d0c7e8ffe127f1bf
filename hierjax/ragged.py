"""Arrays of unequal size made equal: sizes rounded up into few buckets, arrays filled up to them.

A compiled program serves one set of shapes, so that data sets of many sizes are fitted by few
programs only if they are padded to few sizes. Sizes grow geometrically, which bounds the waste.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

STEPS = 4  # sizes per octave: less than 25% waste along an axis
SMALLEST = 8
PER_BUCKET, MOST_BUCKETS, MOST_WORK = 16, 8, 2.0
FILLS = ("last", "other")

Sizes = tuple[int, ...]


def round_up(size: int) -> int:
    """Smallest bucket size that holds `size`: 2^k (1 + j / 4) for j = 0 to 3, and 8 at least.

    From 8 on less than 25% larger than `size`.
    """
    if size <= SMALLEST:
        return SMALLEST
    step = (1 << (size.bit_length() - 1)) // STEPS
    return -(-size // step) * step


def buckets(sizes: Sequence[Sizes]) -> dict[Sizes, list[int]]:
    """Sort things by their sizes into few buckets.

    Every bucket costs a compilation. Sizes are rounded up by `round_up`, each for itself; then
    buckets are joined, those first that cost least, until there are no more than one for
    `PER_BUCKET` things, unless that would more than double the work, and no more than
    `MOST_BUCKETS` in any case.

    Parameters
    ----------
    sizes
        Of each thing its sizes along some axes. An axis along which all are equal is not padded.

    Returns
    -------
    dict
        Padded sizes -> places in `sizes`, the smallest bucket first.
    """
    equal = [len(set(column)) == 1 for column in zip(*sizes, strict=True)]
    found: dict[Sizes, list[int]] = {}
    for place, each in enumerate(sizes):
        padded = tuple(
            size if same else round_up(size) for size, same in zip(each, equal, strict=True)
        )
        found.setdefault(padded, []).append(place)
    wanted = max(1, min(len(sizes) // PER_BUCKET, MOST_BUCKETS))
    most_work = MOST_WORK * sum(map(_volume, sizes))
    while len(found) > wanted:
        joined = _join_cheapest(found)
        work = sum(_volume(padded) * len(members) for padded, members in joined.items())
        if work > most_work and len(found) <= MOST_BUCKETS:
            break
        found = joined
    return dict(sorted(found.items(), key=lambda item: _volume(item[0])))


def _join_cheapest(found: Mapping[Sizes, list[int]]) -> dict[Sizes, list[int]]:
    def extra(pair: tuple[Sizes, Sizes]) -> float:
        joined = _volume(_largest(*pair))
        return sum((joined - _volume(each)) * len(found[each]) for each in pair)

    left, right = min(itertools.combinations(found, 2), key=extra)
    joined = {key: members for key, members in found.items() if key not in (left, right)}
    target = _largest(left, right)
    joined[target] = sorted([*joined.get(target, []), *found[left], *found[right]])
    return joined


def _largest(left: Sizes, right: Sizes) -> Sizes:
    return tuple(map(max, left, right))


def _volume(sizes: Sizes) -> float:
    return float(np.prod(np.maximum(sizes, 1), dtype=float))


def pad(array: np.ndarray, sizes: Mapping[int, int], fill: str = "last") -> np.ndarray:
    """Fill an array up to given sizes along some axes with values like its own.

    Parameters
    ----------
    array
        Not empty along the axes that grow.
    sizes
        Axis -> size.
    fill
        "last" repeats the last entry, so that whatever holds of the entries (a positive standard
        error, a group that exists) holds of the padding. "other" fills with another value between
        the smallest and the largest, to test that padding has no influence.
    """
    widths = [(0, sizes.get(axis, size) - size) for axis, size in enumerate(array.shape)]
    if not any(after for _, after in widths):
        return array
    if fill == "last":
        return np.pad(array, widths, mode="edge")
    if array.dtype.kind == "f":
        return np.pad(array, widths, constant_values=(array.min() + array.max()) / 2)
    return np.pad(array, widths, constant_values=array.min())
