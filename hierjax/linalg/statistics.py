"""Sufficient statistics of the rows: all that a Gaussian likelihood needs of them, summed once.

With W = [Z_1 | ... | Z_K | X] these are W' W, W' y and y' y (weighted), kept in the shape of the
structure: per-group blocks for the eliminated chain, a dense matrix for the rest. Nothing of size
rows x columns-of-W is ever formed, and statistics of parts of the rows add up, so rows can be
streamed. After this step no evaluation of the likelihood touches a row.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.groups import sum_groups, take_groups
from hierjax.linalg.across import Across, from_rest, to_rest
from hierjax.linalg.structure import Structure


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Statistics:
    """Weighted cross-products of the rows, a pytree; the group axis is last.

    Level l counts the chain from the innermost factor; m is the order of the dense matrix.

    Attributes
    ----------
    structure
        What is grouped in what (static).
    own
        Per level, Z_l' Z_l of each group, shape (q_l, q_l, J_l).
    up
        Per level and further level a above it, Z_a' Z_l of each group of l, shape (q_a, q_l, J_l).
    across
        Per level, [Z_rest | X]' Z_l of each group, shape (m, q_l, J_l), or `Cells`.
    response
        Per level, Z_l' y of each group, shape (q_l, J_l).
    rest, rest_response, total
        [Z_rest | X]' [Z_rest | X], shape (m, m); the same with y, shape (m,); y' y, scalar.
    ancestors
        Per level and further level a above it, the group of a in which each group of l lies,
        shape (J_l,).
    rows, log_weights
        Number of rows with a positive weight, and the sum of the logarithms of those weights.
    origin
        Coefficients whose fit X @ origin was taken off y beforehand, shape (p,): with one near the
        estimate no digits are lost in y' y less the explained part.
    """

    structure: Structure = dataclasses.field(metadata={"static": True})
    own: tuple[Array, ...]
    up: tuple[tuple[Array, ...], ...]
    across: tuple[Across, ...]
    response: tuple[Array, ...]
    rest: Array
    rest_response: Array
    total: Array
    ancestors: tuple[tuple[Array, ...], ...]
    rows: Array
    log_weights: Array
    origin: Array

    def __add__(self, other: "Statistics") -> "Statistics":
        """Statistics of both sets of rows (same structure, without `crossing`, and origin)."""
        assert self.structure.crossing is None
        summed = jax.tree.map(jnp.add, self, other)
        # A group without rows in one part has ancestor 0 there.
        ancestors = jax.tree.map(jnp.maximum, self.ancestors, other.ancestors)
        return dataclasses.replace(summed, ancestors=ancestors, origin=self.origin)


def multiply_statistics(
    statistics: Statistics, effects: Sequence[Array | None], columns: Array | None
) -> tuple[list[Array], Array]:
    """Multiply the cross-products W' W by a vector given per factor.

    Parameters
    ----------
    statistics
        The cross-products.
    effects
        Per factor of the structure, shape (q, J), or None for zeros.
    columns
        Shape (p,), or None for zeros.

    Returns
    -------
    levels
        Per level of the chain, shape (q_l, J_l).
    rest
        Shape (m,).
    """
    structure = statistics.structure
    start, rest = _laid_out(structure, effects, columns, statistics.rest.dtype)
    whole = jnp.concatenate([jnp.zeros(start, rest.dtype), rest])
    products = [from_rest(across, whole) for across in statistics.across]
    rest_product = jnp.einsum("km,m->k", statistics.rest[:, start:], rest)
    chain = [effects[place] for place in structure.chain]
    for level, effect in enumerate(chain):
        if effect is not None:
            products[level] += jnp.einsum("abj,bj->aj", statistics.own[level], effect)
            rest_product += to_rest(statistics.across[level], effect)
        links = zip(statistics.up[level], statistics.ancestors[level], strict=True)
        for above, (link, index) in enumerate(links, start=level + 1):
            if (parent := chain[above]) is not None:
                inherited = take_groups(parent, index)
                products[level] += jnp.einsum("abj,aj->bj", link, inherited)
            if effect is not None:
                carried = jnp.einsum("abj,bj->aj", link, effect)
                products[above] += sum_groups(carried, index, products[above].shape[-1])
    return products, rest_product


def _laid_out(
    structure: Structure, effects: Sequence[Array | None], columns: Array | None, dtype: jnp.dtype
) -> tuple[int, Array]:
    """Lay out as the dense matrix what may be non-zero: its first position, and from there on."""
    last = jnp.zeros(structure.columns, dtype) if columns is None else columns
    if all(effects[place] is None for place in structure.rest):
        return structure.rest_effects, last
    pieces = [
        jnp.zeros(structure.factors[place].size, dtype) if effect is None else effect.reshape(-1)
        for place, effect in ((place, effects[place]) for place in structure.rest)
    ]
    return 0, jnp.concatenate([*pieces, last])


def shift_response(
    statistics: Statistics, effects: Sequence[Array | None], columns: Array | None
) -> Statistics:
    """Statistics of y - W a in place of those of y, with a given as in `multiply_statistics`."""
    if columns is None and all(effect is None for effect in effects):
        return statistics
    products, rest_product = multiply_statistics(statistics, effects, columns)
    structure = statistics.structure
    response = tuple(
        old - product for old, product in zip(statistics.response, products, strict=True)
    )
    rest_response = statistics.rest_response - rest_product
    # |y - W a|^2 = y'y - a'(W'y) - a'(W'y - W'W a)
    start, rest = _laid_out(structure, effects, columns, rest_product.dtype)
    total = statistics.total - jnp.vdot(rest, (statistics.rest_response + rest_response)[start:])
    for level, place in enumerate(structure.chain):
        effect = effects[place]
        if effect is not None:
            total -= jnp.vdot(effect, statistics.response[level] + response[level])
    return dataclasses.replace(
        statistics, response=response, rest_response=rest_response, total=total
    )
