"""Gibbs sampling of models with normal effects: effects drawn exactly, the rest in turn.

A sweep goes through the blocks of effects (one, or one for each crossed factor). For each block,
the sites that its effects depend on are updated by slice sampling with the block *integrated out*,
and then the block is drawn from its normal distribution given all else: together a draw that leaves
the joint distribution of sites and block invariant, in this order only (van Dyk and Park 2008). So
sds mix as if there were no effects, also near zero, where the usual alternation of effects given
sds and sds given effects hardly moves. Sites with a known distribution given all else are drawn
from it at the end of the sweep, if that is asked for.

References
----------
van Dyk and Park (2008), Partially collapsed Gibbs samplers, JASA 103,
doi:10.1198/016214508000000409. Papaspiliopoulos, Roberts and Zanella (2020), Scalable inference
for crossed random effects models, Biometrika 107, arXiv:1803.09460.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import biject_to

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.density import Arrays, Density, make_density, map_in_batches
from hierjax.draws import Draws, Status
from hierjax.errors import ModelError
from hierjax.infer.program import Program
from hierjax.infer.slice import slice_sweep
from hierjax.linalg import Effects
from hierjax.trace import ModelTrace, abstract_trace

UPDATES = ("collapsed", "conjugate")
BLOCKS = ("auto", "joint", "factor")
MOST_SLICED = 100
MAX_CHUNK = 100
ATTEMPTS = 100
RADIUS = 2.0
LENGTHS = 3.0  # mean length of a slice in mean moves within one: E|x - y| of uniforms is 1/3
T = TypeVar("T")
MEMORY = 50  # sweeps over which the length of slices is averaged


@dataclasses.dataclass(frozen=True)
class Gibbs:
    """Settings of the Gibbs sampler, for models whose group effects are normal given the rest.

    Parameters
    ----------
    chains
        Independent chains, run vectorised in one program.
    warmup
        Sweeps that learn the widths of slices, then are dropped.
    draws
        Kept sweeps of each chain.
    updates
        How sds, correlations and all else but the effects is updated. "collapsed": by slice
        sampling with the effects integrated out. "conjugate": sites whose distribution given all
        else is known (inverse gamma variances, gamma precisions, half-Cauchy and half-t sds,
        inverse Wishart covariances, Wishart precisions) are drawn from it, the others as before.
    blocks
        Effects are drawn "joint", all at once, or by "factor", those of each crossed factor
        together with the coefficients; "auto" does the latter where the joint draw would need a
        matrix of more than 400 rows.

    Raises
    ------
    SettingsError
        An option is out of range.
    """

    chains: int = 4
    warmup: int = 500
    draws: int = 1000
    updates: str = "collapsed"
    blocks: str = "auto"

    def __post_init__(self) -> None:
        checks.positive_int("chains", self.chains)
        checks.positive_int("warmup", self.warmup, minimum=20)
        checks.positive_int("draws", self.draws)
        checks.one_of("updates", self.updates, UPDATES)
        checks.one_of("blocks", self.blocks, BLOCKS)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "gibbs"

    def harder(self) -> "Gibbs":
        """Return more patient settings, for data whose first run went wrong: the same draws."""
        return dataclasses.replace(self, warmup=4 * self.warmup)

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the sampler to a model function whose effects can be drawn in blocks."""
        sampler = _Sampler.of(fn, data)
        chunk = -(-self.warmup // -(-self.warmup // MAX_CHUNK))

        def start(key: Array, arrays: Arrays) -> "_Run":
            keys = jax.random.split(key, self.chains)
            return _Run(jnp.asarray(0), jax.vmap(lambda key: sampler.begin(key, arrays))(keys))

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", dict[str, Any]]:
            def step(run: _Run, _: None) -> tuple[_Run, dict[str, Any]]:
                sweep = jax.vmap(lambda chain: sampler.sweep(chain, run.step, arrays))
                chains, record = sweep(run.chains)
                chains = jax.vmap(lambda old, new: _learn(self, old, new, run.step))(
                    run.chains, chains
                )
                return _Run(run.step + 1, chains), record

            return jax.lax.scan(step, run, length=chunk)

        def finish(run: "_Run", records: dict[str, Any], arrays: Arrays) -> Draws:
            kept = slice(self.warmup % chunk, self.warmup % chunk + self.draws)
            flat = jax.tree.map(lambda record: _chain_first(record)[:, kept], records)
            sites = sampler.sites(flat.pop("position"), flat.pop("effects"), arrays)
            return Draws(sites, flat, run.chains.status)

        return Program(
            start=start,
            advance=advance,
            finish=finish,
            num_chunks=-(-(self.warmup + self.draws) // chunk),
            num_discarded=self.warmup // chunk,
            report=lambda run: _report(self, run),
        )


@runtime_checkable
class Blocked(Protocol):
    """A model function whose effects are drawn in blocks given all else."""

    given_key: str

    @property
    def sliced(self) -> tuple[tuple[str, ...], ...]:
        """Per block, names of the sites that are updated with the block integrated out."""
        ...

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the sites that are drawn given all others."""
        ...

    def begin(self, data: Mapping[str, Any]) -> Effects:
        """Effects to start with."""
        ...

    def given(self, block: int, effects: Effects, data: Mapping[str, Any]) -> Any:
        """Return what follows from the effects outside of a block: an argument `given_key`."""
        ...

    def target(self, block: int) -> Callable[..., Any]:
        """NumPyro function of data and `given_key` with a block integrated out."""
        ...

    def draw(
        self,
        block: int,
        key: Array,
        given: Any,
        effects: Effects,
        sites: Mapping[str, Any],
        data: Mapping[str, Any],
    ) -> Effects:
        """Draw a block given all else."""
        ...

    def placed(
        self, effects: Effects, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Every site of the model, given effects and the other latent sites."""
        ...

    def draw_exactly(
        self, place: int, key: Array, values: Mapping[str, Any], data: Mapping[str, Any]
    ) -> Array:
        """Draw one of `exact` given values of all other sites."""
        ...


class _Chain(NamedTuple):
    """One chain between two sweeps; every field gets a leading axis of chains.

    Attributes
    ----------
    key
        Of the chain; a sweep folds its number in.
    position
        Unconstrained values of the sites that are no effects.
    effects
        Of all blocks.
    widths
        Of the slices.
    status
        `Status` of the chain.
    """

    key: Array
    position: Array
    effects: Effects
    widths: Array
    status: Array


class _Run(NamedTuple):
    step: Array
    chains: _Chain


@dataclasses.dataclass(frozen=True, eq=False)
class _Sampler:
    """A model function with all that is static about sampling from it.

    Attributes
    ----------
    fn
        The model function.
    density
        Of the sites that are no effects, for the layout of the position.
    trace
        Abstract trace of `fn`.
    coordinates
        Per block, elements of the position that are sliced.
    """

    fn: Blocked
    density: Density
    trace: ModelTrace
    coordinates: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, fn: Callable[..., Any], data: Mapping[str, Any]) -> "_Sampler":
        """Lay out the sites of a model function.

        Raises
        ------
        ModelError
            The function has no blocks, or too many parameters are left to slice.
        """
        if not isinstance(fn, Blocked):
            raise ModelError(
                "a Gibbs sampler needs a model whose effects were put in blocks: run it by "
                'hierjax.fit(model, method="gibbs") or hierjax.sampler(model, "gibbs").'
            )
        density, trace = Density(fn, Arguments.of(data), ()), abstract_trace(fn, data)
        if any(site.kind == "latent" for site in trace.sites.values()):
            density = make_density(fn, density.arguments, dict(data))
        _check_size(density, fn.exact)
        places = {slot.name: slot.start + np.arange(slot.size) for slot in density.slots}
        empty = np.zeros(0, int)
        coordinates = tuple(
            np.concatenate([empty, *(places[name] for name in names)]) for names in fn.sliced
        )
        return cls(fn, density, trace, coordinates)

    def begin(self, key: Array, arrays: Arrays) -> _Chain:
        """Start a chain at the first of some random positions where the density is finite."""
        key, start_key = jax.random.split(key)
        data = self.density.arguments.rebuild(arrays)
        effects = self.fn.begin(data)
        target = self._target(0, self.fn.given(0, effects, data), data)

        def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            attempt, _, _ = carry
            position = jax.random.uniform(
                jax.random.fold_in(start_key, attempt),
                (self.density.size,),
                minval=-RADIUS,
                maxval=RADIUS,
            )
            return attempt + 1, position, jnp.isfinite(target(position))

        _, position, found = jax.lax.while_loop(
            lambda carry: ~carry[2] & (carry[0] < ATTEMPTS),
            again,
            (jnp.asarray(0), jnp.zeros(self.density.size), jnp.asarray(False)),
        )
        status = jnp.where(found, Status.OK, Status.NO_FINITE_START)
        return _Chain(key, position, effects, jnp.ones(self.density.size), status)

    def sweep(self, chain: _Chain, step: Array, arrays: Arrays) -> tuple[_Chain, dict[str, Any]]:
        """Update everything once; pure, and a function of the chain's state and the data alone."""
        data = self.density.arguments.rebuild(arrays)
        position, effects = chain.position, chain.effects
        keys = jax.random.split(jax.random.fold_in(chain.key, step), 3)
        log_density, evaluations = jnp.zeros(()), jnp.asarray(0)
        for block, coordinates in enumerate(self.coordinates):
            slice_key, draw_key = (jax.random.fold_in(key, block) for key in keys[:2])
            given = self._apart(step, functools.partial(self.fn.given, block, effects, data))
            target = self._target(block, given, data)
            sliced = slice_sweep(target, position, coordinates, chain.widths, slice_key)
            position, log_density = sliced.position, sliced.log_density
            evaluations += sliced.evaluations
            sites = self.density.constrain(position, arrays)
            draw = functools.partial(self.fn.draw, block, draw_key, given, effects, sites, data)
            effects = self._apart(step, draw)
        for place, name in enumerate(self.fn.exact):
            key = jax.random.fold_in(keys[2], place)
            position = self._redrawn(place, name, key, position, effects, arrays)
        finite = jnp.isfinite(log_density) & jnp.all(jnp.isfinite(position))
        status = jnp.where(finite, chain.status, Status.NOT_FINITE)
        record = {
            "position": position,
            "effects": effects,
            "log_density": log_density,
            "num_steps": evaluations,
        }
        return chain._replace(position=position, effects=effects, status=status), record

    def sites(self, position: Array, effects: Effects, arrays: Arrays) -> dict[str, Array]:
        """Map positions (chain, draw, size) and effects to every site of the model."""
        chains, draws, _ = position.shape
        data = self.density.arguments.rebuild(arrays)

        def one(each: tuple[Array, Effects]) -> dict[str, Array]:
            placed = self.fn.placed(each[1], self.density.constrain(each[0], arrays), data)
            return {name: placed[name] for name in placed if self._is_kept(name)}

        flat = jax.tree.map(
            lambda leaf: leaf.reshape(chains * draws, *leaf.shape[2:]), (position, effects)
        )
        found = map_in_batches(one, flat)
        return {
            name: value.reshape(chains, draws, *value.shape[1:]) for name, value in found.items()
        }

    def _apart(self, step: Array, compute: Callable[[], T]) -> T:
        """Compute something as a piece of its own, if effects are drawn block by block.

        XLA copies elementwise operations into all that reads them: it would draw an effect anew for
        every pair of groups that needs it. It does not copy out of a branch.
        """
        if len(self.coordinates) == 1:
            return compute()
        shapes = jax.eval_shape(compute)
        return jax.lax.cond(step >= 0, compute, lambda: jax.tree.map(jnp.zeros_like, shapes))

    def _is_kept(self, name: str) -> bool:
        """Leave out the response: it costs a pass over the rows."""
        site = self.trace.sites.get(name)
        return site is None or site.kind != "observed"

    def _target(self, block: int, given: Any, data: Mapping[str, Any]) -> Callable[[Array], Array]:
        """Log density of a position with a block integrated out."""
        full = {**data, self.fn.given_key: given}
        arguments = Arguments.of(full)
        density = Density(self.fn.target(block), arguments, self.density.slots)
        arrays = arguments.arrays(full)
        return lambda position: density.log_density(position, arrays)

    def _redrawn(
        self, place: int, name: str, key: Array, position: Array, effects: Effects, arrays: Arrays
    ) -> Array:
        """Position with one site drawn given all others."""
        data = self.density.arguments.rebuild(arrays)
        values = self.fn.placed(effects, self.density.constrain(position, arrays), data)
        drawn = self.fn.draw_exactly(place, key, values, data)
        free = biject_to(self.trace.sites[name].support).inv(drawn)
        slot = next(slot for slot in self.density.slots if slot.name == name)
        return position.at[slot.start : slot.start + slot.size].set(jnp.ravel(free))


def _check_size(density: Density, exact: tuple[str, ...]) -> None:
    slots = [slot for slot in density.slots if slot.name not in exact]
    count = sum(slot.size for slot in slots)
    if count <= MOST_SLICED:
        return
    largest = max(slots, key=lambda slot: slot.size)
    raise ModelError(
        f"{count} parameters are left to update one by one, {largest.size} of them in site "
        f'{largest.name!r}; method "gibbs" is for {MOST_SLICED} at most. Use method="nuts", or '
        "priors with a known distribution given all else, such as InverseGamma for variances, and "
        'Gibbs(updates="conjugate").'
    )


def _learn(settings: Gibbs, old: _Chain, new: _Chain, step: Array) -> _Chain:
    """Follow the mean length of slices with their widths, until the warm-up ends."""
    length = LENGTHS * jnp.abs(new.position - old.position)
    share = 1.0 / jnp.minimum(step + 2.0, MEMORY)
    widths = old.widths + share * (length - old.widths)
    return new._replace(widths=jnp.where(step < settings.warmup, widths, old.widths))


def _chain_first(record: Array) -> Array:
    """Turn (chunk, step, chain, ...) into (chain, chunk x step, ...)."""
    flat = jnp.reshape(record, (record.shape[0] * record.shape[1], *record.shape[2:]))
    return jnp.moveaxis(flat, 1, 0)


def _report(settings: Gibbs, run: _Run) -> dict[str, Array]:
    return {
        "failed": jnp.all(run.chains.status == Status.NO_FINITE_START),
        "warming up": run.step < settings.warmup,
    }
