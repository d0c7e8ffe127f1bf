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
from hierjax.linalg import Noise, conditional_map
from hierjax.transforms.rows import Rows

MOST_EFFECTS = 2  # per group: nodes are a grid
ROWS_AT_ONCE = 2**22  # elements times nodes in memory at a time


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
        noise = Noise((jnp.broadcast_to(node[:, None], shape),), jnp.zeros(0, dtype))
        effects = conditional_map(mode.factorisation, noise, whitened=True)
        log_densities = rows.log_densities(predict(design, effects))
        change = 0.5 * (jnp.sum(node**2) - jnp.sum(effects.factors[0] ** 2, 0))
        return group_sum(log_densities, groups, factor.groups) + change

    batch = min(max(1, ROWS_AT_ONCE // max(groups.size, 1)), len(nodes))
    values = jax.lax.map(jax.checkpoint(at), nodes, batch_size=batch)
    groupwise = jax.scipy.special.logsumexp(values + log_weights[:, None], axis=0)
    return jnp.sum(groupwise) - 0.5 * mode.factorisation.log_determinant
