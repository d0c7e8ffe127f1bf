"""The minimum of a smooth function of many variables by Newton's method in a trust region.

Steps minimise the quadratic model within a ball by conjugate gradients, cut off where they leave it
or where the function bends downwards (Steihaug). Only Hessian-vector products are used. The caller
gives the function in coordinates that are moved along with the place, so that all variables are
measured in their own units.

References
----------
Steihaug (1983), The conjugate gradient method and trust regions in large scale optimization, SIAM
Journal on Numerical Analysis 20. Nocedal, Wright (2006), Numerical optimization, algorithm 7.2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

MOST_PRODUCTS = 200  # Hessian-vector products of one step
LARGEST_RADIUS = 10.0
SMALLEST_RADIUS = 1e-10

Function = Callable[[Array], Array]


class Trial(NamedTuple):
    """A step that was tried.

    Attributes
    ----------
    step
        The step; zero if it was not taken.
    radius
        Of the next trust region.
    slope
        Length of the gradient before the step.
    value
        Of the function, after the step.
    """

    step: Array
    radius: Array
    slope: Array
    value: Array


def newton_step(function: Function, size: int, radius: Array) -> Trial:
    """Try one step from zero; pure.

    Parameters
    ----------
    function
        Function of a vector (size,), whose minimum is looked for.
    size
        Length of the vector.
    radius
        Of the trust region.
    """
    zero = jnp.zeros(size)
    value, slope = jax.value_and_grad(function)(zero)
    step, promised, at_edge = _inside_ball(_products(function, zero), slope, radius)
    new = function(step)
    ratio = (value - new) / jnp.maximum(promised, jnp.finfo(slope.dtype).tiny)
    # A fall below the rounding error of the value cannot be seen.
    blur = 8.0 * jnp.finfo(slope.dtype).eps * (1.0 + jnp.abs(value))
    taken = jnp.isfinite(new) & ((ratio > 0.1) | (jnp.abs(value - new) + promised < blur))
    good = taken & (ratio > 0.75) & at_edge
    changed = jnp.where(good, 2.0 * radius, radius)
    changed = jnp.where(jnp.isfinite(new) & (taken | (ratio > 0.1)), changed, 0.25 * radius)
    return Trial(
        step=jnp.where(taken, step, 0.0),
        radius=jnp.clip(changed, SMALLEST_RADIUS, LARGEST_RADIUS),
        slope=jnp.linalg.norm(slope),
        value=jnp.where(taken, new, value),
    )


def hessian(function: Function, size: int) -> Array:
    """Second derivatives at zero, (size, size), a product at a time; pure."""
    product = _products(function, jnp.zeros(size))
    return jax.lax.map(product, jnp.eye(size), batch_size=16)


def _products(function: Function, place: Array) -> Callable[[Array], Array]:
    return lambda vector: jax.jvp(jax.grad(function), (place,), (vector,))[1]


class _Iterate(NamedTuple):
    step: Array
    bent: Array  # the Hessian times the step
    residual: Array
    direction: Array
    products: Array
    at_edge: Array
    done: Array


def _inside_ball(
    product: Callable[[Array], Array], slope: Array, radius: Array
) -> tuple[Array, Array, Array]:
    """Minimise slope' s + s' H s / 2 in |s| <= radius; the step, its fall, and whether at the edge.

    The equations are solved the better the nearer the minimum is.
    """
    length = jnp.linalg.norm(slope)
    tolerance = jnp.minimum(0.1, jnp.sqrt(length)) * length
    tolerance = jnp.maximum(tolerance, jnp.finfo(slope.dtype).eps * length)

    def on(carry: _Iterate) -> _Iterate:
        along = product(carry.direction)
        bend = carry.direction @ along
        square = carry.residual @ carry.residual
        share = square / jnp.where(bend > 0.0, bend, 1.0)
        inside = carry.step + share * carry.direction
        leaves = (bend <= 0.0) | (jnp.linalg.norm(inside) >= radius) | ~jnp.isfinite(bend)
        edge = _to_edge(carry.step, carry.direction, radius)
        share_taken = jnp.where(leaves, edge, share)
        residual = carry.residual + share * along
        again = residual @ residual / jnp.maximum(square, jnp.finfo(square.dtype).tiny)
        return _Iterate(
            step=carry.step + share_taken * carry.direction,
            bent=carry.bent + share_taken * along,
            residual=residual,
            direction=again * carry.direction - residual,
            products=carry.products + 1,
            at_edge=leaves,
            done=leaves | (jnp.linalg.norm(residual) < tolerance),
        )

    def unfinished(carry: _Iterate) -> Array:
        return ~carry.done & (carry.products < jnp.minimum(MOST_PRODUCTS, 2 * len(slope)))

    zero, false = jnp.zeros_like(slope), jnp.asarray(False)
    start = _Iterate(zero, zero, slope, -slope, jnp.asarray(0), false, length == 0.0)
    found = jax.lax.while_loop(unfinished, on, start)
    sound = jnp.all(jnp.isfinite(found.step)) & jnp.all(jnp.isfinite(found.bent))
    step, bent = jnp.where(sound, found.step, 0.0), jnp.where(sound, found.bent, 0.0)
    return step, -(slope @ step + 0.5 * step @ bent), found.at_edge


def _to_edge(step: Array, direction: Array, radius: Array) -> Array:
    """Positive share of the direction at which the ball ends."""
    a, b = direction @ direction, step @ direction
    c = step @ step - radius**2
    root = jnp.sqrt(jnp.maximum(b**2 - a * c, 0.0))
    return (root - b) / jnp.maximum(a, jnp.finfo(a.dtype).tiny)
