"""A model function whose Gaussian effects are drawn in blocks: all at once, or factor by factor.

What a Gibbs sampler needs of a model: given the effects outside of a block, the density of all else
with the block integrated out, and a draw of the block. `Jointly` has one block, all effects that
can be integrated out. `ByFactor` has one for each part of a crossed structure, drawn together with
the columns (`hierjax.linalg.parts`), for structures whose joint draw would need a large dense
matrix. Other latent sites stay sites of a NumPyro function, `target(block)`, of the data and of
what `given` computed from the other effects.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpyro
from jax import Array

from hierjax.effects.mode import zero_effects
from hierjax.effects.place import run_outside
from hierjax.linalg import (
    Effects,
    Factorisation,
    Statistics,
    conditional_draw,
    factorise,
    log_likelihood_of,
)
from hierjax.linalg.parts import (
    Part,
    Parts,
    log_density_of_effects,
    part_prior,
    summarise_parts,
    with_part,
)
from hierjax.linalg.shared import Sharing
from hierjax.low_discrepancy import Evenly
from hierjax.transforms.conjugate import Exact, exact_draw
from hierjax.transforms.integrate import Integrated, placed_sites
from hierjax.transforms.integrate_plan import Plan
from hierjax.transforms.summed import gaussian_rows, prior_and_scale

GIVEN = "hierjax_given"
BY_FACTOR = "hierjax_by_factor"

Data = Mapping[str, Any]
Sites = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Jointly:
    """All effects in one block; equal if its parts are equal.

    Attributes
    ----------
    integrated
        The model function without its effects, with its plan.
    exact_updates
        Sites that are drawn given all others, effects included.
    """

    integrated: Integrated
    exact_updates: tuple[Exact, ...] = ()
    key = Integrated.key
    given_key = GIVEN

    @property
    def plan(self) -> Plan:
        """What is integrated out, and how."""
        plan = self.integrated.fixed_plan
        assert plan is not None
        return plan

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the sites that are drawn given all others."""
        return tuple(each.site for each in self.exact_updates)

    @property
    def sliced(self) -> tuple[tuple[str, ...], ...]:
        """Per block, names of the sites that are updated with the block integrated out."""
        return (tuple(name for name in self.plan.latents if name not in self.exact),)

    def prepare(self, data: Data) -> dict[str, Any]:
        """Return `data` with all that does not depend on sites summed up; a pure function."""
        return self.integrated.prepare(data)

    def recover(self, key: Array | Evenly, sites: Sites, data: Data) -> dict[str, Array]:
        """Draw the effects given one draw of the other latent sites; every site of the model."""
        return self.integrated.recover(key, sites, data)

    def __call__(self, **data: Any) -> None:
        """Run the model with the effects integrated out."""
        data.pop(GIVEN, None)
        self.integrated(**data)

    def target(self, block: int) -> "Jointly":
        """Model function with the block integrated out."""
        del block
        return self

    def begin(self, data: Data) -> Effects:
        """Effects to start with, which do not matter."""
        del data
        return zero_effects(self.plan.layout.structure)

    def given(self, block: int, effects: Effects, data: Data) -> tuple[()]:
        """Return what `target` needs of the effects outside of a block: there are none."""
        del block, effects, data
        return ()

    def draw(
        self, block: int, key: Array, given: Any, effects: Effects, sites: Sites, data: Data
    ) -> Effects:
        """Draw all effects given the other latent sites."""
        del block, given, effects
        return conditional_draw(self.integrated.conditional(sites, data), key)

    def placed(self, effects: Effects, sites: Sites, data: Data) -> dict[str, Array]:
        """Every site of the model, given effects of the core and the other latent sites."""
        return self.integrated.placed(effects, sites, data)

    def draw_exactly(self, place: int, key: Array, values: Sites, data: Data) -> Array:
        """Draw one of `exact` given values of all other sites."""
        own = {name: value for name, value in data.items() if name != self.key}
        return exact_draw(self.integrated.fn, self.exact_updates[place], key, values, own)


@dataclasses.dataclass(frozen=True)
class Block:
    """Part of the effects that is drawn at once, with the columns; static.

    Attributes
    ----------
    part
        Factors of the layout.
    sites
        Latent sites that are updated with the part integrated out.
    shared
        Factors outside of the part whose scale depends on one of these.
    """

    part: Part
    sites: tuple[str, ...]
    shared: Part = ()


