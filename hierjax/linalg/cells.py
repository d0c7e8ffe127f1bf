"""What eliminated groups have in common with one large crossed factor, kept cell by cell.

A cell is a pair of groups that share rows: a student and a lecture that he rated. Most pairs share
none, so that the cells are far fewer than the pairs, and the sums over groups that make the dense
matrix go over pairs of cells of one group instead of over pairs of groups.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.groups import sum_groups, take_groups
from hierjax.linalg import blocks
from hierjax.linalg.blocks import sum_all


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pattern:
    """Which cells there are; n cells, ordered by the eliminated group, and p pairs of them.

    Attributes
    ----------
    group, row
        Eliminated group and group of the large factor of each cell, shape (n,).
    first, second
        Cells of each pair, both of one eliminated group, first <= second, shape (p,).
    share
        1/2 for a cell with itself, 1 for other pairs, 0 for places that are not used, shape (p,).
    """

    group: Array
    row: Array
    first: Array
    second: Array
    share: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cells:
    """Cross-products of the dense matrix with an eliminated factor, (m, q, J), mostly zeros.

    Attributes
    ----------
    values
        Per cell, Z_large' Z, shape (r, q, n).
    dense
        All rows but those of the large factor, shape (d, q, J).
    pattern
        The cells.
    start, groups
        First row of the large factor among the m, and its number of groups R (static).
    """

    values: Array
    dense: Array
    pattern: Pattern
    start: int = dataclasses.field(metadata={"static": True})
    groups: int = dataclasses.field(metadata={"static": True})

    def outer(self, block: Array) -> Array:
        """Sum a K a' over groups: (q, q, J) -> (m, m)."""
        at, size = self.pattern, self._size
        spread = blocks.multiply(self.dense, block)
        corner = jnp.matmul(_flat(spread), _flat(self.dense).T, precision="highest")
        strip = self._sum_rows(
            blocks.multiply(self.values, blocks.transpose(self._to_cells(spread)))
        )
        first, second = self._pairs()
        between = block[..., at.group[at.first]] * at.share[None, None]
        parts = blocks.multiply(blocks.multiply(first, between), blocks.transpose(second))
        index = self._places(at.first)[:, None] * size + self._places(at.second)[None]
        table = jnp.zeros(size * size, parts.dtype).at[index].add(parts).reshape(size, size)
        return self._joined(table + table.T, strip, corner)

    def quadratic(self, matrix: Array) -> Array:
        """Return a' Q a of each group for a symmetric Q: (m, m) -> (q, q, J)."""
        large, strip, corner = self._cut(matrix)
        (first, second), between = self._pairs(), self._between_pairs(large)
        parts = blocks.multiply(blocks.multiply(blocks.transpose(first), between), second)
        whole = self._sum_groups(parts, self.pattern.group[self.pattern.first])
        crossed = blocks.multiply(self._from_large(strip), self.dense)
        own = blocks.multiply(blocks.transpose(self.dense), _left(corner, self.dense))
        return whole + blocks.transpose(whole) + crossed + blocks.transpose(crossed) + own

    def change(self, matrix: Array, block: Array, change: "Cells") -> Array:
        """Return <Q a K, da> for a symmetric Q, (m, m), and K, (q, q, J)."""
        at, (large, strip, corner) = self.pattern, self._cut(matrix)
        dense = blocks.transpose(self._from_large(strip)) + _left(corner, self.dense)
        total = jnp.sum(blocks.multiply(dense, block) * change.dense)
        (first, second), between = self._pairs(), self._between_pairs(large)
        seen = jnp.zeros_like(self.values)
        seen = seen.at[..., at.first].add(blocks.multiply(between, second))
        seen = seen.at[..., at.second].add(blocks.multiply(blocks.transpose(between), first))
        seen += blocks.multiply(self._to_strip(strip), self._to_cells(self.dense))
        return total + jnp.sum(blocks.multiply(seen, self._to_cells(block)) * change.values)

    def from_rest(self, vector: Array) -> Array:
        """Sum a' v over the m rows: (m,) -> (q, J)."""
        before, large, after = jnp.split(vector, [self.start, self.start + self._size])
        rest = jnp.concatenate([before, after])
        at_cells = large[self._places(jnp.arange(self.pattern.row.size))]
        products = sum_all(list(self.values * at_cells[:, None]))
        return self._sum_groups(products, self.pattern.group) + sum_all(
            list(self.dense * rest[:, None, None])
        )

    def to_rest(self, effects: Array) -> Array:
        """Sum a u over groups: (q, J) -> (m,)."""
        products = jnp.sum(self.values * effects[None, :, self.pattern.group], 1)
        large = self._sum_rows(products[:, None])[:, 0]
        rest = jnp.einsum("dqj,qj->d", self.dense, effects)
        return jnp.concatenate([rest[: self.start], large, rest[self.start :]])

    def bordered(self, response: Array) -> "Cells":
        """Append one dense row, (q, J)."""
        return dataclasses.replace(self, dense=jnp.concatenate([self.dense, response[None]]))

    @property
    def _size(self) -> int:
        return self.values.shape[0] * self.groups

    def _pairs(self) -> tuple[Array, Array]:
        """Values of both cells of each pair, (r, q, p)."""
        return self.values[..., self.pattern.first], self.values[..., self.pattern.second]

    def _between_pairs(self, large: Array) -> Array:
        """Entries of a matrix of the large factor's effects between the cells of each pair."""
        at = self.pattern
        rows, columns = self._places(at.first), self._places(at.second)
        return large[rows[:, None], columns[None]] * at.share[None, None]

    def _places(self, cells: Array) -> Array:
        """Rows of the large factor's effects in given cells, (r, ...)."""
        effects = jnp.arange(self.values.shape[0])
        return effects[:, None] * self.groups + self.pattern.row[cells][None]

    def _to_cells(self, values: Array) -> Array:
        return take_groups(values, self.pattern.group)

    def _to_strip(self, strip: Array) -> Array:
        """Rows of a strip (r R, d) at the cells, (r, d, n)."""
        table = strip.reshape(-1, self.groups, strip.shape[1])
        return jnp.swapaxes(table, 1, 2)[..., self.pattern.row]

    def _from_large(self, strip: Array) -> Array:
        """Sum a_large' strip over the cells of each group, (q, d, J)."""
        products = blocks.multiply(blocks.transpose(self.values), self._to_strip(strip))
        return self._sum_groups(products, self.pattern.group)

    def _sum_groups(self, values: Array, index: Array) -> Array:
        return sum_groups(values, index, self.dense.shape[-1])

    def _sum_rows(self, values: Array) -> Array:
        """Sum cells (r, k, n) by the group of the large factor, (r R, k)."""
        total = sum_groups(values, self.pattern.row, self.groups)
        return jnp.swapaxes(total, 1, 2).reshape(-1, values.shape[1])

    def _joined(self, large: Array, strip: Array, corner: Array) -> Array:
        """Put a symmetric matrix together in the order of its rows."""
        start = self.start
        top = jnp.concatenate([corner[:, :start], strip.T, corner[:, start:]], axis=1)
        middle = jnp.concatenate([strip[:, :start], large, strip[:, start:]], axis=1)
        return jnp.concatenate([top[:start], middle, top[start:]])

    def _cut(self, matrix: Array) -> tuple[Array, Array, Array]:
        """Cut a symmetric matrix: large by large, large by dense, dense by dense."""
        stop = self.start + self._size
        rows = matrix[self.start : stop]
        outside = jnp.concatenate([matrix[: self.start], matrix[stop:]])

        def columns(part: Array) -> Array:
            return jnp.concatenate([part[:, : self.start], part[:, stop:]], axis=1)

        return rows[:, self.start : stop], columns(rows), columns(outside)


