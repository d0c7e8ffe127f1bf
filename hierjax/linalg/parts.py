"""Parts of a crossed structure that are drawn in turn, each together with all columns of X.

Given the effects of all other parts, one part (a factor, or factors nested in one another) and the
columns are a structure without crossing: block-diagonal, with p dense columns. Its conditional
distribution, and the likelihood with it integrated out, cost some operations per group and a sum
over the pairs of groups that share rows, whatever the number of rows. Drawing the columns with
every part and not as a part of their own is what makes the alternation mix: a common shift of the
effects of a factor goes into the intercept, where otherwise each would hold the other in place.

References
----------
Papaspiliopoulos, Roberts and Zanella (2020), Scalable inference for crossed random effects models,
Biometrika 107, arXiv:1803.09460 (factors with intercepts and a general mean).
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg import blocks
from hierjax.linalg.conditional import Effects
from hierjax.linalg.prior import Prior
from hierjax.linalg.shared import Shared, Sharing, shared_of
from hierjax.linalg.statistics import Statistics, multiply_statistics
from hierjax.linalg.structure import Structure
from hierjax.linalg.summarise import Term, summarise

Part = tuple[int, ...]  # positions of factors in the whole structure


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parts:
    """All that the parts of a structure need of the rows, a pytree.

    Attributes
    ----------
    parts
        Positions of the factors of each part (static).
    statistics
        Of each part with all columns.
    shared
        Z_l' Z_k of the pairs of factors `pairs` (static) in different parts.
    """

    parts: tuple[Part, ...] = dataclasses.field(metadata={"static": True})
    pairs: tuple[tuple[int, int], ...] = dataclasses.field(metadata={"static": True})
    statistics: tuple[Statistics, ...]
    shared: tuple[Shared, ...]

    def given(self, part: int, effects: Effects) -> Statistics:
        """Statistics of one part for the response less the effects of all other parts."""
        own, others = self.statistics[part], self._products(part, effects)
        chain = [self.parts[part][place] for place in own.structure.chain]
        response = tuple(
            old - others[factor] if factor in others else old
            for old, factor in zip(own.response, chain, strict=True)
        )
        rest_response, total = own.rest_response, own.total
        for place, statistics in enumerate(self.statistics):
            if place == part:
                continue
            placed = [effects.factors[factor] for factor in self.parts[place]]
            rest_response -= multiply_statistics(statistics, placed, None)[1]
            for level, each in enumerate(statistics.structure.chain):
                effect = placed[each]
                product = others[self.parts[place][each]]
                total += jnp.vdot(effect, product - 2.0 * statistics.response[level])
        return dataclasses.replace(own, response=response, rest_response=rest_response, total=total)

    def _products(self, part: int, effects: Effects) -> dict[int, Array]:
        """Z_l' W times the fit of the effects outside of a part, per factor l, shape (q, J)."""
        found: dict[int, Array] = {}

        def add(factor: int, product: Array) -> None:
            found[factor] = found[factor] + product if factor in found else product

        for place, (factors, statistics) in enumerate(
            zip(self.parts, self.statistics, strict=True)
        ):
            if place != part:
                placed = [effects.factors[factor] for factor in factors]
                levels, _ = multiply_statistics(statistics, placed, None)
                for level, each in enumerate(statistics.structure.chain):
                    add(factors[each], levels[level])
        inside = self.parts[part]
        for (first, second), shared in zip(self.pairs, self.shared, strict=True):
            if second not in inside:
                add(first, shared.times(effects.factors[second]))
            if first not in inside:
                add(second, shared.transposed_times(effects.factors[first]))
        return found


def summarise_parts(
    structure: Structure,
    parts: Sequence[Part],
    sharing: Sequence[Sharing],
    response: Array,
    terms: Sequence[Term],
    columns: Array,
    weights: Array,
    origin: Array,
) -> Parts:
    """Sum rows into statistics of parts; for `jit`.

    Parameters
    ----------
    structure, response, terms, columns, weights, origin
        As for `summarise`.
    parts
        Positions of the factors of each part.
    sharing
        How what two factors of different parts share is kept.
    """
    statistics = tuple(
        summarise(
            part_structure(structure, part),
            response,
            [terms[place] for place in part],
            columns,
            weights=weights,
            origin=origin,
        )
        for part in parts
    )
    shared = tuple(
        shared_of(each, terms[each.first], terms[each.second], weights) for each in sharing
    )
    pairs = tuple((each.first, each.second) for each in sharing)
    return Parts(tuple(parts), pairs, statistics, shared)


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


def with_part(effects: Effects, part: Part, new: Effects) -> Effects:
    """Put the effects of a part, and the columns drawn with it, in their place."""
    factors = list(effects.factors)
    for place, values in zip(part, new.factors, strict=True):
        factors[place] = values
    return Effects(tuple(factors), new.columns)


def log_density_of_effects(scale: Array, effects: Array) -> Array:
    """Log density of effects (q, J) under N(0, L L'), L of shape (q, q) or (q, q, J); a scalar."""
    scale = scale[:, :, None] if scale.ndim == 2 else scale
    scale = jnp.broadcast_to(scale, (*scale.shape[:2], effects.shape[-1]))
    white = blocks.solve_lower(scale, effects)
    log_scale = jnp.log(jnp.abs(jnp.einsum("kkj->kj", scale)))
    return -jnp.sum(0.5 * white**2 + log_scale + 0.5 * np.log(2.0 * np.pi))
