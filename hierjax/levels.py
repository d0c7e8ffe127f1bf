"""The levels of a model: read from its plates, its program and its index arrays, not declared.

Plates say which sites have a value per group, the program says which array picks a group for each
row, and the arrays say which groupings are nested and which crossed. What none of them shows is
called unknown.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hierjax.level_checks import check_indexes
from hierjax.level_graph import Edge, Level, LevelGraph, Link
from hierjax.level_maps import Map, Rows, index_values, reachable, valid
from hierjax.provenance import Index, Label, Lookup
from hierjax.relations import Relation, Spread, relate
from hierjax.trace import ModelTrace, abstract_trace, traced_arrays

__all__ = ["Edge", "Level", "LevelGraph", "Link", "check_indexes", "read_levels"]

ROWS = "rows"


def read_levels(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    labels: Mapping[str, Sequence[Any]] | None = None,
) -> LevelGraph:
    """Read the levels of `fn(**data)`.

    Parameters
    ----------
    fn
        Any NumPyro function.
    data
        Its arguments by name. The function runs on abstract arrays; only integer arrays that index
        a site are looked at.
    labels
        Plate or dimension name -> labels along it, kept in the result.

    Raises
    ------
    ModelError
        The function fails.
    """
    return _Reader(abstract_trace(fn, data), traced_arrays(data)).graph(labels or {})


class _Reader:
    """Builds one `LevelGraph`; each step needs those before it in `graph`."""

    def __init__(self, trace: ModelTrace, arrays: Mapping[str, Any]) -> None:
        self.trace, self.alignment = trace, trace.alignment
        self.arrays = {name: _host(array) for name, array in arrays.items()}
        self.shapes = {name: np.shape(array) for name, array in arrays.items()}
        found = {lookup for each in trace.lookups.values() for lookup in each}
        self.lookups = sorted(found, key=lambda lookup: self._order(lookup))
        self.names: dict[Label, str] = {}
        self.sizes: dict[str, int] = {}

    def graph(self, labels: Mapping[str, Sequence[Any]]) -> LevelGraph:
        self._join_axes_with_one_index()
        self._name_levels()
        places = {name: self._place(name) for name in self.trace.sites}
        maps = self._maps()
        relations = (*self._relations(maps), *_axis_relations(places, self.sizes, self.trace))
        return LevelGraph(
            sites=self.trace.sites,
            plates=self.trace.plates,
            levels=self._levels(maps),
            places=places,
            links=self._links(),
            relations=relations,
            edges=tuple(self._edges(places)),
            response=self.trace.response,
            labels=dict(labels),
            parents=_parents(_nodes(places, self.sizes), relations, maps),
        )

    # ---- what the axes run over -----------------------------------------------------------------

    def _size(self, label: Label) -> int:
        kind, name, axis = label
        if kind == "plate":
            return self.trace.plates[name].length
        return (self.trace.sites[name].shape if kind == "site" else self.shapes[name])[axis]

    def _order(self, lookup: Lookup) -> tuple[Any, ...]:
        """Order of sites in the function, then of arguments in the data."""
        names = (*self.trace.sites, *self.arrays)
        used = [names.index(name) for name in sorted(lookup.data)]
        return names.index(lookup.array[1]), lookup.array[2], used, str(lookup.index)

    def _level(self, label: Label) -> str:
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
                if self._size(first) == self._size(second) and (len(plates) == 1 or "" in plates):
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
            if lookup.index is not None and self._level(lookup.array):
                for label in self._rows_of(lookup.index):
                    self._name(label, ROWS, f"{ROWS} of {label[1]}")

    def _name(self, label: Label, *choices: str) -> None:
        root = self.alignment.root(label)
        if root in self.names or (self._size(label) == 1 and root[0] != "plate"):
            return
        numbered = (f"{choices[0]} {number}" for number in itertools.count(2))
        taken = set(self.sizes) | set(self.trace.plates) - {root[1] if root[0] == "plate" else ""}
        name = next(name for name in itertools.chain(choices, numbered) if name not in taken)
        self.names[root], self.sizes[name] = name, self._size(label)

    def _place(self, name: str) -> tuple[str, ...]:
        site = self.trace.sites[name]
        labels = [("site", name, axis) for axis in range(len(site.shape))]
        levels = [
            self._level(("plate", plate, 0) if plate else label)
            for label, plate in zip(labels, site.axes, strict=True)
        ]
        return tuple(dict.fromkeys(level for level in levels if level))

    # ---- index arrays ---------------------------------------------------------------------------

    def _rows_of(self, index: Index) -> list[Label]:
        """Labels of the axes along which an index runs."""
        first = index.first
        if first.kind == "plate":
            return [("plate", first.name, 0)]
        num_axes = len(self.shapes[first.name]) if first.kind == "data" else 0
        return [("data", first.name, axis) for axis in range(num_axes)]

    def _maps(self) -> list[Map]:
        found: dict[tuple[Rows, str, str], Map] = {}
        for lookup in self.lookups:
            index = lookup.index
            while index is not None and index.kind == "data":
                rows = tuple(self._level(label) for label in self._rows_of(index))
                level = self._level(lookup.array)
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

    def _links(self) -> tuple[Link, ...]:
        links = {}
        for lookup in self.lookups:
            kind, site, _ = lookup.array
            level, index = self._level(lookup.array), lookup.index
            if kind != "site" or not level:
                continue
            if index is not None and index.kind == "plate":
                continue  # positions along a plate pick its own units
            path = index if index is not None and index.first.kind != "site" else None
            text = "" if path is None else str(path)
            labels = [_only(each) for each in lookup.rows] if path is None else self._rows_of(path)
            rows = [self._level(label) if label else "" for label in labels]
            links[level, site, text] = Link(
                index=text,
                arguments=tuple(sorted(lookup.data)) if path is None else path.arguments,
                plate=level,
                site=site,
                rows=" x ".join(row if row in self.trace.plates else "" for row in rows),
                length=math.prod(self._size(label) for label in labels if label),
                path=path,
            )
        return tuple(links.values())

    def _levels(self, maps: list[Map]) -> dict[str, Level]:
        spreads: dict[str, dict[str, Spread]] = {level: {} for level in self.sizes}
        for rows in dict.fromkeys(each.rows for each in maps):
            for level, ways in reachable(maps, rows).items():
                if len(ways) == 1 and ways[0] is not None:
                    counts = np.bincount(ways[0], minlength=self.sizes[level])
                    spreads[level][" x ".join(rows)] = Spread.of(counts)
        return {
            level: Level(
                name=level,
                size=size,
                declared=level in self.trace.plates,
                indexes=tuple(dict.fromkeys(str(m.index) for m in maps if m.level == level)),
                spreads=spreads[level],
            )
            for level, size in self.sizes.items()
        }

    # ---- how they relate ------------------------------------------------------------------------

    def _relations(self, maps: list[Map]) -> list[Relation]:
        groupings = [level for level in self.sizes if any(each.level == level for each in maps)]
        sources = dict.fromkeys(each.rows for each in maps)
        reach = {rows: reachable(maps, rows) for rows in sources}
        found = []
        for first, second in itertools.combinations(groupings, 2):
            relation = self._relation(first, second, reach, groupings)
            if relation is not None:
                found.append(relation)
        return found

    def _relation(
        self,
        first: str,
        second: str,
        reach: Mapping[Rows, Mapping[str, list[np.ndarray | None]]],
        groupings: list[str],
    ) -> Relation | None:
        for inner, outer in ((first, second), (second, first)):
            ways = reach.get((inner,), {}).get(outer, [])
            if len(ways) == 1 and ways[0] is not None:
                units, sizes = np.arange(len(ways[0])), (self.sizes[inner], self.sizes[outer])
                return relate(inner, outer, units, ways[0], sizes)
        both = [found for found in reach.values() if first in found and second in found]
        finest = {rows: reach[rows] for rows in reach if not set(rows) & set(groupings)}
        both = [found for found in finest.values() if found in both] or both
        if not both:
            return None
        pairs = [(found[first], found[second]) for found in both]
        arrays = [
            (ways[0], others[0])
            for ways, others in pairs
            if len(ways) == len(others) == 1 and ways[0] is not None and others[0] is not None
        ]
        if len(arrays) < len(pairs):
            return Relation(first, second, "unknown")
        index, other = (np.concatenate(each) for each in zip(*arrays, strict=True))
        return relate(first, second, index, other, (self.sizes[first], self.sizes[second]))

    def _edges(self, places: Mapping[str, tuple[str, ...]]) -> Iterable[Edge]:
        for child in self.trace.sites.values():
            for parent in child.parents:
                lookups = [
                    lookup
                    for lookup in self.trace.lookups[child.name]
                    if lookup.array[:2] == ("site", parent) and self._level(lookup.array)
                ]
                yield _edge(parent, child.name, places, lookups)


def _host(array: Any) -> Any:
    """Return concrete values, or None inside a transformation where there are none."""
    return None if hasattr(array, "aval") and not hasattr(array, "device") else np.asarray(array)


def _only(labels: Iterable[Label]) -> Label | None:
    """Return the first label of an axis, None if nothing is known of it."""
    return min(labels, default=None)


def _edge(
    parent: str, child: str, places: Mapping[str, tuple[str, ...]], lookups: list[Lookup]
) -> Edge:
    known = [
        str(lookup.index)
        for lookup in lookups
        if lookup.index is not None and lookup.index.kind != "plate"
    ]
    if not places[parent]:
        return Edge(parent, child, "shared")
    if known and len(known) == len(lookups):
        return Edge(parent, child, "index", tuple(dict.fromkeys(known)))
    if set(places[parent]) <= set(places[child]):
        return Edge(parent, child, "same units")
    return Edge(parent, child, "unknown")


def _axis_relations(
    places: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int], trace: ModelTrace
) -> Iterable[Relation]:
    """Levels that are axes of one array: crossed if each has effects of its own, else nested."""
    latent = [place for name, place in places.items() if trace.sites[name].kind != "observed"]
    pairs = {
        pair: any(set(pair) <= set(place) for place in latent)
        for place in places.values()
        for pair in itertools.combinations(place, 2)
    }
    for (outer, inner), together in pairs.items():
        alone = [
            any(level in place and other not in place for place in latent)
            for level, other in ((outer, inner), (inner, outer))
        ]
        possible = sizes[outer] * sizes[inner]
        if all(alone):
            yield Relation(outer, inner, "crossed", possible, None, possible)
        elif together and any(alone):
            first, second = (inner, outer) if alone[0] else (outer, inner)
            yield Relation(first, second, "nested", possible, None, possible)


def _nodes(places: Mapping[str, Rows], sizes: Mapping[str, int]) -> list[Rows]:
    """Return the distinct places of sites, and levels that only appear as rows of an index."""
    nodes = dict.fromkeys(place for place in places.values() if place)
    covered = {level for node in nodes for level in node}
    return [*nodes, *((level,) for level in sizes if level not in covered)]


def _parents(
    nodes: list[Rows], relations: Iterable[Relation], maps: list[Map]
) -> dict[Rows, tuple[Rows, ...]]:
    """Return for every place the finest places in whose groups each of its units lies."""
    nested = {(r.first, r.second) for r in relations if r.kind == "nested"}
    above: dict[Rows, set[str]] = {}
    for node in nodes:
        single = {level for level, ways in reachable(maps, node).items() if len(ways) == 1}
        outer = {second for first, second in nested if first in node}
        above[node] = (single | outer | set(node)) - (set(node) if len(node) == 1 else set())
    result = {}
    for node in nodes:
        higher = [
            other for other in nodes if other != node and set(other) <= above[node] | set(node)
        ]
        result[node] = tuple(
            place
            for place in higher
            if not any(set(place) <= above[other] for other in higher if other != place)
        )
    return result
