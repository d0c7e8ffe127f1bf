"""The inverse of the affine map between standard normals and effects."""

import jax.numpy as jnp
from jax import Array

from hierjax.linalg import blocks
from hierjax.linalg.conditional import Effects, Noise, left_for
from hierjax.linalg.eliminate import Factorisation, Level
from hierjax.linalg.lapack import cholesky, solve_triangular
from hierjax.linalg.prior import multiply_rest


def noise_of(factorisation: Factorisation, white: Effects) -> Noise:
    """Return the noise that `conditional_map(..., whitened=True)` maps to given effects.

    Parameters
    ----------
    factorisation
        From `factorise`, with a prior for all coefficients.
    white
        Effects and coefficients in the units of their prior.
    """
    structure, sigma = factorisation.structure, factorisation.sigma
    dense = [jnp.ravel(white.factors[place]) for place in structure.rest]
    white_rest = sigma * jnp.concatenate([*dense, white.columns])
    # Everything bordered by the response, whose coefficient is -1.
    rest = multiply_rest(structure, factorisation.root, jnp.append(white_rest, -1.0))
    effects: list[Array] = []
    levels: list[Array] = []
    for position in reversed(range(len(structure.chain))):
        level = factorisation.levels[position]
        residual = left_for(factorisation, position, rest, effects)
        own = sigma * white.factors[structure.chain[position]]
        levels.insert(0, _shocks(level, residual, own) / sigma)
        effects.insert(0, jnp.sum(level.scale * own[None], 1))
    return Noise(tuple(levels), _rest_noise(factorisation, white_rest))


def _rest_noise(factorisation: Factorisation, white: Array) -> Array:
    system = factorisation.system
    if not factorisation.structure.rest_size:
        return white
    factor = cholesky(system[:-1, :-1])
    half = solve_triangular(factor, system[-1, :-1])
    return (factor.T @ white - half) / factorisation.sigma


def _shocks(level: Level, residual: Array, white: Array) -> Array:
    precision = blocks.plus_identity(blocks.sandwich(level.scale, level.own))
    inverse, _ = blocks.inverse_and_log_determinant(precision)
    projected = jnp.sum(level.scale * residual[:, None], 0)
    apart = white - jnp.sum(inverse * projected[None], 1)
    return jnp.sum(blocks.cholesky(precision) * apart[:, None], 0)
