"""The likelihood of a model with its group effects integrated out, as a function."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
from hierjax.model import Model
from hierjax.trace import abstract_trace
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.integrate_plan import make_plan
from hierjax.transforms.laplace import Approximation, Evaluation, Prepared, approximate
from hierjax.transforms.noncentre import group_effects
from hierjax.transforms.quadrature import Grid, gauss_hermite
from hierjax.transforms.settle import rough_fit, settle

METHODS = ("auto", "laplace", "quadrature")

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

    def mode(self, hyper: Values, data: Values | None = None) -> ConditionalMode:
        """Mode of the effects given the remaining sites and the data."""

        def run(values: Values, arrays: Any, prepared: Any, start: Any) -> ConditionalMode:
            found, full = self._approximate(values, arrays, prepared, start)
            effects = self._approximation.effects(values, full, found.mode)
            return ConditionalMode(effects, found.mode.converged, found.mode.iterations)

        return self._program("mode", run)(*self._given(hyper, data))

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


def log_marginal(
    model: Model | Callable[..., Any],
    data: Values | None = None,
    *,
    sites: Sequence[str] | None = None,
    method: str = "auto",
    order: int | None = None,
    at: Values | None = None,
) -> LogMarginal:
    """Return the marginal likelihood of a model as a function of its remaining sites.

        logp(hyper, data) = log p(y | hyper) = log integral p(y | u, hyper) p(u | hyper) du

    over the group effects u. The prior of `hyper` is not part of it; `joint` adds it.

    Parameters
    ----------
    model
        A model, or a NumPyro function together with `data`.
    data
        Arguments of the function; the structure is read from them, and they are the default of
        `logp(hyper)`.
    sites
        Gaussian sites to integrate out; by default those that live in a plate and depend on other
        latent sites. Coefficients remain, as in lme4.
    method
        "laplace", "quadrature" (one factor, one or two effects a group), or "auto": the exact
        integral where the likelihood is Gaussian, quadrature where it can be used, otherwise
        Laplace. The result says which it is.
    order
        Nodes per effect of the quadrature. By default as many as it takes for the log likelihood
        to settle to within 0.01 at a rough fit, also with twice the sds of the effects there.
    at
        Values of the remaining sites at which to choose the order, in place of the rough fit.

    Returns
    -------
    LogMarginal
        `logp(hyper, data=None)`: a scalar; differentiable, for any `jit` and `vmap`. `compare`
        shows the error of Laplace's approximation, `choose_order` checks the order elsewhere.

    Raises
    ------
    ModelError
        There is nothing to integrate out, or the likelihood couples linear predictors.
    SettingsError
        Unknown method, or quadrature where it cannot be used.

    Notes
    -----
    Laplace's approximation is not a likelihood for binary data in small groups: with pairs and a
    true sd of 1 its maximum is at 0.70, with 32 rows a group at 0.996.

    References
    ----------
    Pinheiro and Bates (1995), doi:10.1080/10618600.1995.10474663. Kristensen, Nielsen, Berg, Skaug
    and Bell (2016), doi:10.18637/jss.v070.i05.
    """
    checks.one_of("method", method, METHODS)
    if order is not None:
        checks.positive_int("order", order)
    fn, data = _function_and_data(model, data)
    if isinstance(sites, str):
        sites = (sites,)
    chosen = group_effects(abstract_trace(fn, data)) if sites is None else tuple(sites)
    approximation = approximate(fn, data, chosen or None)
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    prepared = jax.jit(lambda each: approximation.prepare(arguments.rebuild(each)))(arrays)
    exact, statistics = None, None
    if method == "auto" and order is None:
        exact, statistics = _exactly(fn, data, chosen)
    function = LogMarginal(
        method="laplace" if exact is None else "exact",
        order=1 if exact is None else 0,
        sites=tuple(site.name for site in approximation.plan.sites),
        latents=approximation.plan.latents,
        _arguments=arguments,
        _arrays=arrays,
        _approximation=approximation,
        _prepared=prepared,
        _exact=exact,
        _statistics=statistics,
    )
    if exact is not None or method == "laplace":
        return function
    if method == "auto" and not approximation.by_group:
        return function
    if order is not None:
        return function.at_order(order)
    return _with_order(function, at)


def _function_and_data(
    model: Model | Callable[..., Any], data: Values | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    if isinstance(model, Model):
        return model.fn, dict(model.data if data is None else model.with_data(data).data)
    if data is None:
        raise DataError("give the arguments of the model function: log_marginal(fn, data).")
    return model, dict(Model(model, data).data)


def _exactly(
    fn: Callable[..., Any], data: Values, sites: tuple[str, ...]
) -> tuple[Integrated | None, Any]:
    """Return the exact integral and its sums, if the log density is quadratic in the effects."""
    try:
        plan = make_plan(fn, data, sites)
    except ModelError:
        return None, None
    integrated = Integrated(fn, None, plan)
    arguments = Arguments.of(data)
    run = jax.jit(lambda each: integrated.prepare(arguments.rebuild(each))[integrated.key])
    return integrated, run(arguments.arrays(data))


def _with_order(function: LogMarginal, at: Values | None) -> LogMarginal:
    """Choose the order at a rough fit, and with twice the sds of the effects there."""
    function._raise_unless_by_group()
    if at is None:
        approximation = function._approximation
        data = function._arguments.rebuild(function._arrays)
        sites = abstract_trace(approximation.fn, data).sites
        at = rough_fit(function.joint, {name: sites[name] for name in function.latents})
    return function.at_order(max(function._settle(at, None, widen)[0] for widen in (1.0, 2.0)))
