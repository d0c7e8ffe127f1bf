"""What can be integrated out of a model, and which way: decided once, before anything is compiled.

Given everything else, a set of sites can be integrated out if they are Gaussian and the log density
of all that depends on them is quadratic in them. Both are read off the traced program, see
`hierjax.polynomial`; which rows share which effects is found by differentiating and checked, see
`hierjax.effects.design`.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments
from hierjax.effects import EffectSite, gaussian_sites, lay_out, run_placed
from hierjax.effects.response import NormalRows, normal_rows
from hierjax.errors import ModelError
from hierjax.linalg.structure import Fixed
from hierjax.polynomial import Separable, separable, split
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.transforms.noncentre import without_parents
from hierjax.transforms.placement import Placement
from hierjax.transforms.trial import Trial

Data = Mapping[str, Any]
MOST_KNOWN = 64  # elements of other sites that may be carried as columns of the summed rows


@dataclasses.dataclass(frozen=True)
class Plan(Placement):
    """How sites are integrated out of a model; static and hashable.

    Attributes
    ----------
    known
        Other latent sites that the mean of the response is affine in. They stay in the model; in
        the summed rows they are columns of the layout whose coefficients are given.
    summed
        Whether rows can be summed once: one Normal response, its mean affine in effects and other
        latent sites alike, its scale known numbers times at most one unknown one. If not, the rows
        are visited at every evaluation.
    """

    known: tuple[EffectSite, ...]
    summed: bool


def make_plan(
    fn: Callable[..., Any],
    data: Data,
    sites: Sequence[str] | None = None,
    *,
    left_out: Collection[str] = (),
    flat: Collection[str] = (),
    fixed: Fixed = "prior",
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
    flat, fixed
        Coefficients whose prior does not count, and what becomes of them: "ml", at their maximum;
        "reml", integrated over a flat prior.

    Raises
    ------
    ModelError
        One of `sites` is not in the model or cannot be integrated out; the message says why.
    """
    trace = abstract_trace(fn, data)
    known = gaussian_sites(trace)
    for name in left_out:
        known.pop(name, None)
    if sites is not None:
        reading = _Reading(fn, data, trace, _named(trace, known, sites))
        reading.raise_unless_quadratic()
    else:
        reading = _largest(fn, data, trace, known)
        if reading is None:
            return None
    return reading.plan(flat, fixed)


def _named(
    trace: ModelTrace, known: Mapping[str, EffectSite], sites: Sequence[str]
) -> tuple[EffectSite, ...]:
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
    return _among(known, sites)


def _largest(
    fn: Callable[..., Any], data: Data, trace: ModelTrace, known: Mapping[str, EffectSite]
) -> "_Reading | None":
    """Find a set that can be integrated out: all, or what is left without those that cannot be."""
    if not known:
        return None
    chosen = set(known)
    if not _Reading(fn, data, trace, tuple(known.values())).is_quadratic():
        chosen = set()
        for site in sorted(known.values(), key=lambda each: -each.size):
            if _Reading(fn, data, trace, (*_among(known, chosen), site)).is_quadratic():
                chosen.add(site.name)
    chosen = without_parents(trace, chosen)
    reading = _Reading(fn, data, trace, _among(known, chosen))
    return reading if any(site.groups > 1 for site in reading.sites) else None


def _among(known: Mapping[str, EffectSite], names: Collection[str]) -> tuple[EffectSite, ...]:
    return tuple(site for name, site in known.items() if name in names)


