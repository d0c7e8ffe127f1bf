"""What the eliminated groups have in common with the dense matrix, and its two products.

Everything here is written out as sums of whole arrays with the group axis last, because a reduction
over an axis of length two, or over rows far apart in memory, takes XLA several times as long.
"""

import jax.numpy as jnp
from jax import Array

from hierjax.linalg.blocks import WRITTEN_OUT, sum_all

CHUNK = 8  # rows summed at a time


def spread(across: Array, block: Array) -> Array:
    """Multiply each group's (m, q) by its block: (m, q, J) and (q, r, J) -> (m, r, J)."""
    q = across.shape[1]
    if q > WRITTEN_OUT:
        return jnp.einsum("mqj,qrj->mrj", across, block, precision="highest")
    return sum_all([across[:, k, None] * block[None, k] for k in range(q)])


def outer(across: Array, block: Array) -> Array:
    """Sum a K a' over groups: (m, q, J) and (q, q, J) -> (m, m)."""
    return jnp.matmul(_flat(spread(across, block)), _flat(across).T, precision="highest")


def left(matrix: Array, across: Array) -> Array:
    """Multiply (m, m) by each group's (m, q): -> (m, q, J)."""
    product = jnp.matmul(matrix, _flat(across), precision="highest")
    return product.reshape(across.shape)


def inner(a: Array, b: Array) -> Array:
    """Sum a' b over rows: (m, q, J) and (m, r, J) -> (q, r, J)."""
    products = a[:, :, None] * b[:, None]
    while len(products) > 1:
        whole = len(products) // CHUNK * CHUNK
        rest = [products[whole:]] if whole < len(products) else []
        if whole:
            chunks = products[:whole].reshape(-1, CHUNK, *products.shape[1:])
            sums = sum_all([chunks[:, k] for k in range(CHUNK)])
            products = jnp.concatenate([sums, *rest]) if rest else sums
        else:
            products = sum_all([products[k : k + 1] for k in range(len(products))])
    return products[0]


def _flat(across: Array) -> Array:
    return across.reshape(across.shape[0], -1)
