"""Integrate effects out of a Gaussian likelihood.

Effects are b = Λ w with w ~ N(0, sigma^2 I), so that the posterior precision of w / sigma is
A = I + Λ' W'W Λ: never below the identity, and a zero in Λ is as good as any other value. The chain
is eliminated block by block: with D = I + Λ' C Λ for the blocks C of its innermost level, and
K = Λ D^-1 Λ',

    C_above <- C_above - C_link K C_link',    log|A| = sum log|D| + log|A_above|,

until one dense S = I + Λ' C_rest Λ is left (`rest`). The response is one more column beside the
dense ones: what it needs falls out of the same products. K, inverses and log-determinants have
analytic derivatives (`blocks`, `definite`, `rest`); all else is products, whose derivatives are
products, so that a gradient costs two to three values.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.groups import sum_groups
from hierjax.linalg import across as products
from hierjax.linalg import blocks
from hierjax.linalg.deviance import Outer, deviance, without_level
from hierjax.linalg.prior import Prior, Root, relative_root
from hierjax.linalg.rest import dense_forms, dense_system
from hierjax.linalg.statistics import Statistics, shift_response
from hierjax.linalg.structure import Structure


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Level:
    """One eliminated factor: what is needed to come back to it from the levels above.

    Attributes
    ----------
    scale
        Λ of the factor, shape (q, q, J) or (q, q, 1).
    own, up
        As in `Statistics`, after the elimination of the levels inside this one.
    across
        The same, bordered by the response: shape (m + 1, q, J), or `Cells`.
    """

    scale: Array
    own: Array
    up: tuple[Array, ...]
    across: products.Across


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Factorisation:
    """What follows from statistics, prior and sigma; a pytree. Unused parts cost nothing under jit.

    Attributes
    ----------
    statistics
        Statistics of y less the prior mean of the effects.
    prior, sigma
        As given.
    root
        Λ.
    levels
        The eliminated chain, innermost first.
    outer
        What all levels but the outermost leave.
    log_blocks
        Sum of log|D| over all levels but the outermost.
    """

    statistics: Statistics
    prior: Prior
    sigma: Array
    root: Root
    levels: tuple[Level, ...]
    outer: Outer
    log_blocks: Array

    @property
    def structure(self) -> Structure:
        """What is grouped in what."""
        return self.statistics.structure

    @property
    def system(self) -> Array:
        """[[S, r], [r', y'y left]]: the conditional mean of w of the dense rest is S^-1 r."""
        rest, _ = without_level(self.structure, self.outer, self.root)
        return dense_system(self.structure, rest, self.root)

    @property
    def log_determinant(self) -> Array:
        """log|A|; of the effects alone if `Structure.fixed` is "ml"."""
        rest, log_outer = without_level(self.structure, self.outer, self.root)
        system = dense_system(self.structure, rest, self.root)
        return self.log_blocks + log_outer + dense_forms(self.structure, system)[0]

    @property
    def residual(self) -> Array:
        """Least penalised sum of squares.

        The minimum over w of |y - W Λ w|^2 + |w|^2, where y is less the prior mean (and the
        coefficients are not penalised unless they have a prior).
        """
        system = self.system
        return system[-1, -1] - dense_forms(self.structure, system)[1]


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
    penalised = factorisation.log_blocks + deviance(
        structure, factorisation.outer, factorisation.root, variance
    )
    # A sum of squares less its explained part is lost in rounding where sigma is 1e-8 of the other
    # scales and less; below zero it would be an infinite mode. (Statistics without rows have none.)
    lost = (statistics.rows > 0) & (penalised < 0)
    return -0.5 * (
        jnp.where(lost, jnp.nan, penalised)
        + rows * jnp.log(2.0 * np.pi * variance)
        - statistics.log_weights
    )


def factorise(statistics: Statistics, prior: Prior, sigma: Array | float) -> Factorisation:
    """Eliminate all effects; arguments as in `log_likelihood`."""
    structure, sigma = statistics.structure, jnp.asarray(sigma)
    root = relative_root(structure, prior, sigma, statistics.origin)
    means = prior.means or (None,) * len(structure.factors)
    shifted = shift_response(statistics, means, None)
    remaining = _bordered(shifted)
    levels, log_blocks = [], jnp.zeros_like(statistics.total)
    for place in structure.chain:
        scale = root.factors[place]
        levels.append(Level(scale, remaining.own[0], remaining.up[0], remaining.across[0]))
        if place == structure.chain[-1]:
            break
        covariance, log_determinants = blocks.shrink(scale, remaining.own[0])
        log_blocks += jnp.sum(log_determinants)
        remaining = _without_innermost(remaining, covariance)
    own, across = (levels[-1].own, levels[-1].across) if levels else (None, None)
    return Factorisation(
        statistics=shifted,
        prior=prior,
        sigma=sigma,
        root=root,
        levels=tuple(levels),
        outer=Outer(own, across, remaining.rest),
        log_blocks=log_blocks,
    )


@dataclasses.dataclass(frozen=True)
class _System:
    """`Statistics` with the response as one more column beside the dense ones."""

    own: tuple[Array, ...]
    up: tuple[tuple[Array, ...], ...]
    across: tuple[products.Across, ...]
    rest: Array
    ancestors: tuple[tuple[Array, ...], ...]


def _bordered(statistics: Statistics) -> _System:
    border, corner = statistics.rest_response, statistics.total[None]
    across = tuple(
        products.bordered(across, response)
        for across, response in zip(statistics.across, statistics.response, strict=True)
    )
    sides = jnp.concatenate([statistics.rest, border[None]])
    rest = jnp.concatenate([sides, jnp.append(border, corner)[:, None]], axis=1)
    return _System(statistics.own, statistics.up, across, rest, statistics.ancestors)


def _without_innermost(system: _System, covariance: Array) -> _System:
    """Return what is left when the innermost level is eliminated; covariance is K, (q, q, J)."""
    up, across = system.up[0], products.whole(system.across[0])
    above = _System(
        own=system.own[1:],
        up=system.up[1:],
        across=system.across[1:],
        rest=system.rest - products.outer(across, covariance),
        ancestors=system.ancestors[1:],
    )
    carried = [blocks.multiply(link, covariance) for link in up]
    for step, index in enumerate(system.ancestors[0]):
        above = _less_carried(above, step, index, carried[step], up, across)
    return above


def _less_carried(
    above: _System,
    step: int,
    index: Array,
    carried: Array,
    up: tuple[Array, ...],
    across: Array,
) -> _System:
    """Take the eliminated level's part off the statistics of one level above it."""

    def less(old: Array, part: Array) -> Array:
        return old - sum_groups(part, index, old.shape[-1])

    turned = blocks.transpose(carried)
    links = [
        less(old, blocks.multiply(link, turned))
        for old, link in zip(above.up[step], up[step + 1 :], strict=True)
    ]
    own = less(above.own[step], blocks.multiply(up[step], turned))
    spread = less(products.whole(above.across[step]), products.spread(across, turned))
    return dataclasses.replace(
        above,
        own=_put(above.own, step, own),
        up=_put(above.up, step, tuple(links)),
        across=_put(above.across, step, spread),
    )


def _put(values: tuple, position: int, value: object) -> tuple:
    return (*values[:position], value, *values[position + 1 :])
