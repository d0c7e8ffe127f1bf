"""Many small symmetric matrices at once, the group axis last: shape (q, q, J) for J blocks.

With the group axis last every entry of the algebra is one vectorised operation over groups, so up
to four effects per group everything is written out entry by entry; above that the library's batched
routines take over. Blocks are symmetric positive definite; both triangles must be given.

Twins in `hierjax.linalg.dense` state the same functions with `jax.numpy.linalg`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg import lapack

WRITTEN_OUT = 4  # largest q whose algebra is written out


def multiply(a: Array, b: Array) -> Array:
    """Multiply blocks, (i, k, J) by (k, j, J) -> (i, j, J); a group axis of length 1 broadcasts."""
    if a.shape[1] > WRITTEN_OUT:
        return jnp.einsum("ikg,kjg->ijg", *_same_groups(a, b), precision="highest")
    return sum_all([a[:, k, None] * b[None, k] for k in range(a.shape[1])])


def multiply_many(a: Array, b: Array) -> Array:
    """Multiply blocks by several vectors each, (i, k, J or 1) by (k, J, n) -> (i, J, n)."""
    if a.shape[1] > WRITTEN_OUT:
        a = jnp.broadcast_to(a, (*a.shape[:2], b.shape[1]))
        return jnp.einsum("ikg,kgn->ign", a, b, precision="highest")
    return sum_all([a[:, k, :, None] * b[None, k] for k in range(a.shape[1])])


def sum_all(arrays: list[Array]) -> Array:
    """Sum arrays one after the other: XLA is slow at reductions over an axis of length two."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def transpose(a: Array) -> Array:
    """Transpose each block, (i, j, J) -> (j, i, J)."""
    return jnp.swapaxes(a, 0, 1)


def sandwich(a: Array, b: Array) -> Array:
    """Return a' b a for each block, a of shape (k, i, J or 1), b of shape (k, k, J)."""
    return multiply(transpose(a), multiply(b, a))


def plus_identity(a: Array) -> Array:
    """Add the identity to each block."""
    return a + jnp.eye(a.shape[0], dtype=a.dtype)[:, :, None]


def cholesky(a: Array) -> Array:
    """Lower Cholesky factor of each block, (q, q, J) -> (q, q, J).

    Differentiable in every mode and order; a block that is not positive definite gives NaN.
    """
    q = a.shape[0]
    if q > WRITTEN_OUT:
        return jnp.moveaxis(lapack.cholesky(jnp.moveaxis(a, -1, 0)), 0, -1)
    factor = [[jnp.zeros_like(a[0, 0])] * q for _ in range(q)]
    for j in range(q):
        for i in range(j, q):
            rest = a[i, j] - sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = jnp.sqrt(rest) if i == j else rest / factor[j][j]
    return _assemble(factor)


def solve_lower(factor: Array, b: Array) -> Array:
    """Solve L x = b for each block, L (q, q, J) lower triangular, b (q, J)."""
    q = factor.shape[0]
    if q > WRITTEN_OUT:
        return _solve_library(factor, b, transposed=False)
    x: list[Array] = []
    for i in range(q):
        x.append((b[i] - sum(factor[i, k] * x[k] for k in range(i))) / factor[i, i])
    return jnp.stack(x)


def solve_upper(factor: Array, b: Array) -> Array:
    """Solve L' x = b for each block, L (q, q, J) lower triangular, b (q, J)."""
    q = factor.shape[0]
    if q > WRITTEN_OUT:
        return _solve_library(factor, b, transposed=True)
    x: list[Array] = [b[0]] * q
    for i in reversed(range(q)):
        x[i] = (b[i] - sum(factor[k, i] * x[k] for k in range(i + 1, q))) / factor[i, i]
    return jnp.stack(x)


@jax.custom_jvp
def inverse_and_log_determinant(a: Array) -> tuple[Array, Array]:
    """Inverse (q, q, J) and log-determinant (J,) of each block.

    The derivatives are analytic, d log|A| = tr(A^-1 dA) and d A^-1 = -A^-1 dA A^-1, and use only
    the inverse that the value has: a gradient costs about as much as the value.
    """
    q = a.shape[0]
    if q == 1:
        return 1.0 / a, jnp.log(a[0, 0])
    if q == 2:
        determinant = a[0, 0] * a[1, 1] - a[1, 0] * a[1, 0]
        # [[d, -b], [-b, a]]: reversed along both axes, the sign changed off the diagonal.
        sign = np.array([[1.0, -1.0], [-1.0, 1.0]], a.dtype)[:, :, None]
        return a[::-1, ::-1] * sign / determinant[None, None], jnp.log(determinant)
    factor = cholesky(a)
    log_determinant = 2.0 * jnp.sum(jnp.log(jnp.einsum("iig->ig", factor)), 0)
    if q > WRITTEN_OUT:
        identity = jnp.broadcast_to(jnp.eye(q, dtype=a.dtype)[:, :, None], a.shape)
        half = _solve_library(factor, identity, transposed=False)
    else:
        half = _inverse_lower(factor)
    return multiply(transpose(half), half), log_determinant


