"""Prepare data for a transformed function once, whoever traces it, and read its plan from them."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from numpyro import handlers

from hierjax.arguments import Arguments, signature
from hierjax.cache import ProgramCache
from hierjax.errors import ModelError

_PREPARED = ProgramCache(size=8)


class Transformed(Protocol):
    """A hashable function with a plan, and arrays that it makes from the data by `prepare`."""

    key: str
    maker: str

    @property
    def is_planned(self) -> bool:
        """Whether the plan is there already."""
        ...

    def planned(self, data: Mapping[str, Any]) -> Self:
        """Return the function with its plan, read from concrete data if it was not there."""
        ...

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data with the arrays added under `key`; a pure function."""
        ...


Function = TypeVar("Function", bound=Transformed)


def ready(function: Function, data: Mapping[str, Any]) -> tuple[Function, dict[str, Any]]:
    """Return a function with its plan, and prepared data; concrete data are prepared once.

    Raises
    ------
    ModelError
        The function has no plan, and the data are prepared or traced.
    """
    if function.key in data:
        if not function.is_planned:
            raise ModelError(
                "prepared data belong to a function with its plan. Give data when it is made: "
                f"hierjax.{function.maker}(fn, data=...)."
            )
        return function, dict(data)
    if any(isinstance(leaf, core.Tracer) for leaf in jax.tree.leaves(data)):
        if not function.is_planned:
            raise ModelError(
                "the structure of a model is read from concrete data, and these are traced. Give "
                f"some when the function is made: hierjax.{function.maker}(fn, data=...)."
            )
        with handlers.block():
            return function, function.prepare(data)

    def build() -> tuple[Function, Any]:
        # The data are concrete, whatever program or handler is running us.
        with core.eval_context(), handlers.block():
            planned = function.planned(data)
            arguments = Arguments.of(data)
            run = jax.jit(lambda arrays: planned.prepare(arguments.rebuild(arrays))[planned.key])
            return planned, run(arguments.arrays(data))

    identity = (function, _digest(data), jnp.result_type(float).name)
    planned, prepared = _PREPARED.get(identity, build)
    return planned, {**data, function.key: prepared}


def _digest(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a hashable stand-in for concrete data, by content."""
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return arguments, signature(arrays), digest.digest()
