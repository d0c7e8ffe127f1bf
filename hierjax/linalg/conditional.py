"""The conditional distribution of effects given y and the hyperparameters: its mean, and draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.groups import take_groups
from hierjax.linalg import blocks
from hierjax.linalg.across import from_rest
from hierjax.linalg.eliminate import Factorisation, Level
from hierjax.linalg.lapack import cholesky, solve_triangular
from hierjax.linalg.prior import multiply_rest
from hierjax.linalg.structure import Structure


class Effects(NamedTuple):
    """Effects and coefficients.

    Attributes
    ----------
    factors
        Per factor, in the order of `Structure.factors`, shape (q, J).
    columns
        Coefficients of X, shape (p,).
    """

    factors: tuple[Array, ...]
    columns: Array


class Noise(NamedTuple):
    """Standard normals of one draw: per level of the chain (q, J), and (m,) for the dense rest."""

    levels: tuple[Array, ...]
    rest: Array


def conditional_mean(factorisation: Factorisation) -> Effects:
    """Mean of effects and coefficients given y and the hyperparameters."""
    return _substitute(factorisation, None, False)


def conditional_draw(factorisation: Factorisation, key: Array) -> Effects:
    """One exact draw of effects and coefficients given y and the hyperparameters.

    Parameters
    ----------
    factorisation
        From `factorise`.
    key
        Random key; the same key gives the same draw.

    Notes
    -----
    `conditional_map` of `draw_noise`. Differentiable in everything but the key. If
    `Structure.fixed` is "ml" the coefficients stay at their estimate and the effects are drawn
    given it.
    """
    noise = draw_noise(factorisation.structure, key, factorisation.outer.rest.dtype)
    return conditional_map(factorisation, noise)


def conditional_map(
    factorisation: Factorisation, noise: Noise, *, whitened: bool = False
) -> Effects:
    """Affine map from standard normals to effects and coefficients given y.

    Zeros map to the conditional mean, standard normals to a draw.

    Parameters
    ----------
    factorisation
        From `factorise`.
    noise
        Standard normals in the shape of `Noise`.
    whitened
        Give in place of the effects b the w with b = prior mean + L w, L the scales of `Prior`, so
        that w has the prior N(0, I) and is defined where scales are zero. Coefficients without
        prior stay as they are.

    Returns
    -------
    Effects; if `whitened`, and all coefficients have a prior, then

        log |d w / d noise| = -1/2 factorisation.log_determinant.
    """
    return _substitute(factorisation, noise, whitened)


def draw_noise(structure: Structure, key: Array, dtype: jnp.dtype) -> Noise:
    """Draw standard normals for one draw, level by level, the dense rest last."""
    keys = jax.random.split(key, len(structure.chain) + 1)
    factors = [structure.factors[place] for place in structure.chain]
    levels = tuple(
        jax.random.normal(each, (factor.effects, factor.groups), dtype)
        for each, factor in zip(keys[:-1], factors, strict=True)
    )
    rest = jax.random.normal(keys[-1], (structure.rest_size,), dtype)
    if structure.fixed == "ml":
        rest = rest.at[structure.rest_effects :].set(0.0)
    return Noise(levels, rest)


def zero_noise(structure: Structure) -> Noise:
    """Noise that maps to the conditional mean."""
    factors = [structure.factors[place] for place in structure.chain]
    levels = tuple(jnp.zeros((factor.effects, factor.groups)) for factor in factors)
    return Noise(levels, jnp.zeros(structure.rest_size))


def _substitute(factorisation: Factorisation, noise: Noise | None, whitened: bool) -> Effects:
    """Go back from the dense rest to the innermost level."""
    structure, sigma = factorisation.structure, factorisation.sigma
    white = _rest_white(factorisation, noise)
    # Everything bordered by the response, whose coefficient is -1.
    rest = multiply_rest(structure, factorisation.root, jnp.append(white, -1.0))
    effects: list[Array] = []
    white_effects: list[Array] = []
    for position in reversed(range(len(structure.chain))):
        level = factorisation.levels[position]
        residual = left_for(factorisation, position, rest, effects)
        shocks = None if noise is None else sigma * noise.levels[position]
        white_effects.insert(0, _level_white(level, residual, shocks))
        effects.insert(0, jnp.sum(level.scale * white_effects[0][None], 1))
    start, origin = structure.rest_effects, factorisation.statistics.origin
    if whitened:
        scaled = white / sigma
        if not structure.has_prior:
            scaled = jnp.concatenate([scaled[:start], rest[start:-1] + origin])
        return _placed(structure, [each / sigma for each in white_effects], scaled)
    placed = _placed(structure, effects, rest[:-1])
    means = factorisation.prior.means or (None,) * len(structure.factors)
    factors = tuple(
        effect if mean is None else effect + mean
        for effect, mean in zip(placed.factors, means, strict=True)
    )
    return Effects(factors, placed.columns + origin)


def left_for(factorisation: Factorisation, position: int, rest: Array, above: list[Array]) -> Array:
    """Return what is left for a level of the chain to explain, (q, J).

    Parameters
    ----------
    factorisation
        From `factorise`.
    position
        Of the level in the chain.
    rest
        Effects of the dense rest, and -1 for the response.
    above
        Effects of the levels above, each (q, J), the next one first.
    """
    level, ancestors = factorisation.levels[position], factorisation.statistics.ancestors[position]
    residual = -from_rest(level.across, rest)
    for link, index, effects in zip(level.up, ancestors, above, strict=True):
        residual -= jnp.sum(link * take_groups(effects, index)[:, None], 0)
    return residual


def _rest_white(factorisation: Factorisation, noise: Noise | None) -> Array:
    """Return w of the dense rest, whose effects are b = Λ w."""
    system = factorisation.system
    if not factorisation.structure.rest_size:
        return system[:0, 0]
    factor = cholesky(system[:-1, :-1])
    half = solve_triangular(factor, system[-1, :-1])
    if noise is not None:
        half += factorisation.sigma * noise.rest
    return solve_triangular(factor, half, transposed=True)


def _level_white(level: Level, residual: Array, shocks: Array | None) -> Array:
    """Return w of a level, where its effects are b = Λ w, given those of the levels above."""
    precision = blocks.plus_identity(blocks.sandwich(level.scale, level.own))
    inverse, _ = blocks.inverse_and_log_determinant(precision)
    projected = jnp.sum(level.scale * residual[:, None], 0)
    white = jnp.sum(inverse * projected[None], 1)
    if shocks is not None:
        white += blocks.solve_upper(blocks.cholesky(precision), shocks)
    return white


def _placed(structure: Structure, chain: list[Array], rest: Array) -> Effects:
    """Put the chain and the dense rest in the order of the factors."""
    placed = dict(zip(structure.chain, chain, strict=True))
    for place, where in zip(structure.rest, structure.rest_slices, strict=True):
        factor = structure.factors[place]
        placed[place] = rest[where].reshape(factor.effects, factor.groups)
    ordered = tuple(placed[place] for place in range(len(structure.factors)))
    return Effects(ordered, rest[structure.rest_effects :])
