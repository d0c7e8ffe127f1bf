"""Shrinkage plot: how far partial pooling moves each group from its own mean."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.model import Model
from hierjax.names import coordinates
from hierjax.plots.canvas import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SMALL,
    new_figure,
    plain,
    shortened,
    style,
    text_size,
)
from hierjax.pooling import shrinkage_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 60
LONGEST = 28  # characters of a label
SAME = 1e-3  # complete pooling that differs by less than this share of the raw range is one line
FEW_SIZES = 4  # with fewer distinct group sizes than this, sizes do not tell groups apart


def plot_shrinkage(
    model: Model, draws: Mapping[str, np.ndarray], *, group: str | None = None
) -> "Figure":
    """Arrow from each group's own mean (no pooling) to the model's (partial pooling).

    The dashed line is what the model expects of a group about which nothing is known (complete
    pooling). Where covariates make that differ between groups, all values are shown as differences
    from it. Groups are laid out by their number of rows if that differs, else in order.

    Parameters
    ----------
    model, draws
        As in a `Posterior`.
    group
        Grouping to show; by default the first that an index array gives.

    Raises
    ------
    ModelError
        The model does not show which group each observed value belongs to.
    SettingsError
        `group` is not a grouping of the model.
    """
    found = shrinkage_of(model, draws, group)
    labels = coordinates(model).get(found.level) or range(int(found.groups.max()) + 1)
    names = [plain(shortened(str(labels[n]), LONGEST)) for n in found.groups.tolist()]
    by_size = len(np.unique(found.rows)) >= FEW_SIZES
    figure = new_figure(9.0, 5.0)
    axes = figure.subplots()
    differs = np.ptp(found.population) > SAME * np.ptp(found.raw)
    zero = found.population if differs else np.zeros(len(names))
    place = _spread_out(found.rows) if by_size else np.argsort(np.argsort(found.raw - zero)) * 1.0
    _arrows(axes, place, found.raw - zero, found.fitted - zero, found.population - zero)
    style(
        axes,
        title=f"Shrinkage: {found.level}",
        x=f"rows in the {found.level}" if by_size else found.level,
        y=f"mean {found.site}" + (" less what the population predicts" if differs else ""),
    )
    axes.legend(
        fontsize=8.5, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3,
        borderaxespad=0.0,
    )  # fmt: skip
    if by_size:
        axes.set_xscale("log")
        _size_ticks(axes, found.rows)
        points = np.stack([np.tile(place, 2), np.concatenate([found.raw, found.fitted])], axis=1)
        points[:, 1] -= np.tile(zero, 2)
        _name_outliers(figure, axes, points, names)
    else:
        _name_all(axes, place, names)
    return figure


def _spread_out(rows: np.ndarray) -> np.ndarray:
    """Put groups of one size beside each other, around their number of rows on a log scale."""
    place = rows.astype(float)
    for size in np.unique(rows):
        same = np.flatnonzero(rows == size)
        offsets = (np.arange(len(same)) - (len(same) - 1) / 2) / max(len(same), 8)
        place[same] = size * np.exp(offsets * 0.6 * np.log1p(1 / size))
    return place


def _arrows(
    axes: "Axes", place: np.ndarray, raw: np.ndarray, fitted: np.ndarray, population: np.ndarray
) -> None:
    level = float(np.mean(population))
    axes.axhline(level, color=FAINT, linestyle="--", linewidth=1.0, label="complete pooling")
    axes.quiver(
        place, raw, np.zeros(len(place)), fitted - raw,
        angles="xy", scale_units="xy", scale=1, width=0.0016, headwidth=4, headlength=5,
        headaxislength=4.5, minlength=0, color=FAINT, zorder=1,
    )  # fmt: skip
    hollow = {"markerfacecolor": "white", "markeredgecolor": ORANGE, "markersize": 4.5}
    axes.plot(place, raw, "o", label="no pooling", zorder=2, **hollow)
    axes.plot(place, fitted, "o", color=BLUE, markersize=4, label="partial pooling", zorder=3)


def _size_ticks(axes: "Axes", rows: np.ndarray) -> None:
    """Write plain numbers of rows on the log axis: 1, 2, 5, 10, 20, ..."""
    from matplotlib.ticker import NullLocator

    steps = [factor * 10**power for power in range(9) for factor in (1, 2, 5)]
    ticks = [step for step in steps if rows.min() <= step <= rows.max()] or [int(rows.min())]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _name_outliers(
    figure: "Figure", axes: "Axes", points: np.ndarray, names: Sequence[str], most: int = 8
) -> None:
    """Name the groups that move furthest, where the name covers neither a point nor a name."""
    from matplotlib.font_manager import FontProperties

    figure.draw_without_rendering()
    pixels = axes.transData.transform(points)
    raw, fitted = points[: len(names), 1], points[len(names) :, 1]
    font, taken = FontProperties(size=SMALL), []
    for position in map(int, np.argsort(-abs(fitted - raw))):
        width, height = (figure.dpi * size for size in text_size(figure, names[position], font))
        left, middle = pixels[position] + (0.06 * figure.dpi, 0.0)
        box = (left, left + width, middle - height / 2, middle + height / 2)
        inside = (
            (pixels[:, 0] > box[0] - 6) & (pixels[:, 0] < box[1] + 6)
            & (pixels[:, 1] > box[2] - 6) & (pixels[:, 1] < box[3] + 6)
        )  # fmt: skip
        free = all(box[0] > b[1] or box[1] < b[0] or box[2] > b[3] or box[3] < b[2] for b in taken)
        if free and inside.sum() <= inside[position] and box[1] < axes.bbox.x1:
            taken.append(box)
            axes.annotate(
                names[position], tuple(points[position]), fontsize=SMALL, color=INK, va="center",
                xytext=(0.06 * 72, 0), textcoords="offset points", zorder=4,
            )  # fmt: skip
        if len(taken) == most:
            break


def _name_all(axes: "Axes", place: np.ndarray, names: Sequence[str]) -> None:
    if len(names) > MOST_LABELS:
        axes.set_xticks([])
        return
    order = [int(position) for position in np.argsort(place)]
    long = max(map(len, names)) * len(names) > 90
    axes.set_xticks(place[order], [names[position] for position in order])
    axes.tick_params(axis="x", rotation=90 if long else 0)
