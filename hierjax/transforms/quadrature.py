"""Adaptive Gauss-Hermite quadrature over the effects of each group.

With l_j the log likelihood of group j and v_j, C_j the centre and root of its Laplace
approximation,

    log integral exp(l_j(v)) N(v; 0, I) dv
        = log|C_j| + log sum_k w_k exp(l_j(v_j + C_j x_k) - |v_j + C_j x_k|^2 / 2 + |x_k|^2 / 2)

up to an error that falls geometrically with the number of nodes; one node is Laplace's
approximation. It needs the log likelihood of each group, so the log densities of the responses are
taken element by element, and which group an element depends on is found by differentiating, as for
the rows of a design.

References
----------
Pinheiro and Bates (1995), doi:10.1080/10618600.1995.10474663.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.effects import Design, Layout
from hierjax.effects.design import check_design, design_of, directions
from hierjax.effects.mode import Mode, predict
from hierjax.groups import group_sum
from hierjax.linalg import Effects, Noise, conditional_map
from hierjax.low_discrepancy import Evenly, uniform
from hierjax.transforms.rows import Rows

MOST_EFFECTS = 2  # per group: nodes are a grid
ROWS_AT_ONCE = 2**22  # elements times nodes in memory at a time
CANDIDATES = 64  # of a draw by importance
GOLDEN = 0.6180339887498949  # whose multiples fill the circle evenly


def is_one_factor(layout: Layout) -> bool:
    """Whether effects are those of one factor, few enough for a grid of nodes."""
    factors = layout.structure.factors
    return len(factors) == 1 and not layout.columns and factors[0].effects <= MOST_EFFECTS


def element_groups(rows: Rows, layout: Layout) -> tuple[Array, Array]:
    """Group that each element of the responses depends on; and whether it depends on no other."""
    sites = layout.sites.values()
    middle = {name: 0.1 * value for name, value in directions(sites).items()}

    def near_middle(change: Mapping[str, Array]) -> list[Array]:
        values = {name: middle[name] + change[name] for name in middle}
        parts = [jnp.ravel(part) for part in rows.predictors(values)]
        return [rows.log_densities(jnp.concatenate(parts))]

    found = design_of(near_middle, layout)
    return found.terms[0].index, check_design(near_middle, layout, found, directions(sites))


class Grid(NamedTuple):
    """Nodes (K, q) and log weights (K,) for the standard normal distribution of q effects."""

    nodes: Any
    log_weights: Any


def gauss_hermite(order: int, width: int, most: int = 0) -> Grid:
    """Grid of `order` nodes an effect, filled up with nodes of weight zero as if it were `most`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    log_weights = np.log(weights) - 0.5 * np.log(2.0 * np.pi)
    place = np.stack(np.meshgrid(*[np.arange(order)] * width, indexing="ij"), -1)
    place = place.reshape(-1, width)
    fill = max(most**width - order**width, 0)
    return Grid(
        np.pad(nodes[place], ((0, fill), (0, 0))),
        np.pad(log_weights[place].sum(1), (0, fill), constant_values=-np.inf),
    )


