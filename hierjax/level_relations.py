"""How the levels of one model relate: by its index arrays, and by the axes of its sites."""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from hierjax.level_maps import Map, Rows, reachable
from hierjax.relations import Relation, relate
from hierjax.trace import ModelTrace


def index_relations(maps: list[Map], sizes: Mapping[str, int]) -> list[Relation]:
    """Compare every two levels whose groups are given for the same rows."""
    groupings = [level for level in sizes if any(each.level == level for each in maps)]
    sources = dict.fromkeys(each.rows for each in maps)
    reach = {rows: reachable(maps, rows) for rows in sources}
    found = []
    for first, second in itertools.combinations(groupings, 2):
        relation = _relation(first, second, reach, groupings, sizes)
        if relation is not None:
            found.append(relation)
    return found


def _relation(
    first: str,
    second: str,
    reach: Mapping[Rows, Mapping[str, list[np.ndarray | None]]],
    groupings: list[str],
    sizes: Mapping[str, int],
) -> Relation | None:
    for inner, outer in ((first, second), (second, first)):
        ways = reach.get((inner,), {}).get(outer, [])
        if len(ways) == 1 and ways[0] is not None:
            units, both = np.arange(len(ways[0])), (sizes[inner], sizes[outer])
            return relate(inner, outer, units, ways[0], both)
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
    return relate(first, second, index, other, (sizes[first], sizes[second]))


def axis_relations(
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


def distinct_places(places: Mapping[str, Rows], sizes: Mapping[str, int]) -> list[Rows]:
    """Return the distinct places of sites, and levels that only appear as rows of an index."""
    nodes = dict.fromkeys(place for place in places.values() if place)
    covered = {level for node in nodes for level in node}
    return [*nodes, *((level,) for level in sizes if level not in covered)]


def finest_parents(
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
