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
from jax.scipy.linalg import solve_triangular

WRITTEN_OUT = 4  # largest q whose algebra is written out


def multiply(a: Array, b: Array) -> Array:
    """Multiply blocks, (i, k, J) by (k, j, J) -> (i, j, J); a group axis of length 1 broadcasts."""
    if a.shape[1] > WRITTEN_OUT:
        return jnp.einsum("ikg,kjg->ijg", *_same_groups(a, b), precision="highest")
    return jnp.sum(a[:, :, None, :] * b[None, :, :, :], 1)


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
        return jnp.moveaxis(jax.lax.linalg.cholesky(jnp.moveaxis(a, -1, 0)), 0, -1)
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
        return a[::-1, ::-1] * sign / determinant, jnp.log(determinant)
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
    x = solve_triangular(
        jnp.moveaxis(factor, -1, 0), jnp.moveaxis(columns, -1, 0), trans=int(transposed), lower=True
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
