"""Pictures of models and posteriors; each a pure function that returns a matplotlib Figure.

Nothing here touches matplotlib's global state: no pyplot, no rcParams, no window. To add a plot,
write one module and one row of `PLOTS`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.checks import one_of
from hierjax.draws import FitInfo
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.plots.canvas import write_png
from hierjax.plots.checking import plot_pit, plot_ppc
from hierjax.plots.forest import plot_forest
from hierjax.plots.levels import plot_levels
from hierjax.plots.shrinkage import plot_shrinkage
from hierjax.plots.trace import plot_trace
from hierjax.pooling import has_shrinkage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "PLOTS",
    "available_plots",
    "plot",
    "plot_forest",
    "plot_levels",
    "plot_pit",
    "plot_ppc",
    "plot_shrinkage",
    "plot_trace",
]

Draws = Mapping[str, np.ndarray]
PLOTS: dict[str, Callable[..., "Figure"]] = {
    "trace": plot_trace,
    "forest": lambda model, draws, stats, **options: plot_forest(model, draws, **options),
    "shrinkage": lambda model, draws, stats, **options: plot_shrinkage(model, draws, **options),
    "levels": lambda model, draws, stats, **options: plot_levels(model.levels(), **options),
}

CHECKS: dict[str, Callable[..., "Figure"]] = {
    "ppc": lambda model, draws, stats, info, **options: plot_ppc(model, draws, info, **options),
    "pit": plot_pit,
}


def plot(
    kind: str,
    model: Model,
    draws: Draws,
    stats: Draws,
    path: str | Path | None = None,
    info: FitInfo | None = None,
    **options: Any,
) -> "Figure":
    """Draw the plot `kind`, a key of `PLOTS` or `CHECKS`; write a PNG too if `path` is given.

    Plots of `CHECKS` predict from the posterior, so that they need to know how it was made, `info`.

    Raises
    ------
    SettingsError
        There is no such plot.
    ModelError
        The model does not have what the plot shows.
    """
    one_of("kind", kind, {**PLOTS, **CHECKS})
    if kind in CHECKS:
        if info is None:
            raise SettingsError(f"a plot {kind!r} predicts from the posterior: give its `info`.")
        return write_png(CHECKS[kind](model, draws, stats, info, **options), path)
    figure = PLOTS[kind](model, draws, stats, **options)
    return write_png(figure, path)


def available_plots(model: Model) -> tuple[str, ...]:
    """Return the kinds of plot that a model has what it takes for."""
    return tuple(kind for kind in PLOTS if kind != "shrinkage" or has_shrinkage(model))
