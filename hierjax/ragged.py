"""Arrays of unequal size made equal: sizes rounded up into few buckets, arrays filled up to them.

A compiled program serves one set of shapes, so that data sets of many sizes are fitted by few
programs only if they are padded to few sizes. Sizes grow geometrically, which bounds the waste.
"""

from collections.abc import Mapping, Sequence

import numpy as np

STEPS = (4, 2, 1)  # sizes per octave, finest first: less than 25% waste along an axis
SMALLEST = 8
MOST_BUCKETS = 8
# Elements of padding whose work takes as long as compiling a program (some 20 CPU seconds): one
# takes 1 ms by importance sampling and 3 ms by NUTS.
WORTH_COMPILING = 10_000
MOST_JOINED = 64  # joining costs the third power of the number of buckets
FILLS = ("last", "other")

Sizes = tuple[int, ...]


def round_up(size: int, steps: int = STEPS[0]) -> int:
    """Smallest bucket size that holds `size`: 2^k (1 + j / steps) for j < steps, and 8 at least.

    From 8 on less than `1 + 1 / steps` times `size`.
    """
    if size <= SMALLEST:
        return SMALLEST
    step = (1 << (size.bit_length() - 1)) // steps
    return -(-size // step) * step


def buckets(sizes: Sequence[Sizes]) -> dict[Sizes, list[int]]:
    """Sort things by their sizes into few buckets.

    Every bucket costs a compilation, and every element of padding some work. Sizes are rounded up
    by `round_up`, each for itself; then buckets are joined, those first that cost least, as long as
    that costs less than compiling, and until there are no more than `MOST_BUCKETS` in any case.

    Parameters
    ----------
    sizes
        Of each thing its sizes along some axes. An axis along which all are equal is not padded.

    Returns
    -------
    dict
        Padded sizes -> places in `sizes`, the smallest bucket first.
    """
    found = _rounded(sizes)
    while len(found) > 1:
        joined, extra = _join_cheapest(found)
        if extra > WORTH_COMPILING and len(found) <= MOST_BUCKETS:
            break
        found = joined
    return dict(sorted(found.items(), key=lambda item: sum(item[0])))


def _rounded(sizes: Sequence[Sizes]) -> dict[Sizes, list[int]]:
    equal = [len(set(column)) == 1 for column in zip(*sizes, strict=True)]
    found: dict[Sizes, list[int]] = {}
    for steps in STEPS:
        found = {}
        for place, each in enumerate(sizes):
            pairs = zip(each, equal, strict=True)
            padded = tuple(size if same else round_up(size, steps) for size, same in pairs)
            found.setdefault(padded, []).append(place)
        if len(found) <= MOST_JOINED:
            break
    return found


def _join_cheapest(found: Mapping[Sizes, list[int]]) -> tuple[dict[Sizes, list[int]], float]:
    """Join the two buckets that need the fewest elements of padding for it; how many."""
    sizes = np.array(list(found))
    counts = np.array([len(members) for members in found.values()], dtype=float)
    elements = np.sum(sizes, axis=1, dtype=float)
    together = np.sum(np.maximum(sizes[:, None], sizes[None]), axis=2, dtype=float)
    extra = (together - elements[:, None]) * counts[:, None]
    extra = extra + extra.T + np.diag(np.full(len(sizes), np.inf))
    keys = list(found)
    cheapest = np.unravel_index(np.argmin(extra), extra.shape)
    left, right = (keys[place] for place in cheapest)
    joined = {key: members for key, members in found.items() if key not in (left, right)}
    target = tuple(map(max, left, right))
    joined[target] = sorted([*joined.get(target, []), *found[left], *found[right]])
    return joined, float(extra[cheapest])


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
