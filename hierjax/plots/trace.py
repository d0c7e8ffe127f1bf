"""Trace plot: whether the chains agree, and whether they move; or whether weights are even."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.model import Model
from hierjax.plots.canvas import CHAINS, FAINT, INK, SMALL, TICK, new_figure, plain, style
from hierjax.plots.scalars import kernel_density, varying_scalars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12
ROW, BELOW = 1.2, 0.7  # inches


def plot_trace(
    model: Model,
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    *,
    sites: Sequence[str] | None = None,
    most: int = MOST,
) -> "Figure":
    """Density and path of each chain, one row a scalar; divergent transitions are marked.

    Draws by importance have no path, since their order is random: their log weights stand in its
    place. Weights that rise towards an end show what the proposal has missed there.

    Parameters
    ----------
    model, draws, stats
        As in a `Posterior`: draws of shape (chain, draw, *site shape).
    sites
        Sites to show; by default all but group effects.
    most
        Scalars to show at most; the caption says how many are left out.

    Raises
    ------
    SettingsError
        `sites` names a site that has no draws.
    """
    columns = varying_scalars(model, draws, sites)
    shown = columns[:most]
    height = BELOW + ROW * len(shown)
    # Placed by hand: the automatic layout takes seconds for this many axes.
    figure = new_figure(9.0, height, constrained=False)
    figure.subplots_adjust(
        left=0.03, right=0.985, bottom=(BELOW + 0.1) / height, top=1 - 0.3 / height,
        wspace=0.16, hspace=0.95,
    )  # fmt: skip
    grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 2.2))
    divergent = np.asarray(stats.get("diverging", np.zeros(shown[0].values.shape)), dtype=bool)
    weighted = "log_weight" in stats
    for (left, right), scalar in zip(grid, shown, strict=True):
        values = scalar.values
        _densities(left, values)
        if weighted:
            _weights(right, values, stats["log_weight"])
        else:
            _paths(right, values, divergent)
        style(left, y="")
        style(right)
        left.set_title(plain(scalar.name), fontsize=9.5, color=INK, loc="left")
    grid[-1][0].set_xlabel("value", fontsize=9.5)
    grid[-1][1].set_xlabel("value" if weighted else "draw", fontsize=9.5)
    chains = len(shown[0].values)
    remarks = [f"{chains} chains, one colour each" if chains > 1 else "1 chain"]
    if weighted:
        remarks = ["right: log importance weights, 0 for the largest"]
    if divergent.any():
        remarks.append(f"{int(divergent.sum())} divergent transitions (black ticks)")
    if len(columns) > len(shown):
        left_out = len(columns) - len(shown)
        remarks.append(f"{left_out} more scalars are not shown: choose with sites=[...]")
    figure.text(0.03, 0.1 / height, "; ".join(remarks), fontsize=TICK, color=FAINT)
    return figure


def _densities(axes: "Axes", values: np.ndarray) -> None:
    low, high = np.quantile(values, (0.001, 0.999))
    for chain, color in zip(values, np.resize(CHAINS, len(values)), strict=True):
        place, density = kernel_density(chain, low, high)
        axes.plot(place, density, color=color, linewidth=1.0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(bottom=0)


def _weights(axes: "Axes", values: np.ndarray, log_weight: np.ndarray) -> None:
    below = np.ravel(log_weight) - np.max(log_weight)
    axes.plot(np.ravel(values), below, ".", color=CHAINS[0], markersize=1.5, alpha=0.5)
    axes.margins(x=0.005)
    axes.tick_params(labelsize=SMALL, colors=FAINT)


def _paths(axes: "Axes", values: np.ndarray, divergent: np.ndarray) -> None:
    for chain, color in zip(values, np.resize(CHAINS, len(values)), strict=True):
        axes.plot(chain, color=color, linewidth=0.4, alpha=0.8)
    where = np.flatnonzero(divergent.any(axis=0)) if divergent.shape == values.shape else []
    transform = axes.get_xaxis_transform()
    axes.plot(where, np.zeros(len(where)), "|", color="black", markersize=6, transform=transform)
    axes.margins(x=0.005)
    axes.tick_params(labelsize=SMALL, colors=FAINT)
