"""The Gaussian prior of effects and coefficients given the hyperparameters, as its square root."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.linalg import blocks
from hierjax.linalg.structure import Structure


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prior:
    """Gaussian prior of effects and coefficients, given the hyperparameters; a pytree.

    Attributes
    ----------
    scales
        Per factor, a square root L of the covariance L L' of its effects: shape (q, q), or
        (q, q, J) where groups differ. Lower triangular, or any other square root; zeros are fine.
    column_scale
        The same for the coefficients of X: (p,) if independent, else (p, p). None if there are no
        columns or `Structure.fixed` is not "prior".
    means
        Per factor, the mean of its effects, (q, J), or None for zero; () for all zero.
    column_mean
        Mean of the coefficients, (p,), or None for zero.
    """

    scales: tuple[Array, ...]
    column_scale: Array | None = None
    means: tuple[Array | None, ...] = ()
    column_mean: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Root:
    """Λ: block-diagonal square root of the prior covariance divided by sigma^2; and a prior mean.

    Attributes
    ----------
    factors
        Per factor, shape (q, q, J) or (q, q, 1).
    columns
        Shape (p,) or (p, p); None stands for the identity.
    shift
        Mean of the coefficients less `Statistics.origin`, shape (p,); None stands for zero.
    """

    factors: tuple[Array, ...]
    columns: Array | None
    shift: Array | None


def relative_root(structure: Structure, prior: Prior, sigma: Array, origin: Array) -> Root:
    """Return Λ of a prior, relative to the residual standard deviation."""
    factors = tuple(
        (scale[:, :, None] if scale.ndim == 2 else scale) / sigma for scale in prior.scales
    )
    if not (structure.has_prior and structure.columns):
        return Root(factors, None, None)
    columns = None if prior.column_scale is None else prior.column_scale / sigma
    mean = 0.0 if prior.column_mean is None else prior.column_mean
    return Root(factors, columns, mean - origin)


def multiply_rest(structure: Structure, root: Root, vector: Array) -> Array:
    """Multiply what is laid out as the dense matrix by the bordered Λ, (m + 1, ...).

    The border brings in the prior mean: [[Λ, -shift], [0, 1]], so that (w, -1) becomes (b, -1).
    """
    pieces = _multiply_factors(structure, root, vector, lambda scale: scale)
    columns, last = vector[structure.rest_effects : -1], vector[-1:]
    if not structure.columns:  # jaxlib 0.10.2 miscompiles LAPACK calls next to arrays of size 0
        return jnp.concatenate([*pieces, last])
    columns = _multiply_columns(root, columns, lambda scale: scale)
    if root.shift is not None:
        columns = columns - _along(root.shift, vector.ndim) * last
    return jnp.concatenate([*pieces, columns, last])


def multiply_rest_transposed(structure: Structure, root: Root, vector: Array) -> Array:
    """Multiply by the transpose of the bordered Λ, (m + 1, ...)."""
    pieces = _multiply_factors(structure, root, vector, blocks.transpose)
    columns, last = vector[structure.rest_effects : -1], vector[-1:]
    if not structure.columns:
        return jnp.concatenate([*pieces, last])
    if root.shift is not None:
        last = last - jnp.sum(_along(root.shift, vector.ndim) * columns, 0, keepdims=True)
    columns = _multiply_columns(root, columns, jnp.transpose)
    return jnp.concatenate([*pieces, columns, last])


def change_of_rest(structure: Structure, change: Root, right: Array, second: Array) -> Array:
    """Return <second, dΛ' right> for a change dΛ of Λ; both matrices are (m + 1, m + 1)."""
    total = jnp.zeros((), right.dtype)
    for place, where in zip(structure.rest, structure.rest_slices, strict=True):
        factor, scale = structure.factors[place], change.factors[place]
        a, b = (
            matrix[where].reshape(factor.effects, factor.groups, -1) for matrix in (right, second)
        )
        if scale.shape[-1] == 1:
            a, b = (each.reshape(factor.effects, -1) for each in (a, b))
            total += jnp.sum(jnp.matmul(a, b.T, precision="highest") * scale[:, :, 0])
        else:
            total += jnp.sum(jnp.einsum("cgk,agk->cag", a, b, precision="highest") * scale)
    if not structure.columns:
        return total
    a, b = (matrix[structure.rest_effects : -1] for matrix in (right, second))
    if change.columns is not None and change.columns.ndim == 2:
        total += jnp.sum(jnp.matmul(a, b.T, precision="highest") * change.columns)
    elif change.columns is not None:
        total += jnp.sum(jnp.sum(a * b, 1) * change.columns)
    if change.shift is not None:
        total -= jnp.sum(jnp.matmul(a, second[-1], precision="highest") * change.shift)
    return total


def _multiply_factors(
    structure: Structure, root: Root, vector: Array, orient: Callable[[Array], Array]
) -> list[Array]:
    pieces = []
    for place, where in zip(structure.rest, structure.rest_slices, strict=True):
        factor, scale = structure.factors[place], orient(root.factors[place])
        piece = vector[where].reshape(factor.effects, factor.groups, -1)
        product = blocks.multiply_many(scale, piece)
        pieces.append(product.reshape(factor.size, *vector.shape[1:]))
    return pieces


def _multiply_columns(root: Root, columns: Array, orient: Callable[[Array], Array]) -> Array:
    if root.columns is None:
        return columns
    if root.columns.ndim == 2:
        return jnp.matmul(orient(root.columns), columns, precision="highest")
    return _along(root.columns, columns.ndim) * columns


def _along(vector: Array, axes: int) -> Array:
    """Shape (p,) -> (p, 1, ...) with so many axes."""
    return vector.reshape(-1, *[1] * (axes - 1))
