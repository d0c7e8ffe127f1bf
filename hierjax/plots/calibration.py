"""Ranks of simulation-based calibration: distributions less the uniform one, within their bands."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierjax.plots.canvas import BLUE, FAINT, ORANGE, SKY, SMALL, caption, new_figure, plain, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """One curve on the places 0.01, 0.02, ..., 0.99.

    Attributes
    ----------
    title, verdict
        What it is the curve of, and what it shows.
    wrong
        Whether it leaves its band.
    place, curve, low, high
        Places, share of ranks below each less the place, and the band.
    """

    title: str
    verdict: str
    wrong: bool
    place: np.ndarray
    curve: np.ndarray
    low: np.ndarray
    high: np.ndarray


def plot_calibration(panels: Sequence[Panel], title: str, remark: str) -> "Figure":
    """Draw a panel for each quantity.

    Parameters
    ----------
    panels
        What to draw.
    title, remark
        Above and below all panels.
    """
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(3.2 * columns + 0.6, 2.3 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for column in range(columns):
        last = max(place for place in range(column, len(panels), columns))
        grid.flat[last].set_xlabel("rank of the true value", fontsize=9.5)
        grid.flat[last].tick_params(labelbottom=True)
    for row in grid:
        row[0].set_ylabel("share below,\nless uniform", fontsize=9.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.0)
    caption(figure, remark)
    return figure


def _draw(axes: "Axes", panel: Panel) -> None:
    place = np.concatenate([[0.0], panel.place, [1.0]])
    curve, low, high = (
        np.concatenate([[0.0], each, [0.0]]) for each in (panel.curve, panel.low, panel.high)
    )
    color = ORANGE if panel.wrong else BLUE
    axes.fill_between(place, low, high, color=SKY, alpha=0.35, linewidth=0)
    axes.axhline(0.0, color=FAINT, linewidth=0.8, linestyle="--")
    axes.plot(place, curve, color=color, linewidth=1.4)
    style(axes)
    axes.set_title(plain(panel.title), fontsize=9.5, loc="left", color="#222222")
    axes.text(
        0.98, 0.04, panel.verdict, transform=axes.transAxes, ha="right", va="bottom",
        fontsize=SMALL, color=color,
    )  # fmt: skip
    axes.set_xlim(0.0, 1.0)