class _Reading(Trial):
    """One set of sites tried out on a model, to integrate it out."""

    def is_quadratic(self) -> bool:
        """Whether everything that depends on the effects is quadratic in them."""
        return max(self.degrees.log_densities.values(), default=0.0) <= 2.0

    def raise_unless_quadratic(self) -> None:
        """Say which density is not quadratic in which site."""
        degrees = self.degrees.log_densities
        wrong = [name for name, degree in degrees.items() if degree > 2.0]
        if not wrong:
            return
        site = self.trace.sites[wrong[0]]
        alone = [each.name for each in self.sites if self._alone(each).get(site.name, 3.0) > 2.0]
        of = ", ".join(map(repr, alone or self.by_name))
        raise ModelError(
            f"{of} cannot be integrated out: the log density of {site.name!r} ({site.text}) is not "
            f"a quadratic function of {'it' if len(alone) == 1 else 'them'}, so what is left would "
            'not be exact. Use effects="recentre", which is exact for any likelihood.'
        )

    def _alone(self, site: EffectSite) -> dict[str, float]:
        """Degrees of the log densities in one of the sites."""
        return _Reading(self.fn, self.data, self.trace, (site,)).degrees.log_densities

    def plan(self, flat: Collection[str], fixed: Fixed) -> Plan:
        """Lay the sites out for the core."""
        responses, hidden, latents = self.responses, self.hidden, tuple(self.latents)
        known = self._known(responses)
        # All columns are without prior, or none is; known ones have one (of width zero).
        if known is not None and not (known and fixed != "prior"):
            try:
                sites = (*self.sites, *known)
                readings = self.readings("residual", self._residuals, sites)
                layout = lay_out(readings, sites, flat=flat, fixed=fixed)
                return Plan(self.sites, latents, layout, responses, hidden, known, summed=True)
            except ModelError:
                pass  # too many columns; the rows alone may need fewer
        layout = self.layout(flat, fixed)
        return Plan(self.sites, latents, layout, responses, hidden, known=(), summed=False)

    def _known(self, responses: tuple[str, ...]) -> tuple[EffectSite, ...] | None:
        """Other latent sites in the mean, if rows can be summed once; None if they cannot."""
        if len(responses) != 1:
            return None
        name, site = responses[0], self.trace.sites[responses[0]]
        if site.kind != "observed" or site.distribution != "Normal" or site.scaled:
            return None
        rows = rows_function(self.fn, self.by_name, self.arguments, name)

        def parts(variables: Any, arrays: Any) -> Any:
            found = rows(*variables, arrays)
            return found.location, found.present

        variables = (self.zeros, self.latents)
        degrees = split(parts, variables, self.arrays).degrees
        if degrees[0] > 1 or any(degrees[1:]):
            return None
        if scale_of(self.fn, self.by_name, self.arguments, name, self.latents, self.arrays) is None:
            return None
        known = []
        for each, value in self.latents.items():
            only = split(
                parts, variables, self.arrays, chosen=lambda path, each=each: path[-1].key == each
            )
            if only.degrees[0] > 0:
                known.append(EffectSite(each, np.shape(value), 1, ()))
        return tuple(known) if sum(site.size for site in known) <= MOST_KNOWN else None

    def _residuals(self, effects: Mapping[str, Any], others: Any) -> list[Any]:
        (name,), (latents, arrays) = self.responses, others
        residual = residual_of(self.fn, self.by_name, latents, self.arguments, name)
        return [residual(effects, arrays)]


def rows_function(
    fn: Callable[..., Any], sites: Mapping[str, EffectSite], arguments: Arguments, response: str
) -> Callable[..., NormalRows]:
    """Return a function of deviations, other latent sites and arrays giving the Normal response."""

    def rows(effects: Mapping[str, Any], latents: Mapping[str, Any], arrays: Any) -> NormalRows:
        placed = run_placed(
            fn, sites, effects, latents, arguments.rebuild(arrays), whitened=False, densities=False
        )
        return normal_rows(placed.distributions[response], placed.values[response])

    return rows


def residual_of(
    fn: Callable[..., Any],
    sites: Mapping[str, EffectSite],
    latents: Mapping[str, Any],
    arguments: Arguments,
    response: str,
) -> Callable[[Mapping[str, Any], Any], Any]:
    """Return a function of deviations (and known latents) giving y less its mean, where present."""
    rows = rows_function(fn, sites, arguments, response)

    def residual(values: Mapping[str, Any], arrays: Any) -> Any:
        effects = {name: values[name] for name in sites}
        others = dict(latents) | {name: each for name, each in values.items() if name not in sites}
        found = rows(effects, others, arrays)
        return jnp.where(found.present, found.observed - found.location, 0.0)

    return residual


def scale_of(
    fn: Callable[..., Any],
    sites: Mapping[str, EffectSite],
    arguments: Arguments,
    response: str,
    latents: Mapping[str, Any],
    arrays: Any,
) -> Separable | None:
    """Scale of a Normal response as known numbers times one unknown one; None if it is not."""
    rows = rows_function(fn, sites, arguments, response)
    zeros = {site.name: np.zeros(site.shape) for site in sites.values()}
    return separable(lambda h, given: rows(zeros, h, given).scale, dict(latents), arrays)
