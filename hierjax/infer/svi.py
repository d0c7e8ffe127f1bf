"""Stochastic variational inference that judges its own convergence.

A Gaussian guide is fitted at a fixed learning rate, and what counts are not the iterates, which
never come to rest, but their averages over rounds of doubling length. The rule is that of Welandawe
et al. in its outline, with one yardstick, the distance between averaged guides in units of their
own sds (`svi_guides.divergence`), instead of R-hat, Monte Carlo error and a regression:

1. At a fixed rate, rounds get longer until the averages of two successive rounds lie within the
   tolerance: the iterates have stopped drifting and their average is known well enough.
2. A fixed rate leaves a bias that shrinks with the rate. So the rate is halved, starting from the
   average, until the averages of two successive rates lie within the tolerance.

When both hold, the last average is the answer; at the limit of steps the status says that they did
not. The rule judges the optimiser, not the family: how far the best guide is from the posterior is
for the Pareto k-hat of `log_weight` to say. Which of several modes the guide ends in is decided
before all this, by `svi_starts`.

References
----------
Welandawe, Andersen, Vehtari, Huggins (2024), A framework for improving the reliability of black-box
variational inference, JMLR, arXiv:2203.15945.
Dhaka, Catalina, Andersen, Magnusson, Huggins, Vehtari (2020), Robust, accurate stochastic
optimization for variational inference, NeurIPS, arXiv:2009.00666.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.density import Arrays, Density, make_density, map_in_batches, starting_position
from hierjax.draws import Draws, Status
from hierjax.effects.local import local_sites
from hierjax.errors import SettingsError
from hierjax.infer.near import moments
from hierjax.infer.program import Labelled, Program
from hierjax.infer.svi_families import GUIDES, make_guide
from hierjax.infer.svi_guides import Guide, Parameters, Step, divergence
from hierjax.infer.svi_optimiser import make_optimiser
from hierjax.infer.svi_starts import (
    CHUNKS_PER_START,
    Starts,
    Turn,
    best_start,
    choose,
    untried,
    with_chunk,
)
from hierjax.infer.svi_target import Target
from hierjax.trace import abstract_trace

CHUNK = 100  # steps between two looks at the state
SHORTEST_ROUND = 20.0  # in units of 1 / learning rate, the time in which a guide forgets its start


@dataclasses.dataclass(frozen=True)
class SVI:
    """Settings of stochastic variational inference with a Gaussian guide.

    Parameters
    ----------
    guide
        Covariance of the guide on the unconstrained space: `"structured"` (full for what is
        outside plates, up to 300 parameters, and each value in a plate independent of the others
        given that), `"normal"` (diagonal, mean field; sds come out too small where parameters are
        correlated), `"lowrank"` (diagonal plus low rank) or `"multivariate"` (full; for up to a few
        hundred parameters).
    learning_rate
        First step size, in posterior sds; it is halved as the fit proceeds. The multivariate guide
        starts at less where there are many parameters and few particles.
    max_steps
        Most optimiser steps; reaching them gives the status `NOT_CONVERGED`.
    particles
        Draws from the guide that estimate the gradient of one step, in antithetic pairs (even).
    draws
        Draws from the fitted guide.
    tolerance
        Accepted error of the optimiser in every marginal of the guide: means in sds; relative error
        of sds times sqrt(2).
    rank
        Columns of the low-rank part; None is round(sqrt(number of parameters)), as in NumPyro.
    minibatch
        Rows, drawn at random, of which one step computes the likelihood; None is all. Group effects
        are then neither integrated out nor recentred, which needs all rows, but non-centred where
        groups have fewer than 20 rows, and else as the model writes them.
    starts
        Starts that are tried for 2,000 steps each before the one with the highest bound goes on:
        for posteriors with several modes, such as those of topics. `post.info.trace["starts_elbo"]`
        has their bounds. A fit that is given a start (`init=`) tries none.

    Raises
    ------
    SettingsError
        An option is out of range.
    """

    guide: str = "structured"
    learning_rate: float = 0.1
    max_steps: int = 100_000
    particles: int = 10
    draws: int = 1000
    tolerance: float = 0.05
    rank: int | None = None
    minibatch: int | None = None
    starts: int = 1

    def __post_init__(self) -> None:
        checks.one_of("guide", self.guide, GUIDES)
        checks.fraction("learning_rate", self.learning_rate)
        checks.positive_int("max_steps", self.max_steps)
        if checks.positive_int("particles", self.particles, minimum=2) % 2:
            raise SettingsError(
                f"`particles` come in pairs, so must be even; got {self.particles}."
            )
        checks.positive_int("draws", self.draws)
        checks.fraction("tolerance", self.tolerance)
        if self.rank is not None:
            checks.positive_int("rank", self.rank)
        if self.minibatch is not None:
            checks.positive_int("minibatch", self.minibatch)
        checks.positive_int("starts", self.starts)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "svi"

    def harder(self) -> "SVI":
        """Return more patient settings, for data whose first run stopped at its limit."""
        return dataclasses.replace(self, max_steps=4 * self.max_steps)

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the settings to a model function."""
        density = make_density(fn, Arguments.of(data), dict(data))
        target = Target.of(density, fn, self.minibatch)
        local = fn.local if isinstance(fn, Labelled) else local_sites(abstract_trace(fn, data))
        guide = make_guide(self.guide, density.slots, local, self.rank)
        work = _Work(target, guide, make_optimiser(), self)

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", None]:
            def move(run: _Run) -> _Run:
                return _proceed(work, _run_chunk(work, run, arrays))

            return jax.lax.cond(run.done, lambda run: run, move, run), None

        return Program(
            start=lambda key, arrays: _start(work, key, arrays),
            start_near=lambda key, near, arrays: _start_near(work, key, near, arrays),
            advance=advance,
            finish=lambda run, records, arrays: _draw(work, run, arrays),
            num_chunks=work.num_tried + work.num_chunks,
            num_discarded=work.num_tried + work.num_chunks,
            report=lambda run: _report(work, run),
            phase="optimising",
        )