@inverse_and_log_determinant.defjvp
def _inverse_and_log_determinant_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    inverse, log_determinant = inverse_and_log_determinant(*primals)
    (change,) = tangents
    d_inverse = -multiply(inverse, multiply(change, inverse))
    return (inverse, log_determinant), (d_inverse, jnp.sum(inverse * change, (0, 1)))


@jax.custom_jvp
def shrink(scale: Array, information: Array) -> tuple[Array, Array]:
    """Covariance left of effects with prior square root Λ, seen with information C.

        K = Λ D^-1 Λ',  log|D|,  D = I + Λ' C Λ.

    Parameters
    ----------
    scale
        Λ, shape (q, q, J or 1).
    information
        C, shape (q, q, J).

    Returns
    -------
    K, shape (q, q, J), and log|D|, shape (J,).

    Notes
    -----
    With P = Λ Λ' and M = (I + P C)^-1: dK = M dP M' - K dC K, d log|D| = tr(C M dP) + tr(K dC).
    """
    covariance, _, log_determinant = shrinkage(scale, information)
    return covariance, log_determinant


def shrinkage(scale: Array, information: Array) -> tuple[Array, Array, Array]:
    """K, M and log|D| as in `shrink`."""
    q = scale.shape[0]
    square = multiply(scale, transpose(scale))
    if q == 1:
        inverse = 1.0 / (1.0 + square * information)
        return square * inverse, inverse, -jnp.log(inverse[0, 0])
    if q == 2:
        # K = (P + |P| adj C) / |D| and M = adj(I + P C) / |D|; nothing cancels but in |C|. An
        # adjugate is the matrix reversed along both axes (M: transposed), signs changed off the
        # diagonal.
        sign = jnp.array([[1.0, -1.0], [-1.0, 1.0]], square.dtype)[:, :, None]
        size = (scale[0, 0] * scale[1, 1] - scale[0, 1] * scale[1, 0]) ** 2
        amount = information[0, 0] * information[1, 1] - information[0, 1] * information[1, 0]
        determinant = 1.0 + jnp.sum(square * information, (0, 1)) + size * amount
        covariance = square + size[None, None] * sign * information[::-1, ::-1]
        covariance /= determinant[None, None]
        swapped = transpose(multiply(square, information))[::-1, ::-1]
        shrunk = plus_identity(sign * swapped) / determinant[None, None]
        return covariance, shrunk, jnp.log(determinant)
    inverse, log_determinant = inverse_and_log_determinant(
        plus_identity(sandwich(scale, information))
    )
    covariance = sandwich(transpose(scale), inverse)
    return covariance, plus_identity(-multiply(covariance, information)), log_determinant


@shrink.defjvp
def _shrink_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (scale, information), (d_scale, d_information) = primals, tangents
    covariance, shrunk, log_determinant = shrinkage(scale, information)
    half = multiply(d_scale, transpose(scale))
    d_square = half + transpose(half)
    d_covariance = multiply(multiply(shrunk, d_square), transpose(shrunk))
    d_covariance -= multiply(covariance, multiply(d_information, covariance))
    # C M is symmetric, and so are K and the tangents they meet.
    d_log = jnp.sum(multiply(information, shrunk) * d_square, (0, 1))
    d_log += jnp.sum(covariance * d_information, (0, 1))
    return (covariance, log_determinant), (d_covariance, d_log)


def _inverse_lower(factor: Array) -> Array:
    """Inverse of lower triangular blocks, written out."""
    q = factor.shape[0]
    inverse = [[jnp.zeros_like(factor[0, 0])] * q for _ in range(q)]
    for j in range(q):
        inverse[j][j] = 1.0 / factor[j, j]
        for i in range(j + 1, q):
            total = sum(factor[i, k] * inverse[k][j] for k in range(j, i))
            inverse[i][j] = -total / factor[i, i]
    return _assemble(inverse)


def _assemble(entries: list[list[Array]]) -> Array:
    return jnp.stack([jnp.stack(row) for row in entries])


def _solve_library(factor: Array, b: Array, *, transposed: bool) -> Array:
    vector = b.ndim == 2
    columns = b[:, None, :] if vector else b
    x = lapack.solve_triangular(
        jnp.moveaxis(factor, -1, 0), jnp.moveaxis(columns, -1, 0), transposed=transposed
    )
    x = jnp.moveaxis(x, 0, -1)
    return x[:, 0, :] if vector else x


def _same_groups(a: Array, b: Array) -> tuple[Array, Array]:
    groups = max(a.shape[-1], b.shape[-1])
    if a.shape[-1] == 0 or b.shape[-1] == 0:
        groups = 0
    return (
        jnp.broadcast_to(a, (*a.shape[:-1], groups)),
        jnp.broadcast_to(b, (*b.shape[:-1], groups)),
    )
