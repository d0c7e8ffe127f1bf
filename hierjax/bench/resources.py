"""CPU seconds and memory of this process and of all it has started."""

import os
import resource
import sys
import time
from pathlib import Path

_UNITS_PER_MB = 1024.0 if sys.platform != "darwin" else 1024.0**2
_PROCESSES = Path("/proc")


def cpu_seconds() -> float:
    """CPU seconds of all threads, of children that ended and, on Linux, of those that run."""
    ended = os.times()
    total = time.process_time() + ended.children_user + ended.children_system
    ticks = os.sysconf("SC_CLK_TCK")
    return total + sum(sum(fields[11:15]) for fields in _descendants()) / ticks


def peak_mb() -> float:
    """Peak memory of the largest process, in MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / _UNITS_PER_MB


def own_peak_mb() -> float:
    """Peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNITS_PER_MB


def _descendants() -> list[list[int]]:
    """Numbers of /proc/PID/stat after the state, of all running descendants."""
    parents: dict[int, tuple[int, list[int]]] = {}
    for path in _PROCESSES.glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it has ended meanwhile
            continue
        fields = [int(field) for field in text.rpartition(")")[2].split()[1:]]
        parents[int(path.parent.name)] = (fields[0], [0, *fields])
    found, new = [], {os.getpid()}
    while new:
        new = {process for process, (parent, _) in parents.items() if parent in new}
        found += [parents[process][1] for process in new]
    return found


class Clock:
    """Wall and CPU seconds since it was started."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self) -> tuple[float, float]:
        """Return wall and CPU seconds."""
        return time.perf_counter() - self._wall, cpu_seconds() - self._cpu
