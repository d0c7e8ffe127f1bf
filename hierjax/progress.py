"""What a person sees while a fit runs: one line on standard error, fed by jitted chunks."""

import datetime
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET_SECONDS = 1.0


class ProgressDisplay:
    """A progress bar that appears only when a fit takes longer than a second.

    Parameters
    ----------
    enabled
        With False nothing is ever shown and no display library is imported.
    """

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._bar: Progress | None = None
        self._task: Any = None
        self._started = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def compiling(self) -> None:
        """Say that a program is being compiled, which cannot be measured in steps."""
        if self._enabled:
            self._show("compiling")

    def advance(self, done: float, total: int, report: Mapping[str, Any]) -> None:
        """Show that `done` of `total` chunks are finished, and what the method reports."""
        slow = time.monotonic() - self._started > QUIET_SECONDS
        if not self._enabled or (self._bar is None and not slow):
            return
        words = "warming up" if bool(report.get("warming up", False)) else "sampling"
        bar = self._show(str(report.get("phase") or words))
        details = ", ".join(
            f"{name} {_number(value)}"
            for name, value in report.items()
            if name not in ("failed", "warming up", "phase", "done")
        )
        bar.update(self._task, completed=done, total=total, details=details)
        remaining = bar.tasks[0].time_remaining
        if done >= total:
            bar.update(self._task, left="")
        elif remaining is not None:
            bar.update(self._task, left=f"{datetime.timedelta(seconds=remaining)} left")

    def _show(self, phase: str) -> "Progress":
        if self._bar is None:
            self._bar = _make_bar()
            self._task = self._bar.add_task(phase, total=None, details="", left="")
            self._bar.start()
        self._bar.update(self._task, description=phase)
        return self._bar


def _make_bar() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[details]}"),
        console=Console(file=sys.stderr),
    )


def _number(value: Any) -> str:
    value = float(value)
    if value.is_integer() or abs(value) >= 1000.0:
        return f"{value:,.0f}"
    return f"{value:.3g}"
