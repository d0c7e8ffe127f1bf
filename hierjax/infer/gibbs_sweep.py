"""One sweep of a Gibbs sampler: every block of effects with its parameters, then exact draws.

For each block the sites that its effects depend on are updated by slices of the density with the
block integrated out, and the block is then drawn given them: in this order that is a move of sites
and block together that keeps their joint distribution.
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

from hierjax.arguments import Arguments
from hierjax.density import Arrays, Density, make_density, map_in_batches
from hierjax.draws import Status
from hierjax.errors import ModelError
from hierjax.infer.near import variances
from hierjax.infer.slice import slice_sweep
from hierjax.linalg import Effects
from hierjax.trace import ModelTrace, abstract_trace

MOST_SLICED = 100
ATTEMPTS = 100
RADIUS = 2.0

T = TypeVar("T")


@runtime_checkable
class Blocked(Protocol):
    """A model function whose effects are drawn in blocks given all else."""

    given_key: str

    def __call__(self, **data: Any) -> None:
        """Run the model without its effects."""
        ...

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


class Chain(NamedTuple):
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


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler:
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
    def of(cls, fn: Callable[..., Any], data: Mapping[str, Any]) -> "Sampler":
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

    def begin(self, key: Array, arrays: Arrays) -> Chain:
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
        return Chain(key, position, effects, jnp.ones(self.density.size), status)

    def begin_near(self, key: Array, near: Array, arrays: Arrays) -> Chain:
        """Start a chain at one of the positions (draw, size), with slices as wide as they vary."""
        key, start_key = jax.random.split(key)
        data = self.density.arguments.rebuild(arrays)
        effects = self.fn.begin(data)
        target = self._target(0, self.fn.given(0, effects, data), data)
        position = near[jax.random.randint(start_key, (), 0, len(near))]
        found = jnp.isfinite(target(position))
        status = jnp.where(found, Status.OK, Status.NO_FINITE_START)
        return Chain(key, position, effects, 2.0 * jnp.sqrt(variances(near)), status)

    def sweep(self, chain: Chain, step: Array, arrays: Arrays) -> tuple[Chain, dict[str, Any]]:
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
