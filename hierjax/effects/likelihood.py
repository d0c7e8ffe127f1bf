"""A log likelihood near given predictors, as statistics of the conditional-Gaussian core."""

import dataclasses
import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from hierjax.effects.design import Design
from hierjax.linalg import Statistics, Structure, summarise


def unravel(vector: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Cut one vector of predictors into arrays of given shapes."""
    found, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        found.append(jnp.reshape(vector[start : start + size], shape))
        start += size
    return found


def local_statistics(
    structure: Structure, design: Design, slope: Array, weights: Array
) -> Statistics:
    """Statistics of the quadratic  slope' Z u - 1/2 u' Z' diag(weights) Z u  in the effects u.

    With a unit prior, `log_likelihood` of them is the logarithm of the integral of exp(quadratic)
    over the standard normal u.

    Parameters
    ----------
    structure, design
        What is grouped in what, and the rows.
    slope, weights
        Derivative and negative second derivative of the log likelihood by each predictor, (n,).
    """
    nothing = jnp.zeros_like(slope)
    curved = summarise(structure, nothing, design.terms, design.columns, weights=weights)
    linear = summarise(structure, slope, design.terms, design.columns)
    zero = jnp.zeros_like(curved.total)
    return dataclasses.replace(
        curved,
        # A row of weight 0 or less would count as padding, its groups as unknown.
        ancestors=linear.ancestors,
        response=linear.response,
        rest_response=linear.rest_response,
        total=zero,
        rows=zero,
        log_weights=zero,
    )
