"""The log density of a model from some of its rows at a time, which bounds memory."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.density import Arrays, Density


@runtime_checkable
class ByRows(Protocol):
    """A model function that can be run on some of its rows."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        ...

    def take(self, arrays: Arrays, places: Array) -> Arrays:
        """Cut the rows at `places` out of the traced arrays of the data."""
        ...

    def weighted(self, weights: Array) -> Callable[..., Any]:
        """Return the model function of as many rows as there are weights, on data cut to them."""
        ...


def log_density_of_rows(
    density: Density, function: ByRows, places: Array, weights: Array
) -> Callable[[Array, Arrays], Array]:
    """Return the log density with each observation at `places` counted so many times; pure.

    Its arguments are those of `Density.log_density`, with the arrays of all rows.
    """
    some = dataclasses.replace(density, fn=function.weighted(weights))
    return lambda position, arrays: some.log_density(position, function.take(arrays, places))


def log_density_in_parts(
    density: Density, function: ByRows, number: int, position: Array, arrays: Arrays
) -> Array:
    """Log density of all rows, of which `number` are looked at together; pure.

    Parameters
    ----------
    density, function
        Of a model.
    number
        Rows of a part.
    position, arrays
        As for `Density.log_density`.
    """

    def of_rows(first: Array | int, used: float) -> Array:
        places = first + jnp.arange(number)
        weights = used * (places < function.rows).astype(position.dtype)
        known = jnp.minimum(places, function.rows - 1)
        return log_density_of_rows(density, function, known, weights)(position, arrays)

    def add(total: Array, part: Array) -> tuple[Array, None]:
        return total + (of_rows(part * number, 1.0) - prior), None

    prior = of_rows(0, 0.0)
    return jax.lax.scan(add, prior, jnp.arange(-(-function.rows // number)))[0]
