"""The No-U-Turn sampler: all chains, warm-up and sampling in one program, run in chunks.

The transition and the estimators of step size and mass matrix are blackjax's; what is ours is how
they are strung together: warm-up and sampling share one compiled step, driven by a table of stages,
so that a host loop can show progress and stop or save between chunks, and so that the draws do not
depend on the length of a chunk.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.density import (
    Arrays,
    Density,
    Start,
    constrain_all,
    make_density,
    starting_position,
)
from hierjax.draws import Draws, Status
from hierjax.infer.borrowed import import_blackjax
from hierjax.infer.near import moments, variances
from hierjax.infer.program import Program

MAX_CHUNK = 100
FAST, SLOW, SAMPLE = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class NUTS:
    """Settings of the No-U-Turn sampler (Hoffman and Gelman 2014; multinomial, Betancourt 2017).

    Parameters
    ----------
    chains
        Independent chains, run vectorised in one program.
    warmup
        Transitions that adapt step size and mass matrix (Stan's three stages), then are dropped.
    draws
        Kept transitions of each chain.
    target_accept
        Acceptance probability that the step size is adapted to; raise it towards 1 to remove
        divergences.
    max_tree_depth
        A trajectory has at most 2^max_tree_depth - 1 leapfrog steps.
    dense_mass
        Adapt a full mass matrix instead of a diagonal one.

    Raises
    ------
    SettingsError
        An option is out of range.
    """

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.8
    max_tree_depth: int = 10
    dense_mass: bool = False

    def __post_init__(self) -> None:
        checks.positive_int("chains", self.chains)
        checks.positive_int("warmup", self.warmup, minimum=20)
        checks.positive_int("draws", self.draws)
        checks.fraction("target_accept", self.target_accept)
        checks.positive_int("max_tree_depth", self.max_tree_depth)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "nuts"

    def harder(self) -> "NUTS":
        """Return more careful settings, for data whose first run went wrong: the same draws."""
        accept = 1 - (1 - self.target_accept) / 4
        return dataclasses.replace(self, warmup=2 * self.warmup, target_accept=accept)

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the sampler to a model function."""
        density = make_density(fn, Arguments.of(data), dict(data))
        adaptation = _Adaptation.of(self, density.size)
        chunk = _chunk_length(self.warmup)

        def start(key: Array, arrays: Arrays) -> "_Run":
            keys = jax.random.split(key, self.chains)
            chains = jax.vmap(lambda key: _start_chain(density, adaptation, key, arrays))(keys)
            return _Run(jnp.asarray(0), chains)

        def start_near(key: Array, near: Array, arrays: Arrays) -> "_Run":
            keys = jax.random.split(key, self.chains)
            mass = moments(near)[1] if self.dense_mass else variances(near)
            begin = jax.vmap(lambda key: _start_near(density, adaptation, mass, key, near, arrays))
            return _Run(jnp.asarray(0), begin(keys))

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", dict[str, Array]]:
            def step(run: _Run, _: None) -> tuple[_Run, dict[str, Array]]:
                move = jax.vmap(lambda c: _move(density, adaptation, self, c, run.step, arrays))
                chains, record = move(run.chains)
                return _Run(run.step + 1, chains), record

            return jax.lax.scan(step, run, length=chunk)

        def finish(run: "_Run", records: dict[str, Array], arrays: Arrays) -> Draws:
            kept = slice(self.warmup % chunk, self.warmup % chunk + self.draws)
            flat = {name: _chain_first(record)[:, kept] for name, record in records.items()}
            position = flat.pop("position")
            sites = constrain_all(density, position, arrays)
            return Draws(sites, flat, run.chains.status)

        return Program(
            start=start,
            start_near=start_near,
            advance=advance,
            finish=finish,
            num_chunks=-(-(self.warmup + self.draws) // chunk),
            num_discarded=self.warmup // chunk,
            report=lambda run: _report(self, run),
        )


class _Chain(NamedTuple):
    """One chain between two transitions; every field gets a leading axis of chains."""

    key: Array
    kernel: Any
    dual_averaging: Any
    mass: Any
    step_size: Array
    divergences: Array
    status: Array


class _Run(NamedTuple):
    step: Array
    chains: _Chain


class _Adaptation(NamedTuple):
    """blackjax's estimators and the stage of every warm-up transition."""

    stages: np.ndarray
    closes_window: np.ndarray
    dual_averaging: tuple[Callable, Callable, Callable]
    mass: tuple[Callable, Callable, Callable]

    @classmethod
    def of(cls, settings: NUTS, size: int) -> "_Adaptation":
        import_blackjax()
        from blackjax.adaptation.mass_matrix import mass_matrix_adaptation
        from blackjax.adaptation.step_size import dual_averaging_adaptation
        from blackjax.adaptation.window_adaptation import build_schedule

        with jax.ensure_compile_time_eval():  # the schedule is a constant also under jit
            schedule = np.asarray(build_schedule(settings.warmup))
        return cls(
            np.append(schedule[:, 0], SAMPLE),
            np.append(schedule[:, 1].astype(bool), False),
            dual_averaging_adaptation(settings.target_accept),
            mass_matrix_adaptation(not settings.dense_mass),
        )


def _chunk_length(warmup: int) -> int:
    """Spread the warm-up over whole chunks of nearly `MAX_CHUNK` transitions."""
    return -(-warmup // -(-warmup // MAX_CHUNK))


def _start_chain(density: Density, adaptation: _Adaptation, key: Array, arrays: Arrays) -> _Chain:
    key, start_key = jax.random.split(key)
    start = starting_position(density, start_key, arrays)
    return _new_chain(adaptation, key, start)


def _start_near(
    density: Density, adaptation: _Adaptation, mass: Array, key: Array, near: Array, arrays: Arrays
) -> _Chain:
    """Start at one of the positions, with an inverse mass matrix that fits all."""
    key, start_key = jax.random.split(key)
    position = near[jax.random.randint(start_key, (), 0, len(near))]
    value, gradient = jax.value_and_grad(density.shared_log_density)(position, arrays)
    found = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    chain = _new_chain(adaptation, key, Start(position, value, gradient, found))
    return chain._replace(mass=chain.mass._replace(inverse_mass_matrix=mass))


def _new_chain(adaptation: _Adaptation, key: Array, start: Start) -> _Chain:
    from blackjax.mcmc.hmc import HMCState

    step_size = jnp.asarray(1.0)
    return _Chain(
        key=key,
        kernel=HMCState(
            start.position,
            start.log_density,  # pyright: ignore[reportArgumentType]
            start.gradient,
        ),
        dual_averaging=adaptation.dual_averaging[0](step_size),
        mass=adaptation.mass[0](len(start.position)),
        step_size=step_size,
        divergences=jnp.asarray(0),
        status=jnp.where(start.found, Status.OK, Status.NO_FINITE_START),
    )


def _move(
    density: Density,
    adaptation: _Adaptation,
    settings: NUTS,
    chain: _Chain,
    step: Array,
    arrays: Arrays,
) -> tuple[_Chain, dict[str, Array]]:
    """One transition of one chain, with whatever adaptation its stage asks for."""
    from blackjax.mcmc import nuts

    kernel = nuts.build_kernel()
    state, info = kernel(
        jax.random.fold_in(chain.key, step),
        chain.kernel,
        lambda x: density.shared_log_density(x, arrays),
        chain.step_size,  # pyright: ignore[reportArgumentType]
        chain.mass.inverse_mass_matrix,
        settings.max_tree_depth,
    )
    record = {
        "position": state.position,
        "diverging": info.is_divergent,
        "num_steps": info.num_integration_steps,
        "tree_depth": info.num_trajectory_expansions,
        "accept_prob": info.acceptance_rate,
        "energy": info.energy,
        "step_size": chain.step_size,
        "log_density": state.logdensity,
    }
    sampling = step >= settings.warmup
    moved = chain._replace(
        kernel=state,
        divergences=chain.divergences + (sampling & info.is_divergent),
        status=jnp.where(jnp.isfinite(state.logdensity), chain.status, Status.NOT_FINITE),
    )
    return _adapt(adaptation, moved, step, jnp.asarray(info.acceptance_rate)), record


def _adapt(adaptation: _Adaptation, chain: _Chain, step: Array, acceptance: Array) -> _Chain:
    """Update step size and mass matrix as the stage of `step` says."""
    last = len(adaptation.stages) - 1
    row = jnp.minimum(step, last)
    stage = jnp.asarray(adaptation.stages)[row]
    closes = jnp.asarray(adaptation.closes_window)[row]
    restart, update_step_size, final_step_size = adaptation.dual_averaging
    _, update_mass, close_mass = adaptation.mass

    def warm(chain: _Chain) -> _Chain:
        averaging = update_step_size(chain.dual_averaging, acceptance)
        step_size = jnp.where(
            step == last - 1, final_step_size(averaging), jnp.exp(averaging.log_step_size)
        )
        return chain._replace(dual_averaging=averaging, step_size=step_size)

    def learn_mass(chain: _Chain) -> _Chain:
        return chain._replace(mass=update_mass(chain.mass, chain.kernel.position))

    def close(chain: _Chain) -> _Chain:
        averaging = restart(final_step_size(chain.dual_averaging))
        step_size = jnp.exp(averaging.log_step_size)
        return chain._replace(
            mass=close_mass(chain.mass), dual_averaging=averaging, step_size=step_size
        )

    chain = jax.lax.cond(stage == SLOW, learn_mass, lambda c: c, chain)
    chain = jax.lax.cond(stage == SAMPLE, lambda c: c, warm, chain)
    return jax.lax.cond(closes, close, lambda c: c, chain)


def _chain_first(record: Array) -> Array:
    """Turn (chunk, step, chain, ...) into (chain, chunk x step, ...)."""
    flat = jnp.reshape(record, (record.shape[0] * record.shape[1], *record.shape[2:]))
    return jnp.moveaxis(flat, 1, 0)


def _report(settings: NUTS, run: _Run) -> dict[str, Array]:
    return {
        "failed": jnp.all(run.chains.status == Status.NO_FINITE_START),
        "warming up": run.step < settings.warmup,
        "divergences": jnp.sum(run.chains.divergences),
        "step size": jnp.mean(run.chains.step_size),
    }
