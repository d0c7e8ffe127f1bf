"""Some value of a site without special structure, to look at how a model depends on others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints

from hierjax.trace import Site


def some_value(site: Site) -> np.ndarray:
    """Return a value inside the support of a latent site, in the precision in force.

    Computed by NumPy for the common supports: JAX would compile every operation first.
    """
    value = _plain(site.support, site.shape)
    if value is None:
        transform = biject_to(site.support)
        batch = site.shape[: len(site.shape) - len(site.event_shape)]
        free = np.full((*batch, *transform.inverse_shape(site.event_shape)), 0.1)
        value = jax.jit(transform)(free)
    return np.asarray(value, jnp.result_type(float))


def _plain(support: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support in (constraints.real, constraints.real_vector):
        return np.full(shape, 0.1)
    if support in (constraints.positive, constraints.nonnegative):
        return np.full(shape, 1.1)
    if support is constraints.corr_cholesky:
        size = shape[-1]
        rows = np.tril(np.ones((size, size))) / np.sqrt(np.arange(1.0, size + 1.0))[:, None]
        return np.broadcast_to(rows, shape)
    return None
