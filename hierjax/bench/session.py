"""A suite from its first row to its files: progress, JSON lines as they come, table and plots."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from hierjax.bench.machine import machine, machine_text
from hierjax.bench.row import NOT_RUN, OK, CostRow, Row, to_json
from hierjax.bench.runner import Task, run_task
from hierjax.bench.suites import Suite
from hierjax.bench.table import markdown, number, terminal, what_became
from hierjax.errors import FileError
from hierjax.files import write_whole

ROWS, TABLE, MACHINE = "rows.jsonl", "table.md", "machine.json"
LEAST_SECONDS = 5.0  # a row that has less of the suite's time is not begun
Say = Callable[[str], None]
Measure = Callable[[Task, float], Row]


def run_suite(suite: Suite, folder: Path, say: Say, measure: Measure | None = None) -> list[Row]:
    """Run a suite, and write rows.jsonl, table.md, machine.json and plots.

    Rows are written as they come: what was measured before an interrupt is kept.

    Parameters
    ----------
    suite
        What to run.
    folder
        Where to write; files of an older run are replaced.
    say
        Takes what a person reads, piece by piece.
    measure
        How a row is measured; by default in a process of its own.

    Raises
    ------
    FileError
        The folder cannot be written.
    """
    _prepare(folder)
    say(f"suite {suite.name}: {suite.about}; {len(suite.tasks)} rows\n{machine_text()}\n\n")
    started = time.monotonic()
    rows: list[Row] = []
    try:
        for place, task in enumerate(suite.tasks):
            say(f"[{place + 1:>{len(str(len(suite.tasks)))}}/{len(suite.tasks)}] {task.row().name}")
            left = suite.total - (time.monotonic() - started)
            rows.append(_measured(task, suite, left, measure or run_task))
            with (folder / ROWS).open("a") as file:
                file.write(f"{to_json(rows[-1])}\n")
            say(f": {outcome(rows[-1])}{_left(started, len(rows), len(suite.tasks))}\n")
    finally:
        written = write_results(rows, folder)
    say(f"\n{terminal(rows)}\n\n")
    for path in written:
        say(f"wrote {path}\n")
    return rows


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ROWS).write_text("")
        (folder / MACHINE).write_text(json.dumps(machine(), indent=1) + "\n")
    except OSError as error:
        raise FileError(
            f"{folder}: results cannot be written there ({error.strerror}). Name another --out."
        ) from error


def _measured(task: Task, suite: Suite, left: float, measure: Measure) -> Row:
    if left < LEAST_SECONDS:
        minutes = f"the {max(suite.total / 60, 0.1):.2g} minutes of this suite were used up"
        return task.row(status=NOT_RUN, message=minutes)
    return measure(task, min(suite.limit, left))


def outcome(row: Row) -> str:
    """Say in a few words how a row came out."""
    if row.status != OK:
        return what_became(row)
    if isinstance(row, CostRow):
        if row.task == "batch":
            return f"{number(1e3 * row.cpu_seconds_each)} CPU ms each"
        return f"{number(1e6 * row.seconds)} us"
    answer = f"first answer {row.first_seconds:.1f} s, run {number(row.run_seconds)} s"
    if row.estimate:
        return f"{answer}, an estimate"
    return f"{answer}, {number(row.minimum_ess, 4)} effective draws"


def _left(started: float, done: int, total: int) -> str:
    """Say how long the rest may take, by the average so far."""
    if done == total:
        return ""
    seconds = (time.monotonic() - started) / done * (total - done)
    if seconds < 90:
        return f" (about {seconds:.0f} s left)"
    return f" (about {seconds / 60:.0f} min left)"


def write_results(rows: list[Row], folder: Path) -> list[Path]:
    """Write the table and the plots that these rows have; the paths of all files."""
    from hierjax.bench.plots import draw_all

    text = f"{machine_text()}\n\n{markdown(rows)}\n"
    write_whole(folder / TABLE, [text.encode()])
    written = [folder / ROWS, folder / MACHINE, folder / TABLE]
    for name, content in draw_all(rows).items():
        written.append(folder / f"{name}.png")
        write_whole(written[-1], [content])
    return written
