"""Random row models of every structure that the core knows, with their dense twins."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg import Factor, Prior, Structure, Term, dense, summarise
from hierjax.linalg.structure import Crossing, Fixed, crossing_of


@dataclasses.dataclass(frozen=True)
class Case:
    """One random model: its rows, and a prior at a point of hyperparameter space."""

    structure: Structure
    response: np.ndarray
    terms: list[Term]
    columns: np.ndarray
    prior: Prior
    sigma: float
    weights: np.ndarray | None
    offset: Any

    def rows(self) -> tuple[Any, ...]:
        return self.structure, self.response, self.terms, self.columns

    def statistics(self, **options: Any) -> Any:
        structure, *rows = self.rows()
        given = {"weights": self.weights, "offset": self.offset, **options}
        return jax.jit(lambda: summarise(structure, *rows, **given))()

    def dense_log_likelihood(self, prior: Prior, sigma: Any) -> Array:
        given = {"weights": self.weights, "offset": self.offset}
        return dense.log_likelihood(*self.rows(), prior, sigma, **given)

    def dense_conditional(
        self, prior: Prior, sigma: Any, noise: Any = None, whitened: bool = False
    ) -> Any:
        given = {"weights": self.weights, "offset": self.offset, "whitened": whitened}
        return dense.conditional(*self.rows(), prior, sigma, noise, **given)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to make a case."""

    factors: tuple[Factor, ...]
    columns: int = 1
    fixed: Fixed = "prior"
    rows: int = 30
    empty: int = 0  # groups of each factor left without rows
    zero: tuple[int, ...] = ()  # factors with zero scale
    singular: tuple[int, ...] = ()  # factors whose last effect has zero scale
    means: bool = False
    per_group: bool = False
    weights: bool = False
    dense_column_scale: bool = False
    held: bool = False  # first coefficient held at its mean by a zero scale
    by_cells: int | None = None  # crossed factor h kept cell by cell, with room for so many more


G = Factor
RECIPES: dict[str, Recipe] = {
    "columns only": Recipe((), columns=2),
    "one factor": Recipe((G("g", 6, 1),)),
    "one factor, no columns": Recipe((G("g", 6, 2),), columns=0),
    "slopes": Recipe((G("g", 5, 2),), columns=2),
    "three effects": Recipe((G("g", 5, 3),), columns=2, rows=40),
    "four effects": Recipe((G("g", 4, 4),), rows=40),
    "five effects": Recipe((G("g", 3, 5),), rows=40),
    "one-row groups": Recipe((G("g", 12, 1),), rows=12),
    "one group": Recipe((G("g", 1, 2),)),
    "empty groups": Recipe((G("g", 9, 2),), empty=5),
    "zero scale": Recipe((G("g", 6, 2),), zero=(0,)),
    "zero slope": Recipe((G("g", 6, 2),), singular=(0,)),
    "weights, means": Recipe((G("g", 6, 2),), columns=2, weights=True, means=True),
    "scale per group": Recipe((G("g", 6, 2),), per_group=True, dense_column_scale=True, columns=2),
    "held coefficient": Recipe((G("g", 6, 1),), columns=2, held=True),
    "one factor, ml": Recipe((G("g", 5, 2),), columns=2, fixed="ml"),
    "one factor, reml": Recipe((G("g", 5, 2),), columns=2, fixed="reml", weights=True),
    "nested": Recipe((G("b", 3, 1), G("a", 9, 1, "b"))),
    "nested slopes": Recipe((G("a", 8, 2, "b"), G("b", 3, 2)), columns=2, weights=True),
    "nested, empty, zero": Recipe((G("a", 9, 1, "b"), G("b", 4, 2)), empty=2, zero=(1,)),
    "nested, zero child": Recipe((G("a", 9, 2, "b"), G("b", 4, 1)), zero=(0,), means=True),
    "three levels": Recipe((G("a", 12, 2, "b"), G("c", 2, 1), G("b", 4, 1, "c")), columns=2),
    "four levels": Recipe(
        (G("a", 12, 1, "b"), G("b", 6, 2, "c"), G("c", 3, 1, "d"), G("d", 2, 2)),
        rows=50,
        means=True,
    ),
    "three levels, reml": Recipe(
        (G("a", 12, 1, "b"), G("b", 4, 2, "c"), G("c", 2, 1)), fixed="reml", per_group=True
    ),
    "crossed": Recipe((G("g", 7, 1), G("h", 4, 1))),
    "crossed slopes": Recipe((G("h", 4, 2), G("g", 6, 2)), columns=2, rows=50, weights=True),
    "crossed, empty, zero": Recipe((G("g", 8, 2), G("h", 5, 2)), empty=2, zero=(1,), means=True),
    "crossed, one row each": Recipe((G("g", 10, 1), G("h", 10, 1)), rows=10),
    "crossed, ml": Recipe((G("g", 6, 1), G("h", 4, 2)), columns=2, fixed="ml", rows=40),
    "crossed, no columns": Recipe((G("g", 6, 1), G("h", 4, 3)), columns=0, rows=40),
    "three crossed": Recipe((G("i", 3, 1), G("g", 6, 1), G("h", 4, 2)), rows=50, per_group=True),
    "nested and crossed": Recipe(
        (G("h", 4, 2), G("a", 9, 2, "b"), G("b", 3, 1)), columns=2, rows=50, means=True
    ),
    "by cells": Recipe((G("g", 9, 1), G("h", 6, 1)), rows=20, by_cells=0),
    "by cells, slopes": Recipe(
        (G("h", 4, 2), G("g", 6, 2)), columns=2, rows=15, weights=True, means=True, by_cells=3
    ),
    "by cells, third factor": Recipe(
        (G("i", 3, 1), G("h", 4, 2), G("g", 12, 1), G("k", 2, 2)), rows=25, by_cells=0, empty=1
    ),
    "by cells, ml": Recipe(
        (G("g", 9, 2), G("h", 6, 1)), columns=2, fixed="ml", rows=25, by_cells=1, zero=(1,)
    ),
    "by cells, reml": Recipe((G("g", 9, 1), G("h", 6, 1)), fixed="reml", rows=20, by_cells=2),
    "two children": Recipe((G("b", 3, 1), G("a", 9, 1, "b"), G("c", 6, 1, "b")), rows=50),
}


