"""From rows to sufficient statistics: segment sums only, in memory or streamed."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from hierjax.errors import LengthError, ModelError
from hierjax.groups import check_index, group_sum, parent_of_group
from hierjax.linalg.across import Across
from hierjax.linalg.cells import Cells, find_pattern
from hierjax.linalg.size import check_size
from hierjax.linalg.statistics import Statistics
from hierjax.linalg.structure import Structure


class Term(NamedTuple):
    """Rows of one factor.

    Attributes
    ----------
    index
        Group of each row, integers, shape (n,).
    design
        Z, what multiplies the effects of the row's group, shape (n, q).
    """

    index: Any
    design: Any


def summarise(
    structure: Structure,
    response: ArrayLike,
    terms: Sequence[Term],
    columns: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    offset: ArrayLike | float = 0.0,
    origin: ArrayLike | None = None,
) -> Statistics:
    """Sum rows into sufficient statistics.

    Meant to run inside `jit` (and `vmap`); on its own it compiles operation by operation. From the
    host, and for more rows than fit in memory, use `summarise_stream`.

    Parameters
    ----------
    structure
        What is grouped in what.
    response
        y, shape (n,).
    terms
        One `Term` per factor, in the order of `structure.factors`.
    columns
        X, shape (n, p).
    weights
        Precision of each row relative to 1 / sigma^2, shape (n,). A row of weight 0 does not exist.
    offset
        Known part of the mean, shape (n,) or scalar.
    origin
        See `Statistics.origin`; zeros if not given, `least_squares` gives a good one.

    Raises
    ------
    LengthError
        Numbers of terms, columns or rows do not match.
    ModelError
        A factor is not nested in the one its `parent` names (seen if indexes are NumPy arrays), or
        what crossed factors have in common does not fit into memory.
    """
    check_size(structure)
    _check(structure, np.shape(response)[0], terms, columns)
    sums = _Sums(structure, response, terms, columns, weights, offset, origin)
    chain, rest = structure.chain, structure.rest
    above = [range(level + 1, len(chain)) for level in range(len(chain))]
    return Statistics(
        structure=structure,
        own=tuple(sums.same_rows(f, f) for f in chain),
        up=tuple(
            tuple(sums.same_rows(chain[a], f) for a in above[level])
            for level, f in enumerate(chain)
        ),
        across=tuple(sums.products(f) for f in chain),
        response=tuple(sums.with_rows(f, sums.y[:, None])[0] for f in chain),
        rest=sums.rest(),
        rest_response=jnp.concatenate(
            [
                *(sums.with_rows(f, sums.y[:, None]).reshape(-1) for f in rest),
                sums.x.T @ (sums.w * sums.y),
            ]
        ),
        total=jnp.sum(sums.w * sums.y**2),
        ancestors=tuple(
            tuple(sums.ancestor(f, chain[a]) for a in above[level]) for level, f in enumerate(chain)
        ),
        rows=jnp.sum(sums.w > 0).astype(sums.y.dtype),
        log_weights=jnp.sum(jnp.log(jnp.where(sums.w > 0, sums.w, 1.0))),
        origin=sums.origin,
    )


class _Sums:
    """Weighted sums over rows of products of columns; factors are given by position."""

    def __init__(
        self,
        structure: Structure,
        response: Any,
        terms: Sequence[Term],
        columns: Any,
        weights: Any,
        offset: Any,
        origin: Any,
    ) -> None:
        y = jnp.asarray(response) - jnp.asarray(offset)
        y = y.astype(jnp.result_type(y, float))
        rows, dtype = y.shape[0], y.dtype
        self.structure = structure
        self.w = jnp.ones_like(y) if weights is None else jnp.asarray(weights, dtype)
        self.x = jnp.zeros((rows, 0), dtype) if columns is None else jnp.asarray(columns, dtype)
        self.origin = jnp.zeros(structure.columns, dtype)
        if origin is not None:
            self.origin = jnp.asarray(origin, dtype)
        self.y = jnp.where(self.w > 0, y - self.x @ self.origin, 0.0)
        self.index = [jnp.asarray(term.index) for term in terms]
        self.design = [jnp.asarray(term.design, dtype) for term in terms]

    def groups(self, factor: int) -> int:
        return self.structure.factors[factor].groups

    def effects(self, factor: int) -> int:
        return self.structure.factors[factor].effects

    def with_rows(self, factor: int, rows: Array) -> Array:
        """Sum rows (n, k) times Z in each group, (k, q, J)."""
        products = (self.w[:, None] * rows)[:, :, None] * self.design[factor][:, None, :]
        return jnp.moveaxis(group_sum(products, self.index[factor], self.groups(factor)), 0, -1)

    def same_rows(self, other: int, factor: int) -> Array:
        """Z_other' Z_factor in each group of `factor`, (q_other, q, J)."""
        return self.with_rows(factor, self.design[other])

    def between(self, other: int, factor: int) -> Array:
        """Z_other' Z_factor for each pair of groups, (q_other J_other, q, J)."""
        pair = self.index[other] * self.groups(factor) + self.index[factor]
        weighted = self.w[:, None] * self.design[other]
        products = weighted[:, :, None] * self.design[factor][:, None, :]
        shape = (self.groups(other), self.groups(factor))
        table = group_sum(products, pair, shape[0] * shape[1])
        table = table.reshape(*shape, self.effects(other), self.effects(factor))
        table = table.transpose(2, 0, 3, 1)
        return table.reshape(-1, self.effects(factor), self.groups(factor))

    def across(self, factor: int) -> Array:
        """Everything in the dense matrix with the columns of an eliminated factor, (m, q, J)."""
        pieces = [self.between(other, factor) for other in self.structure.rest]
        return jnp.concatenate([*pieces, self.with_rows(factor, self.x)])

    def products(self, factor: int) -> Across:
        """`across`, cell by cell if the structure says so."""
        crossing, structure = self.structure.crossing, self.structure
        if crossing is None:
            return self.across(factor)
        large = next(f for f in structure.rest if structure.factors[f].name == crossing.factor)
        sizes = self.groups(factor), self.groups(large)
        pattern, index, enough = find_pattern(
            self.index[factor], self.index[large], self.w > 0, sizes, crossing.cells, crossing.pairs
        )
        weighted = self.w[:, None] * self.design[large]
        rows = weighted[:, :, None] * self.design[factor][:, None, :]
        values = jnp.moveaxis(group_sum(rows, index, crossing.cells), 0, -1)
        others = [self.between(other, factor) for other in structure.rest if other != large]
        dense = jnp.concatenate([*others, self.with_rows(factor, self.x)])
        start = structure.rest_slices[structure.rest.index(large)].start
        share = jnp.where(enough, pattern.share, jnp.nan).astype(self.y.dtype)
        pattern = dataclasses.replace(pattern, share=share)
        return Cells(values, dense, pattern, start, sizes[1])

    def rest(self) -> Array:
        """Sum the dense matrix, (m, m)."""
        structure = self.structure
        strips = [
            self.across(f).reshape(structure.rest_size, structure.factors[f].size)
            for f in structure.rest
        ]
        corner = jnp.matmul(self.x.T, self.w[:, None] * self.x, precision="highest")
        start = structure.rest_effects
        below = [strip[start:] for strip in strips]
        return jnp.concatenate([*strips, jnp.concatenate([*(b.T for b in below), corner])], axis=1)

    def ancestor(self, factor: int, above: int) -> Array:
        """Group of `above` in which each group of `factor` lies, (J,)."""
        empty = jnp.zeros(self.groups(factor), jnp.int32)
        # A row of weight 0 is padding: its indexes mean nothing.
        index = jnp.where(self.w > 0, self.index[above], 0).astype(jnp.int32)
        return empty.at[self.index[factor]].max(index)


