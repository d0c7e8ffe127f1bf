"""Grouping factors: which rows belong to which group, the same again for new data."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import GroupIndexError
from hierjax.formula.frame import listed_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """One grouping factor with its groups, in order.

    Attributes
    ----------
    columns
        The column, or the columns whose combinations are the groups.
    levels
        Values of each column, in order.
    codes
        Place in `levels` of the values that make each group, shape (groups, columns), sorted.
    """

    columns: tuple[str, ...]
    levels: tuple[tuple[Any, ...], ...]
    codes: np.ndarray

    @property
    def name(self) -> str:
        """Name in the formula language, such as `a:b`."""
        return ":".join(self.columns)

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(self.codes)

    @property
    def labels(self) -> tuple[Any, ...]:
        """Label of each group."""
        if len(self.columns) == 1:
            return self.levels[0]
        return tuple(
            ":".join(str(level[code]) for level, code in zip(self.levels, row, strict=True))
            for row in self.codes.tolist()
        )

    def index(self, frame: "pd.DataFrame") -> np.ndarray:
        """Group of each row of `frame`, shape (rows,), 32-bit integers.

        Raises
        ------
        GroupIndexError
            A row belongs to a group that the model does not have.
        """
        place, known = self.place([frame[column] for column in self.columns])
        if not known.all():
            self._refuse(frame, ~known)
        return place

    def place(self, columns: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Group of each row, and whether the model has it; `columns` holds the values of each."""
        pairs = zip(columns, self.levels, strict=True)
        codes = np.stack([_codes(values, levels) for values, levels in pairs], axis=1)
        groups = self._numbers(self.codes)
        wanted = self._numbers(codes)
        place = np.minimum(np.searchsorted(groups, wanted), len(groups) - 1)
        known = (codes >= 0).all(axis=1) & (groups[place] == wanted)
        return place.astype(np.int32), known

    def _numbers(self, codes: np.ndarray) -> np.ndarray:
        """One number for each combination of codes, in the same order."""
        number = np.zeros(len(codes), dtype=np.int64)
        for column, levels in enumerate(self.levels):
            number = number * len(levels) + codes[:, column]
        return number

    def _refuse(self, frame: "pd.DataFrame", unseen: np.ndarray) -> None:
        rows = frame.loc[unseen, list(self.columns)].astype(str)
        labels = list(dict.fromkeys(":".join(row) for row in rows.itertuples(index=False)))
        more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
        raise GroupIndexError(
            f"The model was built without {', '.join(labels[:5])}{more} of the grouping factor "
            f"`{self.name}` (in {listed_rows(unseen)}); it has {self.count} groups. Build the "
            "model with all groups in the data."
        )


def read_grouping(columns: tuple[str, ...], frame: "pd.DataFrame") -> Grouping:
    """Collect the groups that occur in `frame`, in the order of the columns' levels or values."""
    levels = tuple(_levels(frame[column]) for column in columns)
    pairs = zip(columns, levels, strict=True)
    codes = np.stack([_codes(frame[column], values) for column, values in pairs], axis=1)
    return Grouping(columns, levels, np.unique(codes, axis=0))


def _levels(column: Any) -> tuple[Any, ...]:
    if hasattr(column, "cat"):
        return tuple(column.cat.categories.tolist())
    return tuple(np.unique(column.to_numpy()).tolist())


def _codes(column: Any, levels: tuple[Any, ...]) -> np.ndarray:
    """Place of every value in `levels`, -1 where it is not there."""
    import pandas as pd

    known = pd.Index(levels)
    if hasattr(column, "cat"):
        return known.get_indexer(column.cat.categories)[column.cat.codes.to_numpy()]
    return known.get_indexer(np.asarray(column))
