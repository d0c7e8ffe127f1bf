"""Forest plot: the effect of every group with its uncertainty, sorted."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of, coordinates, site_dims
from hierjax.plots.canvas import (
    BLUE,
    FAINT,
    GRID,
    SKY,
    TICK,
    caption,
    new_figure,
    plain,
    shortened,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TALLEST = 12.5  # inches
PER_LABEL = 0.13  # inches that one label needs
ROOM = TALLEST / PER_LABEL  # groups that can be drawn in full
COLUMNS = 4
LONGEST = 28  # characters of a label


def plot_forest(
    model: Model,
    draws: Mapping[str, np.ndarray],
    *,
    site: str | None = None,
) -> "Figure":
    """Median, 50% and 90% interval of every group effect, sorted by median.

    Parameters
    ----------
    model, draws
        As in a `Posterior`: draws of shape (chain, draw, *site shape).
    site
        Site to show; by default the group effects, one panel for each of their terms. With more
        groups than fit, every second, fifth, tenth ... label is written.

    Raises
    ------
    SettingsError
        There are no draws of `site`, or it is a scalar.
    """
    panels = _panels(model, draws, site)
    left_out = max(len(panels) - COLUMNS, 0)
    panels = panels[:COLUMNS]
    most = max(values.shape[1] for _, _, values in panels)
    height = min(max(1.8, 1.2 + PER_LABEL * most), TALLEST)
    figure = new_figure(2.2 + 3.3 * len(panels), height)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, labels, values) in zip(row, panels, strict=True):
        _forest(axes, labels, values, height)
        style(axes, title=name)
    remarks = ["median, 50% and 90% intervals"]
    if left_out:
        remarks.append(f"{left_out} more terms are not shown: choose with site=...")
    caption(figure, "; ".join(remarks))
    return figure


def _panels(
    model: Model, draws: Mapping[str, np.ndarray], site: str | None
) -> list[tuple[str, Sequence[object], np.ndarray]]:
    """Return name, group labels and draws (sample, group) of every panel."""
    if site is not None and site not in draws:
        raise SettingsError(f"`site`: there are no draws of {site!r}; there are of {[*draws]}.")
    dims, labels = site_dims(model), coordinates(model)
    sites = [site] if site is not None else _effects(model, draws)
    panels = []
    for name in sites:
        values = np.asarray(draws[name], dtype=float)
        if values.ndim == 2:
            raise SettingsError(f"`site`: {name!r} is a scalar; a forest needs a site with groups.")
        first, *others = dims[name]
        stacked = values.reshape(-1, values.shape[2], int(np.prod(values.shape[3:])))
        terms = _terms([labels[dim] for dim in others])
        for place, term in enumerate(terms):
            title = f"{name} [{term}]" if term else name
            panels.append((title, labels[first], stacked[..., place]))
    return panels


def _effects(model: Model, draws: Mapping[str, np.ndarray]) -> list[str]:
    """Return the effects of groups; computed ones only where no latent effect is shown."""
    blocks, graph = blocks_of(model), model.levels()
    effects = [name for name in draws if blocks.get(name) == "effect" and np.ndim(draws[name]) > 2]
    grouped = [name for name in effects if any(_is_grouping(graph, p) for p in graph.places[name])]
    chosen = grouped or effects
    if not chosen:
        raise SettingsError(
            "the model has no site with one value per group; name another one with site=..."
        )
    return chosen


def _is_grouping(graph: object, level: str) -> bool:
    return bool(graph.levels[level].indexes)  # pyright: ignore[reportAttributeAccessIssue]


def _terms(labels: list[Sequence[object]]) -> list[str]:
    """Return the labels of all combinations of the other dimensions, [""] if there are none."""
    terms = [""]
    for each in labels:
        terms = [f"{term}, {label}".strip(", ") for term in terms for label in each]
    return terms


def _forest(axes: "Axes", labels: Sequence[object], values: np.ndarray, height: float) -> None:
    low, lower, median, upper, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
    order = np.argsort(median)
    place = np.arange(len(order))
    thin = len(order) > ROOM
    axes.axvline(0.0, color=GRID, linewidth=1.0, zorder=0)
    if thin:  # rows of a pixel or two: lines would make a pattern of their own
        axes.fill_betweenx(place, low[order], high[order], step="mid", color=SKY, linewidth=0)
        axes.fill_betweenx(place, lower[order], upper[order], step="mid", color=BLUE, linewidth=0)
        axes.plot(median[order], place, color="white", linewidth=1.0)
    else:
        axes.hlines(place, low[order], high[order], color=BLUE, linewidth=1.0)
        axes.hlines(place, lower[order], upper[order], color=BLUE, linewidth=2.8)
        axes.plot(
            median[order], place, "o", color="white", markeredgecolor=BLUE, markersize=3.2,
            markeredgewidth=0.9,
        )  # fmt: skip
    step = _label_step(len(order), height)
    ticks = place[::-1][::step][::-1]
    axes.set_yticks(ticks, [_label(labels[group]) for group in order[ticks].tolist()])
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.tick_params(axis="y", labelsize=TICK - 1.5, colors=FAINT)


def _label(label: object) -> str:
    return plain(shortened(str(label), LONGEST))


def _label_step(groups: int, height: float) -> int:
    """Write every 1st, 2nd, 5th, 10th ... label so that none touch."""
    room = max((height - 1.0) / PER_LABEL, 1.0)
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    return next(step for step in steps if groups / step <= room)
