"""Rows of a plan whose Gaussian likelihood is summed once: what does not depend on latent sites.

Such a plan has one Normal response, y ~ N(Z b + X beta, sigma^2 / weights), whose mean is affine in
effects and coefficients; b and beta are the deviations of sites from their prior location, and
columns of X whose coefficient is another latent site have that as their mean and no variance.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.effects import run_placed
from hierjax.effects.design import check_design, design_of, directions
from hierjax.effects.prior import deviation_prior
from hierjax.effects.response import normal_rows
from hierjax.effects.values import some_latents
from hierjax.linalg import Prior, Term
from hierjax.polynomial import Product, Separable
from hierjax.trace import abstract_trace
from hierjax.transforms.integrate_plan import Plan, residual_of, scale_of
from hierjax.transforms.rows import built_once

_SCALES = ProgramCache(size=32)


class GaussianRows(NamedTuple):
    """Rows of a Gaussian likelihood; a pytree.

    Attributes
    ----------
    response
        y less the mean at zero deviations, shape (n,).
    terms
        Index and design of each factor of the layout.
    columns
        X, shape (n, p).
    weights
        Precision of each row beside the one unknown scale; 0 where a mask leaves a row out.
    origin
        Coefficients whose fit is near that of the columns, shape (p,).
    valid
        Whether the rows have the structure of the plan.
    """

    response: Array
    terms: tuple[Term, ...]
    columns: Array
    weights: Array
    origin: Array
    valid: Array


def gaussian_rows(fn: Callable[..., Any], plan: Plan, data: Mapping[str, Any]) -> GaussianRows:
    """Read the rows of a summed plan off the model function; pure."""
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    latents = some_latents(abstract_trace(fn, data), plan.by_name)
    residual = residual_of(fn, plan.by_name, latents, arguments, plan.responses[0])

    def predictors(values: Mapping[str, Any]) -> list[Array]:
        return [residual(values, arrays)]

    design = design_of(predictors, plan.layout)
    random = directions(plan.layout.sites.values())
    valid = check_design(predictors, plan.layout, design, random)
    weights = _weights(fn, plan, latents, data)
    # The residual falls where the mean rises.
    terms = tuple(Term(term.index, -term.design) for term in design.terms)
    columns, response = -design.columns, design.start
    weighted = columns * weights[:, None]
    origin = jnp.linalg.pinv(weighted.T @ columns, hermitian=True) @ (weighted.T @ response)
    return GaussianRows(response, terms, columns, weights, origin, valid)


def prior_and_scale(
    fn: Callable[..., Any], plan: Plan, latents: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Prior, Array]:
    """Prior of the deviations, and the unknown residual scale, given the other latent sites."""
    placed = run_placed(
        fn, plan.by_name, plan.zeros(), latents, data, whitened=False, densities=False
    )
    prior = deviation_prior(plan.layout, placed.gaussians, latents)
    return prior, _scale(fn, plan, latents, data).number


def _weights(
    fn: Callable[..., Any], plan: Plan, latents: Mapping[str, Any], data: Mapping[str, Any]
) -> Array:
    placed = run_placed(
        fn, plan.by_name, plan.zeros(), latents, data, whitened=False, densities=False
    )
    response = plan.responses[0]
    rows = normal_rows(placed.distributions[response], placed.values[response])
    known = _scale(fn, plan, latents, data).known
    return jnp.ravel(
        jnp.where(rows.present, jnp.broadcast_to(known, rows.present.shape) ** -2.0, 0)
    )


def _scale(
    fn: Callable[..., Any], plan: Plan, latents: Mapping[str, Any], data: Mapping[str, Any]
) -> Product:
    """Scale of the response as known numbers times one unknown one."""
    arguments = Arguments.of(data)
    given = {name: jnp.asarray(latents[name]) for name in plan.latents}
    arrays = tuple(map(jnp.asarray, arguments.arrays(data)))

    def build(shapes: Any) -> Separable:
        found = scale_of(fn, plan.by_name, arguments, plan.responses[0], *shapes)
        assert found is not None  # the plan says that rows can be summed
        return found

    separable = built_once(_SCALES, (fn, plan, arguments), (given, arrays), build)
    return separable.product(given, arrays)
