"""The coordinates in which a model is sampled: a chain of transforms, and the way back."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from jax import Array

from hierjax import checks
from hierjax.errors import ModelError, SettingsError
from hierjax.linalg.size import is_too_large
from hierjax.low_discrepancy import Evenly
from hierjax.trace import abstract_trace
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.integrate_plan import make_plan
from hierjax.transforms.noncentre import NO_EFFECTS, NonCentred, group_effects
from hierjax.transforms.placement import Placement
from hierjax.transforms.prepared import ready
from hierjax.transforms.recentre import Recentred, recentre
from hierjax.transforms.recentre_plan import make_recentre_plan
from hierjax.transforms.rescale import Rescaled, positive_sites

EFFECTS = ("auto", "integrate", "recentre", "centred", "noncentred")
INTEGRATED, RECENTRED, NONCENTRED = "integrated", "recentred", "noncentred"

Effects = str | Mapping[str, str]
P = TypeVar("P", bound=Placement)


class Stage(Protocol):
    """A transform with arrays of its own, that it makes from the data once."""

    key: str

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data with the arrays added under `key`; a pure function."""
        ...

    def recover(
        self, key: Array | Evenly, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Return one draw of the sites before the transform from one after it."""
        ...


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """A model function to sample in place of the original one.

    Attributes
    ----------
    fn
        NumPyro function of the prepared data.
    stages
        Transforms that prepare data and recover sites, innermost first.
    choices
        Site -> word for how it is treated; sites left out are as the model writes them.
    complete
        Whether a method brings all sites back itself.
    """

    fn: Callable[..., Any]
    stages: tuple[Stage, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()
    complete: bool = False

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the data what every stage makes of them; a pure function."""
        found = dict(data)
        for stage in self.stages:
            found = stage.prepare(found)
        return found

    def recover(
        self, key: Array | Evenly, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Return one draw of the original sites from one of the sampled ones; pure."""
        found, left = dict(sites), dict(data)
        for stage in reversed(self.stages):
            found |= stage.recover(key, found, left)
            del left[stage.key]
        return found


def choose_coordinates(
    fn: Callable[..., Any], data: Mapping[str, Any], effects: Effects = "auto"
) -> Coordinates:
    """Choose how each Gaussian site of a model is treated.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    effects
        "auto" integrates out what can be, recentres the group effects that are left, and
        non-centres those that cannot be recentred. "integrate", "recentre", "noncentred" and
        "centred" force one treatment of all group effects. A mapping of sites to those words forces
        single ones; the others are treated as by "auto", and are recentred together with a site
        that is to be.

    Raises
    ------
    ModelError
        A forced choice would be wrong; the message says why.
    SettingsError
        An unknown word or site.
    """
    forced = _forced(fn, data, effects)
    if effects == "centred":
        return Coordinates(fn)
    if effects == "noncentred" and not group_effects(abstract_trace(fn, data)):
        raise ModelError(f"there is nothing to non-centre: {NO_EFFECTS}")
    coordinates = Coordinates(fn)
    words = {effects} if isinstance(effects, str) else set(forced.values())
    if effects != "noncentred" and ("integrate" in words or "recentre" not in words):
        coordinates = _integrated(fn, data, effects, forced)
    if effects != "noncentred":
        coordinates = _recentred(coordinates, fn, data, effects, forced)
    return _rescaled(_noncentred(coordinates, fn, data, forced), fn, data)


def _forced(fn: Callable[..., Any], data: Mapping[str, Any], effects: Effects) -> dict[str, str]:
    """Words for single sites, checked."""
    if isinstance(effects, str):
        checks.one_of("effects", effects, EFFECTS)
        return {}
    trace = abstract_trace(fn, data)
    for name, word in effects.items():
        checks.one_of(f"effects[{name!r}]", word, EFFECTS)
        if name not in trace.sites or trace.sites[name].kind != "latent":
            raise SettingsError(
                f"`effects` names {name!r}, which is no latent site of the model. Its group "
                f"effects are {', '.join(group_effects(trace)) or 'none'}."
            )
    return {name: word for name, word in effects.items() if word != "auto"}


def _integrated(
    fn: Callable[..., Any], data: Mapping[str, Any], effects: Effects, forced: Mapping[str, str]
) -> Coordinates:
    wanted = [name for name, word in forced.items() if word == "integrate"]
    kept = {name for name, word in forced.items() if word != "integrate"}
    if effects == "integrate":
        wanted = list(group_effects(abstract_trace(fn, data)))
    if wanted:
        make_plan(fn, data, wanted, left_out=kept)  # raises with the reason if one cannot be
    plan = _if_possible(make_plan, fn, data, kept)
    if plan is None or not set(wanted) <= set(plan.by_name):
        plan = make_plan(fn, data, wanted, left_out=kept) if wanted else None
    if plan is not None and not plan.latents:
        if wanted:
            raise ModelError(
                "every latent site of the model can be integrated out, so that nothing is left to "
                'sample. Leave effects="auto", which recentres such a model.'
            )
        plan = None
    if plan is None and effects == "integrate":
        raise ModelError(f"there is nothing to integrate out: {NO_EFFECTS}")
    if plan is None:
        return Coordinates(fn)
    stage = Integrated(fn, None, plan)
    return Coordinates(stage, (stage,), tuple((site.name, INTEGRATED) for site in plan.sites))


def _recentred(
    coordinates: Coordinates,
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    effects: Effects,
    forced: Mapping[str, str],
) -> Coordinates:
    """Recentre the group effects that are left, in the model without those integrated out."""
    if effects == "recentre":
        stage = recentre(fn, data=data)
    else:
        wanted = [name for name, word in forced.items() if word == "recentre"]
        kept = {name for name, word in forced.items() if word != "recentre"}
        kept |= {name for name, _ in coordinates.choices}
        if not wanted and kept.issuperset(group_effects(abstract_trace(fn, data))):
            return coordinates
        for each in coordinates.stages:
            if isinstance(each, Integrated):
                _, data = ready(each, data)
        plan = _recentre_plan(coordinates.fn, data, wanted, kept)
        if plan is None:
            return coordinates
        stage = Recentred(coordinates.fn, plan)
    assert stage.plan is not None
    recentred = tuple((site.name, RECENTRED) for site in stage.plan.sites)
    return Coordinates(stage, (*coordinates.stages, stage), (*coordinates.choices, *recentred))


def _recentre_plan(
    fn: Callable[..., Any], data: Mapping[str, Any], wanted: list[str], kept: set[str]
) -> Placement | None:
    """Plan for the sites that are wanted, and for all others that can be recentred with them."""
    plan = _if_possible(make_recentre_plan, fn, data, kept)
    found = () if plan is None else tuple(plan.by_name)
    if set(wanted) <= set(found):
        return plan
    try:
        return make_recentre_plan(fn, data, (*found, *wanted), left_out=kept)
    except ModelError as error:
        if not isinstance(fn, Integrated):
            raise
        integrated = ", ".join(map(repr, fn.taken(data)))
        raise ModelError(
            f"{', '.join(map(repr, wanted))} cannot be recentred with {integrated} integrated out: "
            "what is left of the likelihood is no sum over rows. Recentre both, or make one "
            '"noncentred".'
        ) from error


def _if_possible(
    make: Callable[..., P | None], fn: Callable[..., Any], data: Mapping[str, Any], kept: set[str]
) -> P | None:
    """Plan for all sites that can be treated; None where that fails, since nobody asked for it.

    A plan that does not fit into memory is none.
    """
    try:
        plan = make(fn, data, left_out=kept)
    except ModelError:
        return None
    return None if plan is None or is_too_large(plan.layout.structure) else plan


def _noncentred(
    coordinates: Coordinates,
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    forced: Mapping[str, str],
) -> Coordinates:
    """Non-centre the group effects that are left, but for those forced to stay as written."""
    trace = abstract_trace(fn, data)
    done = {name for name, _ in coordinates.choices}
    for stage in coordinates.stages:  # the density of a response is in that of the stage
        plan = stage.fixed_plan if isinstance(stage, Integrated) else None
        plan = stage.plan if isinstance(stage, Recentred) else plan
        done.update(() if plan is None else plan.responses)
    sites = tuple(
        name for name in group_effects(trace) if name not in done and forced.get(name) != "centred"
    )
    if not sites:
        return coordinates
    kinds = tuple((name, trace.sites[name].distribution) for name in sites)
    return dataclasses.replace(
        coordinates,
        fn=NonCentred(coordinates.fn, kinds),
        choices=(*coordinates.choices, *((name, NONCENTRED) for name in sites)),
    )


def _rescaled(
    coordinates: Coordinates, fn: Callable[..., Any], data: Mapping[str, Any]
) -> Coordinates:
    """Rescale the positive sites, if a transform has left few others to find a pilot mode of."""
    sites = positive_sites(abstract_trace(fn, data))
    if not coordinates.stages or not sites:
        return coordinates
    inner = coordinates.stages[-1]
    pilot = inner.key if isinstance(inner, Recentred) else ""
    stage = Rescaled(coordinates.fn, sites, pilot)
    return dataclasses.replace(coordinates, fn=stage, stages=(*coordinates.stages, stage))
