"""A marginal log density as a function of the sites that remain, and its error shown beside it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.errors import DataError, ModelError, SettingsError
from hierjax.linalg import Effects
from hierjax.trace import Site
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.laplace import Approximation, Evaluation, Prepared
from hierjax.transforms.quadrature import Grid, gauss_hermite
from hierjax.transforms.settle import rough_fit, settle

Values = Mapping[str, Any]

_PROGRAMS = ProgramCache(size=64)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Marginal log likelihoods of one point by several methods.

    Attributes
    ----------
    laplace
        By Laplace's approximation.
    quadrature
        By quadrature, or exactly; None where groups are crossed, nested, or have more than two
        effects: then nobody knows the error of `laplace`.
    order
        Nodes per effect at which the quadrature had settled to within 0.01; None if it is exact.
    error
        `laplace` less `quadrature`.
    """

    laplace: float
    quadrature: float | None
    order: int | None
    error: float | None


@dataclasses.dataclass(frozen=True)
class ConditionalMode:
    """Mode of the effects given the remaining sites.

    Attributes
    ----------
    values
        Site -> its value, in the model's units.
    converged
        Whether the search found a maximum; if not, the marginal log density there is NaN.
    iterations
        Newton steps taken.
    """

    values: dict[str, Array]
    converged: Array
    iterations: Array


jax.tree_util.register_dataclass(ConditionalMode)


