"""Parts of a crossed structure that are drawn in turn, each together with all columns of X.

Given the effects of all other parts, one part (a factor, or factors nested in one another) and the
columns are a structure without crossing: block-diagonal, with p dense columns. Its conditional
distribution, and the likelihood with it integrated out, cost a pass over the rows and some
operations per group, whatever the number of crossed groups. Drawing the columns with every part and
not as a part of their own is what makes the alternation mix: a common shift of the effects of a
factor goes into the intercept, where otherwise each would hold the other in place.

References
----------
Papaspiliopoulos, Roberts and Zanella (2020), Scalable inference for crossed random effects models,
Biometrika 107, arXiv:1803.09460 (factors with intercepts and a general mean).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.groups import group_sum, take
from hierjax.linalg import blocks
from hierjax.linalg.conditional import Effects
from hierjax.linalg.prior import Prior
from hierjax.linalg.statistics import Statistics
from hierjax.linalg.structure import Structure
from hierjax.linalg.summarise import Term

Part = tuple[int, ...]  # positions of factors in the whole structure


def parts_of(structure: Structure) -> tuple[Part, ...]:
    """Cut a structure into parts that have no crossing in them, the one with most effects first."""
    left, parts = list(range(len(structure.factors))), []
    while left:
        rest = part_structure(structure, left)
        parts.append(tuple(left[place] for place in sorted(rest.chain)))
        left = [place for place in left if place not in parts[-1]]
    return tuple(parts)


def part_structure(structure: Structure, part: Sequence[int]) -> Structure:
    """Return the structure of some of the factors with all columns of X."""
    factors = [structure.factors[place] for place in part]
    names = {factor.name for factor in factors}
    alone = tuple(
        factor if factor.parent in names else dataclasses.replace(factor, parent=None)
        for factor in factors
    )
    return Structure(alone, structure.columns, structure.fixed)


def part_prior(prior: Prior, part: Part) -> Prior:
    """Prior of the effects of a part, and of the columns."""
    means = tuple(prior.means[place] for place in part) if prior.means else ()
    scales = tuple(prior.scales[place] for place in part)
    return dataclasses.replace(prior, scales=scales, means=means)


def effects_in_rows(terms: Sequence[Term], effects: Sequence[Array]) -> Array:
    """Sum over factors of Z b, shape (n,).

    Parameters
    ----------
    terms
        Index and design of each factor.
    effects
        Effects of each, shape (q, J).
    """
    total: Any = 0.0
    for term, effect in zip(terms, effects, strict=True):
        total += jnp.sum(take(effect.T, term.index) * term.design, axis=1)
    return total


def with_response(
    statistics: Statistics, response: Array, terms: Sequence[Term], columns: Array, weights: Array
) -> Statistics:
    """Statistics of other values of the response in the same rows.

    Parameters
    ----------
    statistics
        Statistics of a structure whose factors are all in its chain.
    response
        New response less the fit of `statistics.origin`, shape (n,).
    terms, columns, weights
        The rows as they were summed.
    """
    structure, weighted = statistics.structure, weights * response
    sums = []
    for place in structure.chain:
        products = weighted[:, None] * terms[place].design
        sums.append(group_sum(products, terms[place].index, structure.factors[place].groups).T)
    return dataclasses.replace(
        statistics,
        response=tuple(sums),
        rest_response=columns.T @ weighted,
        total=jnp.vdot(weighted, response),
    )


def with_part(effects: Effects, part: Part, new: Effects) -> Effects:
    """Put the effects of a part, and the columns drawn with it, in their place."""
    factors = list(effects.factors)
    for place, values in zip(part, new.factors, strict=True):
        factors[place] = values
    return Effects(tuple(factors), new.columns)


def log_density_of_effects(scale: Array, effects: Array) -> Array:
    """Log density of effects (q, J) under N(0, L L'), L of shape (q, q) or (q, q, J); a scalar."""
    scale = scale[:, :, None] if scale.ndim == 2 else scale
    groups = effects.shape[-1]
    scale = jnp.broadcast_to(scale, (*scale.shape[:2], groups))
    white = blocks.solve_lower(scale, effects)
    log_scale = jnp.log(jnp.abs(jnp.einsum("kkj->kj", scale)))
    return -jnp.sum(0.5 * white**2 + log_scale + 0.5 * np.log(2.0 * np.pi))
