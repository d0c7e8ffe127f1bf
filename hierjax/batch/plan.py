"""Which parts of the arguments grow with which plates, found by tracing data sets of several sizes.

An axis of an argument (or a whole number that is an argument, such as a number of groups) belongs
to a plate if it has the size of that plate in every data set that is traced. What is found is a
conjecture: `hierjax.batch.verify` proves it, bucket by bucket.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hierjax.arguments import Arguments
from hierjax.batch.mask import SIZES, Padded
from hierjax.errors import HierjaxError, LengthError
from hierjax.ragged import Sizes, pad
from hierjax.trace import abstract_trace

MOST_TRACES = 8

Data = Mapping[str, Any]
Item = tuple[int, int]  # leaf, axis; axis -1 for a whole number
NUMBER = -1


@dataclasses.dataclass(frozen=True)
class Padding:
    """How the data sets of one structure are made equal in shape.

    Attributes
    ----------
    classes
        Plates whose sizes are equal in every data set, and differ between data sets.
    members
        Axes and numbers of the arguments that have those sizes, for each class.
    fixed
        Sizes and numbers that all data sets share.
    names
        Name of the argument of each leaf.
    """

    classes: tuple[tuple[str, ...], ...] = ()
    members: tuple[tuple[Item, ...], ...] = ()
    fixed: tuple[tuple[Item, int], ...] = ()
    names: tuple[str, ...] = ()

    def function(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return the model function for padded data."""
        plates = [(plate, place) for place, plates in enumerate(self.classes) for plate in plates]
        return Padded(fn, tuple(plates)) if plates else fn

    def sizes(self, data: Data) -> Sizes:
        """Read the true size of each class of plates.

        Raises
        ------
        LengthError
            Arguments that have one length in other data sets have several here.
        """
        found = items_of(data)
        for item, size in self.fixed:
            if found[item] != size:
                raise LengthError(
                    f"{self._place(item)} is {found[item]} here and {size} in other data sets."
                )
        for plates, members in zip(self.classes, self.members, strict=True):
            if len({found[item] for item in members}) > 1:
                listed = ", ".join(f"{self._place(item)} is {found[item]}" for item in members)
                raise LengthError(f"sizes along plate {plates[0]!r} differ: {listed}.")
        return tuple(found[members[0]] for members in self.members)

    def apply(self, data: Data, sizes: Sizes, fill: str = "last") -> dict[str, Any]:
        """Return `data` with every class of plates filled up to `sizes`."""
        if not self.classes:
            return dict(data)
        leaves, tree = _flatten(data)
        true = self.sizes(data)
        for size, members in zip(sizes, self.members, strict=True):
            for leaf, axis in members:
                if axis == NUMBER:
                    leaves[leaf] = size
                else:
                    leaves[leaf] = pad(np.asarray(leaves[leaf]), {axis: size}, fill)
        padded = jax.tree_util.tree_unflatten(tree, leaves)
        return {**padded, SIZES: np.asarray(true, np.int32)}

    def _place(self, item: Item) -> str:
        leaf, axis = item
        name = f"data[{self.names[leaf]!r}]"
        return name if axis == NUMBER else f"axis {axis} of {name}"


def _flatten(data: Data) -> tuple[list[Any], Any]:
    return jax.tree_util.tree_flatten(dict(data), is_leaf=lambda leaf: leaf is None)


def items_of(data: Data) -> dict[Item, int]:
    """Sizes of all axes of the arguments, and the whole numbers among them."""
    found: dict[Item, int] = {}
    for place, leaf in enumerate(_flatten(data)[0]):
        if isinstance(leaf, int) and not isinstance(leaf, bool):
            found[place, NUMBER] = leaf
        elif isinstance(leaf, np.ndarray):
            found |= {(place, axis): size for axis, size in enumerate(leaf.shape)}
    return found


def structure_of(data: Data) -> tuple[Any, ...]:
    """Return what data sets must share beside sizes to be fitted by one program; hashable."""
    arguments = Arguments.of(data)
    leaves, _ = _flatten(data)
    kinds = tuple(
        (np.ndim(leaf), np.asarray(leaf).dtype.str)
        if traced
        else ("int" if isinstance(leaf, int) and not isinstance(leaf, bool) else leaf)
        for leaf, traced in zip(leaves, arguments.traced, strict=True)
    )
    return arguments.tree, kinds


def find_padding(fn: Callable[..., Any], datasets: Sequence[Data]) -> Padding | str:
    """Find out what grows with which plate.

    Parameters
    ----------
    fn
        Model function.
    datasets
        Data sets of one structure (`structure_of`).

    Returns
    -------
    Padding or str
        Or why the data sets cannot be padded.
    """
    items = [items_of(data) for data in datasets]
    traced = _traced(fn, datasets, items)
    if not traced:
        return "no data set could be traced"
    names = _leaf_names(datasets[0])
    plates = _columns([plates for _, plates in traced])
    found = _columns([items for items, _ in traced])
    growing = {column for column in (*plates.values(), *found.values()) if len(set(column)) > 1}
    classes, members = [], []
    for column in dict.fromkeys(column for column in plates.values() if column in growing):
        along = tuple(plate for plate, other in plates.items() if other == column)
        owned = tuple(item for item, other in found.items() if other == column)
        if not owned:
            return f"the size of plate {along[0]!r} is that of no argument"
        classes.append(along)
        members.append(owned)
    placed = {item for owned in members for item in owned}
    for item, column in found.items():
        if column in growing and item not in placed:
            what = "" if item[1] == NUMBER else f"axis {item[1]} of "
            return f"{what}data[{names[item[0]]!r}] is the size of no plate"
    fixed = tuple((item, column[0]) for item, column in found.items() if item not in placed)
    return Padding(tuple(classes), tuple(members), fixed, names)


def _traced(
    fn: Callable[..., Any], datasets: Sequence[Data], items: Sequence[dict[Item, int]]
) -> list[tuple[dict[Item, int], dict[str, int]]]:
    """Items and plate sizes of a few data sets that differ in as much as possible."""
    found = []
    for place in _representatives(items):
        try:
            trace = abstract_trace(fn, datasets[place])
        except HierjaxError:
            continue  # reported when the data set is checked by itself
        found.append((items[place], {name: each.size for name, each in trace.plates.items()}))
    return found


def _representatives(items: Sequence[dict[Item, int]]) -> list[int]:
    """Places of a few data sets; first those that show a size that no other has shown."""
    distinct: dict[tuple[int, ...], int] = {}
    for place, each in enumerate(items):
        distinct.setdefault(tuple(each.values()), place)
    rest = sorted(distinct, key=sum)
    chosen = [rest.pop(0)]
    if rest:
        chosen.append(rest.pop())
    while rest and len(chosen) < MOST_TRACES:
        shown = [set(column) for column in zip(*chosen, strict=True)]
        counts = [
            sum(size not in seen for size, seen in zip(each, shown, strict=True)) for each in rest
        ]
        best = int(np.argmax(counts))
        if not counts[best]:
            break
        chosen.append(rest.pop(best))
    return [distinct[each] for each in chosen]


def _columns(rows: Sequence[Mapping[Any, int]]) -> dict[Any, tuple[int, ...]]:
    """Values of each name over the rows, for the names that every row has."""
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: tuple(row[name] for row in rows) for name in shared}


def _leaf_names(data: Data) -> tuple[str, ...]:
    paths, _ = jax.tree_util.tree_flatten_with_path(dict(data), is_leaf=lambda leaf: leaf is None)
    return tuple(str(path[0].key) for path, _ in paths)
