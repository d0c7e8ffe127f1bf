"""The log density of a model over one unconstrained vector, the waist of the package."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import handlers
from numpyro.distributions import MaskedDistribution, biject_to
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from hierjax.arguments import Arguments
from hierjax.errors import ModelError
from hierjax.trace import abstract_trace

Arrays = tuple[Any, ...]
LARGEST_BATCH = 256  # draws mapped to sites at a time: bounds memory


@dataclasses.dataclass(frozen=True)
class Slot:
    """Place of one latent site in the unconstrained vector."""

    name: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class Density:
    """Log density of a model function on R^size, with the maps to and from its sites.

    With x the unconstrained vector and T the sites' transforms,
    log_density(x) = log p(T(x), data) + log |det T'(x)|.

    Every method is pure: it takes the traced arrays of the data (`Arguments.arrays`) and can be
    jitted, differentiated and vmapped.
    """

    fn: Callable[..., Any]
    arguments: Arguments
    slots: tuple[Slot, ...]

    @property
    def size(self) -> int:
        """Length of the unconstrained vector."""
        return sum(slot.size for slot in self.slots)

    def split(self, position: Array) -> dict[str, Array]:
        """Cut a vector (size,) into the unconstrained value of each site."""
        return {
            slot.name: jnp.reshape(position[slot.start : slot.start + slot.size], slot.shape)
            for slot in self.slots
        }

    def join(self, values: dict[str, Array]) -> Array:
        """Inverse of `split`."""
        return jnp.concatenate([jnp.ravel(values[slot.name]) for slot in self.slots])

    def log_density(self, position: Array, arrays: Arrays) -> Array:
        """Log joint density of sites and data at `position`, log-Jacobian included; a scalar."""
        data = self.arguments.rebuild(arrays)
        return -jnp.asarray(potential_energy(self.fn, (), data, self.split(position)))

    @functools.cached_property
    def shared_log_density(self) -> Callable[[Array, Arrays], Array]:
        """`log_density`, traced and differentiated once for all who use it.

        A program of NUTS takes three gradients, and each would run the model function anew.
        """
        return jax.jit(self.log_density)

    def log_parts(self, position: Array, arrays: Arrays) -> tuple[Array, Array]:
        """Log density of the data given the sites at `position`, and log prior of those; scalars.

        The prior is that of the constrained values: without a Jacobian.
        """
        free = self.split(position)

        def value_of(site: Any) -> Any:
            if site["type"] == "sample" and site["name"] in free:
                return biject_to(site["fn"].support)(free[site["name"]])
            return None

        fn = handlers.substitute(handlers.seed(self.fn, rng_seed=0), substitute_fn=value_of)
        with handlers.block():
            sites = handlers.trace(fn).get_trace(**self.arguments.rebuild(arrays))
        parts = {True: jnp.zeros(()), False: jnp.zeros(())}
        for site in sites.values():
            if site["type"] == "sample":
                log_density = site["fn"].log_prob(site["value"])
                log_density = log_density if site["scale"] is None else site["scale"] * log_density
                parts[site["is_observed"]] += jnp.sum(log_density)
        return parts[True], parts[False]

    def constrain(self, position: Array, arrays: Arrays) -> dict[str, Array]:
        """Latent and deterministic sites, by name, at `position`."""
        data = self.arguments.rebuild(arrays)
        return constrain_fn(self.fn, (), data, self.split(position), return_deterministic=True)

    def unconstrain(self, values: dict[str, Array], arrays: Arrays) -> Array:
        """Position (size,) of given values of all latent sites: inverse of `constrain`."""
        data = self.arguments.rebuild(arrays)
        return self.join(unconstrain_fn(self.fn, (), data, values))


def make_density(fn: Callable[..., Any], arguments: Arguments, data: dict[str, Any]) -> Density:
    """Lay out the latent sites of `fn(**data)` in one unconstrained vector.

    Raises
    ------
    ModelError
        The model has no latent site, or a discrete one.
    """
    slots, start = [], 0
    for site in abstract_trace(fn, data).sites.values():
        if site.kind != "latent":
            continue
        if getattr(site.support, "is_discrete", False):
            raise ModelError(
                f"site {site.name!r} is discrete ({site.distribution}), which no gradient-based "
                "method can sample. Sum it out in the model function."
            )
        event_dim = len(site.event_shape)
        batch_shape = site.shape[: len(site.shape) - event_dim]
        event_shape = biject_to(site.support).inverse_shape(site.event_shape)
        shape = (*batch_shape, *event_shape)
        slots.append(Slot(site.name, shape, start, math.prod(shape)))
        start += math.prod(shape)
    if not slots:
        raise ModelError("the model has no latent site: there is nothing to infer.")
    return Density(fn, arguments, tuple(slots))


class Start(NamedTuple):
    """Where a chain starts.

    Attributes
    ----------
    position, log_density, gradient
        Vector (size,), the log density there, and its gradient.
    found
        Whether they are finite.
    """

    position: Array
    log_density: Array
    gradient: Array
    found: Array


def starting_position(
    density: Density, key: Array, arrays: Arrays, *, radius: float = 2.0, attempts: int = 100
) -> Start:
    """Draw a start uniformly on (-radius, radius) where density and gradient are finite.

    Stan's rule: the first of `attempts` draws that will do, else the last one.
    """
    value_and_gradient = jax.value_and_grad(density.shared_log_density)

    def again(carry: tuple[Array, Start]) -> tuple[Array, Start]:
        attempt, _ = carry
        key_now = jax.random.fold_in(key, attempt)
        position = jax.random.uniform(key_now, (density.size,), minval=-radius, maxval=radius)
        value, gradient = value_and_gradient(position, arrays)
        found = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        return attempt + 1, Start(position, value, gradient, found)

    def searching(carry: tuple[Array, Start]) -> Array:
        attempt, start = carry
        return ~start.found & (attempt < attempts)

    nothing = jnp.zeros(density.size)
    before = Start(nothing, jnp.zeros(()), nothing, jnp.asarray(False))
    _, start = jax.lax.while_loop(searching, again, (jnp.asarray(0), before))
    return start


def map_in_batches(
    function: Callable[[Any], Any], values: Any, largest: int = LARGEST_BATCH
) -> Any:
    """Map over the first axis of a pytree, at most `largest` elements at a time; pure.

    Batches are of one size, the last one filled up with copies: a shorter one would be compiled on
    its own.
    """
    count = len(jax.tree.leaves(values)[0])
    batch = -(-count // -(-count // largest))
    whole = -(-count // batch) * batch
    if whole > count:
        places = jnp.minimum(jnp.arange(whole), count - 1)
        values = jax.tree.map(lambda leaf: leaf[places], values)
    found = jax.lax.map(function, values, batch_size=batch)
    return jax.tree.map(lambda leaf: leaf[:count], found)


def constrain_all(density: Density, position: Array, arrays: Arrays) -> dict[str, Array]:
    """Map positions (chain, draw, size) to sites, a bounded number of draws at a time."""
    chains, draws, size = position.shape
    flat = jnp.reshape(position, (chains * draws, size))
    sites = map_in_batches(lambda x: density.constrain(x, arrays), flat)
    return {
        name: jnp.reshape(value, (chains, draws, *value.shape[1:])) for name, value in sites.items()
    }


def observed_support(density: Density, arrays: Arrays) -> dict[str, Array]:
    """Whether each observed value is one that its distribution can produce.

    Returns
    -------
    dict
        Observed site -> boolean array of its batch shape; masked-out values count as fine. Supports
        that depend on latent sites are taken at the origin of the unconstrained space.
    """
    data = density.arguments.rebuild(arrays)
    values = density.constrain(jnp.zeros(density.size), arrays)
    model = handlers.substitute(handlers.seed(density.fn, jax.random.key(0)), data=values)
    inside = {}
    for name, site in handlers.trace(model).get_trace(**data).items():
        if site["type"] != "sample" or not site["is_observed"]:
            continue
        distribution, observed = site["fn"], site["value"]
        within = distribution.support(observed)
        if isinstance(distribution, MaskedDistribution):
            within = within | ~jnp.asarray(distribution._mask)
        inside[name] = within
    return inside
