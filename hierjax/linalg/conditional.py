"""The conditional distribution of effects given y and the hyperparameters: its mean, and draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from hierjax.linalg import blocks
from hierjax.linalg.eliminate import Factorisation, Level
from hierjax.linalg.prior import multiply_rest
from hierjax.linalg.statistics import take_groups
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
    structure = factorisation.statistics.structure
    noise = draw_noise(structure, key, factorisation.right.dtype)
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


def _substitute(factorisation: Factorisation, noise: Noise | None, whitened: bool) -> Effects:
    """Go back from the dense rest to the innermost level."""
    structure, sigma = factorisation.statistics.structure, factorisation.sigma
    white = factorisation.right
    if structure.rest_size:
        factor = jnp.linalg.cholesky(factorisation.precision)
        half = solve_triangular(factor, white, lower=True)
        if noise is not None:
            half += sigma * noise.rest
        white = solve_triangular(factor, half, trans=1, lower=True)
    rest = multiply_rest(structure, factorisation.root, white)
    effects: list[Array] = []
    white_effects: list[Array] = []
    for position in reversed(range(len(structure.chain))):
        level = factorisation.levels[position]
        ancestors = factorisation.statistics.ancestors[position]
        residual = level.response - jnp.einsum("mqj,m->qj", level.across, rest)
        for link, index, above in zip(level.up, ancestors, effects, strict=True):
            residual -= jnp.sum(link * take_groups(above, index)[:, None], 0)
        shocks = None if noise is None else sigma * noise.levels[position]
        white_effects.insert(0, _level_white(level, residual, shocks))
        effects.insert(0, jnp.sum(level.scale * white_effects[0][None], 1))
    if whitened:
        rest_white = white / sigma
        if not structure.has_prior:
            start = structure.rest_effects
            estimate = rest[start:] + factorisation.statistics.origin
            rest_white = jnp.concatenate([rest_white[:start], estimate])
        return _placed(structure, [each / sigma for each in white_effects], rest_white)
    return _with_prior_mean(factorisation, _placed(structure, effects, rest))


def _level_white(level: Level, residual: Array, shocks: Array | None) -> Array:
    """Return w of a level, where its effects are b = Λ w, given those of the levels above."""
    projected = jnp.sum(level.scale * residual[:, None], 0)
    white = jnp.sum(level.inverse * projected[None], 1)
    if shocks is not None:
        white += blocks.solve_upper(blocks.cholesky(level.precision), shocks)
    return white


def _placed(structure: Structure, chain: list[Array], rest: Array) -> Effects:
    """Put the chain and the dense rest in the order of the factors."""
    placed = dict(zip(structure.chain, chain, strict=True))
    for place, where in zip(structure.rest, structure.rest_slices, strict=True):
        factor = structure.factors[place]
        placed[place] = rest[where].reshape(factor.effects, factor.groups)
    ordered = tuple(placed[place] for place in range(len(structure.factors)))
    return Effects(ordered, rest[structure.rest_effects :])


def _with_prior_mean(factorisation: Factorisation, effects: Effects) -> Effects:
    structure, prior = factorisation.statistics.structure, factorisation.prior
    means = prior.means or (None,) * len(structure.factors)
    factors = tuple(
        effect if mean is None else effect + mean
        for effect, mean in zip(effects.factors, means, strict=True)
    )
    columns = effects.columns
    if not structure.has_prior:
        columns = columns + factorisation.statistics.origin
    elif prior.column_mean is not None:
        columns = columns + prior.column_mean
    return Effects(factors, columns)
