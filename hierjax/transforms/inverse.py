"""From the sites of a model back to those in which it is sampled: the inverse of `recover`.

Each transform puts sites of its own in the place of some of the model's, and is undone in the order
in which they were made: effects that are integrated out are left away, recentred and non-centred
ones become the standard normals that they stand for, positive ones get their free scale.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array
from numpyro import handlers

from hierjax.effects.gaussian import EffectSite, Gaussian, gaussian_of
from hierjax.linalg import Effects
from hierjax.linalg.inverse import noise_of
from hierjax.linalg.lapack import solve_triangular
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.labelled import Labelled
from hierjax.transforms.noncentre import NonCentred
from hierjax.transforms.noncentre import standard_name as decentred_name
from hierjax.transforms.placement import Placement
from hierjax.transforms.recentre import RECENTRED, Recentred
from hierjax.transforms.recentre import standard_name as recentred_name
from hierjax.transforms.rescale import RESCALED, Rescaled, free_name
from hierjax.transforms.subsampled import Subsampled

Sites = dict[str, Array]
Data = Mapping[str, Any]


def sampled_values(fn: Callable[..., Any], sites: Mapping[str, Array], data: Data) -> Sites:
    """Return values of the latent sites of a transformed function; pure.

    Parameters
    ----------
    fn
        Function of `Coordinates`.
    sites
        Values of the original function's sites. Effects may be left out; the standard normals of
        those, and of the effects that depend on them, are left out too.
    data
        Prepared data.
    """
    return _INVERSES.get(type(fn), _unchanged)(fn, sites, data)


def stand_ins(name: str) -> tuple[str, ...]:
    """Names of the sites that can stand for a site, the standard normal ones first."""
    return recentred_name(name), decentred_name(name), free_name(name), name


def _unchanged(fn: Callable[..., Any], sites: Mapping[str, Array], data: Data) -> Sites:
    return dict(sites)


def _wrapped(fn: Labelled | Subsampled, sites: Mapping[str, Array], data: Data) -> Sites:
    return sampled_values(fn.fn, sites, data)


def _integrated(fn: Integrated, sites: Mapping[str, Array], data: Data) -> Sites:
    assert fn.fixed_plan is not None
    return {name: value for name, value in sites.items() if name not in fn.fixed_plan.by_name}


def _rescaled(fn: Rescaled, sites: Mapping[str, Array], data: Data) -> Sites:
    inner = dict(data)
    units = inner.pop(RESCALED)
    found = sampled_values(fn.fn, sites, inner)
    for name in fn.sites:
        if name in found:
            found[free_name(name)] = _softplus_inverse(found.pop(name) / units[name])
    return found


def _softplus_inverse(value: Array) -> Array:
    return value + jnp.log(-jnp.expm1(-value))


def _noncentred(fn: NonCentred, sites: Mapping[str, Array], data: Data) -> Sites:
    found = sampled_values(fn.fn, sites, data)
    names = [name for name, _ in fn.sites if name in found]
    gaussians = _gaussians(fn.fn, names, found, data)
    for name in names:
        value = found.pop(name)
        if name in gaussians:
            found[decentred_name(name)] = _whitened(gaussians[name], value)
    return found


def _recentred(fn: Recentred, sites: Mapping[str, Array], data: Data) -> Sites:
    inner = dict(data)
    prepared, plan = inner.pop(RECENTRED), fn.plan
    assert plan is not None
    found = sampled_values(fn.fn, sites, inner)
    gaussians = _gaussians(fn.fn, list(plan.by_name), found, inner)
    values = {name: found.pop(name) for name in plan.by_name if name in found}
    if set(values) != set(plan.by_name) or not set(plan.latents) <= set(found):
        return found
    white = {name: _whitened(gaussians[name], value) for name, value in values.items()}
    latents = {name: found[name] for name in plan.latents}
    factorisation = fn._approximate(plan, latents, inner, prepared)
    noise = noise_of(factorisation, _core_effects(plan, white))
    structure = plan.layout.structure
    factors = dict(zip(structure.chain, noise.levels, strict=True))
    for place, where in zip(structure.rest, structure.rest_slices, strict=True):
        factor = structure.factors[place]
        factors[place] = jnp.reshape(noise.rest[where], (factor.effects, factor.groups))
    ordered = tuple(factors[place] for place in range(len(structure.factors)))
    effects = Effects(ordered, noise.rest[structure.rest_effects :])
    standard = plan.layout.site_values(effects)
    return found | {recentred_name(name): value for name, value in standard.items()}


def _core_effects(plan: Placement, white: Mapping[str, Array]) -> Effects:
    """Arrange values of the sites as the core has them."""
    factors = tuple(
        jnp.concatenate([site.as_groups(white[site.name]) for site in sites])
        for sites in plan.layout.factors
    )
    columns = [jnp.ravel(white[site.name]) for site in plan.layout.columns]
    return Effects(factors, jnp.concatenate(columns) if columns else jnp.zeros(0))


def _gaussians(
    fn: Callable[..., Any], names: list[str], sites: Mapping[str, Array], data: Data
) -> dict[str, Gaussian]:
    """Location and root of Gaussian sites of `fn`, where all that they depend on is given."""
    model = handlers.substitute(handlers.seed(fn, 0), data=dict(sites))
    with handlers.block():
        trace = handlers.trace(model).get_trace(**data)
    return {name: gaussian_of(trace[name]["fn"]) for name in names if name in trace}


def _whitened(gaussian: Gaussian, value: Array) -> Array:
    """Return the z with value = location + root z."""
    shape, root = value.shape, gaussian.root
    site = EffectSite("", shape, root.shape[1], ())
    flat = jnp.reshape(value - gaussian.location, (site.groups, site.width))
    if root.ndim == 2:
        return jnp.reshape(flat / root, shape)
    root = jnp.broadcast_to(root, (site.groups, *root.shape[1:]))
    return jnp.reshape(solve_triangular(root, flat), shape)


_INVERSES: Mapping[type, Callable[..., Sites]] = {
    Integrated: _integrated,
    Labelled: _wrapped,
    NonCentred: _noncentred,
    Recentred: _recentred,
    Rescaled: _rescaled,
    Subsampled: _wrapped,
}
