"""Picture of the levels: a box for each, from the population down to the rows."""

import textwrap
from typing import TYPE_CHECKING, Any

from hierjax.level_graph import LevelGraph
from hierjax.level_tree import Place, has_rows_only, heading, notes, site_lines
from hierjax.plots.canvas import BLUE, FAINT, GREEN, INK, LINE, new_figure, plain, text_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRAP = 48
MARGIN, GAP, DROP, PAD = 0.25, 0.35, 0.5, 0.12  # inches
POPULATION: Place = ()


def plot_levels(graph: LevelGraph) -> "Figure":
    """Draw one box a level with its sites; an arrow leads from a level to what lies in it."""
    from matplotlib.font_manager import FontProperties

    bold, light = FontProperties(size=9.5, weight="bold"), FontProperties(size=8.5)
    parents = {node: graph.parents[node] or (POPULATION,) for node in graph.parents}
    texts = {node: _texts(graph, node) for node in (POPULATION, *parents)}
    ruler = new_figure(1, 1, constrained=False)
    sizes = {}
    for node, (title, body) in texts.items():
        width, height = text_size(ruler, title, bold)
        if body:
            more = text_size(ruler, body, light)
            width, height = max(width, more[0]), height + more[1]
        sizes[node] = (width + 2 * PAD, height + 2 * PAD)
    remarks = plain("\n".join(line for note in notes(graph) for line in textwrap.wrap(note, 90)))
    remark_size = text_size(ruler, remarks, light) if remarks else (0.0, 0.0)
    layers = _layers(graph, parents)
    width, height, boxes = _arrange(layers, sizes, remark_size)
    figure = new_figure(width, height, constrained=False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    for node, above in parents.items():
        for parent in above:
            _arrow(axes, boxes[parent], boxes[node])
    for node, (title, body) in texts.items():
        rows = bool(node) and has_rows_only(graph, node)
        _box(axes, boxes[node], title, body, GREEN if rows else BLUE, (bold, light))
    axes.text(
        MARGIN, MARGIN, remarks, fontproperties=light, color=FAINT, va="bottom", linespacing=1.15
    )
    return figure


def _texts(graph: LevelGraph, node: Place) -> tuple[str, str]:
    title = heading(graph, node) if node else "population"
    lines = [line for part in title.split("; ") for line in textwrap.wrap(part, WRAP)]
    return plain("\n".join(lines)), plain("\n".join(site_lines(graph, node, WRAP)))


def _layers(graph: LevelGraph, parents: dict[Place, tuple[Place, ...]]) -> list[list[Place]]:
    """Put every place one layer below the lowest of those that it lies in; rows come last."""
    depth = {POPULATION: 0}

    def depth_of(node: Place) -> int:
        if node not in depth:
            depth[node] = 1 + max(depth_of(parent) for parent in parents[node])
        return depth[node]

    lowest = max((depth_of(node) for node in parents), default=0)
    if any(not has_rows_only(graph, node) and depth[node] == lowest for node in parents):
        lowest += any(has_rows_only(graph, node) for node in parents)
    for node in parents:
        if has_rows_only(graph, node):
            depth[node] = lowest
    layers = [[node for node in depth if depth[node] == level] for level in range(lowest + 1)]
    return [layer for layer in layers if layer]


def _arrange(
    layers: list[list[Place]],
    sizes: dict[Place, tuple[float, float]],
    remark: tuple[float, float],
) -> tuple[float, float, dict[Place, tuple[float, float, float, float]]]:
    """Return the size of the figure and the box (left, bottom, width, height) of every place."""
    widths = [sum(sizes[node][0] for node in layer) + GAP * (len(layer) - 1) for layer in layers]
    heights = [max(sizes[node][1] for node in layer) for layer in layers]
    width = max(*widths, remark[0], 0.0) + 2 * MARGIN
    below = remark[1] + GAP if remark[1] else 0.0
    height = sum(heights) + DROP * (len(layers) - 1) + 2 * MARGIN + below
    boxes, top = {}, height - MARGIN
    for layer, total, tall in zip(layers, widths, heights, strict=True):
        left = (width - total) / 2
        for node in layer:
            boxes[node] = (left, top - sizes[node][1], *sizes[node])
            left += sizes[node][0] + GAP
        top -= tall + DROP
    return width, height, boxes


Box = tuple[float, float, float, float]


def _arrow(axes: "Axes", above: Box, below: Box) -> None:
    start = (above[0] + above[2] / 2, above[1])
    end = (below[0] + below[2] / 2, below[1] + below[3])
    arrow = {"arrowstyle": "-|>", "color": FAINT, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow, zorder=1)


def _box(axes: "Axes", box: Box, title: str, body: str, color: str, fonts: tuple[Any, Any]) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, bottom, width, height = box
    shape = "round,pad=0,rounding_size=0.06"
    patch = FancyBboxPatch(
        (left, bottom),
        width,
        height,
        boxstyle=shape,
        facecolor="white",
        edgecolor=color,
        linewidth=1.3,
        zorder=2,
    )
    axes.add_patch(patch)
    top = bottom + height - PAD
    axes.text(
        left + PAD,
        top,
        title,
        fontproperties=fonts[0],
        color=color,
        va="top",
        zorder=3,
        linespacing=1.15,
    )
    down = (title.count("\n") + 1) * fonts[0].get_size_in_points() * LINE / 72
    axes.text(
        left + PAD,
        top - down,
        body,
        fontproperties=fonts[1],
        color=INK,
        va="top",
        zorder=3,
        linespacing=1.15,
    )
