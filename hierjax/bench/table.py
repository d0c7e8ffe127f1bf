"""Rows as tables, for a terminal and for a page."""

import math
from collections.abc import Callable, Sequence

from hierjax.bench.row import OK, CostRow, FitRow, Row

Cells = list[str]
Fill = Callable[[str, int], str]
FIT_HEAD = (
    "problem", "tool", "first s", "first CPU", "compile", "run s", "run CPU", "min ESS",
    "ESS/CPU s", "ESS/kgrad", "R-hat", "error sd", "div", "MB",
)  # fmt: skip
BATCH_HEAD = ("tool", "data sets", "compile", "s", "CPU s", "CPU ms each", "good", "MB")
GRADIENT_HEAD = ("effects", "rows", "groups", "compile", "us", "CPU us", "MB")
TEXT_COLUMNS = {"problem", "tool", "effects"}


def number(value: float | None, digits: int = 3) -> str:
    """Write a number to so many digits, without exponents; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def fit_cells(row: FitRow) -> Cells:
    """Return the cells of a fit; of one that failed, what became of it."""
    if row.status != OK:
        return [row.problem, row.tool, what_became(row)]
    rhat = "estimate" if row.estimate else "-" if math.isnan(row.rhat) else f"{row.rhat:.3f}"
    return [
        row.problem,
        row.tool,
        f"{row.first_seconds:.1f}",
        f"{row.first_cpu_seconds:.1f}",
        f"{row.compile_seconds:.1f}",
        number(row.run_seconds),
        number(row.run_cpu_seconds),
        number(row.minimum_ess, 4),
        number(row.ess_per_cpu_second),
        number(row.ess_per_thousand_gradients),
        rhat,
        "-" if math.isnan(row.error_sds) else f"{row.error_sds:.2f}",
        "-" if row.divergences is None else str(row.divergences),
        number(row.peak_mb, 4),
    ]


def cost_cells(row: CostRow) -> Cells:
    """Return the cells of a cost."""
    sizes = [f"{row.sets:,}"] if row.task == "batch" else [f"{row.rows:,}", f"{row.groups:,}"]
    if row.status != OK:
        return [row.tool, *sizes, what_became(row)]
    compiled, peak = f"{row.compile_seconds:.1f}", number(row.peak_mb, 4)
    if row.task == "batch":
        times = [number(row.seconds), number(row.cpu_seconds), number(1e3 * row.cpu_seconds_each)]
        return [row.tool, *sizes, compiled, *times, f"{row.good:.1%}", peak]
    times = [number(1e6 * row.seconds), number(1e6 * row.cpu_seconds)]
    return [row.tool, *sizes, compiled, *times, peak]


def what_became(row: Row) -> str:
    """Say what became of a row that has no numbers."""
    return f"{row.status}: {row.message}" if row.message else row.status


def blocks(rows: Sequence[Row]) -> list[tuple[Sequence[str], list[Cells]]]:
    """Head and cells of each table: fits, data sets, gradients; those that there are."""
    fits = [fit_cells(row) for row in rows if isinstance(row, FitRow)]
    batches = [cost_cells(r) for r in rows if isinstance(r, CostRow) and r.task == "batch"]
    gradients = [cost_cells(r) for r in rows if isinstance(r, CostRow) and r.task == "gradient"]
    found = [(FIT_HEAD, fits), (BATCH_HEAD, batches), (GRADIENT_HEAD, gradients)]
    return [(head, cells) for head, cells in found if cells]


def terminal(rows: Sequence[Row]) -> str:
    """Return the tables in columns; a message runs over the columns that have no numbers."""
    return "\n\n".join(_columns(head, cells) for head, cells in blocks(rows))


def _columns(head: Sequence[str], lines: list[Cells]) -> str:
    whole = [line for line in lines if len(line) == len(head)]
    named = [name in TEXT_COLUMNS for name in head]
    widths = [
        max(len(name), *(len(line[place]) for line in (lines if text else whole)), 0)
        for place, (name, text) in enumerate(zip(head, named, strict=True))
    ]

    def written(line: Sequence[str]) -> str:
        last = None if len(line) == len(head) else len(line) - 1
        cells = [
            cell if place == last else cell.ljust(width) if text else cell.rjust(width)
            for place, (cell, width, text) in enumerate(
                zip(line, widths[: len(line)], named[: len(line)], strict=True)
            )
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(written(line) for line in (list(head), *lines))


def markdown(rows: Sequence[Row]) -> str:
    """Return the tables for a page."""
    return "\n\n".join(_markdown(head, cells) for head, cells in blocks(rows))


def _markdown(head: Sequence[str], lines: list[Cells]) -> str:
    rule = ["---" if name in TEXT_COLUMNS else "---:" for name in head]
    written = [f"| {' | '.join(cells)} |" for cells in (head, rule)]
    for line in lines:
        cells = [cell.replace("|", "\\|") for cell in line]
        cells += [""] * (len(head) - len(cells))
        written.append(f"| {' | '.join(cells)} |")
    return "\n".join(written)