class _Work(NamedTuple):
    """What a program is made of."""

    target: Target
    guide: Guide
    optimiser: optax.GradientTransformation
    settings: SVI

    @property
    def chunk(self) -> int:
        return min(CHUNK, self.settings.max_steps)

    @property
    def num_chunks(self) -> int:
        return -(-self.settings.max_steps // self.chunk)

    @property
    def num_tried(self) -> int:
        """Chunks before these, in which starts are tried."""
        return CHUNKS_PER_START * self.settings.starts if self.settings.starts > 1 else 0


class _Run(NamedTuple):
    """Where the optimisation stands; chunks before 0 are those in which starts are tried."""

    key: Array
    chunk: Array
    rate: Array
    parameters: Parameters
    optimiser: Any
    round: "_Round"
    last_stage: Parameters
    stage: Array
    answer: Parameters
    distance: Array
    bound: Array
    elbo: Array
    rates: Array
    starts: Starts
    status: Array
    done: Array


class _Round(NamedTuple):
    """Averages of iterates at one learning rate."""

    total: Parameters
    count: Array
    length: Array
    index: Array
    previous: Parameters


def _start(work: _Work, key: Array, arrays: Arrays) -> _Run:
    key, start_key = jax.random.split(key)
    density = work.target.density_at(start_key)
    if not work.num_tried:
        first = starting_position(density, start_key, arrays)
        return _begin(work, key, work.guide.start(first.position), first.found)
    keys = jax.random.split(start_key, work.settings.starts)
    tried = jax.lax.map(lambda each: starting_position(density, each, arrays), keys)
    parameters = work.guide.start(tried.position[0])
    run = _begin(work, key, parameters, jnp.any(tried.found))
    return run._replace(
        chunk=run.chunk - work.num_tried, starts=untried(tried.position, parameters)
    )


def _start_near(work: _Work, key: Array, near: Array, arrays: Arrays) -> _Run:
    """Start with the guide that has the moments of draws."""
    key, start_key = jax.random.split(key)
    mean, covariance = moments(near)
    value, slope = jax.value_and_grad(work.target.density_at(start_key).log_density)(mean, arrays)
    found = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
    return _begin(work, key, work.guide.start_like(mean, covariance), found)


def _begin(work: _Work, key: Array, parameters: Parameters, found: Array) -> _Run:
    guide, settings = work.guide, work.settings
    noise = jnp.zeros((1, guide.num_noise))
    step = guide.ascent(parameters, noise, jnp.zeros((1, work.target.size)))
    rate = jnp.asarray(min(settings.learning_rate, guide.stable_rate(settings.particles)))
    nothing = jnp.full(work.num_chunks, jnp.nan)
    run = _Run(
        key=key,
        chunk=jnp.asarray(0),
        rate=rate,
        parameters=parameters,
        optimiser=work.optimiser.init(step),
        round=_new_round(parameters, SHORTEST_ROUND / rate),
        last_stage=parameters,
        stage=jnp.asarray(0),
        answer=parameters,
        distance=jnp.asarray(jnp.inf),
        bound=jnp.asarray(jnp.nan),
        elbo=nothing,
        rates=nothing,
        starts=untried(jnp.zeros((work.settings.starts, work.target.size)), parameters),
        status=jnp.where(found, Status.NOT_CONVERGED, Status.NO_FINITE_START),
        done=~found,
    )
    # Weak types would become strong in the first chunk, and the second be compiled anew.
    return jax.tree_util.tree_map(lambda x: jax.lax.convert_element_type(x, x.dtype), run)


def _new_round(parameters: Parameters, length: Array) -> _Round:
    zeros = jax.tree_util.tree_map(jnp.zeros_like, parameters)
    return _Round(zeros, jnp.asarray(0), length, jnp.asarray(0), zeros)


def _run_chunk(work: _Work, run: _Run, arrays: Arrays) -> _Run:
    """Take a chunk of steps, adding the iterates to the round's total."""
    guide, chunk = work.guide, work.chunk

    def step(carry: tuple[Parameters, Any, Parameters], index: Array) -> tuple[Any, Array]:
        parameters, state, total = carry
        key = jax.random.fold_in(run.key, run.chunk * chunk + index)
        half = jax.random.normal(key, (work.settings.particles // 2, guide.num_noise))
        # In antithetic pairs the noise of the location's gradient cancels as far as p is normal.
        noise = jnp.concatenate([half, -half])
        density = work.target.density_at(key)
        elbo, ascent = _elbo(density, guide, parameters, noise, arrays)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(part)) for part in ascent.values()]))
        updates, new_state = work.optimiser.update(ascent, state)
        scaled = jax.tree_util.tree_map(lambda update: run.rate * update, updates)
        # A step into overflow is not taken; the next one has other noise.
        moved = choose(finite, (guide.moved(parameters, scaled), new_state), (parameters, state))
        total = jax.tree_util.tree_map(jnp.add, total, moved[0])
        return (*moved, total), jnp.where(finite, elbo, jnp.nan)

    zeros = jax.tree_util.tree_map(jnp.zeros_like, run.parameters)
    carry = (run.parameters, run.optimiser, zeros)
    (parameters, state, part), elbos = jax.lax.scan(step, carry, jnp.arange(chunk))
    part = guide.aligned(part, run.round.total)
    total = jax.tree_util.tree_map(jnp.add, run.round.total, part)
    return run._replace(
        chunk=run.chunk + 1,
        parameters=parameters,
        optimiser=state,
        round=run.round._replace(total=total, count=run.round.count + chunk),
        bound=jnp.nanmean(elbos),
    )


