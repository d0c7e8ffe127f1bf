"""Pictures of models and posteriors; each a pure function that returns a matplotlib Figure.

Nothing here touches matplotlib's global state: no pyplot, no rcParams, no window. To add a plot,
write one module and one row of `PLOTS`.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.checks import one_of
from hierjax.draws import FitInfo
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of
from hierjax.plots.canvas import write_png
from hierjax.plots.checking import plot_pit, plot_ppc
from hierjax.plots.forest import plot_forest
from hierjax.plots.levels import plot_levels
from hierjax.plots.pair import plot_pair
from hierjax.plots.rank import plot_rank
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
    "plot_pair",
    "plot_pit",
    "plot_ppc",
    "plot_rank",
    "plot_shrinkage",
    "plot_trace",
]

Draws = Mapping[str, np.ndarray]
PARTS = ("model", "draws", "stats", "info", "graph")  # what a plot may ask for, by these names
PLOTS: dict[str, Callable[..., "Figure"]] = {
    "trace": plot_trace,
    "rank": plot_rank,
    "pair": plot_pair,
    "forest": plot_forest,
    "shrinkage": plot_shrinkage,
    "levels": plot_levels,
}
CHECKS: dict[str, Callable[..., "Figure"]] = {"ppc": plot_ppc, "pit": plot_pit}


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
        There is no such plot, or it has no such option.
    ModelError
        The model does not have what the plot shows.
    """
    one_of("kind", kind, {**PLOTS, **CHECKS})
    if kind in CHECKS and info is None:
        raise SettingsError(f"a plot {kind!r} predicts from the posterior: give its `info`.")
    function = {**PLOTS, **CHECKS}[kind]
    wanted = list(inspect.signature(function).parameters)
    known = [name for name in wanted if name not in PARTS]
    for name in options:
        if name not in known:
            listed = f"its options are {', '.join(known)}" if known else "it has no options"
            raise SettingsError(f"a plot {kind!r} has no option `{name}`; {listed}.")
    parts: dict[str, Any] = {"model": model, "draws": draws, "stats": stats, "info": info}
    if "graph" in wanted:
        parts["graph"] = model.levels()
    given = {name: part for name, part in parts.items() if name in wanted}
    return write_png(function(**given, **options), path)


def available_plots(model: Model) -> tuple[str, ...]:
    """Return the kinds of plot that a model has what it takes for."""
    lacking = set() if has_shrinkage(model) else {"shrinkage"}
    if "effect" not in blocks_of(model).values():
        lacking.add("forest")
    return tuple(kind for kind in PLOTS if kind not in lacking)
