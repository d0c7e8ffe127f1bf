"""One compiled program that runs a model function at every posterior draw, in bounded memory."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.density import LARGEST_BATCH, map_in_batches
from hierjax.errors import ModelError

Draws = Mapping[str, np.ndarray]
Messages = Mapping[str, Any]

MOST_ELEMENTS = 2**22  # of one array in memory at a time, over the draws of a batch
_PROGRAMS = ProgramCache(size=32)


@dataclasses.dataclass(frozen=True)
class Filling:
    """How the latent sites of a model function get their values; static and hashable.

    Attributes
    ----------
    kept
        Site -> how many elements along each axis have draws; they come first. Elements after them
        are new. Sites left out have no draws.
    pooled
        Whether new elements are put at their prior mean given their parents, instead of drawn from
        their prior.
    flat
        Sites all of whose elements are put at their prior mean given their parents.
    """

    kept: tuple[tuple[str, tuple[int, ...]], ...]
    pooled: bool = False
    flat: tuple[str, ...] = ()

    def value(self, message: Messages, draw: Mapping[str, Array]) -> Any:
        """Value of a site in this run, None for those that NumPyro computes itself."""
        name = message["name"]
        if message["type"] != "sample" or message["is_observed"]:
            return None
        if name in self.flat:
            return _prior_mean(message)
        kept = dict(self.kept).get(name)
        if kept is None:
            return None
        if kept == tuple(message["fn"].shape()):
            return draw[name]
        if self.pooled:
            new = _prior_mean(message)
        else:
            new = message["fn"].sample(message["kwargs"]["rng_key"])
        if 0 in kept:
            return new
        known = tuple(slice(length) for length in kept)
        return new.at[known].set(draw[name].astype(new.dtype))


def _prior_mean(message: Messages) -> Array:
    try:
        return jnp.broadcast_to(message["fn"].mean, message["fn"].shape())
    except NotImplementedError as error:
        raise ModelError(
            f"site {message['name']!r} has a prior without a mean, so it cannot be put there."
        ) from error


def run_at(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    draw: Mapping[str, Array],
    key: Array,
    filling: Filling,
) -> dict[str, Any]:
    """Run a model function at one draw; return the message of every site."""
    placed = handlers.substitute(
        handlers.seed(fn, key), substitute_fn=lambda message: filling.value(message, draw)
    )
    with handlers.block():
        return handlers.trace(placed).get_trace(**data)


Read = Callable[[Messages, Array, Any], Any]


def at_every_draw(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    draws: Draws,
    read: Read,
    *,
    seed: int,
    count: int,
    filling: Filling,
    size: int,
    extra: Any = None,
    name: Any,
) -> Any:
    """Compute something from the sites of a model at every draw.

    Parameters
    ----------
    fn, data
        Model function and its arguments.
    draws
        Latent site -> values, shape (count, *site shape).
    read
        `read(messages, key, extra)` -> a pytree of arrays; pure.
    seed
        Of the keys, one a draw.
    count
        Number of draws.
    filling
        How latent sites get their values.
    size
        Elements of the largest array that a draw needs; bounds how many draws go together.
    extra
        Arrays for `read` that are the same at every draw.
    name
        Hashable; tells this `read` from others of the same function and data.

    Returns
    -------
    What `read` returns, as NumPy arrays with an axis of draws in front.
    """
    arguments = Arguments.of(data)

    def build() -> Callable[..., Any]:
        def run(keys: Array, values: Any, arrays: Any, extra: Any) -> Any:
            def one(each: tuple[Array, Any]) -> Any:
                key, draw = each
                model_key, own_key = jax.random.split(key)
                found = run_at(fn, arguments.rebuild(arrays), draw, model_key, filling)
                return read(found, own_key, extra)

            most = max(1, min(LARGEST_BATCH, MOST_ELEMENTS // max(size, 1)))
            return map_in_batches(one, (keys, values), most)

        return jax.jit(run)

    run = _PROGRAMS.get((fn, arguments, filling, size, name), build)
    keys = jax.random.split(jax.random.key(seed), count)
    wanted = {site: jnp.asarray(draws[site]) for site, kept in filling.kept if 0 not in kept}
    return jax.device_get(run(keys, wanted, arguments.arrays(data), extra))


def flattened(draws: Draws, most: int | None = None) -> tuple[Draws, tuple[int, int]]:
    """Merge chains and draws to one axis, thinned evenly to at most `most` draws in all.

    Returns
    -------
    draws, (chains, length)
        Arrays (chains * length, *site shape), and how to take the axes apart again.
    """
    chains, length = next(iter(draws.values())).shape[:2]
    wanted = length if most is None else min(length, max(1, most // chains))
    kept = np.linspace(0, length - 1, wanted).astype(int)
    flat = {
        name: np.asarray(values)[:, kept].reshape(chains * wanted, *values.shape[2:])
        for name, values in draws.items()
    }
    return flat, (chains, wanted)
