"""Which sets of units a model has, and the index arrays that lead from one to another."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from hierjax.level_maps import Map, Rows, index_values, valid
from hierjax.provenance import Index, Label, Lookup
from hierjax.trace import ModelTrace

ROWS = "rows"


class Units:
    """The sets of units that axes run over: plates, indexed axes without one, and rows.

    Attributes
    ----------
    lookups
        Every use of an index in the model, in the order of its sites.
    sizes
        Level -> number of units.
    """

    def __init__(self, trace: ModelTrace, arrays: Mapping[str, Any]) -> None:
        self.trace, self.alignment = trace, trace.alignment
        self.arrays = {name: _host(array) for name, array in arrays.items()}
        self.shapes = {name: np.shape(array) for name, array in arrays.items()}
        found = {lookup for each in trace.lookups.values() for lookup in each}
        self.lookups = sorted(found, key=lambda lookup: self._order(lookup))
        self.names: dict[Label, str] = {}
        self.sizes: dict[str, int] = {}
        self._join_axes_with_one_index()
        self._name_levels()

    def size(self, label: Label) -> int:
        """Return the number of units along an axis."""
        kind, name, axis = label
        if kind == "plate":
            return self.trace.plates[name].length
        return (self.trace.sites[name].shape if kind == "site" else self.shapes[name])[axis]

    def _order(self, lookup: Lookup) -> tuple[Any, ...]:
        """Order of sites in the function, then of arguments in the data."""
        names = (*self.trace.sites, *self.arrays)
        used = [names.index(name) for name in sorted(lookup.data)]
        return names.index(lookup.array[1]), lookup.array[2], used, str(lookup.index)

    def level(self, label: Label) -> str:
        """Return the level that an axis runs along, "" if none."""
        return self.names.get(self.alignment.root(label), "")

    def _join_axes_with_one_index(self) -> None:
        """Axes that one array indexes have the same units, whether or not a plate says so."""
        by_index: dict[Index, list[Label]] = {}
        for lookup in self.lookups:
            if lookup.index is not None and lookup.index.kind == "data":
                by_index.setdefault(lookup.index, []).append(lookup.array)
        for labels in by_index.values():
            for first, second in itertools.pairwise(labels):
                plates = {self.alignment.plate({first}), self.alignment.plate({second})}
                if self.size(first) == self.size(second) and (len(plates) == 1 or "" in plates):
                    self.alignment.join((first, second))

    def _name_levels(self) -> None:
        """Name the classes of axes: plates, then indexed axes, then the rows of the data."""
        for plate in self.trace.plates:
            if any(plate in site.plates for site in self.trace.sites.values()):
                self._name(("plate", plate, 0), plate)
        sites = self.trace.sites.values()
        effects = {
            self.alignment.root(("site", site.name, axis))
            for site in sites
            if site.kind == "latent"
            for axis in range(len(site.shape) - len(site.event_shape))
        }
        for lookup in self.lookups:
            if lookup.array[0] == "site" and self.alignment.root(lookup.array) in effects:
                index = lookup.index
                known = index is not None and index.kind == "data"
                self._name(lookup.array, index.name if index and known else lookup.array[1])
        for site in sites:
            if site.kind == "observed":
                for axis in range(len(site.shape) - len(site.event_shape)):
                    self._name(("site", site.name, axis), ROWS, f"{ROWS} of {site.name}")
        for lookup in self.lookups:
            if lookup.index is not None and self.level(lookup.array):
                for label in self.rows_of(lookup.index):
                    self._name(label, ROWS, f"{ROWS} of {label[1]}")

    def _name(self, label: Label, *choices: str) -> None:
        root = self.alignment.root(label)
        if root in self.names or (self.size(label) == 1 and root[0] != "plate"):
            return
        numbered = (f"{choices[0]} {number}" for number in itertools.count(2))
        taken = set(self.sizes) | set(self.trace.plates) - {root[1] if root[0] == "plate" else ""}
        name = next(name for name in itertools.chain(choices, numbered) if name not in taken)
        self.names[root], self.sizes[name] = name, self.size(label)

    def place(self, name: str) -> tuple[str, ...]:
        """Return the levels that the axes of a site run along, outermost first."""
        site = self.trace.sites[name]
        labels = [("site", name, axis) for axis in range(len(site.shape))]
        levels = [
            self.level(("plate", plate, 0) if plate else label)
            for label, plate in zip(labels, site.axes, strict=True)
        ]
        return tuple(dict.fromkeys(level for level in levels if level))

    def rows_of(self, index: Index) -> list[Label]:
        """Return the labels of the axes along which an index runs."""
        first = index.first
        if first.kind == "plate":
            return [("plate", first.name, 0)]
        num_axes = len(self.shapes[first.name]) if first.kind == "data" else 0
        return [("data", first.name, axis) for axis in range(num_axes)]

    def maps(self) -> list[Map]:
        """Return the index arrays between levels, with their values where they can be used."""
        found: dict[tuple[Rows, str, str], Map] = {}
        for lookup in self.lookups:
            index = lookup.index
            while index is not None and index.kind == "data":
                rows = tuple(self.level(label) for label in self.rows_of(index))
                level = self.level(lookup.array)
                if level and rows and all(rows) and rows != (level,):
                    values = self._values(index, level)
                    found.setdefault((rows, level, str(index)), Map(rows, level, index, values))
                # What the index array itself is looked up along may be a level: the last step.
                last = Index(index.kind, index.name, index.offset)
                index = last if index != last else None
        return list(found.values())

    def _values(self, index: Index, level: str) -> np.ndarray | None:
        whole = {
            plate.name: plate.size
            for plate in self.trace.plates.values()
            if plate.length == plate.size
        }
        values = index_values(index, self.arrays, whole)
        if values is None or not valid(values, self.sizes[level]):
            return None
        return values.reshape(-1)


def _host(array: Any) -> Any:
    """Return concrete values, or None inside a transformation where there are none."""
    return None if hasattr(array, "aval") and not hasattr(array, "device") else np.asarray(array)
