"""What draws from what is nearly the same posterior say about where and how wide it is."""

import jax.numpy as jnp
from jax import Array

LEAST_VARIANCE = 1e-2  # of an element that did not vary, as in point estimates: sd 0.1
SHRINKAGE = 5.0  # draws that a diagonal covariance counts for


def moments(near: Array) -> tuple[Array, Array]:
    """Mean and covariance of positions (draw, size), shrunk to the diagonal; positive definite."""
    count, size = near.shape
    mean = jnp.mean(near, axis=0)
    deviations = near - mean
    covariance = deviations.T @ deviations / count
    covariance += jnp.diag(variances(near) - jnp.diagonal(covariance))
    share = count / (count + SHRINKAGE + size)
    return mean, share * covariance + (1.0 - share) * jnp.diag(jnp.diagonal(covariance))


def variances(near: Array) -> Array:
    """Variance of each element of positions (draw, size)."""
    variance = jnp.var(near, axis=0)
    return jnp.where(variance > 0.0, variance, LEAST_VARIANCE)
