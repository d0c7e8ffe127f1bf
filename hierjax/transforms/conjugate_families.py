"""The families of conditional distributions of a scale: a table of rows.

A row says which priors belong to the family, what its parameters are, and how to draw a value given
the evidence of normal distributions whose scale it is.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, core
from numpyro import distributions as dist


class Evidence(NamedTuple):
    """What other sites say of variances w: n and S of  -n/2 log w - S / (2 w)."""

    count: Any
    squares: Any


@dataclasses.dataclass(frozen=True)
class Family:
    """One kind of conditional distribution.

    Attributes
    ----------
    read
        Parameters of a prior (without wrappers) of this family; None for any other.
    power
        The variance is the site to this power: 1 for a variance, 2 for an sd, -1 for a precision.
    matrix
        Whether it is a covariance or precision matrix.
    log_density
        Of a value given parameters and evidence, up to a constant.
    draw
        Draw given a key, parameters, evidence and the present value.
    """

    read: Callable[[Any], tuple[Any, ...] | None]
    power: int
    matrix: bool
    log_density: Callable[[tuple[Any, ...], Evidence, Array], Array]
    draw: Callable[[Array, tuple[Any, ...], Evidence, Array], Array]


def _read_inverse_gamma(prior: Any) -> tuple[Any, ...] | None:
    return (prior.concentration, prior.rate) if type(prior) is dist.InverseGamma else None


def _read_gamma(prior: Any) -> tuple[Any, ...] | None:
    if type(prior) in (dist.Gamma, dist.Chi2):
        return prior.concentration, prior.rate
    return (1.0, prior.rate) if type(prior) is dist.Exponential else None


def _read_half_t(prior: Any) -> tuple[Any, ...] | None:
    if type(prior) is dist.HalfCauchy:
        return 1.0, prior.scale
    if type(prior) is dist.LeftTruncatedDistribution:
        if isinstance(prior.low, core.Tracer) or np.any(np.asarray(prior.low) != 0):
            return None
    elif type(prior) is not dist.FoldedDistribution:
        return None
    if type(prior.base_dist) is dist.Cauchy:
        return 1.0, prior.base_dist.scale
    if type(prior.base_dist) is dist.StudentT:
        return prior.base_dist.df, prior.base_dist.scale
    return None


def _read_inverse_wishart(prior: Any) -> tuple[Any, ...] | None:
    if type(prior) is not dist.InverseWishart or prior.batch_shape:
        return None
    return prior.concentration, prior.scale_matrix


def _read_wishart(prior: Any) -> tuple[Any, ...] | None:
    if type(prior) is not dist.Wishart or prior.batch_shape:
        return None
    return prior.concentration, prior.rate_matrix


def _draw_half_t(
    key: Array, parameters: tuple[Any, ...], evidence: Evidence, value: Array
) -> Array:
    """Draw through the mixture v^2 | a ~ IG(nu/2, nu/a), a ~ IG(1/2, 1/A^2) (Wand et al. 2011)."""
    (freedom, scale), (first, second) = parameters, jax.random.split(key)
    mixing = dist.InverseGamma(0.5 * (freedom + 1.0), freedom / value**2 + 1.0 / scale**2).sample(
        first
    )
    variance = dist.InverseGamma(
        0.5 * (freedom + evidence.count), freedom / mixing + 0.5 * evidence.squares
    ).sample(second)
    return jnp.sqrt(variance)


def _log_half_t(parameters: tuple[Any, ...], evidence: Evidence, value: Array) -> Array:
    freedom, scale = parameters
    prior = -0.5 * (freedom + 1.0) * jnp.log1p(value**2 / (freedom * scale**2))
    return prior - evidence.count * jnp.log(value) - 0.5 * evidence.squares / value**2


def _conjugate(
    read: Callable[[Any], tuple[Any, ...] | None],
    power: int,
    posterior: Callable[..., dist.Distribution],
    *,
    matrix: bool = False,
) -> Family:
    """Return a family whose conditional distribution is a distribution of NumPyro."""

    def log_density(parameters: tuple[Any, ...], evidence: Evidence, value: Array) -> Array:
        return jnp.asarray(posterior(*parameters, *evidence).log_prob(value))

    def draw(key: Array, parameters: tuple[Any, ...], evidence: Evidence, value: Array) -> Array:
        del value
        return jnp.asarray(posterior(*parameters, *evidence).sample(key))

    return Family(read, power, matrix, log_density, draw)


FAMILIES: Mapping[str, Family] = {
    "inverse gamma": _conjugate(
        _read_inverse_gamma,
        1,
        lambda shape, scale, n, s: dist.InverseGamma(shape + 0.5 * n, scale + 0.5 * s),
    ),
    "gamma": _conjugate(
        _read_gamma, -1, lambda shape, rate, n, s: dist.Gamma(shape + 0.5 * n, rate + 0.5 * s)
    ),
    "half t": Family(_read_half_t, 2, False, _log_half_t, _draw_half_t),
    "inverse Wishart": _conjugate(
        _read_inverse_wishart,
        1,
        lambda freedom, scale, n, s: dist.InverseWishart(freedom + n, scale_matrix=scale + s),
        matrix=True,
    ),
    "Wishart": _conjugate(
        _read_wishart,
        -1,
        lambda freedom, rate, n, s: dist.Wishart(freedom + n, rate_matrix=rate + s),
        matrix=True,
    ),
}
