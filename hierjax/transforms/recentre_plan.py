"""Which effects to recentre together: decided once, before anything is compiled."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hierjax.arguments import Arguments
from hierjax.effects import EffectSite, Layout, gaussian_sites, lay_out, run_placed
from hierjax.effects.values import some_value
from hierjax.errors import ModelError
from hierjax.polynomial import split
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.transforms.noncentre import group_effects
from hierjax.transforms.rows import rows_split

Data = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class RecentrePlan:
    """How sites are recentred; static and hashable.

    Attributes
    ----------
    sites
        The Gaussian sites that are recentred together.
    latents
        Names of the other latent sites.
    layout
        Factors and columns.
    responses
        Sites whose density depends on the recentred ones.
    hidden
        Deterministic sites that do.
    """

    sites: tuple[EffectSite, ...]
    latents: tuple[str, ...]
    layout: Layout
    responses: tuple[str, ...]
    hidden: frozenset[str]

    @property
    def by_name(self) -> dict[str, EffectSite]:
        """The recentred sites by name."""
        return {site.name: site for site in self.sites}


def make_recentre_plan(
    fn: Callable[..., Any],
    data: Data,
    sites: Sequence[str] | None = None,
    *,
    left_out: Collection[str] = (),
) -> RecentrePlan | None:
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
    known = gaussian_sites(fn, data)
    for name in left_out:
        known.pop(name, None)
    if sites is None:
        effects = tuple(known[name] for name in group_effects(trace) if name in known)
        if not effects:
            return None
        chosen = _Look(fn, data, trace, tuple(known.values())).sharing(effects)
    else:
        wanted = (sites,) if isinstance(sites, str) else tuple(sites)
        for name in wanted:
            if name not in known:
                raise ModelError(
                    f"site {name!r} cannot be recentred: it is no Normal or MultivariateNormal "
                    "latent site without mask or scale. Those of the model are "
                    f"{', '.join(known) or 'none'}."
                )
        chosen = tuple(known[name] for name in known if name in wanted)
    return _Look(fn, data, trace, chosen).plan()


class _Look:
    """One set of Gaussian sites, placed in a model."""

    def __init__(
        self,
        fn: Callable[..., Any],
        data: Data,
        trace: ModelTrace,
        sites: tuple[EffectSite, ...],
    ) -> None:
        self.fn, self.data, self.trace, self.sites = fn, data, trace, sites
        self.arguments = Arguments.of(data)
        self.by_name = {site.name: site for site in sites}
        self.zeros = {site.name: np.zeros(site.shape) for site in sites}
        latents = {
            site.name: some_value(site)
            for site in trace.sites.values()
            if site.kind == "latent" and site.name not in self.by_name
        }
        self.others = (latents, self.arguments.arrays(data))

    def _placed(self, effects: Any, others: Any) -> Any:
        latents, arrays = others
        return run_placed(
            self.fn, self.by_name, effects, latents, self.arguments.rebuild(arrays), whitened=True
        )

    def sharing(self, effects: tuple[EffectSite, ...]) -> tuple[EffectSite, ...]:
        """Effects, and the other sites that enter the same linear predictors and no others."""

        def total(variables: Any, others: Any) -> Any:
            return sum(self._placed(variables, others).log_densities.values())

        def predictors(names: set[str]) -> tuple[int, ...]:
            found = split(total, self.zeros, self.others, lambda path: path[0].key in names)
            return found.identity

        chosen = {site.name for site in effects}
        shared = predictors(chosen)
        for site in self.sites:
            if site.name not in chosen and predictors({*chosen, site.name}) == shared:
                chosen.add(site.name)
        return tuple(site for site in self.sites if site.name in chosen)

    def plan(self) -> RecentrePlan:
        """Lay the sites out for the core."""

        def parts(effects: Any, others: Any) -> Any:
            placed = self._placed(effects, others)
            roots = {name: each.root for name, each in placed.gaussians.items()}
            return placed.log_densities, placed.values, roots

        shape = jax.eval_shape(parts, self.zeros, self.others)
        degrees = split(parts, self.zeros, self.others).degrees
        densities, values, roots = jax.tree.unflatten(jax.tree.structure(shape), degrees)
        varying = [name for name, degree in roots.items() if degree > 0]
        if varying:
            raise ModelError(
                f"site {varying[0]!r} cannot be recentred together with "
                f"{', '.join(repr(name) for name in self.by_name if name != varying[0])}: its "
                "scale depends on them. Leave one of them out of `sites`."
            )
        responses = tuple(name for name, degree in densities.items() if degree > 0)
        hidden = frozenset(
            name
            for name, degree in values.items()
            if degree > 0 and self.trace.sites[name].kind == "deterministic"
        )
        whole = rows_split(
            self.fn, self.arguments, self.by_name, self.zeros, self.others, responses
        )
        layout = lay_out(lambda effects: whole.predictors(effects, self.others), self.sites)
        return RecentrePlan(self.sites, tuple(self.others[0]), layout, responses, hidden)
