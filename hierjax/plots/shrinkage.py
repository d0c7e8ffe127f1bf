"""Shrinkage plot: how far partial pooling moves each group from its own mean."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.errors import ModelError, SettingsError
from hierjax.level_graph import LevelGraph
from hierjax.level_maps import index_values
from hierjax.model import Model
from hierjax.names import coordinates
from hierjax.plots.canvas import BLUE, FAINT, INK, ORANGE, SMALL, new_figure, style, text_size
from hierjax.trace import traced_arrays
from hierjax.trace_response import expected_response

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DRAWS = 200
MOST_LABELS = 60
SAME = 1e-3  # complete pooling that differs by less than this share of the raw range is one line
FEW_SIZES = 4  # with fewer distinct group sizes than this, sizes do not tell groups apart


@dataclasses.dataclass(frozen=True)
class Shrinkage:
    """No pooling, partial pooling and complete pooling of every group that has rows.

    Attributes
    ----------
    site, level
        Observed site and grouping.
    groups
        Positions of the groups shown, shape (group,).
    rows
        Number of rows in each.
    raw
        Mean of the observed values in each group: no pooling.
    fitted
        Mean of the model's expected values in each group, over its rows and the draws.
    population
        The same with the effects of all groups at their prior mean: complete pooling.
    """

    site: str
    level: str
    groups: np.ndarray
    rows: np.ndarray
    raw: np.ndarray
    fitted: np.ndarray
    population: np.ndarray


def has_shrinkage(model: Model) -> bool:
    """Whether some observed site's rows are known to belong to groups with effects."""
    return bool(_groupings(model.levels()))


def shrinkage_of(
    model: Model, draws: Mapping[str, np.ndarray], group: str | None = None
) -> Shrinkage:
    """Compare each group's own mean with what the model expects with and without its effects.

    All are on the scale of the response and over the same rows, so that covariates do not tell
    them apart: raw_j = mean of y_i, fitted_j = mean of E[y_i | data], i in group j.

    Raises
    ------
    ModelError
        No observed site's rows are known to belong to groups, or its distribution has no mean.
    SettingsError
        `group` is not among the groupings.
    """
    graph = model.levels()
    choices = _groupings(graph)
    if not choices:
        raise ModelError(
            "a shrinkage plot needs observed values that are a data argument and an index array "
            f"that says which group each row belongs to; this model shows none:\n{graph}"
        )
    if group is not None and group not in choices:
        raise SettingsError(
            f"`group` must be one of {', '.join(map(repr, choices))}; got {group!r}."
        )
    level = group or next(iter(choices))
    site = choices[level]
    arrays = traced_arrays(model.data)
    observed = np.asarray(arrays[graph.response[site]], dtype=float)
    index = _index_of(graph, level, site, arrays)
    latent = {
        name: _thinned(draws[name])
        for name, each in graph.sites.items()
        if each.kind == "latent" and name in draws
    }
    effects = [
        name
        for name, each in graph.sites.items()
        if each.kind == "latent" and level in graph.places[name]
    ]
    known = np.isfinite(observed)
    size = graph.levels[level].size
    rows = np.bincount(index[known], minlength=size)
    groups = np.flatnonzero(rows)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(index[known], np.broadcast_to(values, known.shape)[known], size)
        return sums[groups] / rows[groups]

    fitted, population = (
        mean(expected_response(model.fn, model.data, latent, site, pooled).mean(axis=0))
        for pooled in ((), effects)
    )
    return Shrinkage(site, level, groups, rows[groups], mean(observed), fitted, population)


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
    names = [str(labels[position]) for position in found.groups.tolist()]
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


def _groupings(graph: LevelGraph) -> dict[str, str]:
    """Return the levels whose group of each observed value is known, with the observed site."""
    found: dict[str, str] = {}
    effects = {
        level
        for name, site in graph.sites.items()
        if site.kind == "latent"
        for level in graph.places[name]
    }
    for site in graph.response:
        place = graph.places[site]
        for level in graph.levels:
            paths = {link.path for link in graph.links if link.plate == level and link.index}
            rows = {link.rows for link in graph.links if link.plate == level}
            single = len(paths) == 1 and len(place) == 1 and rows <= {*place, ""}
            own = level in place and level in effects
            if single or own:
                found.setdefault(level, site)
    return found


def _index_of(
    graph: LevelGraph, level: str, site: str, arrays: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the group of every observed value, in its shape."""
    shape, place = graph.sites[site].shape, graph.places[site]
    if level in place:
        return np.indices(shape)[place.index(level)]
    path = next(link.path for link in graph.links if link.plate == level and link.path)
    sizes = {name: plate.size for name, plate in graph.plates.items()}
    index = index_values(path, arrays, sizes)
    assert index is not None and index.shape == shape
    return index


def _thinned(values: np.ndarray) -> np.ndarray:
    """Return at most `MOST_DRAWS` draws, evenly spaced over the chains: (draw, *site shape)."""
    flat = np.reshape(values, (-1, *np.shape(values)[2:]))
    return flat[np.linspace(0, len(flat) - 1, min(len(flat), MOST_DRAWS)).astype(int)]


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
