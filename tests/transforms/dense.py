"""The slow twin of integrating and recentring: one dense Hessian of the joint log density."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import log_density

from hierjax.effects.values import some_value
from hierjax.trace import abstract_trace


def latents_of(fn: Callable, data: Mapping[str, Any], without: tuple[str, ...], seed: int) -> dict:
    """Random values, inside their support, of the latent sites that stay."""
    generator = np.random.default_rng(seed)
    found = {}
    for site in abstract_trace(fn, data).sites.values():
        if site.kind == "latent" and site.name not in without:
            value = np.asarray(some_value(site), float)
            support = type(site.support).__name__.lower()
            fixed = "corr" in support or "simplex" in support
            stretch = 1.0 if fixed else np.exp(generator.normal(0, 0.4, value.shape))
            found[site.name] = value * stretch
    return found


def joint(fn: Callable, data: Mapping[str, Any], values: Mapping[str, Any]) -> jax.Array:
    """Log joint density of sites and data."""
    return log_density(fn, (), dict(data), dict(values))[0]


def conditional(
    fn: Callable, data: Mapping[str, Any], sites: tuple[str, ...], latents: Mapping[str, Any]
) -> tuple[jax.Array, np.ndarray, np.ndarray, Callable]:
    """Exact integral over `sites` of a joint density that is Gaussian in them.

    Returns
    -------
    log_marginal
        log p(latents, data).
    mean, covariance
        Of the sites' values, raveled together, given latents and data.
    unravel
        Vector -> values of the sites.
    """
    return conditional_of(fn, data, sites)(latents)


def conditional_of(
    fn: Callable, data: Mapping[str, Any], sites: tuple[str, ...]
) -> Callable[[Mapping[str, Any]], tuple[jax.Array, np.ndarray, np.ndarray, Callable]]:
    """Return `conditional` as a function of the latents, compiled once."""
    shapes = abstract_trace(fn, data).sites
    start, unravel = ravel_pytree({name: jnp.zeros(shapes[name].shape) for name in sites})

    @jax.jit
    def forms(latents: Mapping[str, Any]) -> Any:
        def along(vector: jax.Array) -> jax.Array:
            return joint(fn, data, {**latents, **unravel(vector)})

        slope, precision = jax.grad(along)(start), -jax.hessian(along)(start)
        mode = jnp.linalg.solve(precision, slope)
        log_determinant = jnp.linalg.slogdet(precision)[1]
        volume = 0.5 * (start.size * jnp.log(2 * jnp.pi) - log_determinant)
        return along(mode) + volume, mode, jnp.linalg.inv(precision)

    def run(latents: Mapping[str, Any]) -> tuple[jax.Array, np.ndarray, np.ndarray, Callable]:
        value, mode, covariance = forms(dict(latents))
        return value, np.asarray(mode), np.asarray(covariance), unravel

    return run
