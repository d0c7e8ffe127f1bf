"""Grouping factors: which rows belong to which group, the same again for new data."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import GroupIndexError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """One grouping factor with its groups, in order.

    Attributes
    ----------
    columns
        The column, or the columns whose combinations are the groups.
    keys
        Values of the columns that make each group.
    """

    columns: tuple[str, ...]
    keys: tuple[tuple[Any, ...], ...]

    @property
    def name(self) -> str:
        """Name in the formula language, such as `a:b`."""
        return ":".join(self.columns)

    @property
    def labels(self) -> tuple[Any, ...]:
        """Label of each group."""
        if len(self.columns) == 1:
            return tuple(key[0] for key in self.keys)
        return tuple(":".join(str(value) for value in key) for key in self.keys)

    def index(self, frame: "pd.DataFrame") -> np.ndarray:
        """Group of each row of `frame`, shape (rows,), 32-bit integers.

        Raises
        ------
        GroupIndexError
            A row belongs to a group that the model does not have.
        """
        place = {key: number for number, key in enumerate(self.keys)}
        rows = list(zip(*(frame[column].tolist() for column in self.columns), strict=True))
        unseen = {row: None for row in rows if row not in place}
        if unseen:
            from hierjax.formula.frame import listed_rows

            first = next(iter(unseen))
            shown = ", ".join(":".join(str(part) for part in key) for key in list(unseen)[:5])
            where = listed_rows(np.array([row == first for row in rows]))
            raise GroupIndexError(
                f"Grouping factor `{self.name}` has no group {shown} (the first of them in "
                f"{where}); the model was built with {len(self.keys)} groups."
            )
        return np.fromiter((place[row] for row in rows), dtype=np.int32, count=len(rows))


def read_grouping(columns: tuple[str, ...], frame: "pd.DataFrame") -> Grouping:
    """Collect the groups that occur in `frame`, in the order of the columns' levels or values."""
    codes, levels = [], []
    for column in columns:
        values = frame[column]
        if hasattr(values, "cat"):
            codes.append(values.cat.codes.to_numpy())
            levels.append(values.cat.categories.tolist())
        else:
            distinct, code = np.unique(values.to_numpy(), return_inverse=True)
            codes.append(code)
            levels.append(distinct.tolist())
    found = np.unique(np.stack(codes, axis=1), axis=0)
    keys = tuple(
        tuple(level[code] for level, code in zip(levels, row, strict=True))
        for row in found.tolist()
    )
    return Grouping(columns, keys)
