"""What two crossed factors have in common: Z_l' Z_k, by pairs of groups that share rows, or dense.

Either way it is multiplied by effects of one factor to give sums for the groups of the other. A
dense product reads every pair of groups; the sum over cells (pairs that share rows) gathers and
scatters, which takes some ten times as long for each.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.errors import ModelError
from hierjax.groups import group_sum, sum_groups, take_groups
from hierjax.linalg.structure import Factor
from hierjax.linalg.summarise import Term

CELL = 10  # numbers read in a dense product in the time that one cell takes
MOST_DENSE = 2**22  # entries


@dataclasses.dataclass(frozen=True)
class Sharing:
    """How what two factors share is kept; static.

    Attributes
    ----------
    first, second
        Positions of the factors in the structure.
    groups
        Their numbers of groups.
    cells
        Number of pairs of their groups that share rows; None to keep all pairs.
    """

    first: int
    second: int
    groups: tuple[int, int]
    cells: int | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shared:
    """Products of the designs of two factors in each pair of their groups; a pytree.

    Attributes
    ----------
    values
        Z_l' Z_k of shape (q_l, q_k, J_l, J_k), or (q_l, q_k, n) of n cells.
    first, second
        Groups of each cell, shape (n,); None if dense.
    groups
        Numbers of groups (static).
    """

    values: Array
    first: Array | None
    second: Array | None
    groups: tuple[int, int] = dataclasses.field(metadata={"static": True})

    def times(self, effects: Array) -> Array:
        """Multiply by effects of the second factor: (q_k, J_k) -> (q_l, J_l)."""
        if self.first is None or self.second is None:
            return jnp.einsum("abjk,bk->aj", self.values, effects, precision="highest")
        rows = jnp.sum(self.values * take_groups(effects, self.second)[None], 1)
        return sum_groups(rows, self.first, self.groups[0])

    def transposed_times(self, effects: Array) -> Array:
        """Multiply the transpose by effects of the first factor: (q_l, J_l) -> (q_k, J_k)."""
        if self.first is None or self.second is None:
            return jnp.einsum("abjk,aj->bk", self.values, effects, precision="highest")
        rows = jnp.sum(self.values * take_groups(effects, self.first)[:, None], 0)
        return sum_groups(rows, self.second, self.groups[1])


def sharing_of(
    place: tuple[int, int], factors: tuple[Factor, Factor], indexes: tuple[Any, Any], used: Any
) -> Sharing:
    """Decide how what two factors share is kept, from concrete rows.

    Parameters
    ----------
    place
        Positions of the factors in the structure.
    factors
        The factors.
    indexes
        Group of each row in either, on the host.
    used
        Which rows count.

    Raises
    ------
    ModelError
        There are too many pairs of groups to number in the integers in force.
    """
    groups, width = (factors[0].groups, factors[1].groups), factors[0].effects * factors[1].effects
    entries = groups[0] * groups[1]
    if entries >= jnp.iinfo(jnp.result_type(int)).max:
        raise ModelError(
            f"`{factors[0].name}` and `{factors[1].name}` have {entries:,} pairs of groups, too "
            'many to number in single precision. Use dtype="float64".'
        )
    first, second = (np.asarray(index)[np.asarray(used)] for index in indexes)
    cells = max(1, len(np.unique(first.astype(np.int64) * groups[1] + second)))
    dense = entries <= CELL * cells and entries * width <= MOST_DENSE
    return Sharing(*place, groups, None if dense else cells)


def shared_of(sharing: Sharing, first: Term, second: Term, weights: Array) -> Shared:
    """Sum the rows of two factors; pure. Cells for which there is no room give NaN."""
    groups = sharing.groups
    products = (weights[:, None] * first.design)[:, :, None] * second.design[:, None, :]
    key = jnp.asarray(first.index, jnp.result_type(int)) * groups[1] + jnp.asarray(second.index)
    if sharing.cells is None:
        table = group_sum(products, key, groups[0] * groups[1])
        values = jnp.moveaxis(table.reshape(*groups, *products.shape[1:]), (0, 1), (2, 3))
        return Shared(values, None, None, groups)
    nothing = groups[0] * groups[1]
    key = jnp.where(weights > 0, key, nothing)
    cells = jnp.unique(key, size=sharing.cells + 1, fill_value=nothing)
    # The last place is for rows that do not count; what else it holds had no room.
    enough = cells[-1] == nothing
    index = jnp.minimum(jnp.searchsorted(cells, key), sharing.cells)
    values = jnp.moveaxis(group_sum(products, index, sharing.cells + 1), 0, -1)[..., :-1]
    used = jnp.minimum(cells[:-1], nothing - 1)
    values = jnp.where(enough, values, jnp.nan)
    return Shared(values, used // groups[1], used % groups[1], groups)