def _elbo(
    density: Density, guide: Guide, parameters: Parameters, noise: Array, arrays: Arrays
) -> tuple[Array, Step]:
    """Return the evidence lower bound E_q[log p] + entropy(q) and its gradient, from particles."""
    places = guide.place(parameters, noise)
    value_and_slope = jax.value_and_grad(density.log_density)
    values, slopes = jax.vmap(lambda place: value_and_slope(place, arrays))(places)
    elbo = jnp.mean(values) + guide.distribution(parameters).entropy()
    return elbo, guide.ascent(parameters, noise, slopes)


def _proceed(work: _Work, run: _Run) -> _Run:
    """Make of a chunk of steps what it was for: a start that is tried, or the fit itself."""

    def fit(run: _Run) -> _Run:
        return _judge(work.guide, work.settings, _record(run))

    if not work.num_tried:
        return fit(run)
    return jax.lax.cond(run.chunk > 0, fit, lambda run: _try_starts(work, run), run)


def _try_starts(work: _Work, run: _Run) -> _Run:
    """Note the bound of the start that is tried; where its time is over, begin with the next.

    After the last one the best is next.
    """
    turn = _turn(work, run)
    tried = with_chunk(run.starts, turn, run.bound, run.parameters)
    following = work.guide.start(tried.positions[turn.index + 1])
    parameters = choose(turn.index + 1 < work.settings.starts, following, tried.best)
    afresh = _begin(work, run.key, parameters, jnp.asarray(True))
    afresh = afresh._replace(chunk=run.chunk, bound=run.bound)
    return choose(turn.ends, afresh, run)._replace(starts=tried)


