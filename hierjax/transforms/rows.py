"""Linear predictors and log likelihood of a model at given values of its other latent sites."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.effects import EffectSite, run_placed
from hierjax.effects.likelihood import unravel
from hierjax.polynomial import Split, split
from hierjax.transforms.placement import Placement

_SPLITS = ProgramCache(size=32)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The model at given other latent sites, cut at its linear predictors.

    Attributes
    ----------
    split
        Predictors as a function of the effects, and the rest.
    others
        Values of the other latent sites, and the arrays of the data.
    """

    split: Split
    others: Any

    def predictors(self, effects: Mapping[str, Any]) -> list[Array]:
        """Linear predictors at given standard normals (or deviations) of the effects."""
        return self.split.predictors(effects, self.others)

    def log_densities(self, predictors: Array) -> Array:
        """Log density of every element of the responses at predictors (n,), one vector."""
        return jnp.concatenate([jnp.ravel(part) for part in self._parts(predictors)])

    def log_density(self, predictors: Array) -> Array:
        """Their sum."""
        return sum(map(jnp.sum, self._parts(predictors)), start=jnp.zeros(()))

    def _parts(self, predictors: Array) -> list[Array]:
        """Log densities per response."""
        return self.split.rest(unravel(predictors, self.split.shapes), self.others)


def probe(rows: Rows, start: Array) -> tuple[Array, Array]:
    """Predictors near `start` at which to try out a likelihood, and a direction; no structure.

    They are `start` itself where the log density is not finite near it.
    """
    generator = np.random.default_rng(21)
    shift, direction = generator.normal(size=(2, start.size)).astype(start.dtype)
    near = start + 0.1 * shift
    near = jnp.where(jnp.isfinite(rows.log_density(near)), near, start)
    return near, jnp.asarray(direction)


def rows_of(
    fn: Callable[..., Any],
    plan: Placement,
    latents: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    whitened: bool = True,
) -> Rows:
    """Cut a model at its linear predictors, at given values of the other latent sites.

    Effects are standard normals, or deviations from their location unless `whitened`.
    """
    arguments = Arguments.of(data)
    others = (dict(latents), tuple(map(jnp.asarray, arguments.arrays(data))))

    def build(shapes: Any) -> Split:
        return rows_split(
            fn, arguments, plan.by_name, plan.zeros(), shapes, plan.responses, whitened=whitened
        )

    return Rows(built_once(_SPLITS, (fn, plan, whitened, arguments), others, build), others)


def built_once(
    cache: ProgramCache, key: tuple[Any, ...], values: Any, build: Callable[[Any], Any]
) -> Any:
    """Return what `build` makes of the shapes of `values`, once for each key and shapes."""
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), values
    )
    leaves, tree = jax.tree.flatten(shapes)
    types = tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)
    return cache.get((*key, tree, types), lambda: build(shapes))


def log_outside(
    fn: Callable[..., Any], plan: Placement, latents: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Log densities that the effects do not enter: of observed sites, and of latent ones."""
    placed = run_placed(fn, plan.by_name, plan.zeros(), latents, data, whitened=True)
    observed = prior = jnp.zeros(())
    for name, log_density in placed.log_densities.items():
        if name in plan.latents and name not in plan.responses:
            prior += log_density
        elif name not in plan.responses:
            observed += log_density
    return observed, prior


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
    """Cut the log densities of the responses, element by element, at their linear predictors."""

    def log_densities(effects: Any, others: Any) -> list[Any]:
        latents, arrays = others
        placed = run_placed(
            fn, sites, effects, latents, arguments.rebuild(arrays),
            whitened=whitened, summed=False,
        )  # fmt: skip
        return [placed.log_densities[name] for name in responses]

    return split(log_densities, zeros, others)
