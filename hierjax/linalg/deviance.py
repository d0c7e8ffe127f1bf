"""The log density of the outermost level and the dense matrix, with one analytic derivative.

Differentiating the elimination operation by operation gives the same sums in many more and slower
pieces: separate derivatives of log-determinant and quadratic form, both halves of symmetric
products, and reductions that XLA does badly. So the derivative is written down; its own derivatives
are JAX's, in every mode.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.linalg import across, blocks
from hierjax.linalg.prior import Root, change_of_rest, multiply_rest
from hierjax.linalg.rest import dense_forms, dense_system, scaled_rest
from hierjax.linalg.structure import Structure


class Outer(NamedTuple):
    """What is left when all of the chain but its outermost level is eliminated; y is a column.

    Attributes
    ----------
    own, across
        Of the outermost level, (q, q, J) and (m + 1, q, J) or `Cells`; None without a chain.
    rest
        [[C, c], [c', y'y]], shape (m + 1, m + 1).
    """

    own: Array | None
    across: across.Across | None
    rest: Array


def without_level(structure: Structure, outer: Outer, root: Root) -> tuple[Array, Array]:
    """Eliminate the outermost level: what is left of the dense matrix, and sum log|D|."""
    if outer.own is None or outer.across is None:
        return outer.rest, jnp.zeros((), outer.rest.dtype)
    covariance, log_determinant = blocks.shrink(root.factors[structure.chain[-1]], outer.own)
    return outer.rest - across.outer(outer.across, covariance), jnp.sum(log_determinant)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def deviance(structure: Structure, outer: Outer, root: Root, variance: Array) -> Array:
    """Return log|A| + residual / variance of the outermost level and the dense matrix.

    Parameters
    ----------
    structure
        What is grouped in what.
    outer
        What is left to eliminate.
    root
        Λ.
    variance
        sigma^2.

    Notes
    -----
    With K, M of `blocks.shrinkage` for each group, S = I + Λ' C Λ for the dense matrix after it,
    w = (S^-1 r, -1), E = S^-1 + w w' / variance, Q = Λ E Λ', and H = a' Q a for each group's part a
    of `across`, the derivative is, summed over groups,

        2 <E, dΛ' C Λ> + <Q, d rest> + <C M - M' H M, d(Λ Λ')>
        + <K + K H K, d own> - 2 <Q a K, d a>.
    """
    rest, log_blocks = without_level(structure, outer, root)
    system = dense_system(structure, rest, root)
    log_determinant, explained, _, _ = dense_forms(structure, system)
    return log_blocks + log_determinant + (system[-1, -1] - explained) / variance


@deviance.defjvp
def _deviance_jvp(
    structure: Structure, primals: tuple[Outer, Root, Array], tangents: tuple[Outer, Root, Array]
) -> tuple[Array, Array]:
    (outer, root, variance), (d_outer, d_root, d_variance) = primals, tangents
    rest, log_blocks, level = outer.rest, jnp.zeros((), outer.rest.dtype), None
    if outer.own is not None and outer.across is not None:
        level = blocks.shrinkage(root.factors[structure.chain[-1]], outer.own)
        rest, log_blocks = rest - across.outer(outer.across, level[0]), jnp.sum(level[2])
    right = scaled_rest(structure, rest, root)
    system = dense_system(structure, rest, root, right)
    log_determinant, explained, inverse, spread = dense_forms(structure, system)
    residual = system[-1, -1] - explained
    solution = jnp.matmul(inverse, system[:-1, -1], precision="highest")
    white = jnp.append(solution, -1.0)
    second = jnp.pad(spread, (0, 1)) + white[:, None] * (white / variance)[None]
    moments = multiply_rest(structure, root, multiply_rest(structure, root, second).T)
    change = 2.0 * change_of_rest(structure, d_root, right, second)
    change += jnp.sum(moments * d_outer.rest) - residual / variance**2 * d_variance
    if level is not None:
        place = structure.chain[-1]
        scales = root.factors[place], d_root.factors[place]
        change += _change_of_level(outer, d_outer, moments, level, scales)
    return log_blocks + log_determinant + residual / variance, change


def _change_of_level(
    outer: Outer,
    d_outer: Outer,
    moments: Array,
    level: tuple[Array, Array, Array],
    scales: tuple[Array, Array],
) -> Array:
    """Last three terms of the derivative."""
    assert outer.own is not None and outer.across is not None
    assert d_outer.own is not None and d_outer.across is not None
    (covariance, shrinkage, _), (scale, d_scale) = level, scales
    seen = across.quadratic(moments, outer.across)
    by_prior = blocks.multiply(outer.own, shrinkage) - blocks.sandwich(shrinkage, seen)
    by_scale = 2.0 * blocks.multiply(by_prior, scale)
    if scale.shape[-1] == 1:
        by_scale = 2.0 * blocks.multiply(jnp.sum(by_prior, 2, keepdims=True), scale)
    by_own = covariance + blocks.sandwich(covariance, seen)
    by_across = -2.0 * across.change_of(moments, outer.across, covariance, d_outer.across)
    return jnp.sum(by_scale * d_scale) + jnp.sum(by_own * d_outer.own) + by_across
