"""How two groupings of the same rows relate, read off their index arrays; NumPy only.

Nested and crossed are properties of the data, not of the model function: they are decided by which
pairs of groups occur together.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Relation:
    """How grouping `first` relates to grouping `second`.

    Attributes
    ----------
    first, second
        Names of the groupings; of a nested pair `first` is the inner one.
    kind
        "nested" (each first group lies in one second group), "same" (one to one), "crossed" (every
        pair of groups occurs), "partially crossed" or "unknown".
    pairs
        Number of pairs of groups that occur together; None if unknown.
    rows
        Fewest and most rows in a pair that occurs; None if unknown.
    possible
        Number of pairs that there could be.
    """

    first: str
    second: str
    kind: str
    pairs: int | None = None
    rows: tuple[int, int] | None = None
    possible: int | None = None

    def __str__(self) -> str:
        first, second = self.first, self.second
        if self.kind == "nested":
            return f"{first} is nested in {second}."
        if self.kind == "same":
            return f"{first} and {second} group the rows in the same way."
        if self.kind == "unknown":
            return f"Whether {first} and {second} are nested or crossed is unknown."
        if self.kind == "partially crossed":
            occurring = f"{self.pairs:,} of {self.possible:,} combinations occur"
            return f"{first} and {second} are partially crossed: {occurring}."
        if self.rows is None:
            return f"{first} and {second} are fully crossed: all {self.possible:,} combinations."
        least, most = self.rows
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        word = "row" if most == 1 else "rows"
        every = f"all {self.possible:,} combinations occur, with {each} {word} each"
        return f"{first} and {second} are fully crossed: {every}."


def relate(
    first: str, second: str, index: np.ndarray, other: np.ndarray, sizes: tuple[int, int]
) -> Relation:
    """Compare two valid index arrays over the same rows.

    Parameters
    ----------
    first, second
        Names of the groupings.
    index, other
        Group of each row in the first and the second grouping, shape (n,).
    sizes
        Number of groups of the two; groups without rows make a grouping neither nested nor crossed.
    """
    pair = index.astype(np.int64) * sizes[1] + other
    _, counts = np.unique(pair, return_counts=True)
    pairs, groups, others = len(counts), len(np.unique(index)), len(np.unique(other))
    rows = (int(counts.min()), int(counts.max()))
    possible = sizes[0] * sizes[1]
    if pairs == groups == others:
        return Relation(first, second, "same", pairs, rows, possible)
    if pairs == groups:
        return Relation(first, second, "nested", pairs, rows, possible)
    if pairs == others:
        return Relation(second, first, "nested", pairs, rows, possible)
    kind = "crossed" if pairs == possible else "partially crossed"
    return Relation(first, second, kind, pairs, rows, possible)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Number of rows in a group: fewest, median and most, and how many groups have none."""

    least: int
    median: float
    most: int
    empty: int

    @classmethod
    def of(cls, counts: np.ndarray) -> "Spread":
        """Summarise the counts of all groups, those without rows included."""
        return cls(
            int(counts.min()), float(np.median(counts)), int(counts.max()), int((counts == 0).sum())
        )

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.most:,}"
        return f"{self.least:,} to {self.most:,}"
