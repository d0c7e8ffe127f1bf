"""Weighted points: their weights smoothed and judged, and draws taken from them.

References
----------
Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
Gerber, Chopin and Whiteley (2019), Negative association, ordering and convergence of resampling
methods, Annals of Statistics 47.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from hierjax import low_discrepancy
from hierjax.infer.borrowed import import_blackjax

UNKNOWN_K_HAT = 10.0


def smoothed(log_weight: Array) -> tuple[Array, Array]:
    """Pareto smoothed log weights that sum to one, and k-hat."""
    import_blackjax()
    from blackjax.diagnostics import psis_weights

    found, k_hat = psis_weights(log_weight)
    usable = jnp.isfinite(logsumexp(found)) & jnp.isfinite(k_hat)
    plain = log_weight - logsumexp(log_weight)
    return jnp.where(usable, found, plain), jnp.where(jnp.isfinite(k_hat), k_hat, UNKNOWN_K_HAT)


def resampled(offset: Array, weight: Array, count: int) -> tuple[Array, Array]:
    """Systematic resampling: indices (count,), and what so many draws are worth.

    A point is taken floor or ceil of count times its weight. The error of a mean has two parts, of
    the weighted points, and of rounding its counts to integers:

        1 / size = sum w^2 + sum f (1 - f) / count^2,    f the fractional part of count w.
    """
    ends = jnp.cumsum(weight)
    places = (jnp.arange(count) + offset) / count * ends[-1]
    indices = jnp.clip(jnp.searchsorted(ends, places, side="right"), 0, len(weight) - 1)
    expected = count * weight / ends[-1]
    part = expected - jnp.floor(expected)
    error = jnp.sum((weight / ends[-1]) ** 2) + jnp.sum(part * (1.0 - part)) / count**2
    return indices, 1.0 / error


def order_along_path(points: Array, weight: Array) -> Array:
    """Order of points (point, size) along a path, neighbours of which are near each other."""
    share = (weight / jnp.sum(weight))[:, None]
    mean = jnp.sum(share * points, 0)
    spread = jnp.sqrt(jnp.sum(share * (points - mean) ** 2, 0))
    standard = (points - mean) / jnp.where(spread > 0, spread, 1.0)
    return jnp.argsort(low_discrepancy.along_path(jax.scipy.stats.norm.cdf(standard)))
