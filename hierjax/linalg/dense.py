"""Slow, plain twins of the structured operations; the tests hold both equal.

Everything is written as one reads it in a textbook: all columns in one design matrix, one prior
covariance, one multivariate normal density, `jnp.linalg` throughout.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import block_diag, solve_triangular
from jax.typing import ArrayLike

from hierjax.linalg.conditional import Effects, Noise
from hierjax.linalg.prior import Prior
from hierjax.linalg.structure import Structure
from hierjax.linalg.summarise import Term


def group_first(blocks: Array) -> Array:
    """(q, q, J) -> (J, q, q), as `jnp.linalg` wants it."""
    return jnp.moveaxis(blocks, -1, 0)


def cholesky(blocks: Array) -> Array:
    """Twin of `blocks.cholesky`."""
    return jnp.moveaxis(jnp.linalg.cholesky(group_first(blocks)), 0, -1)


def inverse_and_log_determinant(blocks: Array) -> tuple[Array, Array]:
    """Twin of `blocks.inverse_and_log_determinant`."""
    matrices = group_first(blocks)
    return jnp.moveaxis(jnp.linalg.inv(matrices), 0, -1), jnp.linalg.slogdet(matrices)[1]


def shrink(scale: Array, information: Array) -> tuple[Array, Array]:
    """Twin of `blocks.shrink`."""
    c = group_first(information)
    root = jnp.broadcast_to(group_first(scale), c.shape)
    precision = jnp.eye(c.shape[-1])[None] + jnp.swapaxes(root, 1, 2) @ c @ root
    covariance = root @ jnp.linalg.solve(precision, jnp.swapaxes(root, 1, 2))
    return jnp.moveaxis(covariance, 0, -1), jnp.linalg.slogdet(precision)[1]


def definite_forms(bordered: Array) -> tuple[Array, Array, Array]:
    """Twin of `definite.definite_forms`."""
    matrix, right = bordered[:-1, :-1], bordered[:-1, -1]
    inverse = jnp.linalg.inv(matrix)
    return jnp.linalg.slogdet(matrix)[1], right @ inverse @ right, inverse


def elimination_order(structure: Structure) -> tuple[int, ...]:
    """Positions of the factors as their columns follow in the design matrix."""
    return (*structure.chain, *structure.rest)


def design_matrix(structure: Structure, terms: Sequence[Term], columns: ArrayLike | None) -> Array:
    """W = [Z_1 | ... | Z_K | X] in elimination order, effect by effect, groups last."""
    pieces = []
    for place in elimination_order(structure):
        term, factor = terms[place], structure.factors[place]
        member = jnp.asarray(term.index)[:, None] == jnp.arange(factor.groups)[None]
        wide = jnp.asarray(term.design)[:, :, None] * member[:, None, :]
        pieces.append(wide.reshape(wide.shape[0], factor.size))
    if columns is not None:
        pieces.append(jnp.asarray(columns))
    return jnp.concatenate(pieces, axis=1)


def factor_root(scale: Array, groups: int) -> Array:
    """Square root of the covariance of one factor's effects, (q J, q J)."""
    scale = scale[:, :, None] if scale.ndim == 2 else scale
    q = scale.shape[0]
    full = jnp.broadcast_to(scale, (q, q, groups))
    return jnp.einsum("abj,jk->ajbk", full, jnp.eye(groups)).reshape(q * groups, q * groups)


def effects_root(structure: Structure, prior: Prior) -> Array:
    """Square root of the covariance of all effects, in elimination order, without X."""
    order = elimination_order(structure)
    roots = [factor_root(prior.scales[place], structure.factors[place].groups) for place in order]
    return block_diag(*roots) if roots else jnp.zeros((0, 0))


def prior_mean(structure: Structure, prior: Prior) -> Array:
    """Mean of all effects, in elimination order, and of the coefficients of X (0 without prior)."""
    means = prior.means or (None,) * len(structure.factors)
    pieces = []
    for place in elimination_order(structure):
        mean, size = means[place], structure.factors[place].size
        pieces.append(jnp.zeros(size) if mean is None else mean.reshape(-1))
    if structure.has_prior and prior.column_mean is not None:
        pieces.append(prior.column_mean)
    else:
        pieces.append(jnp.zeros(structure.columns))
    return jnp.concatenate(pieces)


