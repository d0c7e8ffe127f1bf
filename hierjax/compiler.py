"""How programs are compiled: on a CPU most of the time to a first answer is compile time."""

import functools
from collections.abc import Callable
from typing import Any

import jax

# Since 2025 XLA emits loops for CPUs through MLIR, which takes LLVM a third longer; the programs of
# this package run equally fast either way (docs/notes/first-fit.md).
_QUICKER: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}


def compile_for(function: Callable[..., Any], *arguments: Any) -> tuple[jax.stages.Compiled, Any]:
    """Compile a function for arguments like these, which may be shapes, ahead of its first call.

    Returns
    -------
    compiled, result
        The compiled function, and the shapes of what it returns.
    """
    lowered = jax.jit(function).lower(*arguments)
    return lowered.compile(compiler_options=_options()), lowered.out_info


@functools.cache
def _options() -> dict[str, Any] | None:
    """Return the options if this compiler knows them; other versions and devices may not."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=_QUICKER)
    except (RuntimeError, ValueError):
        return None
    return _QUICKER
