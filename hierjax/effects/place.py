"""Run a model function with Gaussian sites put at given deviations from their location."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.primitives import Messenger

from hierjax.effects.gaussian import EffectSite, Gaussian, gaussian_of
from hierjax.errors import ModelError


class Collect(Messenger):
    """Innermost handler: keeps every sample and deterministic message, hidden ones too."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__(fn)
        self.messages: dict[str, dict[str, Any]] = {}

    def postprocess_message(self, msg: Any) -> None:
        """Keep the message."""
        if msg["type"] in ("sample", "deterministic"):
            self.messages[msg["name"]] = dict(msg)


class Place(Messenger):
    """Put Gaussian sites at location + deviation, or location + root z, hidden from outside.

    Parameters
    ----------
    fn
        Model function.
    sites
        The Gaussian sites.
    values
        Per site its deviations or standard normals, in the shape of the site.
    whitened
        Whether `values` are standard normals.
    silent
        Other sites whose own density is left out (the caller accounts for it).
    hidden
        Deterministic sites that nobody outside sees.

    Attributes
    ----------
    gaussians
        Filled while the function runs: location and root of each site.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        sites: Mapping[str, EffectSite],
        values: Mapping[str, Any],
        *,
        whitened: bool,
        silent: frozenset[str] = frozenset(),
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(fn)
        self.sites, self.values, self.whitened = sites, values, whitened
        self.silent, self.hidden = silent, hidden
        self.gaussians: dict[str, Gaussian] = {}

    def process_message(self, msg: Any) -> None:
        """Give a Gaussian site its value; leave out the density of a silent one."""
        name = msg.get("name")
        if msg["type"] == "deterministic" and name in self.hidden:
            msg["stop"] = True
        if msg["type"] != "sample":
            return
        if name in self.values:
            self._place(name, msg)
        elif name in self.silent:
            msg["fn"] = msg["fn"].mask(False)

    def _place(self, name: str, msg: Any) -> None:
        if isinstance(msg["fn"], dist.MaskedDistribution) or msg["scale"] is not None:
            raise ModelError(
                f"site {name!r} has a mask or a scaled density, so its effects cannot be "
                "integrated out or recentred. Leave it out of `sites`."
            )
        site, value = self.sites[name], self.values[name]
        gaussian = self.gaussians[name] = gaussian_of(msg["fn"])
        deviation = gaussian.deviation(site, value) if self.whitened else value
        msg["value"] = gaussian.location + deviation
        msg["stop"] = True


@dataclasses.dataclass(frozen=True)
class Placed:
    """What a model function says when its Gaussian sites are placed; a pytree.

    Attributes
    ----------
    log_densities
        Log density of every other sample site, summed if not asked otherwise.
    values
        Value of every sample and deterministic site.
    gaussians
        Location and root of each Gaussian site.
    distributions
        Distribution of every other sample site.
    """

    log_densities: dict[str, Array]
    values: dict[str, Array]
    gaussians: dict[str, Gaussian]
    distributions: dict[str, Any]


jax.tree_util.register_dataclass(Placed)


def run_placed(
    fn: Callable[..., Any],
    sites: Mapping[str, EffectSite],
    effects: Mapping[str, Any],
    latents: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    whitened: bool,
    summed: bool = True,
    densities: bool = True,
) -> Placed:
    """Run `fn(**data)` at given effects and values of the other latent sites; a pure function.

    Unless `summed`, log densities keep the batch shape of their site; without `densities` there are
    none, which saves tracing them.
    """
    collect = Collect(fn)
    # A model function may index them by an abstract array, which NumPy's arrays refuse.
    given = {name: jnp.asarray(value) for name, value in latents.items()}
    values = {name: jnp.asarray(value) for name, value in effects.items()}
    place = Place(collect, sites, values, whitened=whitened)

    def value_of(msg: Any) -> Any:
        # A deterministic site follows from the latent ones; a value from before would hide them.
        return given.get(msg["name"]) if msg["type"] == "sample" else None

    with handlers.block(), handlers.seed(rng_seed=0), handlers.substitute(substitute_fn=value_of):
        place(**data)
    log_densities, values, distributions = {}, {}, {}
    for name, message in collect.messages.items():
        values[name] = message["value"]
        if message["type"] == "sample" and name not in effects:
            if densities:
                log_density = _log_density(message)
                log_densities[name] = jnp.sum(log_density) if summed else log_density
            distributions[name] = message["fn"]
    return Placed(log_densities, values, place.gaussians, distributions)


def _log_density(message: Mapping[str, Any]) -> Array:
    log_density = message["fn"].log_prob(message["value"])
    if message["scale"] is not None:
        log_density = message["scale"] * log_density
    return log_density


def run_outside(
    fn: Callable[..., Any],
    sites: Mapping[str, EffectSite],
    data: Mapping[str, Any],
    *,
    silent: Collection[str],
    hidden: Collection[str],
) -> dict[str, Any]:
    """Run `fn(**data)` for the handlers around us, without its Gaussian sites.

    Parameters
    ----------
    sites
        Gaussian sites; they are put at their location and nobody outside sees them.
    silent
        Sites whose density depends on those; it is left out.
    hidden
        Deterministic sites that depend on those.

    Returns
    -------
    dict
        Site -> value, of every sample and deterministic site.
    """
    zeros = {name: jnp.zeros(site.shape) for name, site in sites.items()}
    collect = Collect(fn)
    Place(
        collect, sites, zeros,
        whitened=False, silent=frozenset(silent), hidden=frozenset(hidden),
    )(**data)  # fmt: skip
    return {name: message["value"] for name, message in collect.messages.items()}
