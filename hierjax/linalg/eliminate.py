"""Integrate effects out of a Gaussian likelihood.

Effects are b = Λ w with w ~ N(0, sigma^2 I), so that the posterior precision of w / sigma is
A = I + Λ' W'W Λ: never below the identity, and a zero in Λ is as good as any other value. The chain
is eliminated block by block: with D = I + Λ' C Λ for the blocks C of its innermost level, and
K = Λ D^-1 Λ',

    C_above <- C_above - C_link K C_link',    log|A| = sum log|D| + log|A_above|,

until one dense S = I + Λ' C_rest Λ is left. The inverses and log-determinants have analytic
derivatives (`blocks`, `definite`); all else is products, whose derivatives are products, so that a
gradient costs two to three values.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg import blocks
from hierjax.linalg.definite import definite_forms
from hierjax.linalg.prior import Prior, Root, multiply_rest_transposed, relative_root
from hierjax.linalg.statistics import Statistics, shift_response, sum_groups


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Level:
    """One eliminated factor: what is needed to come back to it from the levels above.

    Attributes
    ----------
    scale
        Λ of the factor, shape (q, q, J) or (q, q, 1).
    precision, inverse
        D = I + Λ' C Λ and D^-1, shape (q, q, J).
    up, across, response
        As in `Statistics`, after the elimination of the levels inside this one.
    """

    scale: Array
    precision: Array
    inverse: Array
    up: tuple[Array, ...]
    across: Array
    response: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Factorisation:
    """What follows from statistics, prior and sigma; a pytree. Unused parts cost nothing under jit.

    Attributes
    ----------
    statistics
        Statistics of y less the prior mean.
    prior, sigma
        As given.
    root
        Λ.
    levels
        The eliminated chain, innermost first.
    precision, right
        Dense S, (m, m), and Λ' c, (m,): the conditional mean of its w is S^-1 Λ' c.
    log_determinant
        log|A|; of the effects alone if `Structure.fixed` is "ml".
    residual
        Least penalised sum of squares, min over w of |y - W Λ w|^2 + |w|^2, where y is less the
        prior mean (and the coefficients are not penalised unless they have a prior).
    """

    statistics: Statistics
    prior: Prior
    sigma: Array
    root: Root
    levels: tuple[Level, ...]
    precision: Array
    right: Array
    log_determinant: Array
    residual: Array


def log_likelihood(statistics: Statistics, prior: Prior, sigma: Array | float) -> Array:
    """Log density of y with all effects integrated out.

        log p(y) = -1/2 [ residual / sigma^2 + log|A| + N log(2 pi sigma^2) - sum log weights ]

    the log density of N(mean, sigma^2 (diag(1/weights) + W Λ Λ' W')). With `Structure.fixed` "ml"
    the coefficients of X are at their maximum, with "reml" integrated over a flat prior (N - p for
    N).

    Parameters
    ----------
    statistics
        From `summarise`.
    prior
        Prior of effects and coefficients.
    sigma
        Residual standard deviation of a row of weight 1, scalar.

    Returns
    -------
    Scalar; NaN if a matrix is not positive definite in floating point.
    """
    return log_likelihood_of(factorise(statistics, prior, sigma))


def log_likelihood_of(factorisation: Factorisation) -> Array:
    """`log_likelihood` from a factorisation already at hand."""
    statistics, variance = factorisation.statistics, factorisation.sigma**2
    structure = statistics.structure
    rows = statistics.rows - (structure.columns if structure.fixed == "reml" else 0)
    return -0.5 * (
        factorisation.residual / variance
        + factorisation.log_determinant
        + rows * jnp.log(2.0 * np.pi * variance)
        - statistics.log_weights
    )


def factorise(statistics: Statistics, prior: Prior, sigma: Array | float) -> Factorisation:
    """Eliminate all effects; arguments as in `log_likelihood`."""
    structure, sigma = statistics.structure, jnp.asarray(sigma)
    root = relative_root(structure, prior, sigma)
    shifted = remaining = _less_prior_mean(statistics, prior)
    levels, log_determinant = [], jnp.zeros_like(statistics.total)
    for place in structure.chain:
        scale = root.factors[place]
        precision = blocks.plus_identity(blocks.sandwich(scale, remaining.own[0]))
        inverse, log_blocks = blocks.inverse_and_log_determinant(precision)
        log_determinant += jnp.sum(log_blocks)
        links = (remaining.up[0], remaining.across[0], remaining.response[0])
        levels.append(Level(scale, precision, inverse, *links))
        covariance = blocks.multiply(scale, blocks.multiply(inverse, blocks.transpose(scale)))
        remaining = _without_innermost(remaining, covariance)
    precision, right = _dense_system(remaining, root)
    log_rest, explained, _ = definite_forms(precision, right)
    if structure.fixed == "ml":
        effects = structure.rest_effects
        log_rest, _, _ = definite_forms(precision[:effects, :effects], right[:effects])
    return Factorisation(
        statistics=shifted,
        prior=prior,
        sigma=sigma,
        root=root,
        levels=tuple(levels),
        precision=precision,
        right=right,
        log_determinant=log_determinant + log_rest,
        residual=remaining.total - explained,
    )


def _less_prior_mean(statistics: Statistics, prior: Prior) -> Statistics:
    structure = statistics.structure
    columns = None
    if structure.columns and structure.has_prior:
        mean = 0.0 if prior.column_mean is None else prior.column_mean
        columns = mean - statistics.origin
    means = prior.means or (None,) * len(structure.factors)
    return shift_response(statistics, means, columns)


def _without_innermost(statistics: Statistics, covariance: Array) -> Statistics:
    """Statistics of what is left when the innermost level is eliminated.

    Parameters
    ----------
    statistics
        Per-level fields begin with the level to eliminate.
    covariance
        K, shape (q, q, J).
    """
    up, across, response = statistics.up[0], statistics.across[0], statistics.response[0]
    explained = jnp.sum(covariance * response[None], 1)
    spread = jnp.sum(covariance[None] * across[:, None], 2)
    carried = [blocks.multiply(link, covariance) for link in up]
    above = dataclasses.replace(
        statistics,
        own=statistics.own[1:],
        up=statistics.up[1:],
        across=statistics.across[1:],
        response=statistics.response[1:],
        ancestors=statistics.ancestors[1:],
        rest=statistics.rest - _contract(spread, across),
        rest_response=statistics.rest_response - _contract(across, explained[None])[:, 0],
        total=statistics.total - jnp.sum(explained * response),
    )
    for step, index in enumerate(statistics.ancestors[0]):
        above = _less_carried(above, step, index, carried[step], up, across, response)
    return above


def _less_carried(
    above: Statistics,
    step: int,
    index: Array,
    carried: Array,
    up: tuple[Array, ...],
    across: Array,
    response: Array,
) -> Statistics:
    """Take the eliminated level's part off the statistics of one level above it."""

    def less(old: Array, part: Array) -> Array:
        return old - sum_groups(part, index, old.shape[-1])

    turned = blocks.transpose(carried)
    links = [
        less(old, blocks.multiply(link, turned))
        for old, link in zip(above.up[step], up[step + 1 :], strict=True)
    ]
    return dataclasses.replace(
        above,
        own=_put(above.own, step, less(above.own[step], blocks.multiply(up[step], turned))),
        up=_put(above.up, step, tuple(links)),
        across=_put(
            above.across,
            step,
            less(above.across[step], jnp.sum(across[:, None] * carried[None], 2)),
        ),
        response=_put(
            above.response,
            step,
            less(above.response[step], jnp.sum(carried * response[None], 1)),
        ),
    )


def _put(values: tuple, position: int, value: object) -> tuple:
    return (*values[:position], value, *values[position + 1 :])


def _contract(a: Array, b: Array) -> Array:
    """Sum a' b over effects and groups, (k, q, J) and (l, q, J) -> (k, l)."""
    size = a.shape[1] * a.shape[2]
    flat_a, flat_b = a.reshape(a.shape[0], size), b.reshape(b.shape[0], size)
    return jnp.matmul(flat_a, flat_b.T, precision="highest")


def _dense_system(statistics: Statistics, root: Root) -> tuple[Array, Array]:
    """S = I + Λ' C Λ and Λ' c of what stays dense; no identity for coefficients without prior."""
    structure = statistics.structure
    half = multiply_rest_transposed(structure, root, statistics.rest)
    scaled = multiply_rest_transposed(structure, root, half.T)
    unit = np.ones(structure.rest_size)
    if not structure.has_prior:
        unit[structure.rest_effects :] = 0.0
    right = multiply_rest_transposed(structure, root, statistics.rest_response)
    return scaled + jnp.diag(jnp.asarray(unit, scaled.dtype)), right
