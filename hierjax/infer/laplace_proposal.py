"""A mixture of Student distributions, as the proposal of importance sampling: draw, weigh, refit.

Heavy tails keep the weights of a Gaussian-like target bounded. The last component is wide and has a
fixed share: it is there for what the others have not seen yet (Hesterberg's defensive mixture). The
others are refitted to the weighted points of all rounds by expectation-maximisation.

References
----------
Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions,
Technometrics 37(2). Peel and McLachlan (2000), Robust mixture modelling using the t distribution,
Statistics and Computing 10. Cappe, Douc, Guillin, Marin and Robert (2008), Adaptive importance
sampling in general mixture classes, Statistics and Computing 18. Koblents and Miguez (2015), A
population Monte Carlo scheme with transformed weights, Statistics and Computing 25.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from hierjax.linalg.lapack import cholesky, solve_triangular

DEGREES = 4  # of freedom, an even number
WIDE_SHARE, WIDENING, FIRST_WIDENING = 0.2, 2.5, 3.0
STEPS = 6  # of expectation-maximisation
LEAST_SIZE = 10  # effective points a dimension that a fit is made from
FITTED, FITTED_EACH = 1000, 100  # most points of a fit, but for many dimensions
HALVINGS = 20


class Mixture(NamedTuple):
    """Log shares (component,), means (component, size), scale matrices, lower triangular."""

    log_share: Array
    mean: Array
    scale_tril: Array


def first_mixture(centre: Array, scale_tril: Array, components: int) -> Mixture:
    """Return the mixture at a mode: one Student distribution, and a wider one."""
    scales = jnp.stack([scale_tril] * components + [FIRST_WIDENING * scale_tril])
    return _with_shares(jnp.zeros(components), jnp.stack([centre] * (components + 1)), scales)


def noise_columns(size: int) -> int:
    """Return how many standard normal variables one point takes."""
    return size + DEGREES // 2 + 1


def draw(mixture: Mixture, noise: Array) -> Array:
    """Turn standard normal noise (point, noise_columns(size)) into points (point, size).

    Each component has its share of the points, but for rounding.
    """
    count, size = len(noise), mixture.mean.shape[1]
    offset = jax.scipy.stats.norm.cdf(noise[0, -1])
    ends = jnp.cumsum(jnp.exp(mixture.log_share))[:-1]
    component = jnp.sum((jnp.arange(count)[:, None] + offset) / count >= ends, axis=1)
    uniform = jax.scipy.stats.norm.cdf(noise[:, size:-1])
    chi_squared = -2.0 * jnp.sum(jnp.log(uniform), axis=1, keepdims=True)
    member = component[:, None] == jnp.arange(len(mixture.mean))
    turned = jnp.einsum(
        "nc,cij,nj->ni", member.astype(noise.dtype), mixture.scale_tril, noise[:, :size]
    )
    return mixture.mean[component] + turned * jnp.sqrt(DEGREES / chi_squared)


def log_density(mixture: Mixture, points: Array) -> Array:
    """Log density (point,) of points (point, size)."""
    return logsumexp(_log_densities(mixture, _distance(mixture, points)), axis=0)


def refit(points: Array, log_weight: Array, components: int) -> Mixture:
    """Fit a mixture to weighted points (point, size); -inf stands for no weight.

    Where few points carry all the weight, weights are raised to a power below one that leaves
    `LEAST_SIZE` effective points a dimension. Of many points some are taken by their weights: a
    proposal need not be exact. Each component is shrunk a little to the whole.
    """
    size = points.shape[1]
    weight = _tempered(log_weight, LEAST_SIZE * size)
    prior_size = 2.0 * (size + 1) * jnp.sum(weight**2)
    points, weight = _thinned(points, weight)
    mean = weight @ points
    deviation = points - mean
    covariance = (weight[:, None] * deviation).T @ deviation
    floor = 1e-6 * jnp.diag(jnp.diagonal(covariance)) + 1e-30 * jnp.eye(size)
    covariance = covariance + floor
    root = cholesky(covariance)
    # A Student distribution has more spread than its scale.
    narrower = math.sqrt((DEGREES - 2.0) / DEGREES)
    standardised = solve_triangular(root, deviation.T)
    skew = standardised @ (weight * jnp.sum(standardised**2, axis=0))
    axis = root @ (skew / (jnp.linalg.norm(skew) + 1e-12))
    offsets = jnp.linspace(-1.0, 1.0, components) if components > 1 else jnp.zeros(1)
    start = Mixture(
        jnp.full(components, -math.log(components)),
        mean + offsets[:, None] * axis,
        jnp.stack([(0.8 if components > 1 else 1.0) * narrower * root] * components),
    )
    prior = prior_size * narrower**2 * covariance

    def step(mixture: Mixture, _: None) -> tuple[Mixture, None]:
        return _maximised(mixture, points, weight, prior, prior_size), None

    fitted, _ = jax.lax.scan(step, start, length=STEPS)
    return _with_shares(
        fitted.log_share,
        jnp.concatenate([fitted.mean, mean[None]]),
        jnp.concatenate([fitted.scale_tril, (WIDENING * narrower * root)[None]]),
    )


def _thinned(points: Array, weight: Array) -> tuple[Array, Array]:
    """Take `FITTED` points, or `FITTED_EACH` a dimension, by their weights; all if there are fewer.

    Points without weight may be no numbers; they are zeros in what is returned.
    """
    count = max(FITTED, FITTED_EACH * points.shape[1])
    if len(points) <= count:
        return jnp.where(weight[:, None] > 0, points, 0.0), weight
    ends = jnp.cumsum(weight)
    chosen = jnp.searchsorted(ends, (jnp.arange(count) + 0.5) / count * ends[-1])
    return points[jnp.minimum(chosen, len(points) - 1)], jnp.full(count, 1.0 / count)


def _maximised(
    mixture: Mixture, points: Array, weight: Array, prior: Array, prior_size: Array
) -> Mixture:
    """One step of expectation-maximisation; `prior` is a sum of squares of `prior_size` points."""
    size = points.shape[1]
    distance = _distance(mixture, points)
    member = weight * jax.nn.softmax(_log_densities(mixture, distance), axis=0)
    central = member * (DEGREES + size) / (DEGREES + distance)
    total = jnp.sum(member, axis=1)
    mean = (central @ points + 1e-9 * mixture.mean) / (jnp.sum(central, axis=1) + 1e-9)[:, None]
    deviation = points - mean[:, None]
    squares = jnp.swapaxes(central[..., None] * deviation, 1, 2) @ deviation
    scale = (squares + prior) / (total + prior_size)[:, None, None]
    share = jnp.log(total + 1e-3)
    return Mixture(share - logsumexp(share), mean, cholesky(scale))


def _log_densities(mixture: Mixture, distance: Array) -> Array:
    """Log of share times density, (component, point), at squared distances from the means."""
    size = mixture.mean.shape[1]
    constant = (
        math.lgamma((DEGREES + size) / 2)
        - math.lgamma(DEGREES / 2)
        - size / 2 * math.log(DEGREES * math.pi)
    )
    diagonal = jnp.diagonal(mixture.scale_tril, axis1=1, axis2=2)
    peak = mixture.log_share + constant - jnp.sum(jnp.log(diagonal), axis=1)
    return peak[:, None] - (DEGREES + size) / 2 * jnp.log1p(distance / DEGREES)


def _distance(mixture: Mixture, points: Array) -> Array:
    """Squared distance (component, point) from each mean, in units of its scale."""
    identity = jnp.broadcast_to(jnp.eye(points.shape[1]), mixture.scale_tril.shape)
    inverse = solve_triangular(mixture.scale_tril, identity)
    deviation = points - mixture.mean[:, None]
    return jnp.sum((deviation @ jnp.swapaxes(inverse, 1, 2)) ** 2, axis=2)


def _with_shares(log_share: Array, mean: Array, scale_tril: Array) -> Mixture:
    """Give the last component its fixed share."""
    log_share = jax.nn.log_softmax(log_share) + math.log1p(-WIDE_SHARE)
    return Mixture(jnp.append(log_share, math.log(WIDE_SHARE)), mean, scale_tril)


def _tempered(log_weight: Array, least_size: float) -> Array:
    """Normalised weights, raised to the largest power up to 1 that leaves `least_size` of them."""
    some = jnp.isfinite(log_weight)
    below = jnp.where(some, log_weight - jnp.max(log_weight), -jnp.inf)

    def powered(power: Array) -> Array:
        # Zero times minus infinity is no number: points without weight stay without.
        return jnp.where(some, jnp.exp(power * jnp.where(some, below, 0.0)), 0.0)

    def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = bounds
        middle = jnp.minimum((low + high) / 2, 1.0)
        weight = powered(middle)
        enough = jnp.sum(weight) ** 2 >= least_size * jnp.sum(weight**2)
        return (jnp.where(enough, middle, low), jnp.where(enough, high, middle)), None

    bounds = (jnp.asarray(0.0), jnp.asarray(2.0))  # 1 comes first, and mostly does
    (power, _), _ = jax.lax.scan(halve, bounds, length=HALVINGS)
    weight = powered(power)
    return weight / jnp.sum(weight)
