"""One symmetric positive definite system, with analytic derivatives.

Differentiating through a Cholesky factor costs several times its value, and a factorisation that is
given one triangle has a right value and a wrong derivative. Here nothing is differentiated through:
log-determinant, quadratic form and inverse have the textbook derivatives, of every order.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from hierjax.linalg import blocks


def definite_forms(matrix: Array, right: Array) -> tuple[Array, Array, Array]:
    """Log-determinant, quadratic form and inverse of a symmetric positive definite matrix.

    Parameters
    ----------
    matrix
        S, shape (m, m), both triangles given; m may be 0.
    right
        r, shape (m,).

    Returns
    -------
    log_determinant
        log|S|, scalar.
    form
        r' S^-1 r, scalar.
    inverse
        S^-1, shape (m, m); costs nothing in a compiled program that does not use it.

    Notes
    -----
    d log|S| = tr(S^-1 dS); d form = x' (2 dr - dS x), x = S^-1 r; d S^-1 = -S^-1 dS S^-1. A matrix
    that is not positive definite gives NaN.
    """
    if matrix.shape[0] == 0:
        return jnp.zeros((), matrix.dtype), jnp.zeros((), matrix.dtype), matrix
    if matrix.shape[0] <= blocks.WRITTEN_OUT:
        inverse, log_determinant = blocks.inverse_and_log_determinant(matrix[:, :, None])
        solution = jnp.sum(inverse[:, :, 0] * right, 1)
        return log_determinant[0], jnp.vdot(right, solution), inverse[:, :, 0]
    return _forms_library(matrix, right)


@jax.custom_jvp
def _forms_library(matrix: Array, right: Array) -> tuple[Array, Array, Array]:
    # The factor of S bordered by r holds L^-1 r in its last row, which saves the triangular solves:
    # half of the time at m = 34. The corner is infinite: a smaller number might be too small.
    size = matrix.shape[0]
    bordered = jnp.pad(matrix, ((0, 1), (0, 1))).at[size, :size].set(right)
    bordered = bordered.at[size, size].set(jnp.inf)
    factor = jax.lax.linalg.cholesky(bordered, symmetrize_input=False)
    log_determinant = 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)[:size]))
    half = factor[size, :size]
    root = _inverse_upper(factor[:size, :size].T, max(24, size // 16))
    return log_determinant, jnp.vdot(half, half), _product(root, root.T)


@_forms_library.defjvp
def _forms_library_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    log_determinant, form, inverse = _forms_library(*primals)
    (_, right), (change, right_change) = primals, tangents
    solution = _product(inverse, right)
    d_log_determinant = jnp.sum(inverse * change)
    d_form = jnp.vdot(solution, 2.0 * right_change - _product(change, solution))
    d_inverse = -_product(inverse, _product(change, inverse))
    return (log_determinant, form, inverse), (d_log_determinant, d_form, d_inverse)


def _inverse_upper(factor: Array, block: int) -> Array:
    """Inverse of an upper triangular matrix by halves, down to blocks of at most `block` rows.

    Matrix products do the work: on one core 40 microseconds for m = 82 and 330 for m = 170, where a
    triangular solve for the identity takes 130 and 1,150. Upper, so that S^-1 = U^-1 U^-T is a
    product of rows with rows; the same by columns (L^-T L^-1) takes 2.5 times as long in XLA.
    """
    size = factor.shape[0]
    if size <= block:
        return solve_triangular(factor, jnp.eye(size, dtype=factor.dtype))
    half = size // 2
    first = _inverse_upper(factor[:half, :half], block)
    last = _inverse_upper(factor[half:, half:], block)
    corner = -_product(first, _product(factor[:half, half:], last))
    return jnp.block([[first, corner], [jnp.zeros_like(corner).T, last]])


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
