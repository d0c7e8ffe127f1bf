"""What variational inference sees of a posterior at a step: all rows of the data, or some."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.density import Arrays, Density
from hierjax.density_rows import ByRows, log_density_in_parts, log_density_of_rows
from hierjax.errors import ModelError


@dataclasses.dataclass(frozen=True)
class Target:
    """A log density that can be estimated from rows drawn at random.

    Attributes
    ----------
    density
        Of all rows.
    rows
        Its function, if it can be run on some rows.
    number
        Rows drawn for an estimate; None takes all.
    """

    density: Density
    rows: ByRows | None
    number: int | None

    @classmethod
    def of(cls, density: Density, fn: Callable[..., Any], number: int | None) -> "Target":
        """Read a model function.

        Raises
        ------
        ModelError
            Rows are to be drawn, and the function can only be run on all of them.
        """
        if number is None:
            return cls(density, None, None)
        if not isinstance(fn, ByRows):
            raise ModelError(
                "minibatches need a model function that can be run on some of its rows: run it by "
                "hierjax.fit(model, method=hierjax.SVI(minibatch=...)) or hierjax.sampler."
            )
        return cls(density, fn, number)

    @property
    def size(self) -> int:
        """Length of a position."""
        return self.density.size

    def density_at(self, key: Array) -> Density:
        """Return the density that is seen at a step: an unbiased estimate; pure."""
        if self.rows is None or self.number is None:
            return self.density
        # The key of the step's noise is used up; this one is its child.
        drawn = jax.random.fold_in(key, 1)
        places = jax.random.randint(drawn, (self.number,), 0, self.rows.rows)
        weights = jnp.full(self.number, self.rows.rows / self.number)
        return _Estimate(self.density.fn, self.density.arguments, self.density.slots,
                         log_density_of_rows(self.density, self.rows, places, weights))  # fmt: skip

    def log_density(self, position: Array, arrays: Arrays) -> Array:
        """Log density of all rows, some at a time where an estimate takes some."""
        if self.rows is None or self.number is None:
            return self.density.log_density(position, arrays)
        return log_density_in_parts(self.density, self.rows, self.number, position, arrays)


@dataclasses.dataclass(frozen=True)
class _Estimate(Density):
    """A density of which only an estimate is looked at."""

    estimate: Callable[[Array, Arrays], Array]

    def log_density(self, position: Array, arrays: Arrays) -> Array:
        """Return the estimate."""
        return self.estimate(position, arrays)
