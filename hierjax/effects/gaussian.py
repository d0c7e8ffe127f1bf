"""Latent sites that are Gaussian given other sites, and the square root of their covariance."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hierjax.trace import ModelTrace

WRAPPERS = (dist.ExpandedDistribution, dist.Independent)


@dataclasses.dataclass(frozen=True)
class EffectSite:
    """A latent site that is Gaussian given other sites.

    Attributes
    ----------
    name
        Name of the site.
    shape
        Shape of its value.
    width
        Number of effects of one group q: the product of the event shape.
    plates
        Plates that it lives in.
    """

    name: str
    shape: tuple[int, ...]
    width: int
    plates: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of effects in all."""
        return math.prod(self.shape)

    @property
    def groups(self) -> int:
        """Number of groups J."""
        return self.size // self.width

    def as_groups(self, value: Array) -> Array:
        """Reshape a value of the site to (q, J)."""
        return jnp.reshape(value, (self.groups, self.width)).T

    def as_site(self, effects: Array) -> Array:
        """Reshape effects (q, J) to the shape of the site."""
        return jnp.reshape(effects.T, self.shape)


class Gaussian(NamedTuple):
    """Location and root of a Gaussian site: value = location + root z, z standard normal.

    Attributes
    ----------
    location
        Shape of the site.
    root
        Shape (J or 1, q) if effects are independent, else (J or 1, q, q), lower triangular; one
        root for all groups where the distribution shows that it does not differ.
    """

    location: Array
    root: Array

    def deviation(self, site: EffectSite, white: Array) -> Array:
        """Return root z for standard normals z of the shape of the site."""
        flat = jnp.reshape(white, (site.groups, site.width))
        if self.root.ndim == 2:
            return jnp.reshape(self.root * flat, site.shape)
        return jnp.reshape(jnp.sum(self.root * flat[:, None, :], -1), site.shape)

    def scale(self) -> Array:
        """Root as the core wants it: (q, q), or (q, q, J) where groups differ."""
        root = self.root
        if root.ndim == 2:
            root = root[:, :, None] * jnp.eye(root.shape[1], dtype=root.dtype)
        return root[0] if root.shape[0] == 1 else jnp.moveaxis(root, 0, -1)


def gaussian_of(fn: Any) -> Gaussian:
    """Location and root of a Normal or MultivariateNormal, inside the wrappers of plates."""
    shape = (*fn.batch_shape, *fn.event_shape)
    bare: Any = fn
    while isinstance(bare, WRAPPERS):
        bare = bare.base_dist
    event = len(fn.event_shape)
    width = math.prod(fn.event_shape)
    own = 1 if isinstance(bare, dist.MultivariateNormal) else 0
    root: Any = bare.scale_tril if own else bare.scale  # pyright: ignore[reportAttributeAccessIssue]
    batch = jnp.shape(root)[: jnp.ndim(root) - 2 * own]
    full = shape[: len(shape) - own]
    outer = len(full) - (event - own)
    # Axes that the distribution broadcasts say that groups share one root.
    aligned = (*(1,) * (len(full) - len(batch)), *batch)
    differs = math.prod(aligned[:outer]) > 1
    target = (*(full[:outer] if differs else (1,) * outer), *full[outer:])
    tail = jnp.shape(root)[jnp.ndim(root) - 2 * own :] if own else ()
    root = jnp.broadcast_to(jnp.reshape(root, (*aligned, *tail)), (*target, *tail))
    groups = math.prod(target[:outer])
    if own and event == own:
        root = jnp.reshape(root, (groups, width, width))
    else:
        root = jnp.reshape(root, (groups, width))
    return Gaussian(jnp.broadcast_to(bare.loc, shape), root)


def gaussian_sites(trace: ModelTrace) -> dict[str, EffectSite]:
    """Latent Normal and MultivariateNormal sites of a model, by name, in its order.

    Sites with a mask or a scaled density are left out: they are not Gaussian.
    """
    return {
        site.name: EffectSite(site.name, site.shape, math.prod(site.event_shape), site.plates)
        for site in trace.sites.values()
        if site.kind == "latent" and site.gaussian
    }
