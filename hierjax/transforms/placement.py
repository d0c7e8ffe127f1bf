"""What every plan says of the Gaussian sites that it takes out of a model."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from hierjax.effects import EffectSite, Layout
from hierjax.effects.coupling import Coupling


@dataclasses.dataclass(frozen=True)
class Placement:
    """Gaussian sites taken out of a model; static and hashable.

    Attributes
    ----------
    sites
        The sites that are taken out.
    latents
        Names of the latent sites that stay.
    layout
        Factors and columns.
    responses
        Sites whose density depends on those taken out.
    hidden
        Deterministic sites that do.
    coupling
        Which linear predictors belong together; None where each term of the log likelihood has one.
    """

    sites: tuple[EffectSite, ...]
    latents: tuple[str, ...]
    layout: Layout
    responses: tuple[str, ...]
    hidden: frozenset[str]
    coupling: Coupling | None = dataclasses.field(default=None, kw_only=True)

    @property
    def by_name(self) -> dict[str, EffectSite]:
        """The sites that are taken out, by name."""
        return {site.name: site for site in self.sites}

    def zeros(self) -> dict[str, Array]:
        """Deviations, or standard normals, that are all zero."""
        return {site.name: jnp.zeros(site.shape) for site in self.sites}


def site_names(sites: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return a user's choice of sites, of which one may come as a string; None leaves it open."""
    if sites is None:
        return None
    return (sites,) if isinstance(sites, str) else tuple(sites)
