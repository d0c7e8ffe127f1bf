"""The machine and the time, so that numbers can be read later."""

import datetime
import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int | float]:
    """Return processor, cores, memory, load, system, Python and date."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        "memory_gb": round(_memory_bytes() / 2**30),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def machine_text() -> str:
    """Say it in one line."""
    found = machine()
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_gb']} GB of memory, "
        f"{found['system']}, Python {found['python']}; {found['date']}, load {found['load']} before"
    )


def _cores() -> int:
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