def make(name: str, seed: int = 0) -> Case:
    """Make the case of a recipe; float64 must be on."""
    recipe = RECIPES[name]
    rng = np.random.default_rng([seed, sum(map(ord, name))])
    structure = Structure(recipe.factors, recipe.columns, recipe.fixed)
    index = _indexes(recipe, rng)
    if recipe.by_cells is not None:
        structure = _by_cells(structure, index, recipe.by_cells)
    terms = [Term(index[f.name], _design(rng, recipe.rows, f.effects)) for f in recipe.factors]
    weights = rng.uniform(0.3, 3.0, recipe.rows) if recipe.weights else None
    return Case(
        structure=structure,
        response=2.0 + rng.normal(size=recipe.rows),
        terms=terms,
        columns=_design(rng, recipe.rows, recipe.columns),
        prior=_prior(recipe, rng),
        sigma=0.7,
        weights=weights,
        offset=rng.normal(size=recipe.rows) if recipe.weights else 0.0,
    )


def _by_cells(structure: Structure, index: dict[str, np.ndarray], spare: int) -> Structure:
    found = crossing_of(structure, [index[factor.name] for factor in structure.factors], "h")
    room = Crossing("h", found.cells + spare, found.pairs + spare)
    return dataclasses.replace(structure, crossing=room)


def _design(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    design = rng.normal(size=(rows, columns))
    design[:, :1] = 1.0
    return design


def _indexes(recipe: Recipe, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every group that is not to be empty gets a row while there are enough; parents follow."""
    by_name = {factor.name: factor for factor in recipe.factors}
    index: dict[str, np.ndarray] = {}

    def fill(factor: Factor) -> np.ndarray:
        if factor.name not in index:
            children = [f for f in recipe.factors if f.parent == factor.name]
            used = max(factor.groups - recipe.empty, 1)
            if children:
                child = fill(children[0])
                parent_of = rng.permutation(np.arange(by_name[children[0].name].groups) % used)
                index[factor.name] = parent_of[child]
            else:
                index[factor.name] = rng.permutation(np.arange(recipe.rows) % used)
        return index[factor.name]

    for factor in recipe.factors:
        fill(factor)
    for factor in recipe.factors:  # a second child of a parent: its groups follow the parent's
        siblings = [f for f in recipe.factors if f.parent == factor.name][1:]
        for sibling in siblings:
            share = sibling.groups // factor.groups
            index[sibling.name] = index[factor.name] * share + rng.integers(0, share, recipe.rows)
    return index


def _prior(recipe: Recipe, rng: np.random.Generator) -> Prior:
    scales, means = [], []
    for place, factor in enumerate(recipe.factors):
        q, groups = factor.effects, factor.groups
        shape = (q, q, groups) if recipe.per_group and place == 0 else (q, q)
        scale = rng.normal(size=shape) * np.tril(np.ones((q, q))).reshape(
            q, q, *[1] * (len(shape) - 2)
        )
        scale *= 0.0 if place in recipe.zero else 1.0
        if place in recipe.singular:
            scale[-1] = 0.0
        scales.append(jnp.asarray(scale))
        means.append(jnp.asarray(rng.normal(size=(q, groups))) if recipe.means else None)
    column_scale, column_mean = None, None
    if recipe.columns and recipe.fixed == "prior":
        p = recipe.columns
        column_scale = rng.uniform(0.5, 2.0, p)
        if recipe.held:
            column_scale[0] = 0.0
        if recipe.dense_column_scale:
            column_scale = np.tril(rng.normal(size=(p, p)))
        column_scale, column_mean = jnp.asarray(column_scale), jnp.asarray(rng.normal(size=p))
    return Prior(tuple(scales), column_scale, tuple(means), column_mean)


def flat(prior: Prior, sigma: float) -> tuple[Array, Callable[[Array], tuple[Prior, Array]]]:
    """Hyperparameters as one vector, and the way back."""
    return jax.flatten_util.ravel_pytree((prior, jnp.asarray(sigma)))
