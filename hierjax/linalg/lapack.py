"""Cholesky factors and triangular solves whose batches cannot lock up JAX's threads on a CPU.

jaxlib before 0.11.2 splits a batch of more than 200,000 operations among the threads of its pool,
and the thread that splits it waits. Where as many of these calls as there are threads run at the
same time, each waits for the others, for ever: seen on two cores within seconds, for programs that
factorise two things at once. Batches are cut here into loops over pieces below that size, which run
where they are; one matrix is such a piece, whatever its size. Elsewhere these are JAX's functions.

The operations know that they are batched by rules of their own (`custom_vmap`), and have
derivatives of every order that are made of themselves.
"""

import functools
import importlib.metadata
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_batching import custom_vmap
from jax.lax.linalg import triangular_solve

MOST_OPERATIONS = 200_000  # of a batch that jaxlib leaves in one piece
MENDED = (0, 11, 2)  # version of jaxlib


@jax.custom_jvp
def cholesky(matrix: Array) -> Array:
    """Lower Cholesky factor L of symmetric positive definite matrices, A = L L'.

    Parameters
    ----------
    matrix
        A, shape (..., n, n), both triangles given.

    Returns
    -------
    Array of the same shape, zero above the diagonal; NaN where A is not positive definite.

    Notes
    -----
    dL = L Φ(L^-1 dA L^-T) with Φ the lower triangle, its diagonal halved (Murray 2016,
    arXiv:1602.07527).
    """
    return _factor(matrix)


@cholesky.defjvp
def _cholesky_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    factor, (change,) = cholesky(*primals), tangents
    half = solve_triangular(factor, change)
    inner = solve_triangular(factor, jnp.swapaxes(half, -1, -2))
    size = factor.shape[-1]
    lower = np.tril(np.ones((size, size))) - 0.5 * np.eye(size)
    lower = jnp.broadcast_to(lower.astype(factor.dtype), inner.shape)
    return factor, jnp.matmul(factor, inner * lower, precision="highest")


def solve_triangular(factor: Array, right: Array, *, transposed: bool = False) -> Array:
    """Solve L x = b, or L' x = b.

    Parameters
    ----------
    factor
        L, shape (..., n, n), lower triangular and zero above the diagonal.
    right
        b, shape (..., n) or (..., n, k); axes in front as those of `factor`.
    transposed
        Whether to solve with L'.
    """
    vector = right.ndim == factor.ndim - 1
    columns = right[..., None] if vector else right
    matrix = jnp.swapaxes(factor, -1, -2) if transposed else factor
    solve, other = _SOLVES[transposed], _SOLVES[not transposed]
    found = jax.lax.custom_linear_solve(
        lambda x: jnp.matmul(matrix, x, precision="highest"),
        columns,
        lambda _, b: solve(factor, b),
        lambda _, b: other(factor, b),
    )
    return found[..., 0] if vector else found


@custom_vmap
def inverse_of_upper(factor: Array) -> Array:
    """Inverse of one upper triangular matrix (n, n); it has no derivative."""
    return _of_each(_inverse_of_upper, factor.shape[-1] ** 3, factor)


@inverse_of_upper.def_vmap
def _inverse_of_upper_batched(
    size: int, batched: Sequence[bool], factor: Array
) -> tuple[Array, bool]:
    del size, batched
    return inverse_of_upper(factor), True


@custom_vmap
def eigenvectors(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues (n,), the least first, and eigenvectors (n, n) of a symmetric matrix.

    It has no derivative. Both triangles have to be given.
    """
    return _of_each(_eigenvectors, 9 * matrix.shape[-1] ** 3, matrix)


@eigenvectors.def_vmap
def _eigenvectors_batched(
    size: int, batched: Sequence[bool], matrix: Array
) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
    del size, batched
    return eigenvectors(matrix), (True, True)


def _eigenvectors(matrix: Array) -> tuple[Array, Array]:
    vectors, values = jax.lax.linalg.eigh(matrix, symmetrize_input=False)
    return values, vectors


def _inverse_of_upper(factor: Array) -> Array:
    # From the right the library gets every matrix in the layout it wants, without copies.
    identity = np.eye(factor.shape[-1], dtype=factor.dtype)
    return triangular_solve(factor.T, identity, left_side=False, lower=True).T


@custom_vmap
def _factor(matrix: Array) -> Array:
    return _of_each(_factor_of_one, matrix.shape[-1] ** 3 // 3, matrix)


@_factor.def_vmap
def _factor_batched(size: int, batched: Sequence[bool], matrix: Array) -> tuple[Array, bool]:
    del size, batched
    return _factor(matrix), True


def _factor_of_one(matrix: Array) -> Array:
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


def _solver(transposed: bool) -> Callable[[Array, Array], Array]:
    def one(factor: Array, right: Array) -> Array:
        return triangular_solve(factor, right, left_side=True, lower=True, transpose_a=transposed)

    @custom_vmap
    def solve(factor: Array, right: Array) -> Array:
        operations = factor.shape[-1] ** 2 * right.shape[-1]
        return _of_each(one, operations, factor, right)

    @solve.def_vmap
    def batched_solve(
        size: int, batched: Sequence[bool], factor: Array, right: Array
    ) -> tuple[Array, bool]:
        if batched[0]:
            right = right if batched[1] else jnp.broadcast_to(right, (size, *right.shape))
            return solve(factor, right), True
        # One factor: what is batched are more columns for it.
        columns = jnp.moveaxis(right, 0, -2)
        found = solve(factor, columns.reshape((*columns.shape[:-2], -1)))
        return jnp.moveaxis(found.reshape(columns.shape), -2, 0), True

    return solve


_SOLVES = {transposed: _solver(transposed) for transposed in (False, True)}


def _of_each(function: Callable[..., Any], operations: int, *arrays: Array) -> Any:
    """Apply a function of matrices to each of those in `arrays`, (..., rows, columns)."""
    leading = arrays[0].shape[:-2]
    if not leading:
        return function(*arrays)
    flat = tuple(jnp.reshape(each, (-1, *each.shape[-2:])) for each in arrays)
    most = max(1, MOST_OPERATIONS // max(operations, 1))
    if math.prod(leading) <= most or not _locks_up():
        found = jax.vmap(function)(*flat)
    else:
        found = jax.lax.map(lambda each: function(*each), flat, batch_size=most)
    return jax.tree.map(lambda each: jnp.reshape(each, (*leading, *each.shape[1:])), found)


def _locks_up() -> bool:
    """Whether batches may be split; of other devices than CPUs none are."""
    return _is_before_mended() and jax.default_backend() == "cpu"


@functools.cache
def _is_before_mended() -> bool:
    parts: list[Any] = importlib.metadata.version("jaxlib").split(".")[:3]
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts) < MENDED
