"""Rank plot: whether every chain visits every part of the posterior equally often."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.diagnostics import ess_bulk
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.plots.canvas import (
    CHAINS,
    FAINT,
    GRID,
    INK,
    SMALL,
    TICK,
    new_figure,
    plain,
    shortened,
    style,
)
from hierjax.plots.scalars import Scalar, varying_scalars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12
BINS = 20
HIGHEST = 2.4  # bar that fills the row of a chain, in units of an even one
COLUMNS = 3
ERRORS = 2.58  # standard errors on either side: 99% of bins
LONGEST = 34  # characters of a title


def plot_rank(
    model: Model,
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    *,
    sites: Sequence[str] | None = None,
    most: int = MOST,
) -> "Figure":
    """Histogram of the ranks of each chain's draws among those of all chains, one panel a scalar.

    Flat if the chains agree. Within the grey band are 99% of the bars of chains that do, given how
    many effective draws there are.

    Parameters
    ----------
    model, draws, stats
        As in a `Posterior`: draws of shape (chain, draw, *site shape).
    sites
        Sites to show; by default all but effects of groups.
    most
        Scalars to show at most; the caption says how many are left out.

    Raises
    ------
    SettingsError
        `sites` names a site that has no draws, or there is one chain only.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), doi:10.1214/20-BA1221, section 4.2.
    """
    chains = len(next(iter(draws.values())))
    if chains < 2 or "log_weight" in stats:
        raise SettingsError(
            'a plot "rank" compares chains, and this fit has one: see plot("trace"), or fit with '
            'method="nuts".'
        )
    columns = varying_scalars(model, draws, sites)
    shown = columns[:most]
    across = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / across)
    panel, below = 0.55 + 0.26 * chains, 0.75
    height = rows * panel + below
    figure = new_figure(3.0 * across + 0.6, height, constrained=False)
    figure.subplots_adjust(
        left=0.55 / (3.0 * across + 0.6), right=0.985, top=1 - 0.32 / height,
        bottom=below / height, wspace=0.08, hspace=0.42 / (panel - 0.42),
    )  # fmt: skip
    grid = figure.subplots(rows, across, squeeze=False)
    for axes, scalar in zip(grid.flat, shown, strict=False):
        _ranks(axes, scalar, first=axes in grid[:, 0])
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for column in range(across):
        last = max(place for place in range(column, len(shown), across))
        grid.flat[last].set_xlabel("rank among the draws of all chains", fontsize=TICK, color=INK)
    remarks = ["flat if the chains agree; grey: how uneven they may be by chance"]
    if len(columns) > len(shown):
        left_out = len(columns) - len(shown)
        remarks.append(f"{left_out} more scalars are not shown: choose with sites=[...]")
    figure.text(0.01, 0.08 / height, "; ".join(remarks), fontsize=TICK, color=FAINT)
    return figure


def _ranks(axes: "Axes", scalar: Scalar, *, first: bool) -> None:
    from scipy.stats import rankdata

    values = scalar.values
    chains, length = values.shape
    ranks = rankdata(values, method="average").reshape(values.shape) / values.size
    even = length / BINS
    edges = np.linspace(0.0, 1.0, BINS + 1)
    for chain, color in zip(range(chains), np.resize(CHAINS, chains), strict=True):
        base = chains - 1 - chain
        heights = np.histogram(ranks[chain], edges)[0] / even  # 1 where even
        # Draws that depend on each other fill bins less evenly than as many independent ones.
        size = np.clip(np.nan_to_num(ess_bulk(values[[chain]]), nan=length), 1.0, length)
        error = ERRORS * np.sqrt((BINS - 1) / size)
        low, high = np.clip(np.array([1 - error, 1 + error]) / HIGHEST, 0.0, 0.92)
        axes.fill_between([0, 1], base + low, base + high, color=GRID, linewidth=0)
        axes.axhline(base, color=FAINT, linewidth=0.5)
        tops = base + np.minimum(heights / HIGHEST, 0.95)
        axes.stairs(tops, edges, baseline=base, fill=True, alpha=0.45, color=color, linewidth=0)
        axes.stairs(tops, edges, baseline=base, color=color, linewidth=0.9)
    style(axes)
    axes.set_title(plain(shortened(scalar.name, LONGEST)), fontsize=9.5, color=INK, loc="left")
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, chains)
    axes.spines["left"].set_visible(False)
    names = [f"chain {chains - 1 - base}" for base in range(chains)] if first else []
    axes.set_yticks(np.arange(chains) + 0.4 if first else [], names, fontsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([0.0, 0.5, 1.0], ["lowest", "", "highest"], fontsize=SMALL)
    for label, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
        label.set_horizontalalignment(side)
