"""Re-parametrise group effects: non-centred per site, exactly, for Normal and multivariate Normal.

A sampler moves z ~ N(0, I) and the model sees u = location + scale z (or location + L z, L the
Cholesky factor of the covariance), recorded under the effect's own name. The density of (h, z) is
that of (h, u) times |du/dz|, so nothing about the posterior of the named sites changes.

References
----------
Papaspiliopoulos, Roberts and Skold (2007), doi:10.1214/088342307000000014.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam, Reparam

from hierjax.errors import ModelError
from hierjax.trace import ModelTrace, abstract_trace


class _CholeskyReparam(Reparam):
    """Non-centre a MultivariateNormal through its Cholesky factor."""

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[Any, Any]:
        """Replace `fn` by a standard normal site `name_decentered` and a deterministic map."""
        bare, expand_shape, event_dim = self._unwrap(fn)
        normal = cast(dist.MultivariateNormal, bare)
        shape = (*normal.batch_shape, *normal.event_shape)
        standard = dist.Normal(jnp.zeros(shape), 1.0).to_event(1)
        value = numpyro.sample(f"{name}_decentered", self._wrap(standard, expand_shape, event_dim))
        return None, normal.loc + jnp.einsum("...ij,...j->...i", normal.scale_tril, value)


REPARAMETRISERS: Mapping[str, Callable[[], Reparam]] = {
    "Normal": lambda: LocScaleReparam(centered=0.0),
    "MultivariateNormal": _CholeskyReparam,
}


@dataclasses.dataclass(frozen=True)
class NonCentred:
    """A model function with named sites sampled non-centred; equal when its parts are equal."""

    fn: Callable[..., Any]
    sites: tuple[tuple[str, str], ...]

    def __call__(self, **data: Any) -> Any:
        """Run the model function with each named site re-parametrised."""
        kinds = dict(self.sites)

        def rule(site: Mapping[str, Any]) -> Reparam | None:
            kind = kinds.get(site["name"])
            return None if kind is None else REPARAMETRISERS[kind]()

        return handlers.reparam(self.fn, config=rule)(**data)


def standard_name(name: str) -> str:
    """Name of the standard normal site that stands for an effect."""
    return f"{name}_decentered"


NO_EFFECTS = (
    "the model has no Normal or MultivariateNormal site in a plate whose distribution depends on "
    "other latent sites."
)


def group_effects(trace: ModelTrace) -> tuple[str, ...]:
    """Names of the latent sites in a plate whose distribution depends on other latent sites."""
    return tuple(
        site.name
        for site in trace.sites.values()
        if site.kind == "latent"
        and site.plates
        and site.distribution in REPARAMETRISERS
        and any(trace.sites[parent].kind != "observed" for parent in site.parents)
    )


def without_parents(trace: ModelTrace, sites: Collection[str]) -> set[str]:
    """Leave out of `sites` those that group effects which stay depend on.

    So these keep a density of their own, whatever is done with them.
    """
    found, left = set(), set(sites)
    while found != left:
        found = left
        stay = [trace.sites[name] for name in group_effects(trace) if name not in found]
        left = found.difference(*(site.parents for site in stay))
    return left


def noncentre(
    fn: Callable[..., Any], data: Mapping[str, Any], sites: tuple[str, ...] | None = None
) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Return the model function with group effects non-centred, and the names of those sites.

    Parameters
    ----------
    fn, data
        NumPyro function and its arguments.
    sites
        Sites to non-centre; all Normal and MultivariateNormal group effects if None.

    Raises
    ------
    ModelError
        A named site is not a latent site of the model, or not (multivariate) Normal.
    """
    trace = abstract_trace(fn, data)
    chosen = group_effects(trace) if sites is None else tuple(sites)
    for name in chosen:
        site = trace.sites.get(name)
        if site is None or site.kind != "latent":
            raise ModelError(
                f"site {name!r} cannot be non-centred: the model has no such latent site. Its "
                f"group effects are {group_effects(trace)}."
            )
        if site.distribution not in REPARAMETRISERS:
            raise ModelError(
                f"site {name!r} has distribution {site.distribution}; only "
                f"{', '.join(REPARAMETRISERS)} effects can be non-centred."
            )
    if not chosen:
        return fn, ()
    return NonCentred(fn, tuple((name, trace.sites[name].distribution) for name in chosen)), chosen
