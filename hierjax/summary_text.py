"""Tables of parameters as text for a terminal.

Every row has its own number of digits, those that its sd makes meaningful, and every column is
aligned on the decimal point.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "estimate": "estimate",
    "se": "se",
    "mean": "mean",
    "sd": "sd",
    "q5": "5%",
    "q50": "50%",
    "q95": "95%",
    "mcse": "mcse",
    "ess_bulk": "bulk",
    "ess_tail": "tail",
    "rhat": "rhat",
}
SCALED = ("estimate", "se", "mean", "sd", "q5", "q50", "q95")
WHOLE = {"ess_bulk": 0, "ess_tail": 0, "rhat": 3}  # column -> decimals
UNKNOWN = "-"
LEFT_OUT = ("50%", "mcse")  # columns that make room for long names, in this order
SHORTEST_NAME = 20
INDENT = "  "


def summary_text(table: "pd.DataFrame", width: int = 100) -> str:
    """Lay out a table of parameters as text, its blocks as headings.

    Parameters
    ----------
    table
        What `summary_table` returns.
    width
        Characters a line. Where names are too long for it the median and then the Monte Carlo
        error are left out, and names that are still too long are cut in the middle.
    """
    if table.empty:
        return "(no parameters)"
    columns = summary_cells(table)
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    names = [str(name) for name in table.index.get_level_values("parameter")]
    longest = max(map(len, names))
    for name in LEFT_OUT:
        if _room(widths, width) < longest and name in columns:
            del columns[name], widths[name]
    room = min(longest, max(_room(widths, width), SHORTEST_NAME))
    names = [_shortened(name, room) for name in names]
    blocks = list(table.index.get_level_values("block"))
    lines = []
    for row, block in enumerate(blocks):
        if row == 0 or block != blocks[row - 1]:
            lines += _heading(block, len(INDENT) + room, widths, first=row == 0)
        numbers = "".join(f"  {cells[row]:>{widths[name]}}" for name, cells in columns.items())
        lines.append(f"{INDENT}{names[row]:<{room}}{numbers}".rstrip())
    return "\n".join(lines)


def summary_cells(table: "pd.DataFrame") -> dict[str, list[str]]:
    """Write the numbers of a table: heading -> cells, whose decimal points meet on the right.

    Columns without a number are left out.
    """
    return {
        HEADINGS[name]: _aligned(cells)
        for name, cells in _cells(table).items()
        if any(cell != UNKNOWN for cell in cells)
    }


def _room(widths: dict[str, int], width: int) -> int:
    """Characters that a line has for the name of a parameter."""
    return width - len(INDENT) - sum(2 + size for size in widths.values())


def _heading(block: str, room: int, widths: dict[str, int], *, first: bool) -> list[str]:
    """Title of a block; the first one carries the names of the columns."""
    if not first:
        return ["", block]
    names = "".join(f"  {name:>{size}}" for name, size in widths.items())
    return [f"{'':<{room}}{names}", block] if len(block) > room else [f"{block:<{room}}{names}"]


def _cells(table: "pd.DataFrame") -> dict[str, list[str]]:
    decimals = [_decimals(spread) for spread in table["se" if "se" in table else "sd"]]
    rows = range(len(table))
    cells = {
        name: [_number(float(table[name].iloc[row]), decimals[row]) for row in rows]
        for name in SCALED
        if name in table
    }
    if "mcse" in table:
        cells["mcse"] = [_number(float(error), _decimals(error, 1.0)) for error in table["mcse"]]
    for name, places in WHOLE.items():
        if name in table:
            cells[name] = [_number(float(value), places) for value in table[name]]
    return cells


def _decimals(spread: float, smallest: float = 10.0) -> int | None:
    """Decimal places that make `spread` a number of at least `smallest`; None for an exponent.

    At 10 numbers are shown to a tenth of their sd or better, at 1 an error keeps one digit.
    """
    if not math.isfinite(spread) or spread <= 0:
        return 2
    places = math.ceil(math.log10(smallest / spread))
    return None if places > 6 or places < -5 else max(places, 0)


def _number(value: float, decimals: int | None) -> str:
    if math.isnan(value):
        return UNKNOWN
    if decimals is None or (value != 0 and abs(value) >= 1e7):
        return f"{value:.2e}"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _aligned(cells: list[str]) -> list[str]:
    """Pad on the right so that the decimal points of right-justified cells meet."""
    places = [len(cell) - cell.find(".") if "." in cell else 0 for cell in cells]
    longest = max(places)
    return [cell + " " * (longest - place) for cell, place in zip(cells, places, strict=True)]


def _shortened(name: str, room: int) -> str:
    if len(name) <= room:
        return name
    tail = (room - 1) // 3
    return f"{name[: room - 1 - tail]}…{name[-tail:]}"
