"""A factor whose value is computed when somebody asks for the log density."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpyro
from jax import Array
from jax import numpy as jnp
from numpyro import distributions as dist


class _Lazy(dist.Unit):
    """A `Unit` that computes its factor in `log_prob`."""

    pytree_aux_fields = ("_compute",)

    def __init__(self, compute: Callable[[], Array]) -> None:
        super().__init__(np.zeros(()))
        self._compute = compute

    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        """Compute the factor."""
        del intermediates
        return jnp.broadcast_to(self._compute(), jnp.shape(value)[:-1])


def lazy_factor(name: str, compute: Callable[[], Array]) -> None:
    """Add a factor to the log density, like `numpyro.factor`, at no cost where only sites matter.

    Functions that read values of a model's sites run it without its density, such as the one that
    turns positions into sites; tracing an integral for them takes as long as for a density.

    Parameters
    ----------
    name
        Name of the site.
    compute
        Returns the factor, a scalar, within the transforms in which the model runs.
    """
    unit = _Lazy(compute)
    numpyro.sample(name, unit, obs=unit.sample(None), infer={"is_auxiliary": True})
