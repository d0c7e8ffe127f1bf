"""Values of latent sites: some to look at how a model depends on others; from the free scale."""

from collections.abc import Container, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import biject_to, constraints

from hierjax.trace import ModelTrace, Site


def some_latents(trace: ModelTrace, without: Container[str]) -> dict[str, np.ndarray]:
    """Return some value of every latent site but those in `without`."""
    return {
        site.name: some_value(site)
        for site in trace.sites.values()
        if site.kind == "latent" and site.name not in without
    }


def some_value(site: Site) -> np.ndarray:
    """Return a value inside the support of a latent site, in the precision in force.

    Computed by NumPy for the common supports: JAX would compile every operation first.
    """
    value = _plain(site.support, site.shape)
    if value is None:
        transform = biject_to(site.support)  # some cannot be hashed, as a function of jit has to be
        with jax.ensure_compile_time_eval():  # a constant also where data are traced
            value = jax.jit(lambda free: transform(free))(np.full(free_shape(site), 0.1))
    return np.asarray(value, jnp.result_type(float))


def free_shape(site: Site) -> tuple[int, ...]:
    """Shape of a site's value on the unconstrained scale."""
    batch = site.shape[: len(site.shape) - len(site.event_shape)]
    return (*batch, *biject_to(site.support).inverse_shape(site.event_shape))


def constrain(
    sites: Mapping[str, Site], free: Mapping[str, Array]
) -> tuple[dict[str, Array], Array]:
    """Return values of sites from unconstrained ones, and the log Jacobian determinant of that."""
    values, log_jacobian = {}, jnp.zeros(())
    for name, site in sites.items():
        transform = biject_to(site.support)
        values[name] = transform(free[name])
        log_jacobian += jnp.sum(transform.log_abs_det_jacobian(free[name], values[name]))
    return values, log_jacobian


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
