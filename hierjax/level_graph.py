"""LevelGraph: what is known of a model's levels, as frozen data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hierjax.level_tree import draw_tree
from hierjax.provenance import Index
from hierjax.relations import Relation, Spread
from hierjax.trace import Plate, Site


@dataclasses.dataclass(frozen=True)
class Link:
    """One index array that picks a group of `plate` for each of the rows.

    Attributes
    ----------
    index
        Data argument that holds the index, e.g. "county", with what is done to it, if anything:
        "county - 1", "district[school]". "" if it cannot be known.
    arguments
        The data arguments in `index`, in the order in which a row is followed upwards.
    plate
        The level that is indexed: a plate, or the name given to an axis without one.
    site
        The site that is indexed.
    rows
        Plate that the index runs along, "" if it runs along rows without a plate.
    length
        Number of elements of the index.
    path
        The index as it was followed through the program; None if it cannot be known.
    """

    index: str
    arguments: tuple[str, ...]
    plate: str
    site: str
    rows: str
    length: int
    path: Index | None = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Edge:
    """`child` depends on `parent`.

    `how` is "shared" (one parent value for all), "same units", "index" (through `indexes`) or
    "unknown".
    """

    parent: str
    child: str
    how: str
    indexes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Level:
    """A set of units that sites have values for: a plate, an indexed axis or the rows.

    Attributes
    ----------
    name
        Plate name; for an axis without a plate the argument that indexes it; else "rows".
    size
        Number of units.
    declared
        Whether it is a plate of the model.
    indexes
        Index arrays that lead here from other levels.
    spreads
        Level -> number of its units in each group of this one, where that is known.
    """

    name: str
    size: int
    declared: bool
    indexes: tuple[str, ...] = ()
    spreads: Mapping[str, Spread] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, repr=False)
class LevelGraph:
    """Levels of a model; `str` prints them as a tree.

    Attributes
    ----------
    sites, plates
        What the function declares, by name, in its order.
    levels
        Sets of units, by name: plates and what stands in for one.
    places
        Site -> names of the levels that its axes run along, outermost first.
    links
        Index arrays and what they index.
    relations
        Nested and crossed pairs of groupings.
    edges
        Dependencies between sites.
    response
        Observed site -> data argument that holds its values, where that is known.
    labels
        Level -> labels of its groups, as given.
    parents
        Place -> the finest places whose groups it lies in; more than one if those are crossed.
    """

    sites: Mapping[str, Site]
    plates: Mapping[str, Plate]
    levels: Mapping[str, Level]
    places: Mapping[str, tuple[str, ...]]
    links: tuple[Link, ...]
    relations: tuple[Relation, ...]
    edges: tuple[Edge, ...]
    response: Mapping[str, str]
    labels: Mapping[str, Sequence[Any]]
    parents: Mapping[tuple[str, ...], tuple[tuple[str, ...], ...]]

    def __str__(self) -> str:
        return draw_tree(self)

    def __repr__(self) -> str:
        levels = ", ".join(f"{name}: {level.size}" for name, level in self.levels.items())
        return f"LevelGraph({len(self.sites)} sites; {levels})"

    @property
    def unused(self) -> tuple[str, ...]:
        """Plates that no site lives in."""
        used = {plate for site in self.sites.values() for plate in site.plates}
        return tuple(plate for plate in self.plates if plate not in used)

    def relation(self, first: str, second: str) -> str:
        """Return the kind of relation of two levels, e.g. "nested"; "unknown" if not known."""
        for relation in self.relations:
            if {relation.first, relation.second} == {first, second}:
                return relation.kind
        return "unknown"
