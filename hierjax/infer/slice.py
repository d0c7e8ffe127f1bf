"""Slice sampling of some coordinates of a vector, one after the other.

A slice is the set of values of one coordinate whose density is above a height drawn below the
density at hand. An interval of a given width is laid around the present value at random, stepped
out until both ends are outside of the slice, and a point is drawn from it; a point outside of the
slice becomes the new end on its side, and another one is drawn. Nothing has to be tuned for it to
be exact; the width is a matter of cost.

All of that is one loop whose body evaluates the density once: the density is compiled once, and
chains under `vmap` wait for one another only at the end of a sweep, not at every coordinate.

References
----------
Neal (2003), Slice sampling, Annals of Statistics 31(3), doi:10.1214/aos/1056562461.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

START, LEFT, RIGHT, INSIDE = range(4)
MOST_STEPS_OUT = 64  # of both sides together, shared out between them at random
MOST_SHRINKS = 100  # of an interval of at most 65 widths, of which nothing is left by then


class Sliced(NamedTuple):
    """A sweep over coordinates.

    Attributes
    ----------
    position
        Where it ended, shape (size,).
    log_density
        The log density there; not finite if it was not where the sweep started.
    evaluations
        Number of evaluations of the density.
    """

    position: Array
    log_density: Array
    evaluations: Array


class _Walk(NamedTuple):
    """Where the loop stands: it is about to evaluate the density at `place` of a coordinate.

    Attributes
    ----------
    turn
        Which coordinate; -1 before the density at the start is known.
    phase
        What is looked at: the start, the left end, the right end, or a point between them.
    position, log_density
        The present state.
    height, low, high
        The slice is where the log density is above `height`; the interval.
    place
        What to evaluate next.
    left, right
        Steps out that are still allowed.
    shrinks, evaluations
        Points rejected in this interval, and evaluations in all.
    """

    turn: Array
    phase: Array
    position: Array
    log_density: Array
    height: Array
    low: Array
    high: Array
    place: Array
    left: Array
    right: Array
    shrinks: Array
    evaluations: Array


def slice_sweep(
    log_density: Callable[[Array], Array],
    position: Array,
    coordinates: np.ndarray,
    widths: Array,
    key: Array,
) -> Sliced:
    """Update coordinates in turn, each by a move that leaves the density invariant.

    Parameters
    ----------
    log_density
        Of a vector (size,); what is not a number counts as minus infinity.
    position
        Where to start, shape (size,).
    coordinates
        Which coordinates, in which order: static. Without any the density is evaluated once.
    widths
        First width of the interval of each coordinate, shape (size,).
    key
        Random key.
    """
    count = len(coordinates)
    if not count:
        return Sliced(position, log_density(position), jnp.asarray(1))
    order = np.append(coordinates, 0)  # one more turn, which is prepared and not taken

    def step(walk: _Walk) -> _Walk:
        coordinate = jnp.asarray(order)[jnp.maximum(walk.turn, 0)]
        candidate = walk.position.at[coordinate].set(walk.place)
        value = log_density(candidate)
        noise = jax.random.uniform(jax.random.fold_in(key, walk.evaluations), (3,), position.dtype)
        walk = _judged(walk, coordinate, value, widths[coordinate], noise[0])
        following = jnp.asarray(order)[jnp.maximum(walk.turn, 0)]
        return _begun(walk, walk.position[following], widths[following], noise)

    zero, none = jnp.zeros_like(position[0]), jnp.asarray(0)
    first = _Walk(
        turn=jnp.asarray(-1),
        phase=jnp.asarray(START),
        position=position,
        log_density=zero,
        height=zero,
        low=zero,
        high=zero,
        place=position[order[0]],
        left=none,
        right=none,
        shrinks=none,
        evaluations=none,
    )
    done = jax.lax.while_loop(lambda walk: walk.turn < count, step, first)
    return Sliced(done.position, done.log_density, done.evaluations)


def _judged(walk: _Walk, coordinate: Array, value: Array, width: Array, uniform: Array) -> _Walk:
    """Make use of the value at `place`; a coordinate that is finished leaves phase START."""
    own, above = walk.position[coordinate], value > walk.height
    at_left, at_right, between = (walk.phase == each for each in (LEFT, RIGHT, INSIDE))
    more_left = at_left & above & (walk.left > 0)
    more_right = at_right & above & (walk.right > 0)
    accepted, rejected = between & above, between & ~above
    starting = walk.phase == START
    finished = starting | accepted | (rejected & (walk.shrinks >= MOST_SHRINKS))
    low = jnp.where(more_left, walk.low - width, walk.low)
    high = jnp.where(more_right, walk.high + width, walk.high)
    low = jnp.where(rejected & (walk.place < own), walk.place, low)
    high = jnp.where(rejected & (walk.place >= own), walk.place, high)
    # Both ends are known to lie outside, or to be as far out as allowed, before a point is drawn.
    phase = jnp.where(more_left, LEFT, jnp.where(at_left | more_right, RIGHT, INSIDE))
    point = low + uniform * (high - low)
    place = jnp.where(phase == LEFT, low, jnp.where(phase == RIGHT, high, point))
    return walk._replace(
        turn=walk.turn + finished,
        phase=jnp.where(finished, START, phase),
        position=walk.position.at[coordinate].set(jnp.where(accepted, walk.place, own)),
        log_density=jnp.where(starting | accepted, value, walk.log_density),
        low=low,
        high=high,
        place=place,
        left=walk.left - more_left,
        right=walk.right - more_right,
        shrinks=walk.shrinks + rejected,
        evaluations=walk.evaluations + 1,
    )


def _begun(walk: _Walk, own: Array, width: Array, noise: Array) -> _Walk:
    """Lay an interval around the present value, if a coordinate is about to begin."""
    beginning = walk.phase == START
    low = own - noise[0] * width
    left = jnp.floor(noise[1] * MOST_STEPS_OUT).astype(walk.left.dtype)
    fresh = walk._replace(
        phase=jnp.asarray(LEFT),
        height=walk.log_density + jnp.log1p(-noise[2]),
        low=low,
        high=low + width,
        place=low,
        left=left,
        right=MOST_STEPS_OUT - 1 - left,
        shrinks=jnp.zeros_like(walk.shrinks),
    )
    return jax.tree.map(lambda new, old: jnp.where(beginning, new, old), fresh, walk)
