"""A rough fit by maximisation, at which a likelihood is approximated by a Gaussian."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import biject_to

from hierjax.effects import Design, run_placed
from hierjax.effects.design import check_design, design_of, directions
from hierjax.effects.likelihood import local_statistics
from hierjax.effects.mode import curvature, predict
from hierjax.effects.prior import unit_prior
from hierjax.effects.values import some_value
from hierjax.linalg import Effects, Statistics, Structure, conditional_mean, factorise
from hierjax.optimise import STEPS, ascend, begin
from hierjax.trace import Site, abstract_trace
from hierjax.transforms.recentre_plan import RecentrePlan
from hierjax.transforms.rows import Rows, rows_of

LONGEST = 4.0  # most that a predictor moves in one step, in its own units (log odds, log rate)

Latents = Mapping[str, Any]


class _State(NamedTuple):
    free: dict[str, Array]
    optimiser: Any
    effects: Effects


def row_indexes(
    fn: Callable[..., Any], plan: RecentrePlan, data: Mapping[str, Any]
) -> tuple[Array, ...]:
    """Group of every row, per factor; pure."""
    sites = abstract_trace(fn, data).sites
    latents = {name: some_value(sites[name]) for name in plan.latents}
    rows = rows_of(fn, plan, latents, data)
    return tuple(term.index for term in design_of(rows.predictors, plan.layout).terms)


def find_pilot(
    fn: Callable[..., Any], plan: RecentrePlan, data: Mapping[str, Any]
) -> dict[str, Any]:
    """Gaussian that looks like the likelihood near a pilot mode; pure.

    Other latent sites h are moved towards the maximum of

        log p(h) + l(eta) - log|A| / 2,

    the Laplace approximation of their marginal density with the curvature of the last mode held
    fixed, and the effects are kept at their mode given h. Statistics are in deviations from the
    location, so that they serve at every h.

    Returns
    -------
    dict
        "statistics", and "latents": the other latent sites at the mode.
    """
    indexes = row_indexes(fn, plan, data)
    sites = abstract_trace(fn, data).sites
    transforms = {name: biject_to(sites[name].support) for name in plan.latents}
    structure = plan.layout.structure

    def constrain(free: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        values, log_jacobian = {}, jnp.zeros(())
        for name, transform in transforms.items():
            values[name] = transform(free[name])
            log_jacobian += jnp.sum(transform.log_abs_det_jacobian(free[name], values[name]))
        return values, log_jacobian

    def at(free: Mapping[str, Array]) -> tuple[Rows, Design]:
        rows = rows_of(fn, plan, constrain(free)[0], data)
        return rows, design_of(rows.predictors, plan.layout, indexes)

    def objective(free: dict[str, Array], effects: Effects, weights: Array) -> Array:
        latents, log_jacobian = constrain(free)
        rows, design = at(free)
        log_density = rows.log_density(predict(design, effects))
        statistics = local_statistics(structure, design, jnp.zeros_like(weights), weights)
        factorisation = factorise(statistics, unit_prior(structure), 1.0)
        prior = _log_prior(fn, plan, latents, data)
        return prior + log_jacobian + log_density - 0.5 * factorisation.log_determinant

    def step(state: _State, _: None) -> tuple[_State, None]:
        effects, weights = _newton(*at(state.free), structure, state.effects)
        slope = jax.grad(objective)(state.free, effects, weights)
        free, optimiser = ascend(slope, state.optimiser, state.free)
        return _State(free, optimiser, effects), None

    free = {name: jnp.zeros(_free_shape(sites[name], transforms[name])) for name in plan.latents}
    zeros = Effects(
        tuple(jnp.zeros((each.effects, each.groups)) for each in structure.factors),
        jnp.zeros(structure.columns),
    )
    state, _ = jax.lax.scan(step, _State(free, begin(free), zeros), length=STEPS)
    rows, design = at(state.free)
    predictors = predict(design, state.effects)
    slope = jax.grad(rows.log_density)(predictors)
    weights = jnp.maximum(curvature(rows.log_density, predictors), 0.0)
    linear = slope + weights * (predictors - design.start)
    latents = constrain(state.free)[0]
    statistics = _statistics(fn, plan, latents, data, indexes, linear, weights)
    return {"statistics": statistics, "latents": latents}


def _newton(
    rows: Rows, design: Design, structure: Structure, effects: Effects
) -> tuple[Effects, Array]:
    """One Newton step of the effects, held back where it moves a predictor far; and the weights."""
    predictors = predict(design, effects)
    slope = jax.grad(rows.log_density)(predictors)
    weights = jnp.maximum(curvature(rows.log_density, predictors), 0.0)
    linear = slope + weights * (predictors - design.start)
    statistics = local_statistics(structure, design, linear, weights)
    target = conditional_mean(factorise(statistics, unit_prior(structure), 1.0))
    moved = jnp.max(jnp.abs(predict(design, target) - predictors), initial=0.0)
    share = jnp.minimum(1.0, LONGEST / jnp.where(moved > 0, moved, 1.0))
    finite = jnp.isfinite(moved)
    step = jax.tree.map(
        lambda new, old: jnp.where(finite, old + share * (new - old), old), target, effects
    )
    return step, weights


def _log_prior(
    fn: Callable[..., Any], plan: RecentrePlan, latents: Latents, data: Mapping[str, Any]
) -> Array:
    """Log density of all sites that the effects do not enter."""
    zeros = {site.name: jnp.zeros(site.shape) for site in plan.sites}
    densities = run_placed(fn, plan.by_name, zeros, latents, data, whitened=True).log_densities
    return sum(
        (value for name, value in densities.items() if name not in plan.responses),
        start=jnp.zeros(()),
    )


def _statistics(
    fn: Callable[..., Any],
    plan: RecentrePlan,
    latents: Latents,
    data: Mapping[str, Any],
    indexes: tuple[Array, ...],
    linear: Array,
    weights: Array,
) -> Statistics:
    """Quadratic with these slopes (at zero effects) and weights, in terms of the deviations."""
    predictors = rows_of(fn, plan, latents, data, whitened=False).predictors
    design = design_of(predictors, plan.layout, indexes)
    statistics = local_statistics(plan.layout.structure, design, linear, weights)
    valid = check_design(predictors, plan.layout, design, directions(plan.sites))
    poison = jnp.where(valid, 0.0, jnp.nan)  # data of another structure than the plan's
    return dataclasses.replace(
        statistics,
        response=tuple(each + poison for each in statistics.response),
        rest_response=statistics.rest_response + poison,
    )


def _free_shape(site: Site, transform: Any) -> tuple[int, ...]:
    batch = site.shape[: len(site.shape) - len(site.event_shape)]
    return (*batch, *transform.inverse_shape(site.event_shape))
