"""Responses of several linear predictors: which belong together, and their joint curvature.

A choice among brands has the utility of each brand as a predictor, a count of animals seen their
number and the chance to see one. The negative Hessian W of the log likelihood is then a small block
for each element of the response. With W = C C', the blocks are weights of rows again, of the rows
C' Z in the place of Z, so that the core needs no other kind of statistics.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Self

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.effects.design import Design
from hierjax.linalg import Term

LogDensity = Callable[[Array], Array]
NEGLIGIBLE = {"float64": 1e-9, "float32": 1e-4}  # of a pivot, relative to the diagonal
CLOSE = {"float64": 1e-8, "float32": 1e-3}


@dataclasses.dataclass(frozen=True)
class Coupling:
    """Which predictors each element of each response depends on; static and hashable.

    Attributes
    ----------
    parts
        For each response, number and width of the predictors that it depends on: the values
        [i width, (i + 1) width) of predictor `number` belong to element i.
    shapes
        Shape of each predictor.
    together
        Whether all predictors of an element depend on one group of each factor.
    """

    parts: tuple[tuple[tuple[int, int], ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    together: bool = True

    def of(self, shapes: tuple[tuple[int, ...], ...]) -> Self:
        """Return the coupling for another number of rows."""
        return dataclasses.replace(self, shapes=shapes)

    @property
    def most(self) -> int:
        """Largest number of predictors of an element."""
        return max(sum(width for _, width in response) for response in self.parts)

    def cut(self, rows: Array) -> list[Array]:
        """Arrange rows (n, ...) by element: (elements, predictors of one, ...) a response."""
        sizes = [math.prod(shape) for shape in self.shapes]
        ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
        return [
            jnp.concatenate(
                [
                    rows[ends[number] - sizes[number] : ends[number]].reshape(
                        (-1, width, *rows.shape[1:])
                    )
                    for number, width in response
                ],
                axis=1,
            )
            for response in self.parts
        ]

    def join(self, blocks: Sequence[Array]) -> Array:
        """Put (elements, predictors of one) of each response back into one vector (n,)."""
        found: dict[int, Array] = {}
        for response, block in zip(self.parts, blocks, strict=True):
            start = 0
            for number, width in response:
                found[number] = block[:, start : start + width].reshape(-1)
                start += width
        return jnp.concatenate([found[number] for number in range(len(self.shapes))])


@dataclasses.dataclass(frozen=True)
class Coupled:
    """The negative Hessian of a log likelihood, a block for each element; a pytree.

    Attributes
    ----------
    coupling
        Which predictors are in which block.
    blocks
        For each response, (elements, predictors, predictors).
    roots
        C with C C' = W, alike.
    """

    coupling: Coupling
    blocks: tuple[Array, ...]
    roots: tuple[Array, ...]

    def times(self, vector: Array) -> Array:
        """Multiply W by a vector (n,)."""
        pieces = self.coupling.cut(vector)
        pairs = zip(self.blocks, pieces, strict=True)
        return self.coupling.join(
            [jnp.einsum("ekl,el->ek", block, piece) for block, piece in pairs]
        )

    def weighted(self, design: Design) -> tuple[Design, Array]:
        """Return the rows C' Z, whose weights are 1, and these."""
        columns = self._turn(design.columns)
        terms = tuple(Term(self._groups(term), self._turn(term.design)) for term in design.terms)
        start = jnp.zeros_like(columns, shape=columns.shape[:1])
        return Design(terms, columns, start), jnp.ones_like(start)

    def _turn(self, rows: Array) -> Array:
        pairs = zip(self.roots, self.coupling.cut(rows), strict=True)
        turned = [jnp.einsum("elk,elq->ekq", root, piece) for root, piece in pairs]
        return jnp.concatenate([each.reshape((-1, rows.shape[1])) for each in turned])

    def _groups(self, term: Term) -> Array:
        """Group of each new row: rows that depend on no group say 0, and give way."""
        found = []
        for piece in self.coupling.cut(jnp.asarray(term.index)[:, None]):
            group = jnp.max(piece, axis=1)
            found.append(jnp.broadcast_to(group, piece.shape[:2]).reshape(-1))
        return jnp.concatenate(found)


jax.tree_util.register_dataclass(Coupled, data_fields=["blocks", "roots"], meta_fields=["coupling"])

Curvature = Array | Coupled


def curvature(
    log_density: LogDensity, predictors: Array, coupling: Coupling | None = None
) -> Array:
    """Negative second derivative of a log likelihood by each predictor, (n,).

    Without a coupling each term is taken to depend on one predictor alone.
    """
    if coupling is not None:
        blocks = _hessians(log_density, predictors, coupling)
        return coupling.join([jnp.diagonal(block, axis1=1, axis2=2) for block in blocks])
    _, along = jax.jvp(jax.grad(log_density), (predictors,), (jnp.ones_like(predictors),))
    return -along


