"""The maximum of a likelihood as a differentiable function of the data.

At the maximum x(d) of f(x, d) the slope is zero whatever the data, so that by the implicit function
theorem dx/dd = C^-1 d2f/dx dd with C the negative second derivatives by x. Nothing of the search is
differentiated, and a program that takes no derivative compiles none of this.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.arguments import Arguments
from hierjax.density import Arrays
from hierjax.infer.empirical_bayes import EmpiricalBayes, Target
from hierjax.infer.newton import INSIDE, Search

Function = Callable[..., Any]


def maximum(
    settings: EmpiricalBayes, fn: Function, smooth: Function, data: Mapping[str, Any]
) -> dict[str, Array]:
    """Return every site of a model at the maximum; pure, and differentiable in the data.

    Parameters
    ----------
    settings
        What is maximised.
    fn
        Model function whose group effects are integrated out.
    smooth
        The same function with exact second derivatives.
    data
        Its arguments. Arrays and floats may be traced.

    Returns
    -------
    dict
        Site -> value; NaN where the search has not converged.
    """
    arrays = tuple(map(jnp.asarray, Arguments.of(data).arrays(data)))
    target, exact = (Target.of(each, data, settings.kind) for each in (fn, smooth))
    search = _search(target, exact, settings.steps)(arrays)
    sites = target.estimate(search, arrays).sites()
    return {name: jnp.where(search.converged, value, jnp.nan) for name, value in sites.items()}


def _search(target: Target, exact: Target, steps: int) -> Callable[[Arrays], Search]:
    """Return the finished search as a function of the data, with a derivative of its centre."""

    @jax.custom_jvp
    def search(arrays: Arrays) -> Search:
        return target.search(arrays, steps)

    @search.defjvp
    def derivative(primals: tuple[Arrays], tangents: tuple[Arrays]) -> tuple[Search, Search]:
        found = search(*primals)
        slope = jax.grad(exact.log_density)
        _, change = jax.jvp(lambda arrays: slope(found.centre, arrays), primals, tangents)
        curvature = -jax.jacfwd(slope)(found.centre, *primals)
        free = found.limit == INSIDE
        among = free & free[:, None]
        curvature = jnp.where(among, curvature, jnp.eye(len(free), dtype=curvature.dtype))
        moved = jnp.linalg.solve(curvature, jnp.where(free, change, 0.0))
        return found, jax.tree.map(_no_tangent, found)._replace(centre=moved)

    return search


def _no_tangent(leaf: Array) -> Any:
    if jnp.issubdtype(leaf.dtype, jnp.inexact):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)
