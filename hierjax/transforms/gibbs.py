"""How a model is cut up for Gibbs sampling: blocks of effects, and who updates what."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from hierjax.arguments import Arguments
from hierjax.compiler import compile_for
from hierjax.effects import gaussian_sites
from hierjax.errors import ModelError, SettingsError
from hierjax.linalg import Structure
from hierjax.linalg.parts import Part, parts_of
from hierjax.linalg.shared import Sharing, sharing_of
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.transforms.blocks import Block, ByFactor, Jointly
from hierjax.transforms.conjugate import Exact, find_exact
from hierjax.transforms.coordinates import Coordinates, Effects
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.integrate_plan import Plan, make_plan
from hierjax.transforms.noncentre import group_effects
from hierjax.transforms.summed import gaussian_rows

LARGEST_DENSE = 400  # effects outside of the eliminated factors, above which factors take turns
JOINT, IN_TURN, SLICED, EXACT = "drawn together", "drawn by factor", "sliced", "drawn exactly"


def gibbs_coordinates(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    effects: Effects = "auto",
    updates: str = "collapsed",
    blocks: str = "auto",
) -> Coordinates:
    """Decide how the sites of `fn(**data)` are drawn in turn.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    effects
        "auto": there is one way only to treat effects.
    updates
        "collapsed": other sites than the effects are updated with effects integrated out.
        "conjugate": those whose distribution given all others is known are drawn from it.
    blocks
        Effects drawn "joint", by "factor" with the coefficients, or as "auto" finds best.

    Raises
    ------
    ModelError
        Group effects are not normal given the rest, or `blocks` cannot be had.
    SettingsError
        Another treatment of effects is asked for.
    """
    if effects != "auto":
        raise SettingsError(
            'method "gibbs" draws all group effects from their conditional distribution: leave '
            'effects="auto".'
        )
    trace = abstract_trace(fn, data)
    plan = _plan(fn, data, trace)
    exact = find_exact(fn, data, plan.latents) if updates == "conjugate" else ()
    parts = _parts(plan, blocks)
    words = dict.fromkeys(plan.latents, SLICED)
    words |= {each.site: f"{EXACT} ({each.family})" for each in exact}
    if len(parts) == 1:
        stage = Jointly(Integrated(fn, None, plan), exact)
        words = dict.fromkeys(plan.by_name, JOINT) | words
    else:
        blocks_of_sites = _blocks(trace, plan, parts, exact)
        stage = ByFactor(fn, plan, blocks_of_sites, _sharing(fn, plan, parts, data), exact)
        words = dict.fromkeys(plan.by_name, IN_TURN) | words
    return Coordinates(stage, (stage,), tuple(words.items()), complete=True)


def _plan(fn: Callable[..., Any], data: Mapping[str, Any], trace: ModelTrace) -> Plan:
    """Plan for all group effects and as many coefficients as can be drawn with them."""
    effects = set(group_effects(trace))
    try:
        plan = make_plan(fn, data)
        if plan is None or not effects <= set(plan.by_name):
            plan = make_plan(fn, data, tuple(effects) or _normal_sites(trace))
    except ModelError as error:
        raise ModelError(
            'method "gibbs" draws group effects from their normal distribution given all else, '
            f'and there is none: {error} Or use method="nuts", which takes any likelihood.'
        ) from error
    assert plan is not None  # without named sites only
    return plan


def _normal_sites(trace: ModelTrace) -> tuple[str, ...]:
    """Sites with normal priors, which a model without group effects has to have."""
    found = tuple(gaussian_sites(trace))
    if not found:
        raise ModelError("No site of this model has a normal prior.")
    return found


def _parts(plan: Plan, blocks: str) -> tuple[Part, ...]:
    """Choose what is drawn at once."""
    structure = plan.layout.structure
    everything = (tuple(range(len(structure.factors))),)
    if blocks == "joint" or not structure.rest:
        return everything
    if not plan.summed:
        if blocks == "factor":
            raise ModelError(
                'blocks="factor" needs one Normal response whose mean is affine in all effects and '
                'whose scale is known numbers times one parameter. Leave blocks="auto".'
            )
        return everything
    large = structure.rest_effects > LARGEST_DENSE
    return parts_of(structure) if blocks == "factor" or large else everything


def _blocks(
    trace: ModelTrace, plan: Plan, parts: tuple[Part, ...], exact: tuple[Exact, ...]
) -> tuple[Block, ...]:
    """Let each part update the sites that its effects depend on; the smallest one the others."""
    structure, factors = plan.layout.structure, plan.layout.factors
    depends = [set().union(*(_ancestors(trace, site.name) for site in sites)) for sites in factors]
    sliced = [name for name in plan.latents if name not in {each.site for each in exact}]
    somewhere = set().union(*depends)
    smallest = min(parts, key=lambda part: _size(structure, part))
    blocks = []
    for part in parts:
        own = set().union(*(depends[place] for place in part))
        sites = tuple(
            name for name in sliced if name in own or (part == smallest and name not in somewhere)
        )
        outside = (place for place in range(len(factors)) if place not in part)
        shared = tuple(place for place in outside if depends[place] & set(sites))
        blocks.append(Block(part, sites, shared))
    return tuple(blocks)


def _sharing(
    fn: Callable[..., Any], plan: Plan, parts: tuple[Part, ...], data: Mapping[str, Any]
) -> tuple[Sharing, ...]:
    """Decide how what factors of different parts share is kept."""
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)

    def read(arrays: Any) -> Any:
        rows = gaussian_rows(fn, plan, arguments.rebuild(arrays))
        return [term.index for term in rows.terms], rows.weights > 0

    indexes, used = jax.device_get(compile_for(read, arrays)[0](arrays))
    factors, part_of = plan.layout.structure.factors, {}
    for place, part in enumerate(parts):
        part_of |= dict.fromkeys(part, place)
    return tuple(
        sharing_of(
            (first, second),
            (factors[first], factors[second]),
            (indexes[first], indexes[second]),
            used,
        )
        for first, second in itertools.combinations(range(len(factors)), 2)
        if part_of[first] != part_of[second]
    )


def _size(structure: Structure, part: Part) -> int:
    return sum(structure.factors[place].size for place in part)


def _ancestors(trace: ModelTrace, name: str) -> set[str]:
    """Latent sites that a site depends on, directly or through others."""
    found: set[str] = set()
    for parent in trace.sites[name].parents:
        if parent in trace.sites and trace.sites[parent].kind in ("latent", "deterministic"):
            found |= {parent} | _ancestors(trace, parent)
    return {each for each in found if trace.sites[each].kind == "latent"}