def log_likelihood(
    structure: Structure,
    response: ArrayLike,
    terms: Sequence[Term],
    columns: ArrayLike | None,
    prior: Prior,
    sigma: Array | float,
    *,
    weights: ArrayLike | None = None,
    offset: ArrayLike | float = 0.0,
) -> Array:
    """Twin of `eliminate.log_likelihood` of `summarise(...)`; weights must be positive."""
    y = jnp.asarray(response) - offset
    x = jnp.zeros((y.shape[0], 0)) if columns is None else jnp.asarray(columns)
    w = jnp.ones_like(y) if weights is None else jnp.asarray(weights)
    design = design_matrix(structure, terms, x)
    root = effects_root(structure, prior)
    effects = root.shape[0]
    mean = design @ prior_mean(structure, prior)
    loading = design[:, :effects] @ root
    if structure.has_prior and structure.columns:
        assert prior.column_scale is not None
        loading = jnp.concatenate([loading, x @ _square(prior.column_scale)], axis=1)
    covariance = sigma**2 * jnp.diag(1.0 / w) + loading @ loading.T
    residual, rows = y - mean, y.shape[0]
    correction = jnp.zeros(())
    if not structure.has_prior:
        information = x.T @ jnp.linalg.solve(covariance, x)
        estimate = jnp.linalg.solve(information, x.T @ jnp.linalg.solve(covariance, residual))
        residual = residual - x @ estimate
        if structure.fixed == "reml":
            rows -= structure.columns
            correction = jnp.linalg.slogdet(information)[1]
    distance = residual @ jnp.linalg.solve(covariance, residual)
    spread = jnp.linalg.slogdet(covariance)[1] + correction
    return -0.5 * (distance + spread + rows * jnp.log(2.0 * jnp.pi))


def conditional(
    structure: Structure,
    response: ArrayLike,
    terms: Sequence[Term],
    columns: ArrayLike | None,
    prior: Prior,
    sigma: Array | float,
    noise: Noise | None = None,
    *,
    weights: ArrayLike | None = None,
    offset: ArrayLike | float = 0.0,
    whitened: bool = False,
) -> Effects:
    """Twin of `conditional_mean` and, with noise, of `conditional_map`.

    b = mean + root (A^-1 root' W' r / sigma^2 + A^-T/2 z), A = I + root' W'W root / sigma^2.
    """
    y = jnp.asarray(response) - offset
    x = jnp.zeros((y.shape[0], 0)) if columns is None else jnp.asarray(columns)
    w = jnp.ones_like(y) if weights is None else jnp.asarray(weights)
    design = design_matrix(structure, terms, x)
    root = effects_root(structure, prior)
    effects, unit = root.shape[0], jnp.ones(design.shape[1])
    if structure.has_prior:
        assert prior.column_scale is not None or not structure.columns
        last = jnp.zeros((0, 0)) if prior.column_scale is None else _square(prior.column_scale)
    else:
        last, unit = sigma * jnp.eye(structure.columns), unit.at[effects:].set(0.0)
    root = block_diag(root, last)
    mean = prior_mean(structure, prior)
    loading = design @ root
    precision = jnp.diag(unit) + loading.T @ (w[:, None] * loading) / sigma**2
    white = jnp.linalg.solve(precision, loading.T @ (w * (y - design @ mean)) / sigma**2)
    if noise is not None:
        shocks = jnp.concatenate([*(level.reshape(-1) for level in noise.levels), noise.rest])
        white += solve_triangular(jnp.linalg.cholesky(precision), shocks, trans=1, lower=True)
    if whitened:
        # `last` is sigma I where the coefficients have no prior: they stay as they are.
        last = jnp.eye(structure.columns) if structure.has_prior else last
        return _split(structure, block_diag(jnp.eye(effects), last) @ white)
    return _split(structure, mean + root @ white)


def _square(scale: Array) -> Array:
    return jnp.diag(scale) if scale.ndim == 1 else scale


def _split(structure: Structure, vector: Array) -> Effects:
    placed, start = {}, 0
    for place in elimination_order(structure):
        factor = structure.factors[place]
        piece = vector[start : start + factor.size]
        placed[place] = piece.reshape(factor.effects, factor.groups)
        start += factor.size
    return Effects(tuple(placed[place] for place in range(len(placed))), vector[start:])
