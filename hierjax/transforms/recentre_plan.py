"""Which effects to recentre together: decided once, before anything is compiled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hierjax.effects import EffectSite, gaussian_sites
from hierjax.errors import ModelError
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.transforms.coupled import read_coupling
from hierjax.transforms.noncentre import group_effects, without_parents
from hierjax.transforms.placement import Placement
from hierjax.transforms.trial import Trial

Data = Mapping[str, Any]


def make_recentre_plan(
    fn: Callable[..., Any],
    data: Data,
    sites: Sequence[str] | None = None,
    *,
    left_out: Collection[str] = (),
) -> Placement | None:
    """Decide what to recentre in `fn(**data)`.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    sites
        Sites to recentre. By default the group effects and, with them, the Gaussian coefficients
        that share their linear predictors; None is returned if there are no group effects.
    left_out
        Sites that stay in any case.

    Raises
    ------
    ModelError
        One of `sites` is not in the model, is not Gaussian, or its scale depends on another.
    """
    trace = abstract_trace(fn, data)
    known = gaussian_sites(trace)
    for name in left_out:
        known.pop(name, None)
    if sites is None:
        effects = tuple(known[name] for name in group_effects(trace) if name in known)
        if not effects:
            return None
        shared = _sharing(Trial(fn, data, trace, tuple(known.values())), effects)
        together = _together(fn, data, trace, shared)
        names = without_parents(trace, {site.name for site in together})
        chosen = tuple(site for site in together if site.name in names)
        if not chosen:
            return None
    else:
        for name in sites:
            if name not in known:
                raise ModelError(
                    f"site {name!r} cannot be recentred: it is no Normal or MultivariateNormal "
                    "latent site without mask or scale. Those of the model are "
                    f"{', '.join(known) or 'none'}."
                )
        chosen = tuple(known[name] for name in known if name in sites)
    return _plan(Trial(fn, data, trace, chosen))


def _sharing(trial: Trial, effects: tuple[EffectSite, ...]) -> tuple[EffectSite, ...]:
    """Effects, and the other sites that enter the same linear predictors and no others."""

    def predictors(names: set[str]) -> tuple[int, ...]:
        return trial.split(
            lambda placed: sum(placed.log_densities.values()), lambda path: path[0].key in names
        ).identity

    chosen = {site.name for site in effects}
    shared = predictors(chosen)
    for site in trial.sites:
        if site.name not in chosen and predictors({*chosen, site.name}) == shared:
            chosen.add(site.name)
    return tuple(site for site in trial.sites if site.name in chosen)


def _together(
    fn: Callable[..., Any], data: Data, trace: ModelTrace, sites: tuple[EffectSite, ...]
) -> tuple[EffectSite, ...]:
    """Sites without those that the scale of another depends on."""
    chosen: tuple[EffectSite, ...] = sites
    if _varying(Trial(fn, data, trace, sites)):
        chosen = ()
        for site in reversed(sites):  # a site comes after those that its scale depends on
            if not _varying(Trial(fn, data, trace, (site, *chosen))):
                chosen = (site, *chosen)
    return chosen


def _varying(trial: Trial) -> list[str]:
    """Names of the sites whose scale depends on another."""
    return [name for name, degree in trial.degrees.roots.items() if degree > 0]


def _plan(trial: Trial) -> Placement:
    """Lay the sites out for the core."""
    varying = _varying(trial)
    if varying:
        raise ModelError(
            f"site {varying[0]!r} cannot be recentred together with "
            f"{', '.join(repr(name) for name in trial.by_name if name != varying[0])}: its "
            "scale depends on them. Leave one of them out of `sites`."
        )
    latents, layout = tuple(trial.latents), trial.layout()
    return Placement(
        trial.sites, latents, layout, trial.responses, trial.hidden,
        coupling=read_coupling(trial, layout),
    )  # fmt: skip