def quadrature(
    rows: Rows, design: Design, layout: Layout, mode: Mode, groups: Array, grid: Grid
) -> Array:
    """Log likelihood with the effects of each group integrated out; differentiable.

    Parameters
    ----------
    rows
        The likelihood.
    design, layout
        Its predictors, of one factor.
    mode
        Where the nodes are put.
    groups
        Group of each element of the responses.
    grid
        Nodes and weights.
    """
    factor, dtype = layout.structure.factors[0], design.start.dtype
    nodes, log_weights = (jnp.asarray(each, dtype) for each in grid)

    def at(node: Array) -> Array:
        shape = (factor.effects, factor.groups)
        _, log_densities = _groupwise(
            rows, design, mode, groups, jnp.broadcast_to(node[:, None], shape)
        )
        return log_densities + 0.5 * jnp.sum(node**2)

    batch = min(max(1, ROWS_AT_ONCE // max(groups.size, 1)), len(nodes))
    values = jax.lax.map(jax.checkpoint(at), nodes, batch_size=batch)
    groupwise = jax.scipy.special.logsumexp(values + log_weights[:, None], axis=0)
    return jnp.sum(groupwise) - 0.5 * mode.factorisation.log_determinant


def draw_effects(
    key: Array | Evenly, rows: Rows, design: Design, layout: Layout, mode: Mode, groups: Array
) -> Effects:
    """Draw the effects of each group from their conditional distribution, by importance.

    Of 64 candidates a group, a randomly shifted lattice under a Student distribution with 2 degrees
    of freedom about the mode, one is taken by its weight. The tails have to be heavier than those
    of the prior: where all outcomes of a group are 0 its conditional falls off no faster than that.
    The lattice leaves next to no bias: the sum of its weights is the same integral at any shift, up
    to the error of a quadrature with 64 nodes.

    Parameters
    ----------
    key
        Random key, or where the randomness of one draw among many comes from.
    rows, design, layout, mode, groups
        As for `quadrature`.
    """
    factor, dtype = layout.structure.factors[0], design.start.dtype
    even = uniform(key, (factor.groups, factor.effects + 1)).astype(dtype).T
    shift, choice = even[:-1], even[-1]
    nodes, log_proposal = _candidates(shift)

    def at(node: Array) -> tuple[Array, Array]:
        effects, log_densities = _groupwise(rows, design, mode, groups, node)
        return effects.factors[0], log_densities

    batch = min(max(1, ROWS_AT_ONCE // max(groups.size, 1)), CANDIDATES)
    candidates, log_densities = jax.lax.map(at, nodes, batch_size=batch)
    chosen = _chosen(choice, log_densities - log_proposal)
    taken = jnp.take_along_axis(candidates, chosen[None, None], axis=0)[0]
    return Effects((taken,), jnp.zeros(0, dtype))


def _candidates(shift: Array) -> tuple[Array, Array]:
    """Lattice under the Student distribution with 2 degrees of freedom, in one or two dimensions.

    Its distribution function can be inverted: in one dimension x = (2 p - 1) / sqrt(2 p (1 - p)),
    in two the squared radius 2 (1 / s - 1) is exceeded with probability s.

    Parameters
    ----------
    shift
        Between 0 and 1, (q, J).

    Returns
    -------
    nodes, log_density
        Shapes (64, q, J) and (64, J); the latter up to a constant.
    """
    count = jnp.arange(CANDIDATES, dtype=shift.dtype)[:, None]
    even = (count + shift[0]) / CANDIDATES
    if len(shift) == 1:
        spread = 2.0 * even * (1.0 - even)
        return ((2.0 * even - 1.0) / jnp.sqrt(spread))[:, None], 1.5 * jnp.log(spread)
    radius, angle = jnp.sqrt(2.0 * (1.0 / even - 1.0)), 2.0 * jnp.pi * (GOLDEN * count + shift[1])
    nodes = jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=1)
    return nodes, 2.0 * jnp.log(even)


def _chosen(uniform: Array, log_weights: Array) -> Array:
    """Index of one of the first axis by weight, for each group; what is no number has none."""
    log_weights = jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)
    sums = jnp.cumsum(jnp.exp(log_weights - jnp.max(log_weights, 0)), 0)
    return jnp.minimum(jnp.sum(sums <= uniform * sums[-1], 0), len(sums) - 1)


def _groupwise(
    rows: Rows, design: Design, mode: Mode, groups: Array, nodes: Array
) -> tuple[Effects, Array]:
    """Effects at nodes (q, J) about their mode, and the log density of each group there, (J,)."""
    noise = Noise((nodes,), jnp.zeros(0, nodes.dtype))
    effects = conditional_map(mode.factorisation, noise, whitened=True)
    log_densities = rows.log_densities(predict(design, effects))
    likelihood = group_sum(log_densities, groups, nodes.shape[1])
    return effects, likelihood - 0.5 * jnp.sum(effects.factors[0] ** 2, 0)
