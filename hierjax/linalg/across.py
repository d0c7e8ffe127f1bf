"""What the eliminated groups have in common with the dense matrix, a, and its products.

It is an array (m, q, J), or `Cells` where most of that would be zeros.

Everything here is written out as sums of whole arrays with the group axis last, because a reduction
over an axis of length two, or over rows far apart in memory, takes XLA several times as long.
"""

import jax.numpy as jnp
from jax import Array

from hierjax.linalg.blocks import WRITTEN_OUT, sum_all
from hierjax.linalg.cells import Cells

Across = Array | Cells

CHUNK = 8  # rows summed at a time


def whole(across: Across) -> Array:
    """Return the array, which it is wherever more than one level is eliminated."""
    assert not isinstance(across, Cells)
    return across


def spread(across: Array, block: Array) -> Array:
    """Multiply each group's (m, q) by its block: (m, q, J) and (q, r, J) -> (m, r, J)."""
    q = across.shape[1]
    if q > WRITTEN_OUT:
        return jnp.einsum("mqj,qrj->mrj", across, block, precision="highest")
    return sum_all([across[:, k, None] * block[None, k] for k in range(q)])


def outer(across: Across, block: Array) -> Array:
    """Sum a K a' over groups: (m, q, J) and (q, q, J) -> (m, m)."""
    if isinstance(across, Cells):
        return across.outer(block)
    return jnp.matmul(_flat(spread(across, block)), _flat(across).T, precision="highest")


def quadratic(matrix: Array, across: Across) -> Array:
    """Return a' Q a of each group for a symmetric Q: (m, m) -> (q, q, J)."""
    if isinstance(across, Cells):
        return across.quadratic(matrix)
    return inner(across, _left(matrix, across))


def change_of(matrix: Array, across: Across, block: Array, change: Across) -> Array:
    """Return <Q a K, da> for a symmetric Q, (m, m), and K, (q, q, J)."""
    if isinstance(across, Cells) and isinstance(change, Cells):
        return across.change(matrix, block, change)
    return jnp.sum(spread(_left(matrix, whole(across)), block) * whole(change))


def from_rest(across: Across, vector: Array) -> Array:
    """Sum a' v over the m rows: (m,) -> (q, J)."""
    if isinstance(across, Cells):
        return across.from_rest(vector)
    return jnp.einsum("mqj,m->qj", across, vector)


def to_rest(across: Across, effects: Array) -> Array:
    """Sum a u over groups: (q, J) -> (m,)."""
    if isinstance(across, Cells):
        return across.to_rest(effects)
    return jnp.einsum("mqj,qj->m", across, effects)


def bordered(across: Across, response: Array) -> Across:
    """Append one row, (q, J)."""
    if isinstance(across, Cells):
        return across.bordered(response)
    return jnp.concatenate([across, response[None]])


def _left(matrix: Array, across: Array) -> Array:
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
