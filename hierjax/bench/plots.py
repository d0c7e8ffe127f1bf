"""Plots of a benchmark: speed by problem and tool, and what data sets and gradients cost."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hierjax.bench.row import OK, CostRow, FitRow, Row, costs, fits
from hierjax.plots.canvas import (
    CHAINS,
    GRID,
    TICK,
    caption,
    new_figure,
    png_of,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MARKERS = "osD^vP*Xph<>d8H"
WEAK = 1.05  # an R-hat above which draws are not to be believed


def draw_all(rows: Sequence[Row]) -> dict[str, bytes]:
    """Name -> content of each plot that these rows have."""
    found = {}
    good = [row for row in fits(rows) if row.status == OK and row.minimum_ess > 0]
    if good:
        found["ess"] = png_of(plot_speed(good))
    for task, plot in (("batch", plot_batch), ("gradient", plot_gradient)):
        if costs(rows, task):
            found[task] = png_of(plot(costs(rows, task)))
    return found


def plot_speed(rows: Sequence[FitRow]) -> "Figure":
    """Effective draws per CPU second, one line a problem, one mark a tool, one colour a package."""
    problems = list(dict.fromkeys(row.problem for row in rows))
    tools = list(dict.fromkeys(row.tool for row in rows))
    packages = list(dict.fromkeys(tool.split()[0] for tool in tools))
    height = 0.9 + 0.5 * len(problems) + 0.22 * math.ceil(len(tools) / 3)
    figure = new_figure(7.6, max(height, 2.6))
    axes = figure.subplots()
    for number, tool in enumerate(tools):
        own = [row for row in rows if row.tool == tool]
        offset = 0.5 * (number / max(len(tools) - 1, 1) - 0.5)
        for weak in (False, True):
            part = [row for row in own if (row.rhat > WEAK) == weak]
            colour = CHAINS[packages.index(tool.split()[0]) % len(CHAINS)]
            axes.plot(
                [row.ess_per_cpu_second for row in part],
                [problems.index(row.problem) + offset for row in part],
                MARKERS[number % len(MARKERS)],
                color=colour, markersize=7, label="" if weak else tool,
                markerfacecolor="white" if weak else colour, linestyle="none",
            )  # fmt: skip
    axes.set_xscale("log")
    _written_out(axes.xaxis)
    axes.set_yticks(range(len(problems)), problems)
    axes.set_ylim(len(problems) - 0.5, -0.5)
    for edge in range(len(problems) - 1):
        axes.axhline(edge + 0.5, color=GRID, linewidth=0.8)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    style(
        axes,
        x="smallest bulk effective sample size per CPU second of a run",
    )
    figure.legend(loc="outside upper left", ncols=3, fontsize=TICK, frameon=False)
    caption(figure, f"Further right is better. Empty: R-hat above {WEAK}, not to be believed.")
    return figure


def plot_batch(rows: Sequence[CostRow]) -> "Figure":
    """CPU milliseconds of a data set against their number."""
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    for number, tool in enumerate(dict.fromkeys(row.tool for row in rows)):
        own = [row for row in rows if row.tool == tool]
        points = ([row.sets for row in own], [1e3 * row.cpu_seconds_each for row in own])
        axes.plot(
            *points, f"{MARKERS[number]}-", color=CHAINS[number], markersize=6, linewidth=1.3,
            label=tool,
        )  # fmt: skip
    _logarithmic(axes)
    style(axes, x="data sets", y="CPU milliseconds of each")
    figure.legend(loc="outside upper left", ncols=3, fontsize=TICK, frameon=False)
    caption(figure, f"{rows[0].rows} rows in {rows[0].groups} groups each; compiling not counted.")
    return figure


def plot_gradient(rows: Sequence[CostRow]) -> "Figure":
    """Microseconds of a gradient against groups, one line a number of rows, a panel a treatment."""
    tools = list(dict.fromkeys(row.tool for row in rows))
    sizes = sorted({row.rows for row in rows})
    figure = new_figure(1.2 + 3.1 * len(tools), 3.6)
    panels = figure.subplots(1, len(tools), squeeze=False, sharey=True)[0]
    for axes, tool in zip(panels, tools, strict=True):
        for number, size in enumerate(sizes):
            own = [row for row in rows if row.tool == tool and row.rows == size]
            axes.plot(
                [row.groups for row in own], [1e6 * row.seconds for row in own],
                f"{MARKERS[number]}-", color=CHAINS[number % len(CHAINS)], markersize=6,
                linewidth=1.3, label=f"{size:,} rows" if tool == tools[0] else "",
            )  # fmt: skip
        _logarithmic(axes)
        style(axes, title=f"effects: {tool}", x="groups")
    panels[0].set_ylabel("microseconds of a gradient", fontsize=9.5)
    figure.legend(loc="outside upper left", ncols=4, fontsize=TICK, frameon=False)
    caption(figure, f"{rows[0].device}, {rows[0].precision}; the least of many.")
    return figure


def _logarithmic(axes: "Axes") -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    _written_out(axes.xaxis)
    _written_out(axes.yaxis)


def _written_out(axis: "Axis") -> None:
    """Write 1,000 instead of a power of ten."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
