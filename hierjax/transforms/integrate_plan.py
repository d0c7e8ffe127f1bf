"""What can be integrated out of a model, and which way: decided once, before anything is compiled.

Given everything else, a set of sites can be integrated out if they are Gaussian and the log density
of all that depends on them is quadratic in them. Both are read off the traced program, see
`hierjax.polynomial`; which rows share which effects is found by differentiating and checked, see
`hierjax.effects.design`.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import distributions as dist

from hierjax.arguments import Arguments
from hierjax.effects import EffectSite, Layout, gaussian_sites, lay_out, run_placed
from hierjax.effects.gaussian import WRAPPERS
from hierjax.effects.values import some_value
from hierjax.errors import ModelError
from hierjax.polynomial import Split, split
from hierjax.trace import abstract_trace

Data = Mapping[str, Any]
MOST_KNOWN = 64  # elements of other sites that may be carried as columns of the summed rows


@dataclasses.dataclass(frozen=True)
class Plan:
    """How sites are integrated out of a model; static and hashable.

    Attributes
    ----------
    sites
        The sites that are integrated out.
    latents
        Names of the latent sites that stay.
    layout
        Factors and columns. Columns that are not among `sites` belong to `known`.
    known
        Other latent sites that the mean of the response is affine in. They stay in the model; in
        the summed rows they are columns whose coefficients are given.
    responses
        Sites whose density depends on the sites integrated out.
    hidden
        Deterministic sites that do.
    summed
        Whether rows can be summed once: one Normal response, its mean affine in effects and other
        latent sites alike, its scale one number or known. If not, the rows are visited at every
        evaluation.
    scale_known
        Whether the scale of the response depends on no latent site.
    """

    sites: tuple[EffectSite, ...]
    latents: tuple[str, ...]
    layout: Layout
    known: tuple[EffectSite, ...]
    responses: tuple[str, ...]
    hidden: frozenset[str]
    summed: bool
    scale_known: bool = False

    @property
    def by_name(self) -> dict[str, EffectSite]:
        """The sites that are integrated out, by name."""
        return {site.name: site for site in self.sites}


def make_plan(
    fn: Callable[..., Any],
    data: Data,
    sites: Sequence[str] | None = None,
    *,
    left_out: Collection[str] = (),
) -> Plan | None:
    """Decide what to integrate out of `fn(**data)` and how.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    sites
        Sites to integrate out. If None, as many as possible; None is returned if there are none
        with several groups.
    left_out
        Sites that stay in any case.

    Raises
    ------
    ModelError
        One of `sites` is not in the model or cannot be integrated out; the message says why.
    """
    known = gaussian_sites(fn, data)
    for name in left_out:
        known.pop(name, None)
    if sites is not None:
        chosen = _named(fn, data, known, sites)
        reading = _Reading(fn, data, chosen)
        reading.raise_unless_quadratic()
    else:
        reading = _largest(fn, data, known)
        if reading is None:
            return None
    return reading.plan()


def _named(
    fn: Callable[..., Any],
    data: Data,
    known: Mapping[str, EffectSite],
    sites: Sequence[str],
) -> tuple[EffectSite, ...]:
    if isinstance(sites, str):
        sites = (sites,)
    trace = abstract_trace(fn, data)
    for name in sites:
        found = trace.sites.get(name)
        if found is None or found.kind != "latent":
            raise ModelError(
                f"site {name!r} cannot be integrated out: the model has no latent site of that "
                f"name. Its Gaussian sites are {', '.join(known) or 'none'}."
            )
        if name not in known:
            raise ModelError(
                f"site {name!r} cannot be integrated out: it is {found.text}, and only Normal and "
                "MultivariateNormal sites without mask or scale can be."
            )
    return tuple(known[name] for name in known if name in set(sites))


def _largest(
    fn: Callable[..., Any], data: Data, known: Mapping[str, EffectSite]
) -> "_Reading | None":
    """Find a set that can be integrated out: all, or what is left without those that cannot be."""
    if not known:
        return None
    reading = _Reading(fn, data, tuple(known.values()))
    if not reading.is_quadratic():
        chosen: tuple[EffectSite, ...] = ()
        for site in sorted(known.values(), key=lambda each: -each.size):
            if _Reading(fn, data, (*chosen, site)).is_quadratic():
                chosen = (*chosen, site)
        reading = _Reading(fn, data, tuple(known[name] for name in known if known[name] in chosen))
    return reading if any(site.groups > 1 for site in reading.sites) else None


class _Reading:
    """One set of sites tried out on a model."""

    def __init__(self, fn: Callable[..., Any], data: Data, sites: tuple[EffectSite, ...]) -> None:
        self.fn, self.data, self.sites = fn, data, sites
        self.arguments = Arguments.of(data)
        self.trace = abstract_trace(fn, data)
        self.by_name = {site.name: site for site in sites}
        self.zeros = {site.name: np.zeros(site.shape) for site in sites}
        self.latents = {
            site.name: some_value(site)
            for site in self.trace.sites.values()
            if site.kind == "latent" and site.name not in self.by_name
        }
        self.arrays = self.arguments.arrays(data)
        self._degrees: tuple[dict[str, float], dict[str, float]] | None = None

    def degrees(self) -> tuple[dict[str, float], dict[str, float]]:
        """Degree in the effects of every other density and of every value."""
        if self._degrees is None:
            self._degrees = self._split_of(lambda placed: (placed.log_densities, placed.values))
        assert self._degrees is not None
        return self._degrees

    def is_quadratic(self) -> bool:
        """Whether everything that depends on the effects is quadratic in them."""
        return max(self.degrees()[0].values(), default=0.0) <= 2.0

    def raise_unless_quadratic(self) -> None:
        """Say which density is not quadratic in which site."""
        wrong = [name for name, degree in self.degrees()[0].items() if degree > 2.0]
        if not wrong:
            return
        site = self.trace.sites[wrong[0]]
        alone = [
            each.name
            for each in self.sites
            if _Reading(self.fn, self.data, (each,)).degrees()[0].get(site.name, 3.0) > 2.0
        ]
        of = ", ".join(map(repr, alone or self.by_name))
        raise ModelError(
            f"{of} cannot be integrated out: the log density of {site.name!r} ({site.text}) is not "
            f"a quadratic function of {'it' if len(alone) == 1 else 'them'}, so what is left would "
            'not be exact. Use effects="recentre", which is exact for any likelihood.'
        )

    def plan(self) -> Plan:
        """Lay the sites out for the core."""
        densities, values = self.degrees()
        responses = tuple(name for name, degree in densities.items() if degree > 0)
        hidden = frozenset(
            name
            for name, degree in values.items()
            if degree > 0 and self.trace.sites[name].kind == "deterministic"
        )
        stay = tuple(self.latents)
        found = self._known(responses)
        if found is not None:
            known, scale_known = found
            try:
                layout = lay_out(
                    lambda effects: [self._residual(responses[0], effects, self.arrays)],
                    (*self.sites, *known),
                )
                return Plan(self.sites, stay, layout, known, responses, hidden, True, scale_known)
            except ModelError:
                pass  # too many columns; the rows alone may need fewer
        whole = rows_split(
            self.fn, self.arguments, self.by_name, self.zeros, self._others(), responses
        )
        layout = lay_out(lambda effects: whole.predictors(effects, self._others()), self.sites)
        return Plan(self.sites, stay, layout, (), responses, hidden, summed=False)

    def _others(self) -> tuple[Any, Any]:
        return self.latents, self.arrays

    def _known(self, responses: tuple[str, ...]) -> tuple[tuple[EffectSite, ...], bool] | None:
        """Other latent sites in the mean, if rows can be summed once; None if they cannot.

        Also whether the scale of the response is known.
        """
        if len(responses) != 1 or self.trace.sites[responses[0]].kind != "observed":
            return None
        if not self.trace.sites[responses[0]].gaussian:
            return None
        name = responses[0]
        if bare_normal(self._placed_abstract(name)) is None:
            return None

        def parts(variables: Any, arrays: Any) -> Any:
            effects, latents = variables
            placed = run_placed(
                self.fn, self.by_name, effects, latents, self.arguments.rebuild(arrays),
                whitened=False,
            )  # fmt: skip
            normal = bare_normal(placed.distributions[name])
            return normal.loc, normal.scale

        variables = (self.zeros, self.latents)
        loc, scale = split(parts, variables, self.arrays).degrees
        size = jax.eval_shape(parts, variables, self.arrays)[1].size
        if loc > 1 or (scale > 0 and size != 1):
            return None
        known = []
        for each, value in self.latents.items():
            only = split(
                parts, variables, self.arrays, chosen=lambda path, each=each: path[-1].key == each
            )
            if only.degrees[0] > 0:
                known.append(EffectSite(each, np.shape(value), 1, ()))
        within = sum(site.size for site in known) <= MOST_KNOWN
        return (tuple(known), scale == 0) if within else None

    def _placed_abstract(self, name: str) -> Any:
        found = []

        def run(arrays: Any) -> None:
            placed = run_placed(
                self.fn, self.by_name, self.zeros, self.latents, self.arguments.rebuild(arrays),
                whitened=False,
            )  # fmt: skip
            found.append(placed.distributions[name])

        jax.eval_shape(run, self.arrays)
        return found[0]

    def _residual(self, name: str, effects: Mapping[str, Any], arrays: Any) -> Any:
        return residual_of(self.fn, self.by_name, self.latents, self.arguments, name)(
            effects, arrays
        )[0]

    def _split_of(self, select: Callable[[Any], Any]) -> Any:
        def parts(effects: Any, others: Any) -> Any:
            latents, arrays = others
            return select(
                run_placed(
                    self.fn, self.by_name, effects, latents, self.arguments.rebuild(arrays),
                    whitened=True,
                )
            )  # fmt: skip

        others = self._others()
        shape = jax.eval_shape(parts, self.zeros, others)
        found = split(parts, self.zeros, others)
        return jax.tree.unflatten(jax.tree.structure(shape), found.degrees)


def bare_normal(fn: Any) -> Any:
    """Return the Normal inside the wrappers of plates, None if there is none."""
    while isinstance(fn, WRAPPERS):
        fn = fn.base_dist
    return fn if type(fn) is dist.Normal else None


def residual_of(
    fn: Callable[..., Any],
    sites: Mapping[str, EffectSite],
    latents: Mapping[str, Any],
    arguments: Arguments,
    response: str,
) -> Callable[[Mapping[str, Any], Any], tuple[Any, Any]]:
    """Return a function of deviations (and known latents) giving y less its mean, and the scale."""

    def residual(values: Mapping[str, Any], arrays: Any) -> tuple[Any, Any]:
        effects = {name: values[name] for name in sites}
        others = dict(latents) | {name: each for name, each in values.items() if name not in sites}
        placed = run_placed(fn, sites, effects, others, arguments.rebuild(arrays), whitened=False)
        normal = bare_normal(placed.distributions[response])
        observed = placed.values[response]
        mean = jnp.broadcast_to(normal.loc, jnp.shape(observed))
        return observed - mean, normal.scale

    return residual


def rows_split(
    fn: Callable[..., Any],
    arguments: Arguments,
    sites: Mapping[str, EffectSite],
    zeros: Mapping[str, Any],
    others: Any,
    responses: tuple[str, ...],
    *,
    whitened: bool = True,
) -> Split:
    """Cut the summed log density of the responses at its linear predictors."""

    def log_density(effects: Any, others: Any) -> Any:
        latents, arrays = others
        placed = run_placed(
            fn, sites, effects, latents, arguments.rebuild(arrays), whitened=whitened
        )
        return sum((placed.log_densities[name] for name in responses), start=jnp.zeros(()))

    return split(log_density, zeros, others)
