"""`log_marginal`: from a model to its likelihood with the group effects integrated out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.errors import DataError, ModelError
from hierjax.model import Model
from hierjax.trace import abstract_trace
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.integrate_plan import make_plan
from hierjax.transforms.laplace import approximate
from hierjax.transforms.marginal import LogMarginal
from hierjax.transforms.noncentre import group_effects
from hierjax.transforms.placement import site_names

METHODS = ("auto", "laplace", "quadrature")
_PREPARES = ProgramCache(size=32)

Values = Mapping[str, Any]


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
    chosen = site_names(sites)
    if chosen is None:
        chosen = group_effects(abstract_trace(fn, data))
    approximation = approximate(fn, data, chosen or None)
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    prepare = _PREPARES.get(
        (approximation, arguments),
        lambda: jax.jit(lambda each: approximation.prepare(arguments.rebuild(each))),
    )
    prepared = prepare(arrays)
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
        at = function.rough_fit(sites)
    return function.at_order(max(function._settle(at, None, widen)[0] for widen in (1.0, 2.0)))
