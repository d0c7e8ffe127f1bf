"""Posterior predictive checks: whether data drawn from the model look like the data."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax import checks
from hierjax.diagnostics_uniform import band, places
from hierjax.draws import FitInfo
from hierjax.errors import ModelError
from hierjax.level_rows import choose_grouping, group_of_rows, groupings
from hierjax.loo import smoothed_weights
from hierjax.loo_pointwise import by_row
from hierjax.model import Model
from hierjax.names import coordinates
from hierjax.plots.canvas import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SKY,
    SMALL,
    caption,
    new_figure,
    plain,
    shortened,
    style,
)
from hierjax.predict import predict, response_of
from hierjax.trace import abstract_trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draws = Mapping[str, np.ndarray]
SHOWN = 50  # replicated data sets drawn as curves
MOST_DRAWS = 1000
MOST_VALUES = 2**24  # replicated observations, 128 MiB
MOST_LABELS = 60
LONGEST = 28  # characters of a label
COVER = (0.05, 0.95)
LARGEST_BAND = 10_000


def _sd(values: np.ndarray) -> np.ndarray:
    return values.std(axis=-1)


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda values: values.mean(axis=-1),
    "sd": _sd,
    "min": lambda values: values.min(axis=-1),
    "max": lambda values: values.max(axis=-1),
}


def plot_ppc(
    model: Model,
    draws: Draws,
    info: FitInfo,
    *,
    group: str | None = None,
    statistic: str | Callable[[np.ndarray], np.ndarray] = "mean",
    site: str | None = None,
    seed: int = 0,
) -> "Figure":
    """Compare the data with new ones from the model, all together and group by group.

    Above, the distribution of the response in the data and in 50 replicated data sets. Below, a
    statistic of each group: observed, and 90% of the replicated ones. If the model is right at most
    about one group in ten lies outside; fewer for means, to which the effects were fitted.

    Parameters
    ----------
    model, draws, info
        The parts of a posterior.
    group
        Grouping of the second panel; by default the first that an index array gives.
    statistic
        "mean", "sd", "min", "max", or a function of values (..., row) that reduces the last axis.
    site
        The response, if the model has several.
    seed
        Of the replicated data.

    Raises
    ------
    ModelError
        The model observes nothing that is a data argument.
    SettingsError
        `group` is not a grouping of the model, or there is no such statistic.
    """
    if not callable(statistic):
        checks.one_of("statistic", statistic, STATISTICS)
    graph = model.levels()
    if group is None and not groupings(graph):
        level, site = "", response_of(abstract_trace(model.fn, model.data), site)
    else:
        level, site = choose_grouping(graph, group, name="group")
    observed = _observed(model, site)
    most = int(np.clip(MOST_VALUES // observed.size, SHOWN, MOST_DRAWS))
    replicated = predict(
        model, draws, info, kind="draw", seed=seed, most_draws=most, site=site
    ).values.reshape(-1, observed.size)
    figure = new_figure(9.0, 7.2 if level else 3.8)
    panels = figure.subplots(2 if level else 1, 1, squeeze=False)[:, 0]
    _distributions(panels[0], observed, replicated, site)
    if level:
        index = group_of_rows(model, graph, level, site).ravel()
        labels = coordinates(model).get(level) or range(int(index.max()) + 1)
        outside, count = _groups(panels[1], observed, replicated, index, labels, statistic)
        name = statistic if isinstance(statistic, str) else statistic.__name__
        style(
            panels[1],
            title=f"{name.capitalize()} of {site} in each {level}",
            x=level,
            y=f"{name} of {site}",
        )
        caption(
            figure,
            f"{outside} of {count} lie outside 90% of the replicated data sets. If the model is "
            f"right, about {count / 10:.0f} do; fewer where effects of groups were fitted to it.",
        )
    return figure


def plot_pit(
    model: Model,
    draws: Draws,
    stats: Draws,
    info: FitInfo,
    *,
    site: str | None = None,
    seed: int = 0,
) -> "Figure":
    """Calibration of left-out predictions: probability integral transforms, P(new y_i <= y_i).

    Each observation is left out by importance sampling. If the model is right the transforms are
    uniform, and their cumulative distribution less the diagonal stays in the band with probability
    90%. A curve above the line on the left and below it on the right says that too many
    observations are extreme: predictions are too narrow. The other way round they are too wide.

    Parameters
    ----------
    model, draws, stats, info
        The parts of a posterior.
    site
        The response, if the model has several.
    seed
        Of the new observations, and of ties of whole numbers.

    Raises
    ------
    ModelError
        The model observes nothing that is a data argument.
    """
    site = response_of(abstract_trace(model.fn, model.data), site)
    transforms = left_out_transforms(model, draws, stats, info, site=site, seed=seed)
    figure = new_figure(7.0, 4.2)
    axes = figure.subplots()
    place = np.linspace(0.0, 1.0, 201)
    counts = np.searchsorted(np.sort(transforms), place, side="right") / len(transforms)
    size = min(len(transforms), LARGEST_BAND)  # wider ones shrink by the root of their size
    low, high = (each * np.sqrt(size / len(transforms)) for each in band(size, 0.9))
    axes.fill_between(places(), low, high, color=SKY, alpha=0.35, linewidth=0, label="90% band")
    axes.axhline(0.0, color=FAINT, linewidth=0.8, linestyle="--")
    axes.step(place, counts - place, where="post", color=BLUE, linewidth=1.4, label=plain(site))
    style(
        axes, title=f"Calibration of left-out {site}", x="probability integral transform",
        y="share below, less uniform",
    )  # fmt: skip
    axes.legend(fontsize=8.5, frameon=False)
    axes.margins(x=0)
    return figure


def left_out_transforms(
    model: Model, draws: Draws, stats: Draws, info: FitInfo, *, site: str, seed: int = 0
) -> np.ndarray:
    """P(new y_i < y_i) + U P(new y_i = y_i) for each left-out observation, U uniform."""
    observed = _observed(model, site)
    values = by_row(model, draws, info, site, MOST_DRAWS)
    new = predict(
        model, draws, info, kind="draw", seed=seed, site=site,
        most_draws=values.shape[0] * values.shape[1],
    ).values.reshape(*values.shape)  # fmt: skip
    weights = np.exp(smoothed_weights(model, draws, stats, info, values)[0])
    below = np.sum(weights * (new < observed), axis=(0, 1))
    same = np.sum(weights * (new == observed), axis=(0, 1))
    return below + np.random.default_rng(seed).uniform(size=observed.size) * same


def _observed(model: Model, site: str) -> np.ndarray:
    argument = model.levels().response.get(site)
    if argument is None:
        raise ModelError(f"the observed values of {site!r} are no data argument of the model.")
    return np.asarray(model.data[argument], dtype=float).ravel()


def _distributions(axes: "Axes", observed: np.ndarray, replicated: np.ndarray, site: str) -> None:
    """Histogram outlines of the data and of some replicated data sets, over one set of bins."""
    from matplotlib.ticker import MaxNLocator

    shown = replicated[np.linspace(0, len(replicated) - 1, min(SHOWN, len(replicated))).astype(int)]
    bins = _bins(observed, shown)
    whole = bool(np.all(observed == np.floor(observed)) and np.all(shown == np.floor(shown)))
    for number, values in enumerate(shown):
        heights, _ = np.histogram(values, bins)
        axes.stairs(
            heights, bins, color=SKY, linewidth=0.5, alpha=0.5,
            label=f"{len(shown)} replicated data sets" if number == 0 else None,
        )  # fmt: skip
    axes.stairs(np.histogram(observed, bins)[0], bins, color=INK, linewidth=1.5, label="data")
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style(axes, title=f"Distribution of {site}", x=site, y="rows" if whole else "rows in a bin")
    axes.legend(fontsize=8.5, frameon=False)
    axes.margins(x=0.01)


def _bins(observed: np.ndarray, replicated: np.ndarray) -> np.ndarray:
    """Return edges of bins: one a whole number where those are few, else about sqrt(rows)."""
    low, high = np.quantile(replicated, (0.001, 0.999))
    low, high = min(low, observed.min()), max(high, observed.max())
    if np.all(observed == np.floor(observed)) and high - low <= 60:
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    return np.linspace(low, high, int(np.clip(np.sqrt(observed.size) * 1.5, 10, 60)) + 1)


def _groups(
    axes: "Axes",
    observed: np.ndarray,
    replicated: np.ndarray,
    index: np.ndarray,
    labels: Any,
    statistic: str | Callable[[np.ndarray], np.ndarray],
) -> tuple[int, int]:
    """Draw the statistic of each group, sorted; return how many lie outside, of how many."""
    reduce = STATISTICS[statistic] if isinstance(statistic, str) else statistic
    order = np.argsort(index, kind="stable")
    groups, starts = np.unique(index[order], return_index=True)
    members = np.split(order, starts[1:])
    real = np.array([reduce(observed[rows]) for rows in members])
    spread = np.array([np.quantile(reduce(replicated[:, rows]), COVER) for rows in members])
    place = np.argsort(np.argsort(real, kind="stable"))
    outside = (real < spread[:, 0]) | (real > spread[:, 1])
    axes.vlines(place, *spread.T, color=SKY, linewidth=2.5, label="90% of replicated data sets")
    for which, color, label in ((~outside, BLUE, "data inside"), (outside, ORANGE, "data outside")):
        axes.plot(place[which], real[which], "o", color=color, markersize=3.5, label=label)
    names = [plain(shortened(str(labels[group]), LONGEST)) for group in groups.tolist()]
    _name_groups(axes, place, names)
    axes.legend(
        fontsize=8.5, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3,
        borderaxespad=0.0,
    )  # fmt: skip
    return int(outside.sum()), len(groups)


def _name_groups(axes: "Axes", place: np.ndarray, names: list[str]) -> None:
    if len(names) > MOST_LABELS:
        axes.set_xticks([])
        return
    order = np.argsort(place)
    upright = max(map(len, names)) * len(names) > 90
    axes.set_xticks(place[order], [names[int(each)] for each in order], fontsize=SMALL)
    axes.tick_params(axis="x", rotation=90 if upright else 0)