def find_pattern(
    group: Array, row: Array, present: Array, sizes: tuple[int, int], cells: int, pairs: int
) -> tuple[Pattern, Array, Array]:
    """Find the cells of rows; pure, for `jit` and `vmap`, since their numbers are given.

    Parameters
    ----------
    group, row
        Eliminated group and group of the large factor of each row of the data, shape (rows,).
    present
        Which rows count, shape (rows,).
    sizes
        Numbers of groups J and R; J R must be less than 2^31.
    cells, pairs
        Room for so many cells, and pairs of cells.

    Returns
    -------
    pattern
        The cells.
    index
        Cell of each row; rows that do not count have some.
    enough
        Whether there was room.
    """
    nothing = sizes[0] * sizes[1]
    key = jnp.where(present, group * sizes[1] + row, nothing)
    order = jnp.argsort(key)
    ordered = key[order]
    fresh = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] != ordered[:-1]])
    position = jnp.cumsum(fresh)
    index = jnp.zeros_like(position).at[order].set(position)
    keys = jnp.full(cells, nothing).at[position].set(ordered, mode="drop")
    used = keys < nothing
    cell_group = jnp.minimum(keys // sizes[1], sizes[0] - 1)
    last = jnp.searchsorted(jnp.where(used, keys // sizes[1], sizes[0]), cell_group, side="right")
    partners = jnp.where(used, last - jnp.arange(cells), 0)
    first = jnp.repeat(jnp.arange(cells), partners, total_repeat_length=pairs)
    step = jnp.arange(pairs) - (jnp.cumsum(partners) - partners)[first]
    second = jnp.minimum(first + step, cells - 1)
    total = jnp.sum(partners)
    share = jnp.where(jnp.arange(pairs) < total, jnp.where(step > 0, 1.0, 0.5), 0.0)
    found = jnp.sum(jnp.concatenate([ordered[:1] < nothing, fresh & (ordered < nothing)]))
    enough = (found <= cells) & (total <= pairs)
    pattern = Pattern(cell_group, jnp.where(used, keys % sizes[1], 0), first, second, share)
    return pattern, jnp.minimum(index, cells - 1), enough


def _left(matrix: Array, dense: Array) -> Array:
    """Multiply (d, d) by each group's (d, q): -> (d, q, J)."""
    return jnp.matmul(matrix, _flat(dense), precision="highest").reshape(dense.shape)


def _flat(dense: Array) -> Array:
    return dense.reshape(dense.shape[0], -1)