@dataclasses.dataclass(frozen=True, eq=False)
class LogMarginal:
    """Log density of the data given the remaining sites, effects integrated out.

    Called as `logp(hyper, data=None)` it is a pure function for any `jit`, `grad` and `vmap`, see
    `log_marginal`.

    Attributes
    ----------
    method
        "exact", "quadrature" or "laplace".
    order
        Nodes per effect of the quadrature; 1 for "laplace", 0 for "exact".
    sites
        The effects that are integrated out.
    latents
        The remaining sites: the keys of `hyper`.
    """

    method: str
    order: int
    sites: tuple[str, ...]
    latents: tuple[str, ...]
    _arguments: Arguments
    _arrays: tuple[Any, ...]
    _approximation: Approximation
    _prepared: Prepared
    _exact: Integrated | None
    _statistics: Any
    _start: Effects | None = None

    def __call__(self, hyper: Values, data: Values | None = None) -> Array:
        """Log density of the data given the remaining sites.

        Parameters
        ----------
        hyper
            Remaining site -> its (constrained) value.
        data
            Arguments of the model function, with the same shapes and integers as those it was made
            with, which are the default.

        Returns
        -------
        Scalar, without the prior of `hyper`. NaN where no mode of the effects was found, and for
        data of another structure (which rows share a group, what is nested in what).
        """
        return self._evaluate(hyper, data)[0]

    def joint(self, hyper: Values, data: Values | None = None) -> Array:
        """Log density of the data and the remaining sites: the sum of marginal and prior."""
        return sum(self._evaluate(hyper, data), start=jnp.zeros(()))

    def rough_fit(self, sites: Mapping[str, Site]) -> dict[str, Array]:
        """Values of the remaining sites near a maximum of the joint density, by Laplace."""

        def log_joint(values: Values, arrays: Any, prepared: Any, start: Any) -> Array:
            found, _ = self._approximate(values, arrays, prepared, start)
            return found.log_density + found.log_prior

        return rough_fit(
            log_joint,
            {name: sites[name] for name in self.latents},
            (self._arrays, self._prepared, self._start),
            lambda run: self._program(("rough fit", jnp.result_type(float).name), run),
        )

    def mode(self, hyper: Values, data: Values | None = None) -> ConditionalMode:
        """Mode of the effects given the remaining sites and the data."""

        def run(values: Values, arrays: Any, prepared: Any, start: Any) -> ConditionalMode:
            found, full = self._approximate(values, arrays, prepared, start)
            effects = self._approximation.effects(values, full, found.mode)
            return ConditionalMode(effects, found.mode.converged, found.mode.iterations)

        return self._program("mode", run)(*self.at_order(1)._given(hyper, data))

    def choose_order(self, hyper: Values, data: Values | None = None) -> int:
        """Nodes per effect at which the log likelihood at `hyper` has settled to within 0.01.

        Runs on the host. Warns if it has not at the largest order tried.

        Raises
        ------
        SettingsError
            The model is one that quadrature cannot be used on.
        """
        return self._settle(hyper, data)[0]

    def at_order(self, order: int) -> "LogMarginal":
        """Return the same function by quadrature of another order; 1 is Laplace's approximation."""
        checks.positive_int("order", order)
        if order > 1:
            self._raise_unless_by_group()
        method = "laplace" if order == 1 else "quadrature"
        return dataclasses.replace(self, method=method, order=order, _exact=None)

    def starting_at(self, hyper: Values) -> "LogMarginal":
        """Return the same function, quicker near `hyper`: its search starts at the mode there.

        Any other start that is better is taken instead, so that no value depends on it.
        """
        values, arrays, prepared, _ = self.at_order(1)._given(hyper, None)

        def run(values: Values, arrays: Any, prepared: Any) -> Effects:
            return self._approximate(values, arrays, prepared, None)[0].mode.effects

        start = self._program("start", run)(values, arrays, prepared)
        return dataclasses.replace(self, _start=start)

    def compare(self, hyper: Values, data: Values | None = None) -> Comparison:
        """Laplace's approximation beside quadrature of a sufficient order, or the exact value."""
        laplace = float(self.at_order(1)(hyper, data))
        if self._exact is not None:
            exact = float(self(hyper, data))
            return Comparison(laplace, exact, None, laplace - exact)
        if not self._approximation.by_group:
            return Comparison(laplace, None, None, None)
        order, value = self._settle(hyper, data)
        return Comparison(laplace, value, order, laplace - value)

    def _settle(
        self, hyper: Values, data: Values | None = None, widen: float = 1.0
    ) -> tuple[int, float]:
        """Order at which the value settles, and that value."""
        self._raise_unless_by_group()

        def run(
            values: Values, arrays: Any, prepared: Any, start: Any, grid: Grid, widen: Array
        ) -> Array:
            found, _ = self._approximate(values, arrays, prepared, start, grid, widen)
            return found.log_density

        program = self._program("settle", run)
        given = self.at_order(1)._given(hyper, data)
        factor = np.asarray(widen, jnp.result_type(float))
        return settle(lambda grid: program(*given, grid, factor), self._width)

    @property
    def _width(self) -> int:
        return self._approximation.plan.layout.structure.factors[0].effects

    def _raise_unless_by_group(self) -> None:
        if not self._approximation.by_group:
            structure = self._approximation.plan.layout.structure
            effects = ", ".join(f"{each.name} ({each.effects})" for each in structure.factors)
            raise SettingsError(
                "quadrature needs one grouping factor with one or two effects a group, and rows "
                f"that each depend on one group; the factors here are {effects}. Use "
                'method="laplace", whose error is then unknown, or sample the effects.'
            )

    def _evaluate(self, hyper: Values, data: Values | None) -> tuple[Array, Array]:
        """Marginal log density, and log prior of `hyper`."""
        grid = gauss_hermite(self.order, self._width) if self.order > 1 else None

        def approximate(values: Values, arrays: Any, prepared: Any, start: Any) -> Any:
            found, _ = self._approximate(values, arrays, prepared, start, grid)
            return found.log_density, found.log_prior

        def exact(values: Values, arrays: Any, prepared: Any, start: Any) -> Any:
            del start
            assert self._exact is not None
            data = self._arguments.rebuild(arrays)
            if prepared is None:
                return _integrated_density(self._exact, values, self._exact.prepare(data))
            return _integrated_density(self._exact, values, {**data, self._exact.key: prepared})

        run = approximate if self._exact is None else exact
        return self._program(self.order, run)(*self._given(hyper, data))

    def _approximate(
        self,
        values: Values,
        arrays: Any,
        prepared: Any,
        start: Any,
        grid: Grid | None = None,
        widen: float | Array = 1.0,
    ) -> tuple[Evaluation, dict[str, Any]]:
        data = self._arguments.rebuild(arrays)
        if prepared is None:
            prepared = self._approximation.prepare(data)
        found = self._approximation.evaluate(values, data, prepared, grid, start=start, widen=widen)
        return found, data

    def _program(self, what: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        """Compile once per kind of evaluation."""
        identity = (self._approximation, self._exact, self._arguments, what)
        return _PROGRAMS.get(identity, lambda: jax.jit(run))

    def _given(self, hyper: Values, data: Values | None) -> tuple[Any, ...]:
        """Arguments of a program: values, arrays of the data, what was prepared, and the start."""
        values = self._values(hyper)
        if data is None:
            prepared = self._prepared if self._exact is None else self._statistics
            return values, self._arrays, prepared, self._start
        arguments = Arguments.of(data)
        if arguments != self._arguments:
            raise DataError(
                "the data have other arguments or integers than those that this function was made "
                "with (numbers of groups are part of its structure). Make a new one: "
                "hierjax.log_marginal(model, data)."
            )
        return values, arguments.arrays(data), None, None

    def _values(self, hyper: Values) -> dict[str, Array]:
        missing = [name for name in self.latents if name not in hyper]
        unknown = [name for name in hyper if name not in self.latents]
        if missing or unknown:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}"
            raise ModelError(
                f"`hyper` {wrong}: it must give the constrained value of each of the sites "
                f"{', '.join(self.latents)}. Integrated out are {', '.join(self.sites)}."
            )
        return {name: jnp.asarray(hyper[name], jnp.result_type(float)) for name in self.latents}


def _integrated_density(
    integrated: Integrated, values: Values, data: Values
) -> tuple[Array, Array]:
    """Log densities of observed and of latent sites of an integrated function."""
    fn = handlers.substitute(handlers.seed(integrated, rng_seed=0), data=dict(values))
    with handlers.block():
        sites = handlers.trace(fn).get_trace(**data)
    observed = prior = jnp.zeros(())
    for site in sites.values():
        if site["type"] != "sample":
            continue
        log_density = site["fn"].log_prob(site["value"])
        if site["scale"] is not None:
            log_density = site["scale"] * log_density
        if site["is_observed"]:
            observed += jnp.sum(log_density)
        else:
            prior += jnp.sum(log_density)
    return observed, prior
