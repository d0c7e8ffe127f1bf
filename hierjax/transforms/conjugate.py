"""Sites whose distribution given all other sites is known: recognised, proved, and drawn from.

Let a site v enter the densities of others as the variance (or sd, or precision) of normal
distributions and in no other way. Then, given everything else,

    log p(others | v) = constant - n/2 log w - S / (2 w),     w the variance,

for numbers n and S per element of v, and the same with log|W| and tr(S W^-1) for matrices. Two
derivatives give n and S whatever the model is, so nothing has to be known of how v gets to those
densities. With a prior of the right family the conditional distribution of v follows. A family is a
conjecture, made from the class of the prior; it holds if the joint density less the density of the
conditional distribution is the same at several values of v, which is tried before it is used.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.arguments import Arguments
from hierjax.compiler import compile_for
from hierjax.effects import run_placed
from hierjax.effects.values import some_value
from hierjax.linalg.lapack import cholesky
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.trace_recorder import unwrapped
from hierjax.transforms.conjugate_families import FAMILIES, Evidence, Family

TOLERANCE = 1e-8  # of the largest log density, in float64
TRIES = 4

Values = Mapping[str, Any]


class Exact(NamedTuple):
    """A site that is drawn from its distribution given all others, and the family of that."""

    site: str
    family: str


def find_exact(
    fn: Callable[..., Any], data: Mapping[str, Any], sites: tuple[str, ...]
) -> tuple[Exact, ...]:
    """Find those of some latent sites whose distribution given all others is of a known family.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    sites
        Names of latent sites.
    """
    trace = abstract_trace(fn, data)
    found = [Exact(name, family) for name in sites for family in _families(fn, data, trace, name)]
    if not found:
        return ()
    with jax.enable_x64(True):
        held = _gaps(fn, data, trace, tuple(found))
    return tuple(each for each, holds in zip(found, held, strict=True) if holds)


def exact_draw(
    fn: Callable[..., Any], exact: Exact, key: Array, values: Values, data: Mapping[str, Any]
) -> Array:
    """Draw a site from its distribution given all others.

    Parameters
    ----------
    fn, data
        The model function and its arguments.
    exact
        The site, and what `find_exact` said of it.
    key
        Random key.
    values
        Values of all latent sites.
    """
    family, value = FAMILIES[exact.family], jnp.asarray(values[exact.site])
    parameters = _parameters(family, _prior(fn, exact.site, values, data), value)
    evidence = evidence_of(family, others_of(fn, exact.site, values, data), value)
    return family.draw(key, parameters, evidence, value)


def _families(
    fn: Callable[..., Any], data: Mapping[str, Any], trace: ModelTrace, name: str
) -> list[str]:
    """Families that the prior of a site belongs to by its class."""
    site = trace.sites[name]
    if site.scaled:
        return []
    values = {each.name: some_value(each) for each in _latents(trace)}

    def matches(family: Family) -> bool:
        found = []

        def read() -> Array:
            found.append(family.read(_prior(fn, name, values, data)))
            return jnp.zeros(())

        jax.eval_shape(read)
        fits = len(site.shape) == 2 if family.matrix else True
        return fits and found[0] is not None

    return [name for name, family in FAMILIES.items() if matches(family)]


def _latents(trace: ModelTrace) -> list[Any]:
    return [site for site in trace.sites.values() if site.kind == "latent"]


def _densities(
    fn: Callable[..., Any], values: Values, data: Mapping[str, Any]
) -> Mapping[str, Array]:
    """Log density of every site at values of all latent ones."""
    return run_placed(fn, {}, {}, values, data, whitened=False).log_densities


def others_of(
    fn: Callable[..., Any], name: str, values: Values, data: Mapping[str, Any]
) -> Callable[[Array], Array]:
    """Log density of all other sites as a function of one."""

    def log_density(value: Array) -> Array:
        parts = _densities(fn, {**values, name: value}, data).items()
        return sum((part for each, part in parts if each != name), start=jnp.zeros(()))

    return log_density


def _prior(fn: Callable[..., Any], name: str, values: Values, data: Mapping[str, Any]) -> Any:
    """Prior of a site without wrappers."""
    return unwrapped(
        run_placed(fn, {}, {}, values, data, whitened=False, densities=False).distributions[name]
    )


def _parameters(family: Family, prior: Any, value: Array) -> tuple[Any, ...]:
    parameters = family.read(prior)
    assert parameters is not None  # the class of a prior does not change
    if family.matrix:
        return parameters
    return tuple(jnp.broadcast_to(each, value.shape) for each in parameters)


def evidence_of(family: Family, others: Callable[[Array], Array], value: Array) -> Evidence:
    """Read n and S off the slopes at the variance w and at 2 w."""
    slope, factor = jax.grad(others), 2.0 ** (1.0 / family.power)
    first, second = slope(value), slope(factor * value)
    if not family.matrix:
        first, second = value * first / family.power, factor * value * second / family.power
        variance = value**family.power
        squares = 4.0 * variance * (first - second)
        return Evidence(squares / variance - 2.0 * first, squares)
    inverse = jnp.linalg.inv(value)
    first, second = (0.5 * (each + each.T) for each in (first, second))
    if family.power == 1:
        curved = 4.0 * (first - 2.0 * second)  # W^-1 S W^-1
        count = jnp.sum((curved - 2.0 * first) * value) / len(value)
        return Evidence(count, value @ curved @ value)
    count = 2.0 * jnp.sum((second - first) * value) / len(value)
    return Evidence(count, count * inverse - 2.0 * first)


def _gaps(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    trace: ModelTrace,
    candidates: tuple[Exact, ...],
) -> list[bool]:
    """Whether joint density and conditional density differ by a constant, for each candidate."""
    arguments, generator = Arguments.of(data), np.random.default_rng(21)
    values = {site.name: _some_value(site, generator) for site in _latents(trace)}
    noise = {
        each.site: generator.normal(size=(TRIES, *trace.sites[each.site].shape))
        for each in candidates
    }

    def run(arrays: Any, values: Values, noise: Any) -> list[tuple[Array, Array]]:
        given = arguments.rebuild(arrays)
        return [_compare(fn, given, values, exact, noise[exact.site]) for exact in candidates]

    given = arguments.arrays(data), values, noise
    pairs = jax.device_get(compile_for(run, *given)[0](*given))
    return [bool(np.ptp(gap) <= TOLERANCE * (1.0 + np.abs(size).max())) for gap, size in pairs]


def _compare(
    fn: Callable[..., Any], data: Mapping[str, Any], values: Values, exact: Exact, noise: Array
) -> tuple[Array, Array]:
    """Joint less conditional log density at several values, and the joint ones."""
    family, value = FAMILIES[exact.family], values[exact.site]
    others = others_of(fn, exact.site, values, data)
    typical = _typical(family, evidence_of(family, others, value))
    tries = jax.vmap(lambda each: _near(family, typical, each))(noise)
    evidence = evidence_of(family, others, tries[0])
    parameters = _parameters(family, _prior(fn, exact.site, values, data), value)

    def at(value: Array) -> tuple[Array, Array]:
        densities = _densities(fn, {**values, exact.site: value}, data)
        joint = sum(densities.values(), start=jnp.zeros(()))
        return joint - jnp.sum(family.log_density(parameters, evidence, value)), joint

    return jax.vmap(at)(tries)


def _some_value(site: Any, generator: np.random.Generator) -> np.ndarray:
    """Return some value of a latent site that is unlike that of any other."""
    value = some_value(site)
    if site.gaussian:
        return value + generator.normal(size=site.shape)
    positive = np.all(value > 0) and "corr" not in type(site.support).__name__
    return value * np.exp(0.2 * generator.normal()) if positive else value


def _typical(family: Family, evidence: Evidence) -> Array:
    """Value of the site at which the variance is S / n."""
    variance = evidence.squares / evidence.count
    if family.matrix:
        return variance if family.power == 1 else jnp.linalg.inv(variance)
    return variance ** (1.0 / family.power)


def _near(family: Family, typical: Array, noise: Array) -> Array:
    """Value of the site near a typical one."""
    if not family.matrix:
        return typical * jnp.exp(0.5 * noise)
    root = cholesky(typical) @ (jnp.eye(len(typical)) + 0.3 * noise)
    return root @ root.T
