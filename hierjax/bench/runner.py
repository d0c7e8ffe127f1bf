"""Every row in a process of its own, under a time limit: a crash or a hang is the row's own."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hierjax.bench import child
from hierjax.bench.row import FAILED, KINDS, TIMEOUT, FitRow, Row, from_json

# Folders where tools keep what they compiled: each row gets empty ones.
FRESH = ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
TAIL = 300  # characters of what a process that died said last


@dataclasses.dataclass(frozen=True)
class Task:
    """One row to be measured.

    Attributes
    ----------
    kind
        "fit", "batch" or "gradient".
    what
        What identifies the row: "problem" and "tool", or "tool", "sets", "rows" and "groups".
    imports
        Modules whose import belongs to the time to a first answer.
    options
        What else the process is told.
    """

    kind: str
    what: Mapping[str, Any]
    imports: tuple[str, ...] = ("hierjax",)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def row(self, **values: Any) -> Row:
        """Return a row of this task that was not measured."""
        kind = KINDS[self.kind]
        return kind(**self.what, **({} if kind is FitRow else {"task": self.kind}), **values)


def run_task(task: Task, limit: float) -> Row:
    """Measure a task in a fresh process, for at most `limit` seconds."""
    with tempfile.TemporaryDirectory(prefix="hierjax-bench-") as name:
        folder = Path(name)
        specification, result, said = (folder / each for each in ("task", "result", "said"))
        wanted = {"task": task.kind, "imports": _importable(task.imports)}
        specification.write_text(json.dumps(wanted | dict(task.what) | dict(task.options)))
        command = [sys.executable, "-P", child.__file__, str(specification), str(result)]
        with said.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=_environment(folder), start_new_session=True,
            )  # fmt: skip
            ended = _wait(process, limit)
        if not ended:
            return task.row(status=TIMEOUT, message=f"not done in {limit:.0f} s")
        if result.exists():
            return from_json(result.read_text())
        return task.row(status=FAILED, message=_died(process.returncode, said))


def _importable(modules: tuple[str, ...]) -> list[str]:
    """Leave out what is not installed: the tool itself says what to install."""
    import importlib.util

    return [module for module in modules if importlib.util.find_spec(module) is not None]


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a row: no compiled programs from before, one thread for BLAS."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE"))
    }
    flags = f"base_compiledir={folder / 'pytensor'}"
    given = kept.get("PYTENSOR_FLAGS")
    kept["PYTENSOR_FLAGS"] = f"{given},{flags}" if given else flags
    kept["OPENBLAS_NUM_THREADS"] = "1"
    kept.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # its list of fonts
    return kept | {name: str(folder / "cache") for name in FRESH}


def _wait(process: "subprocess.Popen[bytes]", limit: float) -> bool:
    """Wait for a process; at the limit, or at an interrupt, end it and all that it started."""
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        _end(process)
        return False
    except BaseException:
        _end(process)
        raise
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the process leads a group of its own
    except ProcessLookupError:
        pass
    process.wait()


def _died(status: int, said: Path) -> str:
    if status < 0:
        return f"ended by signal {signal.Signals(-status).name}"
    lines = said.read_text(errors="replace").strip().splitlines() or [f"exit status {status}"]
    return lines[-1][-TAIL:]
