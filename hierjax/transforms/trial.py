"""Gaussian sites tried out in a model: what depends on them, and to which degree."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.compiler import compile_for, use_of
from hierjax.effects import (
    EffectSite,
    Layout,
    Placed,
    Reading,
    lay_out,
    read_sites,
    run_placed,
)
from hierjax.effects.values import some_latents
from hierjax.linalg.structure import Fixed
from hierjax.polynomial import Split, split
from hierjax.trace import ModelTrace
from hierjax.transforms.rows import built_once, rows_split

_DEGREES = ProgramCache(size=64)
_READINGS = ProgramCache(size=32)


class Degrees(NamedTuple):
    """Degree in the sites that are tried of every other log density, every value, and every root.

    Roots are those of the covariances of the sites themselves.
    """

    log_densities: dict[str, float]
    values: dict[str, float]
    roots: dict[str, float]


class Trial:
    """Gaussian sites placed in `fn(**data)`, its other latent sites at some value.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    trace
        Abstract trace of it.
    sites
        The sites that are tried.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        data: Mapping[str, Any],
        trace: ModelTrace,
        sites: tuple[EffectSite, ...],
    ) -> None:
        self.fn, self.data, self.trace, self.sites = fn, data, trace, sites
        self.arguments = Arguments.of(data)
        self.arrays = self.arguments.arrays(data)
        self.by_name = {site.name: site for site in sites}
        self.zeros = {site.name: np.zeros(site.shape) for site in sites}
        self.latents = some_latents(trace, self.by_name)

    @property
    def others(self) -> tuple[Any, Any]:
        """Values of the other latent sites, and the arrays of the data."""
        return self.latents, self.arrays

    @functools.cached_property
    def degrees(self) -> Degrees:
        """What depends on the sites, and to which degree; no value of the data matters."""
        key = (self.fn, self.arguments, self.sites)
        return built_once(_DEGREES, key, self.others, lambda _: self._find_degrees())

    def _find_degrees(self) -> Degrees:
        def parts(placed: Placed) -> tuple[dict[str, Any], ...]:
            roots = {name: each.root for name, each in placed.gaussians.items()}
            return placed.log_densities, placed.values, roots

        shape = jax.eval_shape(lambda *given: parts(self._placed(*given)), self.zeros, self.others)
        return Degrees(*jax.tree.unflatten(jax.tree.structure(shape), self.split(parts).degrees))

    @property
    def responses(self) -> tuple[str, ...]:
        """Other sites whose density depends on those tried."""
        return tuple(name for name, degree in self.degrees.log_densities.items() if degree > 0)

    @property
    def hidden(self) -> frozenset[str]:
        """Deterministic sites that depend on those tried."""
        return frozenset(
            name
            for name, degree in self.degrees.values.items()
            if degree > 0 and self.trace.sites[name].kind == "deterministic"
        )

    def split(
        self, select: Callable[[Placed], Any], chosen: Callable[[Any], bool] | None = None
    ) -> Split:
        """Cut what `select` takes of the model; see `hierjax.polynomial.split`."""

        def parts(effects: Any, others: Any) -> Any:
            return select(self._placed(effects, others))

        return split(parts, self.zeros, self.others, chosen)

    @functools.cached_property
    def rows(self) -> Split:
        """Log densities of the responses, element by element, cut at their linear predictors."""
        return rows_split(
            self.fn, self.arguments, self.by_name, self.zeros, self.others, self.responses
        )

    def layout(self, flat: Collection[str] = (), fixed: Fixed = "prior") -> Layout:
        """Lay the sites out by the linear predictors of the responses, see `lay_out`."""
        readings = self.readings("predictors", self.rows.predictors, self.sites)
        return lay_out(readings, self.sites, flat=flat, fixed=fixed)

    def readings(
        self,
        kind: str,
        predictors: Callable[[Any, Any], Any],
        sites: tuple[EffectSite, ...],
    ) -> dict[str, Reading]:
        """Read a design off predictors, by a program that is compiled once for all data.

        Parameters
        ----------
        kind
            A word for the predictors: they follow from it, the function and the sites.
        predictors
            Affine function of the effects, given `others`.
        sites
            Whose effects.
        """
        others = jax.tree.map(lambda x: np.asarray(x, jnp.result_type(x)), self.others)

        def read(others: Any) -> dict[str, Reading]:
            return read_sites(lambda effects: predictors(effects, others), sites)

        def build(shapes: Any) -> Callable[..., Any]:
            return compile_for(read, shapes, use=use_of(shapes))[0]

        key = (kind, self.fn, self.arguments, self.sites, sites, self.responses)
        return jax.device_get(built_once(_READINGS, key, others, build)(others))

    def _placed(self, effects: Any, others: Any) -> Placed:
        latents, arrays = others
        return run_placed(
            self.fn, self.by_name, effects, latents, self.arguments.rebuild(arrays), whitened=True
        )