def _turn(work: _Work, run: _Run) -> Turn:
    """Return the turn that the last chunk of steps was part of; before any, the first."""
    return Turn.of(jnp.maximum(run.chunk + work.num_tried - 1, 0))


def _record(run: _Run) -> _Run:
    """Keep the bound of a chunk of steps, and give up where it has none."""
    broken = ~jnp.isfinite(run.bound)
    return run._replace(
        elbo=run.elbo.at[run.chunk - 1].set(run.bound),
        rates=run.rates.at[run.chunk - 1].set(run.rate),
        status=jnp.where(broken, Status.NOT_FINITE, run.status),
        done=broken,
    )


def _judge(guide: Guide, settings: SVI, run: _Run) -> _Run:
    """Close the round if it is long enough, then the stage if the averages have settled."""
    round_ = run.round
    average = jax.tree_util.tree_map(lambda total: total / round_.count, round_.total)
    # The first iterates of a later round are too few to replace what the round before had found.
    better = (2 * round_.count >= round_.length) | ((run.stage == 0) & (round_.index == 0))
    run = run._replace(answer=choose(better, average, run.answer))
    closed = round_.count >= round_.length
    distance = divergence(guide, round_.previous, average)
    settled = closed & (round_.index > 0) & (distance < settings.tolerance)

    longer = _new_round(average, 2.0 * round_.length)._replace(
        index=round_.index + 1, previous=average
    )
    next_round = choose(closed, longer, round_)
    rate = run.rate / 2
    shortest = jnp.maximum(round_.length / 2, SHORTEST_ROUND / rate)
    between_stages = divergence(guide, run.last_stage, average)
    agreed = settled & (run.stage > 0) & (between_stages < settings.tolerance)
    return run._replace(
        rate=jnp.where(settled, rate, run.rate),
        parameters=choose(settled, average, run.parameters),
        round=choose(settled, _new_round(average, shortest), next_round),
        last_stage=choose(settled, average, run.last_stage),
        stage=run.stage + settled,
        distance=jnp.where(closed & (round_.index > 0), distance, run.distance),
        status=jnp.where(agreed & ~run.done, Status.OK, run.status),
        done=run.done | agreed,
    )


def _draw(work: _Work, run: _Run, arrays: Arrays) -> Draws:
    """Draw from the averaged guide and weigh each draw against the posterior."""
    settings, guide, target = work.settings, work.guide, work.target
    # Steps count up from 0, so that this key is none of theirs.
    key = jax.random.fold_in(run.key, settings.max_steps + CHUNK)
    noise = jax.random.normal(key, (settings.draws, guide.num_noise))
    positions = guide.place(run.answer, noise)

    def evaluate(position: Array) -> tuple[dict[str, Array], Array]:
        return target.density.constrain(position, arrays), target.log_density(position, arrays)

    sites, log_density = map_in_batches(evaluate, positions)
    log_guide = guide.distribution(run.answer).log_prob(positions)
    stats = {"log_weight": log_density - log_guide, "log_density": log_density}
    trace = {"elbo": run.elbo, "learning_rate": run.rates}
    trace |= {"starts_elbo": run.starts.elbo} if work.num_tried else {}
    sites, stats, trace = jax.tree_util.tree_map(lambda x: x[None], (sites, stats, trace))
    return Draws(sites, stats, run.status[None], trace)


def _report(work: _Work, run: _Run) -> dict[str, Any]:
    report = {
        "done": run.done,
        "failed": run.status == Status.NO_FINITE_START,
        "ELBO": run.bound,
        "step size": run.rate,
        "change": run.distance,
    }
    if work.num_tried:
        tried = _turn(work, run).index
        report["start"] = 1 + jnp.where(run.chunk > 0, best_start(run.starts), tried)
    return report