def _check(structure: Structure, rows: int, terms: Sequence[Term], columns: Any) -> None:
    if len(terms) != len(structure.factors):
        raise LengthError(f"Give one term per factor: {len(structure.factors)}, not {len(terms)}.")
    shape = (rows, structure.columns)
    found = (rows, 0) if columns is None else np.shape(columns)
    if found != shape:
        raise LengthError(f"`columns` must have shape {shape}; got {found}.")
    host = {}
    for factor, term in zip(structure.factors, terms, strict=True):
        if np.shape(term.index) != (rows,) or np.shape(term.design) != (rows, factor.effects):
            raise LengthError(
                f"Factor `{factor.name}` needs an index of shape {(rows,)} and a design of shape "
                f"{(rows, factor.effects)}; got {np.shape(term.index)} and "
                f"{np.shape(term.design)}."
            )
        if isinstance(term.index, np.ndarray):
            check_index(term.index, factor.groups, factor.name)
            host[factor.name] = term.index
    for factor in structure.factors:
        if factor.name in host and factor.parent in host:
            nested = parent_of_group(host[factor.name], host[factor.parent], factor.groups)
            if nested is None:
                raise ModelError(
                    f"Factor `{factor.name}` is not nested in `{factor.parent}`: one of its groups "
                    f"has rows in two groups of `{factor.parent}`. Declare it without a parent."
                )


def least_squares(
    response: np.ndarray, columns: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients that fit y by X on the host, shape (p,); the smallest ones if X is deficient."""
    weighted = columns if weights is None else columns * weights[:, None]
    return np.linalg.lstsq(weighted.T @ columns, weighted.T @ response, rcond=None)[0]


def summarise_stream(
    structure: Structure,
    response: np.ndarray,
    terms: Sequence[Term],
    columns: np.ndarray | None = None,
    *,
    weights: np.ndarray | None = None,
    offset: np.ndarray | float = 0.0,
    origin: np.ndarray | None = None,
    chunk: int = 262_144,
) -> Statistics:
    """`summarise` over arrays on the host, `chunk` rows at a time.

    Arguments are those of `summarise` as NumPy arrays (memory-mapped ones are read once). Working
    memory is that of one chunk, whatever the number of rows. Nothing is kept cell by cell.
    """
    structure = dataclasses.replace(structure, crossing=None)
    rows = response.shape[0]
    x = np.zeros((rows, 0), response.dtype) if columns is None else columns
    _check(structure, rows, terms, x)
    w = np.ones(rows, response.dtype) if weights is None else weights
    arrays = (response, tuple(terms), x, w, np.broadcast_to(np.asarray(offset), (rows,)))

    @jax.jit
    def part(y: Any, terms: Any, x: Any, w: Any, offset: Any) -> Statistics:
        return summarise(structure, y, terms, x, weights=w, offset=offset, origin=origin)

    size = max(1, min(chunk, rows))
    total = None
    for start in range(0, max(rows, 1), size):
        piece = jax.tree.map(lambda a: _padded(a[start : start + size], size), arrays)  # noqa: B023
        total = part(*piece) if total is None else total + part(*piece)
    assert total is not None
    return total


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """Fill up with zeros: rows of weight 0 in group 0."""
    missing = size - array.shape[0]
    return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array
