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
    structure: Structure, design: Design, slope: Array, curved: Design, weights: Array
) -> Statistics:
    """Statistics of the quadratic  slope' Z u - 1/2 u' K' diag(weights) K u  in the effects u.

    With a unit prior, `log_likelihood` of them is the logarithm of the integral of exp(quadratic)
    over the standard normal u.

    Parameters
    ----------
    structure
        What is grouped in what.
    design, slope
        The rows Z, and the derivative of the log likelihood by the predictor of each, (n,).
    curved, weights
        The rows K whose squares make up the curvature, and their weights: Z and the negative second
        derivatives where each term of the log likelihood has one predictor.
    """
    nothing = jnp.zeros_like(weights)
    curvature = summarise(structure, nothing, curved.terms, curved.columns, weights=weights)
    linear = summarise(structure, slope, design.terms, design.columns)
    zero = jnp.zeros_like(curvature.total)
    return dataclasses.replace(
        curvature,
        # A row of weight 0 or less would count as padding, its groups as unknown.
        ancestors=linear.ancestors,
        response=linear.response,
        rest_response=linear.rest_response,
        total=zero,
        rows=zero,
        log_weights=zero,
    )
