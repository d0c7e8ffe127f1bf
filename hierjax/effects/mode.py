"""The mode of standard normal effects given a log likelihood, and its curvature there.

The inner problem of every Laplace approximation: maximise l(eta) - |v|^2 / 2 over v, where
eta = eta0 + E v. Each Newton step is one solve of the conditional-Gaussian core, whatever the
structure; steps are halved until the objective rises, and what is not finite does not count as
rising, so that an overflow in the likelihood cannot get in.

The mode is a fixed point of a Newton step, and a Newton step does not depend on where it starts
from to first order. So one differentiable step from the (not differentiated) mode has the
derivative of the mode by the implicit function theorem; each further one adds an order.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.effects.coupling import (
    Coupled,
    Coupling,
    Curvature,
    curvature,
    nonnegative_curvature,
    times,
)
from hierjax.effects.design import Design
from hierjax.effects.likelihood import local_statistics
from hierjax.effects.prior import unit_prior
from hierjax.groups import take
from hierjax.linalg import (
    Effects,
    Factorisation,
    Statistics,
    Structure,
    conditional_mean,
    factorise,
    summarise,
)

MOST_STEPS = 50
MOST_HALVINGS = 40
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}  # of the squared Newton decrement
AWAY_FROM_ZERO = 1e-30
RISE = 1e-4  # share of the gain predicted by the slope that a step must make

LogDensity = Callable[[Array], Array]


class Quadratic(NamedTuple):
    """The quadratic that matches a log likelihood l at some predictors; a pytree.

    Attributes
    ----------
    value
        l there.
    slope, weights
        First and negative second derivative of l by each predictor, (n,), or blocks of the second.
    linear
        Slope of the quadratic where all effects are zero, (n,).
    """

    value: Array
    slope: Array
    weights: Curvature
    linear: Array


class Mode(NamedTuple):
    """Mode of l(eta0 + E v) - |v|^2 / 2 and what is known there; a pytree.

    Attributes
    ----------
    effects
        v, standard normal a priori.
    predictors
        eta = eta0 + E v, shape (n,).
    slope, weights
        First and negative second derivative of l by each predictor, (n,).
    factorisation
        Of A = I + E' diag(weights) E; its conditional distribution is the Laplace approximation.
    log_density
        l(eta).
    converged
        Whether the search ended at a maximum. If not, all the rest is that of the last point.
    iterations
        Newton steps taken.
    """

    effects: Effects
    predictors: Array
    slope: Array
    weights: Array
    factorisation: Factorisation
    log_density: Array
    converged: Array
    iterations: Array

    @property
    def laplace(self) -> Array:
        """Laplace approximation of the log marginal density: l - |v|^2 / 2 - log|A| / 2."""
        penalty = _squares(self.effects, self.effects)
        return self.log_density - 0.5 * (penalty + self.factorisation.log_determinant)


def find_mode(
    log_density: LogDensity,
    design: Design,
    structure: Structure,
    start: Effects | None = None,
    *,
    derivatives: int = 1,
) -> Mode:
    """Find the mode of the effects, differentiable in all that `log_density` and `design` hold.

    Pure, for any `jit`, `vmap` or derivative; meant to run inside `jit`.

    Parameters
    ----------
    log_density
        Log likelihood l of the predictors (n,), a scalar. Each of its terms must depend on one
        predictor alone, see `separates`.
    design, structure
        E and eta0, and what is grouped in what.
    start
        Where to start, if its objective is higher than that of zero effects.
    derivatives
        Order up to which derivatives of the mode are exact; each costs one more solve.

    Returns
    -------
    Mode
        `converged` is False, and nothing raised, where no maximum was found.
    """
    # The search is not differentiated: what the likelihood holds goes in without its tangents.
    pure, held = jax.closure_convert(log_density, design.start)
    still, fixed = jax.lax.stop_gradient((design, held))
    search = _Search(lambda predictors: pure(predictors, *fixed), still, structure)
    effects, iterations, converged = search.run(start)
    concave = jnp.asarray(True)
    for _ in range(derivatives):
        effects, curved = _step(log_density, design, structure, effects)
        concave &= curved
    predictors = predict(design, effects)
    near = quadratic_at(log_density, predictors, design, exact=concave)
    factorisation = condition(near, design, structure)
    converged &= concave & jnp.isfinite(near.value + factorisation.log_determinant)
    assert isinstance(near.weights, Array)
    return Mode(
        effects, predictors, near.slope, near.weights, factorisation, near.value,
        converged, iterations,
    )  # fmt: skip


def quadratic_at(
    log_density: LogDensity,
    predictors: Array,
    design: Design,
    coupling: Coupling | None = None,
    *,
    exact: Array | bool = False,
) -> Quadratic:
    """Match a log likelihood at given predictors.

    Unless `exact`, which is for terms of one predictor each, what curves upwards is left out.
    """
    value, slope = jax.value_and_grad(log_density)(predictors)
    weights = nonnegative_curvature(log_density, predictors, coupling)
    if exact is not False:
        assert isinstance(weights, Array) and coupling is None
        weights = jnp.where(exact, curvature(log_density, predictors), weights)
    linear = slope + times(weights, predictors - design.start)
    return Quadratic(value, slope, weights, linear)


def condition(near: Quadratic, design: Design, structure: Structure) -> Factorisation:
    """Return the Gaussian of standard normal effects given a quadratic log likelihood."""
    statistics = quadratic_statistics(near, design, structure)
    return factorise(statistics, unit_prior(structure), 1.0)


def quadratic_statistics(near: Quadratic, design: Design, structure: Structure) -> Statistics:
    """Sum a quadratic log likelihood of the predictors into one of the effects of `design`."""
    curved, weights = design, near.weights
    if isinstance(weights, Coupled):
        curved, weights = weights.weighted(design)
    return local_statistics(structure, design, near.linear, curved, weights)


def zero_effects(structure: Structure, dtype: Any = None) -> Effects:
    """Effects and coefficients that are all zero."""
    factors = tuple(jnp.zeros((each.effects, each.groups), dtype) for each in structure.factors)
    return Effects(factors, jnp.zeros(structure.columns, dtype))


def separates(log_density: LogDensity, predictors: Array, direction: Array) -> Array:
    """Whether each term of a log likelihood depends on one predictor alone (second order).

    Compares the Hessian's product with a random direction with that of a diagonal Hessian.
    """
    slope = jax.grad(log_density)
    _, along = jax.jvp(slope, (predictors,), (direction,))
    expected = direction * -curvature(log_density, predictors)
    close = {"float64": 1e-8, "float32": 1e-3}[along.dtype.name]
    size = jnp.max(jnp.abs(expected), initial=0.0)
    return jnp.max(jnp.abs(along - expected), initial=0.0) <= close * (1.0 + size)


def predict(design: Design, effects: Effects) -> Array:
    """Predictors eta0 + E v, shape (n,); zeros are moved by 1e-30.

    At a logit of exactly 0 NumPyro's Bernoulli and Binomial have the slope 0 or 1 of a clip, in
    place of a half: to a search, zeros that fit the data would look like a maximum.
    """
    predictors = design.start + _spread(design, effects)
    return predictors + jnp.where(predictors == 0.0, AWAY_FROM_ZERO, 0.0)


@dataclasses.dataclass(frozen=True)
class _Search:
    """Damped Newton without derivatives."""

    log_density: LogDensity
    design: Design
    structure: Structure

    def run(self, start: Effects | None) -> tuple[Effects, Array, Array]:
        """Return effects, number of steps, and whether they converged."""
        tolerance = TOLERANCE[self.design.start.dtype.name]
        effects = self._start(start)
        first = (effects, jnp.asarray(0), jnp.asarray(False), jnp.asarray(False))

        def going_on(state: tuple[Effects, Array, Array, Array]) -> Array:
            _, iteration, converged, stuck = state
            return (iteration < MOST_STEPS) & ~converged & ~stuck

        def step(
            state: tuple[Effects, Array, Array, Array],
        ) -> tuple[Effects, Array, Array, Array]:
            effects, iteration, _, _ = state
            change, decrement = self._newton(effects)
            converged = decrement < tolerance
            share, stuck = self._share(effects, change, decrement, converged)
            effects = jax.tree.map(lambda old, by: old + share * by, effects, change)
            return effects, iteration + 1, converged, stuck

        effects, iterations, converged, _ = jax.lax.while_loop(going_on, step, first)
        return effects, iterations, converged

    def _start(self, start: Effects | None) -> Effects:
        zeros = zero_effects(self.structure, self.design.start.dtype)
        if start is None:
            return zeros
        start = jax.lax.stop_gradient(start)
        better = self._objective(start) > self._objective(zeros)
        return jax.tree.map(lambda given, zero: jnp.where(better, given, zero), start, zeros)

    def _objective(self, effects: Effects) -> Array:
        value = self.log_density(predict(self.design, effects))
        return value - 0.5 * _squares(effects, effects)

    def _newton(self, effects: Effects) -> tuple[Effects, Array]:
        """Return the Newton step and its squared decrement, the slope along it."""
        predictors = predict(self.design, effects)
        near = quadratic_at(self.log_density, predictors, self.design)
        target = conditional_mean(condition(near, self.design, self.structure))
        change = jax.tree.map(jnp.subtract, target, effects)
        rise = jnp.vdot(near.slope, _spread(self.design, change)) - _squares(effects, change)
        return change, rise

    def _share(
        self, effects: Effects, change: Effects, decrement: Array, converged: Array
    ) -> tuple[Array, Array]:
        """Halve the step until the objective rises; the share taken, and whether none does."""
        now = self._objective(effects)
        # A rise below the rounding error of the objective cannot be seen.
        blur = 8.0 * jnp.finfo(now.dtype).eps * (1.0 + jnp.abs(now))

        def too_long(state: tuple[Array, Array]) -> Array:
            share, halvings = state
            moved = jax.tree.map(lambda old, by: old + share * by, effects, change)
            rises = self._objective(moved) >= now + RISE * share * decrement - blur
            return ~rises & (halvings < MOST_HALVINGS) & ~converged

        def halve(state: tuple[Array, Array]) -> tuple[Array, Array]:
            share, halvings = state
            return 0.5 * share, halvings + 1

        first = (jnp.ones_like(now), jnp.asarray(0))
        share, halvings = jax.lax.while_loop(too_long, halve, first)
        stuck = halvings >= MOST_HALVINGS
        return jnp.where(stuck, 0.0, share), stuck


def _step(
    log_density: LogDensity, design: Design, structure: Structure, effects: Effects
) -> tuple[Effects, Array]:
    """One Newton step whose matrix is not differentiated, and whether that is a maximum's.

    v + A^-1 (E' slope - v): the bracket is zero at the mode, so the derivative of A^-1 meets zero.
    """
    predictors = predict(design, effects)
    weights = jax.lax.stop_gradient(curvature(log_density, predictors))
    still = jax.lax.stop_gradient(design)
    fixed = local_statistics(structure, still, weights * _spread(still, effects), still, weights)
    slope = jax.grad(log_density)(predictors)
    moving = summarise(structure, slope, design.terms, design.columns)
    statistics = dataclasses.replace(
        fixed,
        response=tuple(map(jnp.add, fixed.response, moving.response)),
        rest_response=fixed.rest_response + moving.rest_response,
    )
    factorisation = factorise(statistics, unit_prior(structure), 1.0)
    concave = jnp.isfinite(factorisation.log_determinant)
    moved = conditional_mean(factorisation)
    return jax.tree.map(lambda new, old: jnp.where(concave, new, old), moved, effects), concave


def _spread(design: Design, effects: Effects) -> Array:
    """E v, shape (n,)."""
    found = design.columns @ effects.columns if effects.columns.size else 0.0
    for term, values in zip(design.terms, effects.factors, strict=True):
        found += jnp.sum(take(values.T, term.index) * term.design, axis=1)
    return jnp.broadcast_to(found, design.start.shape)


def _squares(a: Effects, b: Effects) -> Array:
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)), start=jnp.zeros(()))