def nonnegative_curvature(
    log_density: LogDensity, predictors: Array, coupling: Coupling | None
) -> Curvature:
    """Curvature of a quadratic with a maximum: what curves upwards is left out.

    A block that is not positive semidefinite is replaced by the diagonal of its row sums: where
    two predictors are the same number twice, that is what their blocks add up to.
    """
    if coupling is None or not coupling.together:
        return jnp.maximum(curvature(log_density, predictors, coupling), 0.0)
    blocks, roots = [], []
    for block in _hessians(log_density, predictors, coupling):
        root, definite = semidefinite_root(block)
        sums = jnp.maximum(jnp.sum(block, axis=2), 0.0)
        eye = jnp.eye(block.shape[1], dtype=block.dtype)
        definite = definite[:, None, None]
        blocks.append(jnp.where(definite, block, sums[:, :, None] * eye))
        roots.append(jnp.where(definite, root, jnp.sqrt(sums)[:, :, None] * eye))
    return Coupled(coupling, tuple(blocks), tuple(roots))


def times(weights: Curvature, vector: Array) -> Array:
    """Multiply a curvature by a vector (n,)."""
    return weights.times(vector) if isinstance(weights, Coupled) else weights * vector


def couples(log_density: LogDensity, predictors: Array, direction: Array, to: Coupling) -> Array:
    """Whether the Hessian has no more than the blocks of a coupling (a random direction tells)."""
    _, along = jax.jvp(jax.grad(log_density), (predictors,), (direction,))
    blocks = zip(_hessians(log_density, predictors, to), to.cut(direction), strict=True)
    expected = to.join([-jnp.einsum("ekl,el->ek", block, piece) for block, piece in blocks])
    size = jnp.max(jnp.abs(expected), initial=0.0)
    gap = jnp.max(jnp.abs(along - expected), initial=0.0)
    return gap <= CLOSE[along.dtype.name] * (1.0 + size)


def mixes(log_density: LogDensity, predictors: Array, coupling: Coupling) -> Array:
    """Whether a block of the Hessian has anything beside its diagonal."""
    found = jnp.asarray(False)
    for block in _hessians(log_density, predictors, coupling):
        beside = block * (1.0 - jnp.eye(block.shape[1], dtype=block.dtype))
        size = jnp.max(jnp.abs(block), initial=0.0)
        found |= jnp.max(jnp.abs(beside), initial=0.0) > CLOSE[block.dtype.name] * size
    return found


def semidefinite_root(matrices: Array) -> tuple[Array, Array]:
    """Lower triangular C with C C' = W for W (n, k, k), and whether W is positive semidefinite.

    Pivots that are zero but for rounding, as the last of a multinomial, give columns of zeros.
    """
    size = matrices.shape[-1]
    slack = NEGLIGIBLE[matrices.dtype.name]
    scale = jnp.max(jnp.abs(jnp.diagonal(matrices, axis1=1, axis2=2)), axis=1)
    root, definite = jnp.zeros_like(matrices), jnp.ones_like(scale, dtype=bool)
    for k in range(size):
        left = matrices[:, :, k] - jnp.einsum("eij,ej->ei", root, root[:, k])
        pivot = left[:, k]
        counts = pivot > slack * scale
        # Behind a pivot of zero a semidefinite matrix has zeros.
        rest = jnp.max(jnp.abs(left[:, k:]), axis=1)
        definite &= counts | (rest <= jnp.sqrt(slack) * scale)
        column = left / jnp.sqrt(jnp.where(counts, pivot, 1.0))[:, None]
        below = jnp.arange(size) >= k
        root = root.at[:, :, k].set(jnp.where(counts[:, None] & below, column, 0.0))
    return root, definite


def _hessians(log_density: LogDensity, predictors: Array, coupling: Coupling) -> list[Array]:
    """Blocks of the negative Hessian, (elements, predictors, predictors) of each response."""
    _, along = jax.linearize(jax.grad(log_density), predictors)
    shapes = [piece.shape for piece in coupling.cut(predictors)]
    columns = []
    for k in range(coupling.most):
        tangent = coupling.join(
            [jnp.zeros(shape, predictors.dtype).at[:, k : k + 1].set(1.0) for shape in shapes]
        )
        columns.append(coupling.cut(-along(tangent)))
    return [
        jnp.stack([column[place] for column in columns[: shape[1]]], axis=2)
        for place, shape in enumerate(shapes)
    ]
