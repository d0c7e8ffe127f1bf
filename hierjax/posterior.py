"""Posterior: a model with its draws; each method is one call into the layer below."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax import store
from hierjax.draws import FitInfo
from hierjax.export import to_datatree
from hierjax.model import Model
from hierjax.plots import plot
from hierjax.report import report_text
from hierjax.summary import Diagnostics, diagnose, summary_table

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """Labelled posterior of a model.

    Attributes
    ----------
    model
        The model that was fitted, with its data.
    draws
        Site name -> array of shape (chain, draw, *site shape), in the constrained space.
    stats
        Sampler statistic -> array of shape (chain, draw): "diverging", "num_steps", ...
    info
        Method, settings, seed, precision, seconds, status of each chain.
    """

    model: Model
    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    info: FitInfo

    def summary(self, *, effects: bool = False) -> "pd.DataFrame":
        """Means, sds, quantiles, errors, ESS and R-hat in blocks: level sds, coefficients, other.

        Parameters
        ----------
        effects
            Add a block with the effect of every group.
        """
        return summary_table(
            self.model, self.draws, effects=effects, info=self.info, stats=self.stats
        )

    def diagnostics(self) -> Diagnostics:
        """R-hat, ESS, divergences, E-BFMI, tree depth or k-hat, with one verdict and its remedy."""
        return diagnose(self.model, self.draws, self.stats, self.info)

    def report(self) -> str:
        """Return summary, how the model was fitted, and the verdict, as text for a terminal."""
        return report_text(self.model, self.draws, self.stats, self.info)

    def to_arviz(self) -> "xarray.DataTree":
        """Return draws, statistics and data as the DataTree that ArviZ works with."""
        return to_datatree(self.model, self.draws, self.stats, self.info)

    def save(self, path: str | Path) -> Path:
        """Write everything to one NetCDF file, atomically; `hierjax.load` reads it back."""
        return store.save(path, self.model, self.draws, self.stats, self.info)

    def plot(self, kind: str, path: str | Path | None = None, **options: Any) -> "Figure":
        """Draw "trace", "forest", "shrinkage" or "levels"; also write a PNG if `path` is given."""
        return plot(kind, self.model, self.draws, self.stats, path=path, **options)

    def __repr__(self) -> str:
        shape = next(iter(self.draws.values())).shape[:2]
        return (
            f"Posterior({self.model.name}: {len(self.draws)} sites, {shape[0]} chains x "
            f"{shape[1]} draws, {self.info.method})"
        )


def load(path: str | Path, model: Model | None = None) -> Posterior:
    """Read a posterior that `Posterior.save` wrote, and prove that it belongs to the model.

    Parameters
    ----------
    path
        The file.
    model
        The model that was fitted; not needed for formula models, which the file contains.

    Raises
    ------
    FileError
        The file is damaged, of another format, or its log densities do not match the model's.
    """
    return Posterior(*store.load(path, model))
