"""A rough fit by maximisation, at which a likelihood is approximated by a Gaussian."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.effects import Design
from hierjax.effects.coupling import Coupling
from hierjax.effects.design import check_design, design_of, directions
from hierjax.effects.mode import (
    Quadratic,
    condition,
    predict,
    quadratic_at,
    quadratic_statistics,
    zero_effects,
)
from hierjax.effects.values import constrain, free_shape, some_latents
from hierjax.linalg import Effects, Statistics, conditional_mean
from hierjax.optimise import STEPS, ascend, begin
from hierjax.trace import abstract_trace
from hierjax.transforms.placement import Placement
from hierjax.transforms.rows import Rows, log_outside, rows_of

LONGEST = 4.0  # most that a predictor moves in one step, in its own units (log odds, log rate)

Latents = Mapping[str, Any]


class _State(NamedTuple):
    free: dict[str, Array]
    optimiser: Any
    effects: Effects


def row_indexes(
    fn: Callable[..., Any], plan: Placement, data: Mapping[str, Any]
) -> tuple[Array, ...]:
    """Group of every row, per factor; pure."""
    latents = some_latents(abstract_trace(fn, data), plan.by_name)
    rows = rows_of(fn, plan, latents, data)
    return tuple(term.index for term in design_of(rows.predictors, plan.layout).terms)


def find_pilot(fn: Callable[..., Any], plan: Placement, data: Mapping[str, Any]) -> dict[str, Any]:
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
    trace = abstract_trace(fn, data)
    sites = {name: trace.sites[name] for name in plan.latents}
    structure = plan.layout.structure

    def at(free: Mapping[str, Array]) -> tuple[Rows, Design]:
        rows = rows_of(fn, plan, constrain(sites, free)[0], data)
        return rows, design_of(rows.predictors, plan.layout, indexes)

    def objective(free: dict[str, Array], effects: Effects, near: Quadratic) -> Array:
        latents, log_jacobian = constrain(sites, free)
        rows, design = at(free)
        log_density = rows.log_density(predict(design, effects))
        log_determinant = condition(near, design, structure).log_determinant
        outside = sum(log_outside(fn, plan, latents, data))
        return outside + log_jacobian + log_density - 0.5 * log_determinant

    def step(state: _State, _: None) -> tuple[_State, None]:
        effects, near = newton_step(*at(state.free), plan, state.effects)
        slope = jax.grad(objective)(state.free, effects, near)
        free, optimiser = ascend(slope, state.optimiser, state.free)
        return _State(free, optimiser, effects), None

    free = {name: jnp.zeros(free_shape(site)) for name, site in sites.items()}
    start = _State(free, begin(free), zero_effects(structure))
    state, _ = jax.lax.scan(step, start, length=STEPS)
    rows, design = at(state.free)
    coupling = coupling_of(plan, rows)
    near = quadratic_at(rows.log_density, predict(design, state.effects), design, coupling)
    latents = constrain(sites, state.free)[0]
    statistics = _statistics(fn, plan, latents, data, indexes, near)
    return {"statistics": statistics, "latents": latents}


def coupling_of(plan: Placement, rows: Rows) -> Coupling | None:
    """Which predictors belong together, for rows of this number."""
    return None if plan.coupling is None else plan.coupling.of(rows.split.shapes)


def newton_step(
    rows: Rows, design: Design, plan: Placement, effects: Effects
) -> tuple[Effects, Quadratic]:
    """One Newton step of the effects, held back where it moves a predictor far; its quadratic."""
    predictors = predict(design, effects)
    near = quadratic_at(rows.log_density, predictors, design, coupling_of(plan, rows))
    target = conditional_mean(condition(near, design, plan.layout.structure))
    moved = jnp.max(jnp.abs(predict(design, target) - predictors), initial=0.0)
    share = jnp.minimum(1.0, LONGEST / jnp.where(moved > 0, moved, 1.0))
    finite = jnp.isfinite(moved)
    step = jax.tree.map(
        lambda new, old: jnp.where(finite, old + share * (new - old), old), target, effects
    )
    return step, near


def _statistics(
    fn: Callable[..., Any],
    plan: Placement,
    latents: Latents,
    data: Mapping[str, Any],
    indexes: tuple[Array, ...],
    near: Quadratic,
) -> Statistics:
    """Quadratic of the predictors in terms of the deviations."""
    predictors = rows_of(fn, plan, latents, data, whitened=False).predictors
    design = design_of(predictors, plan.layout, indexes)
    statistics = quadratic_statistics(near, design, plan.layout.structure)
    valid = check_design(predictors, plan.layout, design, directions(plan.sites))
    poison = jnp.where(valid, 0.0, jnp.nan)  # data of another structure than the plan's
    return dataclasses.replace(
        statistics,
        response=tuple(each + poison for each in statistics.response),
        rest_response=statistics.rest_response + poison,
    )
