"""Pair plot: how parameters go together, and where trajectories diverged."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.diagnostics import ess_bulk
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of
from hierjax.plots.canvas import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SMALL,
    TICK,
    new_figure,
    plain,
    shortened,
    style,
)
from hierjax.plots.scalars import Scalar, kernel_density, varying_scalars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 6
MOST_LEVEL = 4
MOST_POINTS = 2000
LONGEST = 22  # characters of a name
PANEL, LEFT, BELOW = 1.55, 0.75, 0.9  # inches


def plot_pair(
    model: Model,
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    *,
    sites: Sequence[str] | None = None,
    most: int = MOST,
) -> "Figure":
    """Scatter of each pair of scalars, divergent transitions marked; densities on the diagonal.

    Sds of levels are shown on the log scale, where the funnel that makes trajectories diverge is
    seen best.

    Parameters
    ----------
    model, draws, stats
        As in a `Posterior`: draws of shape (chain, draw, *site shape).
    sites
        Sites to show; by default the sds and correlations of levels, and the scalars that have the
        fewest effective draws, effects of groups included.
    most
        Scalars to show at most; the caption says how many are left out.

    Raises
    ------
    SettingsError
        `sites` names a site that has no draws, or there are not two scalars to show.
    """
    weighted = "log_weight" in stats
    columns = varying_scalars(model, draws, sites) if sites else _telling(model, draws, weighted)
    shown = [_on_log_scale(model, scalar) for scalar in columns[:most]]
    if len(shown) < 2:
        raise SettingsError("a pair plot needs two scalars: name more sites with sites=[...].")
    count = len(shown)
    width, height = LEFT + PANEL * count + 0.15, BELOW + PANEL * count + 0.15
    figure = new_figure(width, height, constrained=False)
    figure.subplots_adjust(
        left=LEFT / width, right=1 - 0.15 / width, bottom=BELOW / height, top=1 - 0.15 / height,
        wspace=0.07, hspace=0.07,
    )  # fmt: skip
    grid = figure.subplots(count, count, squeeze=False)
    divergent = np.asarray(stats.get("diverging", np.zeros(shown[0].values.shape)), dtype=bool)
    divergent = divergent if divergent.shape == shown[0].values.shape else np.zeros(1, bool)
    for row in range(count):
        for column in range(count):
            axes = grid[row, column]
            if column > row:
                axes.set_axis_off()
                continue
            _panel(axes, shown[column], shown[row], divergent.ravel())
            _frame(axes, shown, row, column)
    found = int(divergent.sum())
    remarks = [f"{found} divergent transitions, in orange" if found else "no divergent transitions"]
    if sites and len(columns) > count:
        remarks.append(f"{len(columns) - count} more scalars are not shown: raise most=")
    figure.text(0.01, 0.1 / height, "; ".join(remarks), fontsize=TICK, color=FAINT)
    return figure


def _telling(model: Model, draws: Mapping[str, np.ndarray], weighted: bool) -> list[Scalar]:
    """Scalars of levels first, then those that the sampler found hardest."""
    blocks = blocks_of(model)
    level = [name for name in draws if blocks.get(name) == "level"]
    found = varying_scalars(model, draws, level)[:MOST_LEVEL] if level else []
    rest = [name for name in draws if blocks.get(name) not in (None, "hidden", "level")]
    others = varying_scalars(model, draws, rest) if rest else []
    if not weighted and len(others) > 1:
        sizes = ess_bulk(np.stack([scalar.values for scalar in others], axis=-1))
        others = [others[int(place)] for place in np.argsort(sizes, kind="stable")]
    return (found + others)[:MOST]


def _on_log_scale(model: Model, scalar: Scalar) -> Scalar:
    if blocks_of(model).get(scalar.site) != "level" or not (scalar.values > 0).all():
        return scalar
    return Scalar(scalar.site, f"log {scalar.name}", np.log(scalar.values))


def _panel(axes: "Axes", across: Scalar, up: Scalar, divergent: np.ndarray) -> None:
    x, y = across.values.ravel(), up.values.ravel()
    if across is up:
        place, density = kernel_density(x, x.min(), x.max())
        axes.fill_between(place, density, color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(place, density, color=BLUE, linewidth=1.0)
        axes.set_ylim(bottom=0)
        return
    chosen = np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).astype(int)
    axes.plot(x[chosen], y[chosen], ".", color=BLUE, markersize=1.6, alpha=0.35)
    where = np.flatnonzero(divergent)
    axes.plot(x[where], y[where], "o", color=ORANGE, markersize=2.6, markeredgewidth=0)


def _frame(axes: "Axes", shown: Sequence[Scalar], row: int, column: int) -> None:
    from matplotlib.ticker import MaxNLocator

    style(axes)
    axes.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    axes.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
    axes.tick_params(labelsize=SMALL)
    last = len(shown) - 1
    axes.tick_params(labelbottom=row == last, labelleft=column == 0 and row != column)
    if row == last:
        axes.set_xlabel(plain(shortened(shown[column].name, LONGEST)), fontsize=8.0, color=INK)
    if column == 0:
        axes.set_ylabel(plain(shortened(shown[row].name, LONGEST)), fontsize=8.0, color=INK)
    if row == column:
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
