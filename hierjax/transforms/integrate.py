"""Integrate Gaussian effects out of a model function, exactly, and draw them back.

With u ~ N(m, L L') given the hyperparameters h and a log density quadratic in u,

    log p(y | h) = log p(y, u | h) - log p(u | y, h)        for every u,

and both terms on the right are known in closed form. The integrated function has the sites h, the
density p(h) p(y | h) and no effects; `recover` draws u from p(u | y, h), so that the draws of
(h, u) are those of the original model.

References
----------
Lai, Sheldon and Domke (2024), Hamiltonian Monte Carlo inference of marginalized linear
mixed-effects models, arXiv:2410.24079. Bates, Maechler, Bolker and Walker (2015),
doi:10.18637/jss.v067.i01.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.arguments import Arguments
from hierjax.density import map_in_batches
from hierjax.effects import Design, Layout, run_placed
from hierjax.effects.design import check_design, design_of, directions
from hierjax.effects.mode import condition, predict, quadratic_at
from hierjax.effects.place import run_outside
from hierjax.effects.prior import column_scale
from hierjax.effects.values import some_latents
from hierjax.errors import ModelError
from hierjax.linalg import (
    Effects,
    Factorisation,
    Statistics,
    conditional_draw,
    conditional_mean,
    factorise,
    log_likelihood_of,
    summarise,
)
from hierjax.low_discrepancy import Evenly, own_key
from hierjax.trace import abstract_trace
from hierjax.transforms.factors import lazy_factor
from hierjax.transforms.integrate_plan import Plan, make_plan
from hierjax.transforms.placement import site_names
from hierjax.transforms.prepared import ready
from hierjax.transforms.rows import rows_of
from hierjax.transforms.summed import gaussian_rows, prior_and_scale

PREPARED = "hierjax_prepared"


@dataclasses.dataclass(frozen=True)
class Integrated:
    """A model function without the effects that are integrated out; equal if its parts are equal.

    Called as `function(**data)` it is an ordinary NumPyro function with the remaining sites, a
    factor `<response>_integrated`, and the deterministic sites that need no effects.

    Attributes
    ----------
    fn
        The original model function.
    sites
        Names of the sites to integrate out; None for all that can be.
    fixed_plan
        What `make_plan` decided, if that is done already.
    """

    fn: Callable[..., Any]
    sites: tuple[str, ...] | None = None
    fixed_plan: Plan | None = None
    key = PREPARED
    maker = "integrate"

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def is_planned(self) -> bool:
        """Whether it is decided what is integrated out."""
        return self.fixed_plan is not None

    def planned(self, data: Mapping[str, Any]) -> Self:
        """Return the function with what is decided for such data."""
        return dataclasses.replace(self, fixed_plan=self.plan(data))

    def plan(self, data: Mapping[str, Any]) -> Plan:
        """Decide what is integrated out, and how, for such data."""
        if self.fixed_plan is not None:
            return self.fixed_plan
        found = make_plan(self.fn, data, self.sites)
        if found is None:
            raise ModelError(
                "nothing can be integrated out: no Gaussian group effects enter the log density "
                "of what depends on them as a quadratic function. Use hierjax.recentre."
            )
        return found

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with all that does not depend on the sites summed up; a pure function."""
        plan = self.plan(data)
        prepare = _prepare_summed if plan.summed else _prepare_rows
        return {**data, PREPARED: prepare(self.fn, plan, data)}

    def __call__(self, **data: Any) -> None:
        """Run the model with the effects integrated out."""
        function, data = ready(self, data)
        plan, prepared = function.plan(data), data.pop(PREPARED)
        values = run_outside(self.fn, plan.by_name, data, silent=plan.responses, hidden=plan.hidden)
        latents = {name: values[name] for name in plan.latents}
        lazy_factor(
            f"{plan.responses[0]}_integrated",
            lambda: _marginal(self.fn, plan, latents, data, prepared)[0],
        )

    def recover(
        self, key: Array | Evenly, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Draw the effects given one draw of the other latent sites; every site of the model."""
        effects = conditional_draw(self.conditional(sites, data), own_key(key))
        return self.placed(effects, sites, data)

    def taken(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the sites that are integrated out."""
        return tuple(self.plan(data).by_name)

    def conditional(self, sites: Mapping[str, Any], data: Mapping[str, Any]) -> Factorisation:
        """Distribution of the effects given the remaining sites, as the core has it."""
        function, data = ready(self, data)
        plan, prepared = function.plan(data), data.pop(PREPARED)
        own = {name: sites[name] for name in plan.latents}
        if plan.summed:
            return _summed_factorisation(self.fn, plan, own, data, prepared["statistics"])
        return _marginal(self.fn, plan, own, data, prepared)[1]

    def placed(
        self, effects: Effects, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Every site of the model, given effects of the core and the remaining sites."""
        function, data = ready(self, data)
        del data[PREPARED]
        return placed_sites(self.fn, function.plan(data), effects, sites, data)


def placed_sites(
    fn: Callable[..., Any],
    plan: Plan,
    effects: Effects,
    sites: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Array]:
    """Every site of `fn(**data)`, given effects of the core and the remaining sites."""
    own = {name: sites[name] for name in plan.latents}
    values = plan.layout.site_values(effects)
    chosen = {site.name: values[site.name] for site in plan.sites}
    placed = run_placed(
        fn, plan.by_name, chosen, own, data, whitened=not plan.summed, densities=False
    )
    return {**placed.values, **own}


def _prepare_summed(fn: Callable[..., Any], plan: Plan, data: Mapping[str, Any]) -> dict[str, Any]:
    """Sum the rows once: nothing below depends on a latent site."""
    rows = gaussian_rows(fn, plan, data)
    structure = plan.layout.structure
    columns = rows.columns if rows.response.shape[0] else None
    origin = rows.origin if structure.columns else None
    statistics = summarise(
        structure, rows.response, rows.terms, columns, weights=rows.weights, origin=origin
    )
    return {"statistics": _unless(rows.valid, statistics)}


def _prepare_rows(fn: Callable[..., Any], plan: Plan, data: Mapping[str, Any]) -> dict[str, Any]:
    """Find the group of every row."""
    latents = some_latents(abstract_trace(fn, data), plan.by_name)
    predictors = rows_of(fn, plan, latents, data).predictors
    design = design_of(predictors, plan.layout)
    valid = _is_valid(predictors, plan.layout, design)
    return {
        "indexes": tuple(term.index for term in design.terms),
        "valid": jnp.where(valid, 0.0, jnp.nan),
    }


def _unless(valid: Array, statistics: Statistics) -> Statistics:
    """Make the statistics NaN where data of another structure than the plan's came in."""
    total = jnp.where(valid, statistics.total, jnp.nan)
    return dataclasses.replace(statistics, total=total)


def _is_valid(
    predictors: Callable[[Mapping[str, Any]], list[Array]], layout: Layout, design: Design
) -> Array:
    return check_design(predictors, layout, design, directions(layout.sites.values()))


def _marginal(
    fn: Callable[..., Any],
    plan: Plan,
    latents: Mapping[str, Any],
    data: Mapping[str, Any],
    prepared: Mapping[str, Any],
) -> tuple[Array, Factorisation]:
    """Log density of the responses with the effects integrated out, and what gives them back."""
    if plan.summed:
        factorisation = _summed_factorisation(fn, plan, latents, data, prepared["statistics"])
        return log_likelihood_of(factorisation), factorisation
    rows = rows_of(fn, plan, latents, data)
    design = design_of(rows.predictors, plan.layout, prepared["indexes"])
    near = quadratic_at(rows.log_density, design.start, design, exact=True)
    factorisation = condition(near, design, plan.layout.structure)
    # At the mode no large numbers cancel; anywhere else the value could only be too low.
    mode = conditional_mean(factorisation)
    penalised = mode if plan.layout.structure.has_prior else mode.factors
    penalty = sum(jnp.sum(each**2) for each in jax.tree.leaves(penalised))
    value = rows.log_density(predict(design, mode))
    log_marginal = value - 0.5 * (penalty + factorisation.log_determinant)
    if plan.layout.structure.fixed == "reml":
        log_marginal += _log_volume(fn, plan, latents, data)
    return log_marginal + prepared["valid"], factorisation


def _log_volume(
    fn: Callable[..., Any], plan: Plan, latents: Mapping[str, Any], data: Mapping[str, Any]
) -> Array:
    """Turn an integral over standardised coefficients into one over coefficients, both flat."""
    placed = run_placed(
        fn, plan.by_name, plan.zeros(), latents, data, whitened=True, densities=False
    )
    scale = column_scale(plan.layout, placed.gaussians, latents)[0]
    scale = jnp.diag(scale) if scale.ndim == 1 else scale
    size = plan.layout.structure.columns
    return 0.5 * size * jnp.log(2.0 * jnp.pi) + jnp.linalg.slogdet(scale)[1]


def _summed_factorisation(
    fn: Callable[..., Any],
    plan: Plan,
    latents: Mapping[str, Any],
    data: Mapping[str, Any],
    statistics: Statistics,
) -> Factorisation:
    return factorise(statistics, *prior_and_scale(fn, plan, latents, data))


def integrate(
    fn: Callable[..., Any],
    *,
    sites: Sequence[str] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Integrated:
    """Return a NumPyro function with Gaussian effects integrated out exactly.

    Its density of the remaining sites h is p(h) p(y | h), the integral of that of `fn` over the
    effects. `recover` draws the effects back.

    Parameters
    ----------
    fn
        NumPyro function, called as `fn(**data)`.
    sites
        Latent sites to integrate out; by default all that can be: Normal and MultivariateNormal
        sites in which the log density of all that depends on them is quadratic (a Normal response
        whose mean is affine in them). Affinity is read from the traced program, never assumed.
    data
        Arguments of `fn`. The structure (what is nested, which rows share a group) is read from
        concrete data at the first call; give them here if the function is to be called inside your
        own `jit` or `vmap` with traced data.

    Returns
    -------
    Integrated
        A NumPyro function for any NumPyro inference.

    Raises
    ------
    ModelError
        When first called, or here with `data`: a site is not there, not Gaussian, or enters a
        density that is not quadratic in it.

    Notes
    -----
    If the response is one Normal site whose mean is affine in effects and all other latent sites,
    with one residual scale (or known ones), its rows are summed once and an evaluation costs
    nothing per row. Data of another structure than the one that was read (rows that depend on
    several groups, factors no longer nested) give a density of NaN.

    References
    ----------
    Lai, Sheldon and Domke (2024), arXiv:2410.24079.
    """
    function = Integrated(fn, site_names(sites))
    return function if data is None else function.planned(data)


def recover(
    fn: Integrated,
    draws: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    seed: int = 0,
) -> dict[str, Array]:
    """Draw the sites that were integrated out back from their exact conditional distribution.

    One draw u ~ p(u | h, y) for every draw of h, so that (h, u) has the distribution of the
    original model.

    Parameters
    ----------
    fn
        From `integrate`.
    draws
        Remaining latent site -> array (..., *shape of the site), e.g. `mcmc.get_samples()`; all
        sites have the same leading axes.
    data
        Arguments of the model function.
    seed
        The same seed gives the same draws.

    Returns
    -------
    dict
        Every latent and deterministic site of the original function, by name, with the same leading
        axes.

    Raises
    ------
    ModelError
        `draws` lacks a remaining site, or its leading axes differ between sites.
    """
    trace = abstract_trace(fn.fn, data)
    fixed, prepared = ready(fn, data)
    plan = fixed.plan(prepared)
    missing = [name for name in plan.latents if name not in draws]
    if missing:
        raise ModelError(
            f"`draws` has no site {missing[0]!r}; recovering needs {', '.join(plan.latents)}."
        )
    given = {name: jnp.asarray(draws[name]) for name in plan.latents}
    leading = {
        name: value.shape[: value.ndim - len(trace.sites[name].shape)]
        for name, value in given.items()
    }
    if len(set(leading.values())) > 1:
        raise ModelError(f"the draws of the sites have different leading axes: {leading}.")
    axes = next(iter(leading.values()), ())
    count = math.prod(axes)
    flat = {name: value.reshape(count, *value.shape[len(axes) :]) for name, value in given.items()}
    arguments = Arguments.of(prepared)

    def one(each: tuple[Array, dict[str, Array]], arrays: Any) -> dict[str, Array]:
        return fixed.recover(*each, arguments.rebuild(arrays))

    @jax.jit
    def run(keys: Array, flat: dict[str, Array], arrays: Any) -> dict[str, Array]:
        return map_in_batches(lambda each: one(each, arrays), (keys, flat))

    keys = jax.random.split(jax.random.key(seed), count)
    sites = run(keys, flat, arguments.arrays(prepared))
    return {
        name: value.reshape(*axes, *value.shape[1:])
        for name, value in sites.items()
        if trace.sites[name].kind in ("latent", "deterministic")
    }
