"""The levels of a model: read from its plates, its program and its index arrays, not declared.

Plates say which sites have a value per group, the program says which array picks a group for each
row, and the arrays say which groupings are nested and which crossed. What none of them shows is
called unknown.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hierjax.level_checks import check_indexes
from hierjax.level_graph import Edge, Level, LevelGraph, Link
from hierjax.level_maps import Map, reachable
from hierjax.level_relations import (
    axis_relations,
    distinct_places,
    finest_parents,
    index_relations,
)
from hierjax.level_units import Units
from hierjax.provenance import Label, Lookup
from hierjax.relations import Spread
from hierjax.trace import abstract_trace, traced_arrays

__all__ = ["Edge", "Level", "LevelGraph", "Link", "check_indexes", "read_levels"]


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
    trace = abstract_trace(fn, data)
    units = Units(trace, traced_arrays(data))
    places = {name: units.place(name) for name in trace.sites}
    maps, nodes = units.maps(), distinct_places(places, units.sizes)
    relations = (
        *index_relations(maps, units.sizes),
        *axis_relations(places, units.sizes, trace),
    )
    return LevelGraph(
        sites=trace.sites,
        plates=trace.plates,
        levels=_levels(units, maps),
        places=places,
        links=_links(units),
        relations=relations,
        edges=tuple(_edges(units, places)),
        response=trace.response,
        labels=dict(labels or {}),
        parents=finest_parents(nodes, relations, maps),
    )


def _links(units: Units) -> tuple[Link, ...]:
    links = {}
    for lookup in units.lookups:
        kind, site, _ = lookup.array
        level, index = units.level(lookup.array), lookup.index
        if kind != "site" or not level:
            continue
        if index is not None and index.kind == "plate":
            continue  # positions along a plate pick its own units
        path = index if index is not None and index.first.kind != "site" else None
        text = "" if path is None else str(path)
        labels = [_only(each) for each in lookup.rows] if path is None else units.rows_of(path)
        rows = [units.level(label) if label else "" for label in labels]
        links[level, site, text] = Link(
            index=text,
            arguments=tuple(sorted(lookup.data)) if path is None else path.arguments,
            plate=level,
            site=site,
            rows=" x ".join(row if row in units.trace.plates else "" for row in rows),
            length=math.prod(units.size(label) for label in labels if label),
            path=path,
        )
    return tuple(links.values())


def _levels(units: Units, maps: list[Map]) -> dict[str, Level]:
    spreads: dict[str, dict[str, Spread]] = {level: {} for level in units.sizes}
    for rows in dict.fromkeys(each.rows for each in maps):
        for level, ways in reachable(maps, rows).items():
            if len(ways) == 1 and ways[0] is not None:
                counts = np.bincount(ways[0], minlength=units.sizes[level])
                spreads[level][" x ".join(rows)] = Spread.of(counts)
    return {
        level: Level(
            name=level,
            size=size,
            declared=level in units.trace.plates,
            indexes=tuple(dict.fromkeys(str(m.index) for m in maps if m.level == level)),
            spreads=spreads[level],
        )
        for level, size in units.sizes.items()
    }


def _edges(units: Units, places: Mapping[str, tuple[str, ...]]) -> Iterable[Edge]:
    for child in units.trace.sites.values():
        for parent in child.parents:
            lookups = [
                lookup
                for lookup in units.lookups
                if lookup.array[:2] == ("site", parent)
                and lookup in units.trace.lookups[child.name]
                and units.level(lookup.array)
            ]
            yield _edge(parent, child.name, places, lookups)


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
