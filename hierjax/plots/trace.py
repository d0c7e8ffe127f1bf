"""Trace plot: do the chains agree, and do they move?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of, scalar_names
from hierjax.plots.canvas import CHAINS, FAINT, INK, SMALL, caption, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12
BLOCKS = ("coefficient", "level", "other")


def plot_trace(
    model: Model,
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    *,
    sites: Sequence[str] | None = None,
    most: int = MOST,
) -> "Figure":
    """Density and path of each chain, one row a scalar; divergent transitions are marked.

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
    columns = _columns(model, draws, sites)
    shown = columns[:most]
    figure = new_figure(9.0, 0.5 + 1.15 * len(shown))
    grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 2.2))
    divergent = np.asarray(stats.get("diverging", np.zeros(shown[0][1].shape)), dtype=bool)
    for (left, right), (name, values) in zip(grid, shown, strict=True):
        _densities(left, values)
        _paths(right, values, divergent)
        style(left, y="")
        style(right)
        left.set_title(name, fontsize=9.5, color=INK, loc="left")
    grid[-1][0].set_xlabel("value", fontsize=9.5)
    grid[-1][1].set_xlabel("draw", fontsize=9.5)
    remarks = [f"{values.shape[0]} chains, one colour each" for _, values in shown[:1]]
    if divergent.any():
        remarks.append(f"{int(divergent.sum())} divergent transitions (black ticks)")
    if len(columns) > len(shown):
        left_out = len(columns) - len(shown)
        remarks.append(f"{left_out} more scalars are not shown: choose with sites=[...]")
    caption(figure, "; ".join(remarks))
    return figure


def _columns(
    model: Model, draws: Mapping[str, np.ndarray], sites: Sequence[str] | None
) -> list[tuple[str, np.ndarray]]:
    """Return name and draws (chain, draw) of every scalar to show; constant ones say nothing."""
    if sites is None:
        blocks = blocks_of(model)
        sites = [site for block in BLOCKS for site in draws if blocks.get(site) == block]
        sites = sites or list(draws)
    found = []
    for site in sites:
        if site not in draws:
            raise SettingsError(
                f"`sites`: there are no draws of {site!r}; there are of {[*draws]}."
            )
        values = np.asarray(draws[site], dtype=float)
        flat = values.reshape(*values.shape[:2], -1)
        names = scalar_names(model, site)
        columns = ((name, flat[..., place]) for place, name in enumerate(names))
        found += [(name, column) for name, column in columns if np.ptp(column) > 0]
    if not found:
        raise SettingsError("`sites`: no scalar varies between draws, so there is nothing to show.")
    return found


def _densities(axes: "Axes", values: np.ndarray) -> None:
    from scipy.stats import gaussian_kde

    low, high = np.quantile(values, (0.001, 0.999))
    grid = np.linspace(low, high, 200)
    for chain, color in zip(values, np.resize(CHAINS, len(values)), strict=True):
        if np.ptp(chain) > 0:
            axes.plot(grid, gaussian_kde(chain)(grid), color=color, linewidth=1.0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(bottom=0)


def _paths(axes: "Axes", values: np.ndarray, divergent: np.ndarray) -> None:
    for chain, color in zip(values, np.resize(CHAINS, len(values)), strict=True):
        axes.plot(chain, color=color, linewidth=0.4, alpha=0.8)
    where = np.flatnonzero(divergent.any(axis=0)) if divergent.shape == values.shape else []
    transform = axes.get_xaxis_transform()
    axes.plot(where, np.zeros(len(where)), "|", color="black", markersize=6, transform=transform)
    axes.margins(x=0.005)
    axes.tick_params(labelsize=SMALL, colors=FAINT)
