"""What is known of a value in a traced program."""

import dataclasses
from collections.abc import Sequence
from typing import Any

SITE_MARK = "hierjax site "
COMPUTED_MARK = "hierjax computed "
PLATE_MARK = "hierjax plate "

Label = tuple[str, str, int]
"""Meaning of an axis: (kind, name, axis) with kind "site", "data" or "plate"."""

Axes = tuple[frozenset[Label], ...]


@dataclasses.dataclass(frozen=True)
class Index:
    """Numbers that are exactly those of an array, looked up along `of` and shifted.

    The value at a position is name[of] + offset. `kind` says what the array is: "data" for a data
    argument, "site" for a site, "plate" for the positions along a plate.
    """

    kind: str
    name: str
    offset: int = 0
    of: "Index | None" = None

    def __str__(self) -> str:
        text = self.name
        if self.of is not None and self.of.kind != "plate":
            text = f"{text}[{self.of}]"
        sign = "+" if self.offset > 0 else "-"
        return f"{text} {sign} {abs(self.offset)}" if self.offset else text

    @property
    def first(self) -> "Index":
        """The index whose positions are the rows: the innermost one."""
        return self if self.of is None else self.of.first

    @property
    def arguments(self) -> tuple[str, ...]:
        """Data arguments, in the order in which a row is followed upwards."""
        inner = () if self.of is None else self.of.arguments
        return (*inner, self.name) if self.kind == "data" else inner

    def shifted(self, offset: int) -> "Index":
        """Return this index plus a constant."""
        return dataclasses.replace(self, offset=self.offset + offset)

    def at(self, positions: "Index") -> "Index":
        """Return the index that looks this one up at `positions`."""
        if self.kind == "plate":
            return positions.shifted(self.offset)
        inner = positions if self.of is None else self.of.at(positions)
        return dataclasses.replace(self, of=inner)


@dataclasses.dataclass(frozen=True)
class Lookup:
    """One use of `array[..., index, ...]`; `index` is None where it cannot be known.

    `array` is the label of the axis that is indexed, `rows` holds what the axes of the index stand
    for and `data` the arguments behind it.
    """

    array: Label
    index: Index | None
    rows: Axes
    data: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Value:
    """What is known of one value in the program."""

    sites: frozenset[str] = frozenset()
    data: frozenset[str] = frozenset()
    lookups: frozenset[Lookup] = frozenset()
    axes: Axes = ()
    index: Index | None = None
    columns: "tuple[Value, ...]" = ()  # pieces along the last axis of a matrix of indices
    negative: Index | None = None  # this is the truth value of `index < 0`
    number: float | None = None  # every element is this constant

    def forget(self, num_axes: int) -> "Value":
        """Keep what the value depends on and nothing else."""
        empty: Axes = (frozenset(),) * num_axes
        return Value(self.sites, self.data, self.lookups, empty)


def data_value(name: str, num_axes: int) -> Value:
    """Return the value of a data argument itself."""
    axes = tuple(frozenset({("data", name, axis)}) for axis in range(num_axes))
    return Value(data=frozenset({name}), axes=axes, index=Index("data", name))


def site_value(site: str, num_axes: int) -> Value:
    """Return the value of a site, which depends on nothing but itself."""
    axes = tuple(frozenset({("site", site, axis)}) for axis in range(num_axes))
    return Value(sites=frozenset({site}), axes=axes, index=Index("site", site))


def merge(values: Sequence[Value]) -> Value:
    """Return what depends on everything that any of `values` depends on."""
    return Value(
        sites=frozenset().union(*(value.sites for value in values)),
        data=frozenset().union(*(value.data for value in values)),
        lookups=frozenset().union(*(value.lookups for value in values)),
    )


def num_axes(atom: Any) -> int:
    """Return the number of axes of a variable."""
    return len(getattr(atom.aval, "shape", ()))
