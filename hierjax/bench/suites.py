"""The suites: which rows each has, how long a row may take, and how long all of them."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterable, Sequence

from hierjax.bench.problems import PROBLEMS, Schools
from hierjax.bench.row import NOT_INSTALLED
from hierjax.bench.runner import Task
from hierjax.bench.tools import CORE, TOOLS
from hierjax.bench.tools.base import NotInstalledError, Settings
from hierjax.errors import SettingsError

TABLES = {"problems": "hierjax.bench.problems:PROBLEMS", "tools": "hierjax.bench.tools:TOOLS"}
QUICK = ("eight_schools", "sleepstudy", "radon", "penicillin", "cbpp", "broods")
SETS = (1, 10, 100, 1_000, 10_000)
LOOPED = (1, 10)
GRADIENT_ROWS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
GRADIENT_GROUPS = (10, 100, 1_000, 10_000, 100_000)
GPU_ROWS, GPU_GROUPS = 100_000, (8, 48, 900, 15_000)
TREATMENTS = ("centred", "noncentred", "recentre")


@dataclasses.dataclass(frozen=True)
class Suite:
    """A list of rows.

    Attributes
    ----------
    name, about
        For the terminal.
    tasks
        Rows to be measured, in their order.
    limit
        Seconds that a row may take.
    total
        Seconds that all may take; what is left then is not run, and says so.
    """

    name: str
    about: str
    tasks: tuple[Task, ...]
    limit: float
    total: float = float("inf")


def make_suite(
    name: str,
    problems: Sequence[str] = (),
    tools: Sequence[str] = (),
    *,
    seed: int = 0,
    minutes: float | None = None,
) -> Suite:
    """Return a suite, or the part of it with these problems and tools.

    Parameters
    ----------
    name
        "quick", "full", "scale", "batch" or "gpu".
    problems, tools
        Only these, if any are named.
    seed
        Seed of every tool.
    minutes
        All that it may take, in place of its own limit; a row may have a quarter of it.

    Raises
    ------
    SettingsError
        There is no such suite, problem or tool; the suite has none; no time is left for rows.
    """
    _known("suite", (name,), SUITES)
    _known("problem", problems, PROBLEMS)
    _known("tool", tools, TOOLS)
    if name in ("scale", "batch", "gpu") and (problems or tools):
        raise SettingsError(
            f"--suite {name} has no --problem and no --tool: it has one model. Leave them out."
        )
    suite = SUITES[name](problems, tools, seed)
    if minutes is None:
        return suite
    if not minutes > 0.0:
        raise SettingsError(f"--minutes must be a positive number; got {minutes:g}.")
    seconds = 60.0 * minutes
    return dataclasses.replace(suite, total=seconds, limit=max(suite.limit, seconds / 4))


def _known(kind: str, names: Iterable[str], there: Iterable[str]) -> None:
    for name in names:
        if name not in there:
            raise SettingsError(f"There is no {kind} {name!r}. There are: {', '.join(there)}.")


def _fits(problems: Iterable[str], tools: Iterable[str], seed: int) -> tuple[Task, ...]:
    options = {**TABLES, "seed": seed, "settings": dataclasses.asdict(Settings())}
    return tuple(
        Task("fit", {"problem": problem, "tool": tool}, TOOLS[tool].imports, options)
        for problem in problems
        for tool in tools
    )


def _costs(kind: str, tool: str, sets: int = 1, rows: int = 0, groups: int = 0) -> Task:
    return Task(kind, {"tool": tool, "sets": sets, "rows": rows, "groups": groups})


def _quick(problems: Sequence[str], tools: Sequence[str], seed: int) -> Suite:
    tasks = _fits(problems or QUICK, tools or CORE, seed)
    about = "hierjax beside NumPyro written by hand, on small real data"
    return Suite("quick", about, tasks, limit=120.0, total=590.0)


def _full(problems: Sequence[str], tools: Sequence[str], seed: int) -> Suite:
    tasks = _fits(problems or PROBLEMS, tools or TOOLS, seed)
    if not problems and not tools:
        tasks += _gradients()
    return Suite("full", "every problem with every tool that is installed", tasks, limit=900.0)


def _gradients() -> tuple[Task, ...]:
    return tuple(
        _costs("gradient", tool, rows=rows, groups=groups)
        for tool in ("integrate", "noncentred")
        for rows in GRADIENT_ROWS
        for groups in GRADIENT_GROUPS
        if 10 * groups <= rows
    )


def _scale(problems: Sequence[str], tools: Sequence[str], seed: int) -> Suite:
    return Suite("scale", "a gradient by rows and groups", _gradients(), limit=600.0)


def _batch(problems: Sequence[str], tools: Sequence[str], seed: int) -> Suite:
    tasks = tuple(_costs("batch", "hierjax", sets) for sets in SETS)
    tasks += tuple(_costs("batch", "numpyro non-centred", sets) for sets in LOOPED)
    return Suite("batch", "what a data set costs among many", tasks, limit=900.0)


def _gpu(problems: Sequence[str], tools: Sequence[str], seed: int) -> Suite:
    found = _backend()
    if found == "cpu":
        raise SettingsError(
            "--suite gpu: JAX finds no GPU here, only a CPU. Install JAX for your GPU, for example "
            '`pip install "jax[cuda12]"`, or run another suite.'
        )
    tasks = tuple(
        _costs("gradient", tool, rows=GPU_ROWS, groups=groups)
        for tool in TREATMENTS
        for groups in GPU_GROUPS
    )
    return Suite("gpu", "a gradient with few and with many groups", tasks, limit=300.0)


def _backend() -> str:
    """Ask JAX for its device in another process: one that holds a GPU leaves no memory to rows."""
    ask = "import jax; print(jax.default_backend())"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    return done.stdout.strip() or "cpu"


SUITES = {"quick": _quick, "full": _full, "scale": _scale, "batch": _batch, "gpu": _gpu}


def names_text() -> str:
    """List problems, and tools with their versions or what installs them."""
    lines = ["problems:"]
    for name, problem in PROBLEMS.items():
        about = "y ~ Normal(theta, sigma)" if isinstance(problem, Schools) else problem.formula
        lines.append(f"  {name:<14}{about}")
    lines.append("tools:")
    for name, tool in TOOLS.items():
        try:
            found = ", ".join(
                f"{package} {version}" for package, version in tool.versions().items()
            )
        except NotInstalledError as error:
            found = f"{NOT_INSTALLED}: {error}"
        lines.append(f"  {name:<22}{found}")
    return "\n".join(lines)
