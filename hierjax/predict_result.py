"""What a prediction is handed back as: draws with names, ready for NumPy, pandas, xarray, ArviZ."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray

MEANINGS = {"mean": "expected response", "draw": "new observations"}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Predictions of one response at every posterior draw.

    NumPy takes it as an array: `np.asarray(prediction)`.

    Attributes
    ----------
    name
        The response.
    values
        Array (chain, draw, *shape of the response), for a formula (chain, draw, row).
    dims
        Names of the axes after chain and draw.
    coordinates
        Axis -> labels along it.
    kind
        "mean" for the expected response, "draw" for new observations.
    groups
        What was done about new groups.
    categories
        Labels of a response in categories: an observation k is `categories[k]`. The expected
        response of such a response is the probability of each category, along the last axis.
    """

    name: str
    values: np.ndarray
    dims: tuple[str, ...]
    coordinates: dict[str, Sequence[Any]]
    kind: str
    groups: str
    categories: tuple[Any, ...] = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        chains, draws, *shape = self.values.shape
        sizes = ", ".join(f"{dim} {size}" for dim, size in zip(self.dims, shape, strict=True))
        together = f"{chains} chain{'s' if chains > 1 else ''} x {draws} draws"
        return (
            f"Prediction({MEANINGS[self.kind]} of {self.name}: {together}, {sizes or 'a scalar'})"
        )

    def summary(self) -> "pd.DataFrame":
        """Mean, sd and quantiles over the draws, one row an element; columns as in a posterior's.

        Returns
        -------
        pandas.DataFrame
            Index: the dimensions of the response. Columns `mean, sd, q5, q50, q95`; for
            observations in categories the share of each category.
        """
        import pandas as pd

        if self.categories and self.kind == "draw":
            return self._shares()
        flat = np.asarray(self.values, dtype=float).reshape(-1, *self.values.shape[2:])
        flat = flat.reshape(len(flat), -1)
        low, middle, high = np.quantile(flat, (0.05, 0.5, 0.95), axis=0)
        spread = flat.std(axis=0, ddof=1) if len(flat) > 1 else np.full(flat.shape[1], np.nan)
        columns = {
            "mean": flat.mean(axis=0), "sd": spread, "q5": low, "q50": middle, "q95": high
        }  # fmt: skip
        return pd.DataFrame(columns, index=self._index())

    def by_row(self) -> "pd.DataFrame":
        """Return the summary with one row for each row of a table.

        Returns
        -------
        pandas.DataFrame
            As `summary`; for a response in categories the probability of each category, the
            posterior mean, or the share of observations that are in it.
        """
        import pandas as pd

        if not self.categories or self.kind == "draw":
            return self.summary()
        means = np.asarray(self.values, dtype=float).mean(axis=(0, 1))
        labels = list(self.coordinates[self.dims[0]])
        return pd.DataFrame(means, pd.Index(labels, name=self.dims[0]), list(self.categories))

    def _shares(self) -> "pd.DataFrame":
        import pandas as pd

        flat = np.asarray(self.values).reshape(-1, *self.values.shape[2:])
        flat = flat.reshape(len(flat), -1)
        shares = {label: (flat == code).mean(axis=0) for code, label in enumerate(self.categories)}
        return pd.DataFrame(shares, index=self._index())

    def to_xarray(self) -> "xarray.DataArray":
        """Return the draws as an array with dimensions chain, draw and those of the response."""
        import xarray

        labels = {dim: np.asarray(list(each)) for dim, each in self.coordinates.items()}
        return xarray.DataArray(
            self.values,
            dims=("chain", "draw", *self.dims),
            coords=labels,
            name=self.name,
            attrs={"kind": self.kind, "groups": self.groups},
        )

    def _index(self) -> "pd.Index":
        import pandas as pd

        labels = [list(self.coordinates[dim]) for dim in self.dims]
        if not labels:
            return pd.Index([self.name])
        if len(labels) == 1:
            return pd.Index(labels[0], name=self.dims[0])
        return pd.MultiIndex.from_product(labels, names=self.dims)
