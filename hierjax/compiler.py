"""How programs are compiled: on a CPU most of the time to a first answer is compile time."""

import concurrent.futures
import enum
import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

# Since 2025 XLA emits loops for CPUs through MLIR, which takes LLVM a third longer; the programs of
# this package run equally fast either way (docs/notes/first-fit.md).
_OFTEN: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}


class Use(enum.Enum):
    """How much a program will run, which decides how long it is worth compiling.

    The later passes of LLVM take longer than most single fits and make them no faster; a program
    that runs for thousands of data sets pays them back. Without any, programs take a third of the
    time to compile and twice to three times as long to run.
    """

    BRIEF = "some hundredths of a second"
    ONCE = "for one data set"
    OFTEN = "for many data sets"


_LEVELS: dict[Use, dict[str, Any]] = {
    Use.BRIEF: {**_OFTEN, "xla_backend_optimization_level": 0},
    Use.ONCE: {**_OFTEN, "xla_backend_optimization_level": 1},
    Use.OFTEN: _OFTEN,
}
BRIEF_NUMBERS = 1e8  # read in all: that takes some hundredths of a second
MOST_BYTES_KEPT = 2**29  # of compiled programs on disk: those of some five hundred models


class Compiling(NamedTuple):
    """A function that is being compiled on another thread.

    Attributes
    ----------
    future
        Whose result is the compiled function.
    shapes
        Shapes of what it returns, known before it is compiled.
    """

    future: concurrent.futures.Future[jax.stages.Compiled]
    shapes: Any


def compile_for(
    function: Callable[..., Any],
    *arguments: Any,
    sharding: NamedSharding | None = None,
    use: Use = Use.OFTEN,
) -> tuple[jax.stages.Compiled, Any]:
    """Compile a function for arguments like these, which may be shapes, ahead of its first call.

    Parameters
    ----------
    function, arguments
        What to compile, and for what.
    sharding
        Of the result, where the arguments are on several devices.
    use
        How much it will run.

    Returns
    -------
    compiled, result
        The compiled function, and the shapes of what it returns.
    """
    lowered = jax.jit(function, **_results_on(sharding)).lower(*arguments)
    return lowered.compile(compiler_options=_options(use)), lowered.out_info


def use_of(data: Any, times: int = 100) -> Use:
    """How much a program runs that goes through data, a pytree of arrays or shapes, so often."""
    numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(data))
    return Use.BRIEF if numbers * times < BRIEF_NUMBERS else Use.ONCE


def start_compiling(
    function: Callable[..., Any],
    *arguments: Any,
    sharding: NamedSharding | None = None,
    use: Use = Use.ONCE,
) -> Compiling:
    """Trace a function like `compile_for`, and compile it while the caller goes on.

    What comes next needs the shapes of its result only, and XLA keeps one core busy at a time. For
    programs of single fits: compiling counts for more there than the last tenth of a run.
    """
    lowered = jax.jit(function, **_results_on(sharding)).lower(*arguments)
    options = _options(use)
    future = _workers().submit(lambda: lowered.compile(compiler_options=options))
    return Compiling(future, lowered.out_info)


def _results_on(sharding: NamedSharding | None) -> dict[str, Any]:
    return {} if sharding is None else {"out_shardings": sharding}


@functools.cache
def _workers() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(thread_name_prefix="hierjax-compiler")


def keep_programs() -> None:
    """Let compiled programs outlive the process, in the user's cache folder.

    For programs that own their process, such as the command line: it sets JAX's global options.
    `HIERJAX_CACHE_DIR` names another folder, and no folder if it is empty;
    `JAX_COMPILATION_CACHE_DIR` has precedence. A folder that cannot be written is left alone.
    """
    folder = _programs_folder()
    given = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if folder is None or given:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MOST_BYTES_KEPT)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _programs_folder() -> Path | None:
    from platformdirs import user_cache_path

    chosen = os.environ.get("HIERJAX_CACHE_DIR")
    if chosen is None:
        return user_cache_path("hierjax", appauthor=False) / "programs"
    return Path(chosen) if chosen else None


def _options(use: Use) -> dict[str, Any] | None:
    return _LEVELS[use] if _knows_options() else None


@functools.cache
def _knows_options() -> bool:
    """Whether this compiler knows them; other versions and devices may not."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=_OFTEN)
    except (RuntimeError, ValueError):
        return False
    return True
