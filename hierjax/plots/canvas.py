"""The look of all plots in one place, and writing them so that no half-written file remains."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierjax.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by readers with any kind of colour vision, and in grey.
BLUE, ORANGE, GREEN, PINK, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
CHAINS = (BLUE, ORANGE, GREEN, PINK, SKY, "#E69F00", "#000000")
INK, FAINT, GRID = "#222222", "#767676", "#E5E5E5"
TITLE, LABEL, TICK, SMALL = 11.0, 9.5, 8.5, 7.0
RESOLUTION = 150
LINE = 1.27  # height of a line of text in font sizes


def new_figure(width: float, height: float, *, constrained: bool = True) -> "Figure":
    """Return an empty figure of `width` x `height` inches that no global registry knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = "constrained" if constrained else None
    figure = Figure(figsize=(width, height), dpi=RESOLUTION, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    """Return text as matplotlib is to draw it: a dollar is no formula, wherever it comes from."""
    return text.replace("$", r"\$")


def shortened(text: str, most: int) -> str:
    """Cut out the middle of what is longer than `most` characters; ends tell names apart."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def style(axes: "Axes", *, title: str = "", x: str = "", y: str = "") -> None:
    """Give axes the look of the house: light frame, small ticks, titles on the left."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(labelsize=TICK, colors=INK, length=3, width=0.7)
    axes.set_title(plain(title), fontsize=TITLE, color=INK, loc="left")
    axes.set_xlabel(plain(x), fontsize=LABEL, color=INK)
    axes.set_ylabel(plain(y), fontsize=LABEL, color=INK)


def caption(figure: "Figure", text: str) -> None:
    """Write a remark below everything else."""
    figure.supxlabel(plain(text), fontsize=TICK, color=FAINT, x=0.01, ha="left")


def write_png(figure: "Figure", path: str | Path | None) -> "Figure":
    """Write `figure` to `path` in one step, if there is a path, and return it.

    Raises
    ------
    FileError
        The file cannot be written; an older one is as it was.
    """
    if path is not None:
        write_whole(Path(path), [png_of(figure)])
    return figure


def png_of(figure: "Figure") -> bytes:
    """Return a figure as the content of a PNG file."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=RESOLUTION)
    return image.getvalue()


def text_size(figure: "Figure", text: str, font: Any) -> tuple[float, float]:
    """Return width and height in inches of lines of text in `font` (FontProperties)."""
    renderer = figure.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue]
    lines = text.split("\n")
    sizes = [renderer.get_text_width_height_descent(line, font, ismath=False) for line in lines]
    width = max(size[0] for size in sizes)
    return width / figure.dpi, len(lines) * font.get_size_in_points() * LINE / 72
