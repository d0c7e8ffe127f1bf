"""Rows of measurements: each taken in a process of its own, kept in a file, shown on a page.

A row is a dataclass whose first two fields say what was measured, such as problem and tool.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

FOLDER = Path(__file__).parent / "results"
Row = TypeVar("Row")


class NotMeasuredError(Exception):
    """The process failed or took too long; the message is one line, `printed` all it wrote."""

    def __init__(self, message: str, printed: str = "") -> None:
        super().__init__(message)
        self.printed = printed


def measure_apart(kind: type[Row], module: str, *arguments: str, limit: float | None = None) -> Row:
    """Run `python -m module --child arguments...`, which prints a row of that kind as JSON.

    Nothing that was compiled is found on disk, and linear algebra has one thread.

    Raises
    ------
    NotMeasuredError
        It failed, or was not done after `limit` seconds.
    """
    command = [sys.executable, "-m", module, "--child", *arguments]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"not done in {limit:.0f} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise NotMeasuredError(last[0][:200], done.stderr)
    return kind(**json.loads(done.stdout.strip().splitlines()[-1]))


def print_row(row: Any) -> None:
    """Print a row for `measure_apart`."""
    print(json.dumps(dataclasses.asdict(row)))


def load_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read the rows that are kept."""
    if not path.exists():
        return []
    return [kind(**json.loads(line)) for line in path.read_text().splitlines()]


def keep_row(path: Path, new: Any, order: Sequence[tuple[str, str]]) -> None:
    """Put a row in the file, in place of an older one; `order` names all that are kept.

    Parameters
    ----------
    path
        File of the rows.
    new
        The row.
    order
        What all rows measure: their first two fields.
    """
    rows = {_key(row): row for row in load_rows(path, type(new))} | {_key(new): new}
    kept = [rows[key] for key in order if key in rows]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in kept))


def write_table(page: Path, text: str) -> None:
    """Put a table into a page, between its two marks."""
    before, rest = page.read_text().split("<!-- table -->\n")
    _, after = rest.split("<!-- end of table -->\n")
    page.write_text(f"{before}<!-- table -->\n{text}\n<!-- end of table -->\n{after}")


def _key(row: Any) -> tuple[str, str]:
    first, second = dataclasses.astuple(row)[:2]
    return first, second
