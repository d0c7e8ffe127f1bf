"""The one shape that every inference method has: pure functions that work through chunks.

A `Program` never touches the host: `hierjax.fit` drives it chunk by chunk to show progress, write
checkpoints and stop early; `hierjax.sampler` strings the same functions together inside one jitted
call. Progress therefore never needs a callback inside a vmapped program.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from jax import Array

from hierjax.compiler import Use
from hierjax.draws import Draws
from hierjax.linalg import Effects, Factorisation

State = Any
Record = Any


@dataclasses.dataclass(frozen=True)
class Program:
    """A method bound to a model function, as pure functions of a key and data.

    Attributes
    ----------
    start
        `start(key, data) -> state`.
    advance
        `advance(state, data) -> (state, record)`: one chunk of work.
    finish
        `finish(state, records, data) -> Draws`; `records` are the kept records stacked on a new
        leading axis of chunks.
    num_chunks
        Most chunks that a run takes.
    num_discarded
        The records of this many first chunks are not kept (warm-up). A method that can stop early
        keeps none.
    report
        `report(state) -> {name: scalar}` for the progress display; `"done"`, if there, says that
        the remaining chunks are not needed, `"failed"` that no chain could start.
    phase
        The word to show; "" for a method that warms up and then samples.
    use
        How much the functions will run for one data set.
    start_near
        `start_near(key, positions, data) -> state`: a start that uses draws from what is nearly the
        same posterior, as positions (draw, size) of the density of the model function.
    """

    start: Callable[[Array, Any], State]
    advance: Callable[[State, Any], tuple[State, Record]]
    finish: Callable[[State, Record, Any], Draws]
    num_chunks: int
    num_discarded: int
    report: Callable[[State], Mapping[str, Any]]
    phase: str = ""
    use: Use = Use.ONCE
    start_near: Callable[[Array, Array, Any], State] | None = None


@runtime_checkable
class Integral(Protocol):
    """A model function without some Gaussian sites, which knows their conditional distribution."""

    def taken(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the sites that are integrated out."""
        ...

    def conditional(self, sites: Mapping[str, Any], data: Mapping[str, Any]) -> Factorisation:
        """Distribution of those sites given the remaining ones, as the core has it."""
        ...

    def placed(
        self, effects: Effects, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Every site of the model, given effects of the core and the remaining sites."""
        ...


@runtime_checkable
class Iterated(Protocol):
    """A model function that goes through the data several times for one density."""

    @property
    def passes(self) -> int:
        """How many times, about."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """A model function that knows names of sites that were in a plate before it was transformed."""

    @property
    def local(self) -> tuple[str, ...]:
        """Names; some of them need not be sites of the function."""
        ...


class Method(Protocol):
    """Settings of a method: a frozen, hashable dataclass that binds itself to a model function."""

    @property
    def name(self) -> str:
        """The word by which `hierjax.fit(method=...)` knows the method."""
        ...

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the settings to the model function `fn`; `data` gives shapes and static values."""
        ...