@dataclasses.dataclass(frozen=True)
class ByFactor:
    """Effects drawn part by part; equal if its parts are equal.

    Attributes
    ----------
    fn
        The original model function.
    plan
        What can be integrated out; its rows are summed.
    blocks
        The parts, in the order in which they are drawn.
    sharing
        How what factors of different parts share is kept.
    exact_updates
        Sites that are drawn given all others, effects included.
    block
        Which block is integrated out when the function is called on data with `given`.
    """

    fn: Callable[..., Any]
    plan: Plan
    blocks: tuple[Block, ...]
    sharing: tuple[Sharing, ...]
    exact_updates: tuple[Exact, ...] = ()
    block: int = 0
    key = BY_FACTOR
    given_key = GIVEN

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the sites that are drawn given all others."""
        return tuple(each.site for each in self.exact_updates)

    @property
    def sliced(self) -> tuple[tuple[str, ...], ...]:
        """Per block, names of the sites that are updated with the block integrated out."""
        return tuple(block.sites for block in self.blocks)

    def prepare(self, data: Data) -> dict[str, Any]:
        """Return `data` with the rows summed up for each part; a pure function."""
        rows = gaussian_rows(self.fn, self.plan, data)
        parts = summarise_parts(
            self.plan.layout.structure,
            [block.part for block in self.blocks],
            self.sharing,
            rows.response,
            rows.terms,
            rows.columns,
            rows.weights,
            rows.origin,
        )
        return {**data, BY_FACTOR: _unless(rows.valid, parts)}

    def recover(self, key: Array | Evenly, sites: Sites, data: Data) -> dict[str, Array]:
        """Return the sites: the method brings all of them back itself."""
        del key, data
        return dict(sites)

    def __call__(self, **data: Any) -> None:
        """Run the model without its effects; with `given`, also what depends on them."""
        given = data.pop(GIVEN, None)
        del data[BY_FACTOR]
        plan = self.plan
        values = run_outside(self.fn, plan.by_name, data, silent=plan.responses, hidden=plan.hidden)
        if given is not None:
            latents = {name: values[name] for name in plan.latents}
            log_density = self._log_density(given, latents, data)
            numpyro.factor(f"{plan.responses[0]}_given_effects", log_density)

    def target(self, block: int) -> "ByFactor":
        """Model function with one block integrated out."""
        return dataclasses.replace(self, block=block)

    def begin(self, data: Data) -> Effects:
        """Effects to start with."""
        del data
        return zero_effects(self.plan.layout.structure)

    def given(self, block: int, effects: Effects, data: Data) -> tuple[Statistics, Effects]:
        """Return what `target` needs of the effects outside of a block."""
        parts: Parts = data[BY_FACTOR]
        return parts.given(block, effects), effects

    def draw(
        self, block: int, key: Array, given: Any, effects: Effects, sites: Sites, data: Data
    ) -> Effects:
        """Draw the effects of a block, and the columns, given all other effects."""
        own = {name: value for name, value in data.items() if name != BY_FACTOR}
        new = conditional_draw(self._factorised(block, given, sites, own)[0], key)
        return with_part(effects, self.blocks[block].part, new)

    def placed(self, effects: Effects, sites: Sites, data: Data) -> dict[str, Array]:
        """Every site of the model, given effects of the core and the other latent sites."""
        own = {name: value for name, value in data.items() if name != BY_FACTOR}
        return placed_sites(self.fn, self.plan, effects, sites, own)

    def draw_exactly(self, place: int, key: Array, values: Sites, data: Data) -> Array:
        """Draw one of `exact` given values of all other sites."""
        own = {name: value for name, value in data.items() if name != BY_FACTOR}
        return exact_draw(self.fn, self.exact_updates[place], key, values, own)

    def _log_density(self, given: Any, latents: Sites, data: Data) -> Array:
        """Log density of the response and of shared effects, the block integrated out."""
        factorisation, shared = self._factorised(self.block, given, latents, data)
        return log_likelihood_of(factorisation) + shared

    def _factorised(
        self, block: int, given: Any, latents: Sites, data: Data
    ) -> tuple[Factorisation, Array]:
        statistics, effects = given
        prior, sigma = prior_and_scale(self.fn, self.plan, latents, data)
        chosen, shared = self.blocks[block], jnp.zeros(())
        for place in chosen.shared:
            shared += log_density_of_effects(prior.scales[place], effects.factors[place])
        return factorise(statistics, part_prior(prior, chosen.part), sigma), shared


def _unless(valid: Array, parts: Parts) -> Parts:
    """Make the statistics NaN where data of another structure than the plan's came in."""
    statistics = tuple(
        dataclasses.replace(each, total=jnp.where(valid, each.total, jnp.nan))
        for each in parts.statistics
    )
    return dataclasses.replace(parts, statistics=statistics)
