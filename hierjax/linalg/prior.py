"""The Gaussian prior of effects and coefficients given the hyperparameters, as its square root."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

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
    """Λ: block-diagonal square root of the prior covariance divided by sigma^2.

    Attributes
    ----------
    factors
        Per factor, shape (q, q, J) or (q, q, 1).
    columns
        Shape (p,) or (p, p); None stands for the identity.
    """

    factors: tuple[Array, ...]
    columns: Array | None


def relative_root(structure: Structure, prior: Prior, sigma: Array) -> Root:
    """Return Λ of a prior, relative to the residual standard deviation."""
    factors = tuple(
        (scale[:, :, None] if scale.ndim == 2 else scale) / sigma for scale in prior.scales
    )
    columns = prior.column_scale if structure.has_prior else None
    return Root(factors, None if columns is None else columns / sigma)


def multiply_rest(structure: Structure, root: Root, vector: Array) -> Array:
    """Multiply what is laid out as the dense matrix by Λ: (m, ...) -> (m, ...)."""
    return _apply(structure, root, vector, lambda scale: scale)


def multiply_rest_transposed(structure: Structure, root: Root, vector: Array) -> Array:
    """Multiply what is laid out as the dense matrix by Λ': (m, ...) -> (m, ...)."""
    return _apply(structure, root, vector, lambda scale: jnp.swapaxes(scale, 0, 1))


def _apply(
    structure: Structure, root: Root, vector: Array, orient: Callable[[Array], Array]
) -> Array:
    pieces = []
    for place, where in zip(structure.rest, structure.rest_slices, strict=True):
        factor, scale = structure.factors[place], orient(root.factors[place])
        if scale.shape[-1] == 1:  # a matrix product, and so is its derivative
            piece = vector[where].reshape(factor.effects, -1)
            product = jnp.matmul(scale[:, :, 0], piece, precision="highest")
        else:
            piece = vector[where].reshape(factor.effects, factor.groups, -1)
            product = jnp.sum(scale[:, :, :, None] * piece[None], 1)
        pieces.append(product.reshape(factor.size, *vector.shape[1:]))
    if not structure.columns:  # jaxlib 0.10.2 miscompiles LAPACK calls next to arrays of size 0
        return jnp.concatenate(pieces) if pieces else vector
    columns = vector[structure.rest_effects :]
    if root.columns is not None and root.columns.ndim == 2:
        columns = jnp.matmul(orient(root.columns), columns, precision="highest")
    elif root.columns is not None:
        columns = root.columns.reshape(-1, *[1] * (vector.ndim - 1)) * columns
    return jnp.concatenate([*pieces, columns])
