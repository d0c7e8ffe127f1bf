"""Start a method from a posterior that is there already: its draws in the method's coordinates."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.arguments import Arguments, signature
from hierjax.compiler import compile_for
from hierjax.density import make_density, map_in_batches
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.posterior import Posterior
from hierjax.programs import PROGRAMS
from hierjax.trace import abstract_trace
from hierjax.transforms.coordinates import Coordinates
from hierjax.transforms.inverse import sampled_values, stand_ins

MOST_DRAWS = 1000
FURTHEST = 30.0  # of an unconstrained value, which the edge of a support would make infinite


def positions_of(
    init: Posterior, model: Model, coordinates: Coordinates, data: Mapping[str, Any]
) -> Array:
    """Return draws of a posterior as positions of the density that a method works with.

    Parameters
    ----------
    init
        Posterior of the same model, by any method. Group effects may be missing.
    model
        What is to be fitted.
    coordinates, data
        Those of the method, and the data prepared for them.

    Returns
    -------
    positions
        Shape (draw, size), of at most 1,000 draws.

    Raises
    ------
    SettingsError
        The posterior lacks a site that the method starts from.
    """
    trace = abstract_trace(model.fn, model.data)
    latents = [site.name for site in trace.sites.values() if site.kind == "latent"]
    sites = {name: _thinned(init.draws[name]) for name in latents if name in init.draws}
    arguments = Arguments.of(data)
    arrays = tuple(map(jnp.asarray, arguments.arrays(data)))

    def build() -> Callable[..., Array]:
        density = make_density(coordinates.fn, arguments, dict(data))

        def positions(sites: dict[str, Array], arrays: Any) -> Array:
            def one(given: tuple[Array, dict[str, Array]]) -> Array:
                key, values = given
                found = sampled_values(coordinates.fn, values, arguments.rebuild(arrays))
                free = _with_standard_normals(found, density.slots, latents, key)
                position = density.unconstrain(free, arrays)
                return jnp.clip(jnp.where(jnp.isnan(position), 0.0, position), -FURTHEST, FURTHEST)

            count = len(next(iter(sites.values())))
            keys = jax.random.split(jax.random.key(0), count)
            return map_in_batches(one, (keys, sites))

        return compile_for(positions, sites, arrays)[0]

    shapes = tuple((name, np.shape(value)) for name, value in sites.items())
    precision = jnp.result_type(float).name
    identity = ("init", coordinates, arguments, signature(arrays), shapes, precision)
    return PROGRAMS.get(identity, build)(sites, arrays)


def described(init: Posterior) -> str:
    """Say which fit a method was started from."""
    return f"{init.info.method}, seed {init.info.seed}"


def check_init(init: Any, model: Model) -> None:
    """Check that a posterior has sites of a model, in their shapes.

    Raises
    ------
    SettingsError
        It has not.
    """
    trace = abstract_trace(model.fn, model.data)
    if not isinstance(init, Posterior):
        raise SettingsError(
            f"`init` must be a posterior as hierjax.fit returns it; got {type(init).__name__}."
        )
    latents = {name: site for name, site in trace.sites.items() if site.kind == "latent"}
    known = [name for name in latents if name in init.draws]
    if not known:
        raise SettingsError(
            f"`init` is a posterior of another model, {init.model.name}: it has none of the sites "
            f"{', '.join(map(repr, latents))} of {model.name}. Give a posterior of this model."
        )
    for name in known:
        shape = init.draws[name].shape[2:]
        if shape != latents[name].shape:
            raise SettingsError(
                f"`init` has site {name!r} in shape {shape}, and this model needs "
                f"{latents[name].shape}. Give a posterior of this model on data with the same "
                "groups and columns."
            )


def _with_standard_normals(
    found: dict[str, Array], slots: Any, latents: list[str], key: Array
) -> dict[str, Array]:
    """Complete the values that a density needs: standard normals stand for effects left out."""
    original = {called: name for name in latents for called in stand_ins(name)}
    values = {}
    for number, slot in enumerate(slots):
        if slot.name in found:
            values[slot.name] = found[slot.name]
            continue
        name = original[slot.name]
        if slot.name not in stand_ins(name)[:2]:
            raise SettingsError(
                f"`init` has no draws of site {name!r}, which this method samples. Give a "
                "posterior with that site, or leave `init` out."
            )
        values[slot.name] = jax.random.normal(jax.random.fold_in(key, number), slot.shape)
    return values


def _thinned(draws: np.ndarray) -> np.ndarray:
    """Evenly spaced draws of all chains, (draw, *shape), in the precision in force."""
    flat = np.reshape(draws, (-1, *draws.shape[2:]))
    places = np.linspace(0, len(flat) - 1, min(MOST_DRAWS, len(flat))).round().astype(int)
    return np.asarray(flat[places], jnp.result_type(float))
