"""How much memory there is, and whether it ran out.

Memory that is promised and not there ends a process without a word. So what needs much asks before.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax

from hierjax.errors import FitError

# XLA's words. The CPU's errors of running programs have the second alone, after "INTERNAL".
EXHAUSTED = ("RESOURCE_EXHAUSTED", "Out of memory")
CONTAINER = Path("/sys/fs/cgroup/memory.max")
GB = 1e9


def device_memory() -> int:
    """Bytes of memory of the device that computes; of a CPU, what this process may have of it."""
    statistics = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits()]
    return min(limit for limit in limits if limit > 0)


def _limits() -> list[int]:
    """Bytes that the shell and a container allow; none or negative where there is no limit."""
    import resource  # not on every system

    found = [resource.getrlimit(resource.RLIMIT_AS)[0]]
    try:
        text = CONTAINER.read_text().strip()
    except OSError:
        return found
    return [*found, int(text)] if text.isdigit() else found


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was too little memory, on the host or on the device."""
    if isinstance(error, MemoryError):
        return True
    of_device = isinstance(error, jax.errors.JaxRuntimeError)
    return of_device and any(words in str(error) for words in EXHAUSTED)


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Say what to do where the memory for one fit runs out.

    Raises
    ------
    FitError
        It ran out.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not ran_out(error):
            raise
        message = (str(error) or "MemoryError").splitlines()[0].rstrip(".")
        raise FitError(
            f"memory ran out ({message}). Draws of all effects take chains x draws x effects x 8 "
            'bytes: ask for fewer draws or chains, or for dtype="float32", which halves all; or '
            "use a device with more memory."
        ) from error
