"""The maximum of a function of a few parameters by Newton's method, one evaluation at a time.

Second derivatives are central differences of the gradient over a thousandth of the width of the
maximum, so that one compiled evaluation of value and gradient serves everything: the choice of a
start, the differences, the candidates along a step, and the look at limits in the end. Where the
function bends upwards or hardly at all the step goes along the gradient (curvatures count by their
size); a step is halved until the value rises as its slope promises.

A maximum may lie at a limit: a standard deviation of zero is at minus infinity on the scale of its
logarithm, where the function has become level. A coordinate is at a limit if the value does not
fall when it is moved far outwards.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg.lapack import eigenvectors

STEP = {"float64": 1e-3, "float32": 0.05}  # of differences, in units of the width of the maximum
CLOSE = {"float64": 1e-9, "float32": 1e-4}  # twice the gain that may be left
FLAT = {"float64": 1e-8, "float32": 1e-3}  # curvature below which nothing is known of a coordinate
LEVEL = {"float64": 1e-6, "float32": 1e-2}  # fall of the value that does not count at a limit
NEARLY_LEVEL = 1e-3  # curvature of coordinates that may be at a limit
LONGEST = 2.0  # most that a coordinate with limits moves in one step
FAR, SEVERAL = np.log(100.0), 5.0
RISE = 1e-4  # share of the gain promised by the slope that a step must make
LEAST_BEND = 1e-6
MOST_HALVINGS = 30

START, DIFFERENCES, CANDIDATES, LIMITS, DONE = range(5)
INSIDE, LOWER, UPPER, EITHER = range(4)

Evaluate = Callable[[Array], tuple[Array, Array]]


class Search(NamedTuple):
    """Where a search stands; a pytree.

    Attributes
    ----------
    phase, count
        What is evaluated next.
    starts
        Points (n, size) of which the best is the start.
    bounded
        Coordinates that have limits at infinity; others are on the real line.
    reach
        How far outwards of a maximum a coordinate is moved to see whether it is at a limit.
    unit
        Width of the maximum along each coordinate, as far as known.
    centre, value, slope
        Best point so far, with value and gradient.
    slopes
        Gradients on both sides along each coordinate, (2 size, size).
    curvature
        Negative second derivatives at the centre.
    step
        Newton step from the centre.
    decrement
        Squared length of the Newton step in units of the curvature: twice the gain that is left.
    promised
        Slope along the step.
    limit
        Whether a coordinate is `INSIDE`, at its `LOWER` or `UPPER` limit, or the value is the same
        on `EITHER` side.
    moves, most
        Steps taken, and the most that may be.
    converged
        Whether the search ended at a maximum.
    """

    phase: Array
    count: Array
    starts: Array
    bounded: Array
    reach: Array
    unit: Array
    centre: Array
    value: Array
    slope: Array
    slopes: Array
    curvature: Array
    step: Array
    decrement: Array
    promised: Array
    limit: Array
    moves: Array
    most: Array
    converged: Array

    @property
    def done(self) -> Array:
        """Whether nothing is left to evaluate."""
        return self.phase == DONE

    @property
    def free(self) -> Array:
        """Coordinates that have an estimate inside their limits."""
        return self.limit == INSIDE


def begin_search(starts: Array, bounded: np.ndarray, unit: Array, most: int) -> Search:
    """Return the state before the first evaluation; arguments as in `Search`."""
    size = starts.shape[1]
    zero = jnp.zeros((), starts.dtype)
    unit = jnp.where(bounded, 1.0, unit).astype(starts.dtype)
    return Search(
        phase=_code(START),
        count=_code(0),
        starts=starts,
        bounded=jnp.asarray(bounded),
        reach=jnp.where(bounded, FAR, SEVERAL * unit).astype(starts.dtype),
        unit=unit,
        centre=starts[0],
        value=zero - jnp.inf,
        slope=jnp.zeros_like(starts[0]),
        slopes=jnp.zeros((2 * size, size), starts.dtype),
        curvature=jnp.eye(size, dtype=starts.dtype),
        step=jnp.zeros_like(starts[0]),
        decrement=zero + jnp.inf,
        promised=zero,
        limit=jnp.full(size, INSIDE, jnp.int32),
        moves=_code(0),
        most=_code(most),
        converged=jnp.asarray(False),
    )


def evaluations(size: int, starts: int, most: int) -> int:
    """Most evaluations that a search needs, but for steps that are halved often."""
    return starts + (most + 1) * (2 * size + 2) + 2 * size


def search_on(search: Search, evaluate: Evaluate, most: int) -> Search:
    """Go on for at most so many evaluations of value and gradient; pure."""

    def unfinished(carry: tuple[Array, Search]) -> Array:
        return (carry[0] < most) & ~carry[1].done

    def one(carry: tuple[Array, Search]) -> tuple[Array, Search]:
        done, search = carry
        value, slope = evaluate(_point(search))
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
        return done + 1, _absorb(search, jnp.where(finite, value, -jnp.inf), slope)

    return jax.lax.while_loop(unfinished, one, (jnp.asarray(0), search))[1]


def _point(search: Search) -> Array:
    """Return the point that is to be evaluated next."""
    size, dtype = len(search.centre), search.centre.dtype
    along = jnp.eye(size, dtype=dtype)[jnp.minimum(search.count // 2, size - 1)]
    side = jnp.where(search.count % 2 == 0, 1.0, -1.0).astype(dtype)
    branches = (
        lambda: search.starts[jnp.minimum(search.count, len(search.starts) - 1)],
        lambda: search.centre + side * STEP[dtype.name] * search.unit * along,
        lambda: search.centre + 0.5 ** search.count.astype(dtype) * search.step,
        lambda: search.centre - side * search.reach * along,
        lambda: search.centre,
    )
    return jax.lax.switch(search.phase, branches)


def _absorb(search: Search, value: Array, slope: Array) -> Search:
    """Return the state after the evaluation of its point."""
    branches = (_start, _difference, _candidate, _limit, lambda search, value, slope: search)
    return jax.lax.switch(search.phase, branches, search, value, slope)


def _start(search: Search, value: Array, slope: Array) -> Search:
    better = value > search.value
    point = search.starts[jnp.minimum(search.count, len(search.starts) - 1)]
    search = _moved(search, better, point, value, slope)
    last = search.count + 1 >= len(search.starts)
    found = jnp.where(jnp.isfinite(search.value), DIFFERENCES, DONE)
    return search._replace(
        phase=_code(jnp.where(last, found, START)), count=jnp.where(last, 0, search.count + 1)
    )


def _difference(search: Search, value: Array, slope: Array) -> Search:
    del value
    search = search._replace(slopes=search.slopes.at[search.count].set(slope))
    last = search.count + 1 >= len(search.slopes)
    on = search._replace(count=search.count + 1)
    return jax.lax.cond(last, _with_step, lambda _: on, search)


def _with_step(search: Search) -> Search:
    """Find the curvature, and the Newton step that it gives."""
    name = search.centre.dtype.name
    change = search.slopes[0::2] - search.slopes[1::2]
    curvature = -change / (2.0 * STEP[name] * search.unit[:, None])
    curvature = (curvature + curvature.T) / 2.0
    finite = jnp.all(jnp.isfinite(curvature))
    curvature = jnp.where(finite, curvature, jnp.eye(len(curvature), dtype=curvature.dtype))
    own = jnp.maximum(jnp.abs(jnp.diagonal(curvature)), FLAT[name] / search.unit**2)
    width = 1.0 / jnp.sqrt(own)
    bends, directions = eigenvectors(curvature * width * width[:, None])
    sizes = jnp.maximum(jnp.abs(bends), LEAST_BEND)
    along = directions.T @ (search.slope * width)
    step, decrement = width * (directions @ (along / sizes)), jnp.sum(along**2 / sizes)
    longest = jnp.max(jnp.where(search.bounded, jnp.abs(step), 0.0))
    share = jnp.minimum(1.0, LONGEST / jnp.maximum(longest, LONGEST))
    close = finite & (decrement < CLOSE[name])
    found = search._replace(
        count=_code(0),
        phase=_code(CANDIDATES),
        # A gradient that is not finite on one side: come nearer, and along the gradient meanwhile.
        unit=jnp.where(finite, _unit(search, width), search.unit / 10.0),
        curvature=curvature,
        step=share * step,
        decrement=decrement,
        promised=share * decrement,
        converged=close & (jnp.min(bends) > -NEARLY_LEVEL),
    )
    return jax.lax.cond(close, _begin_limits, lambda search: search, found)


def _unit(search: Search, width: Array) -> Array:
    most = jnp.where(search.bounded, 1.0, search.reach)
    return jnp.minimum(width, most)


def _candidate(search: Search, value: Array, slope: Array) -> Search:
    share = 0.5 ** search.count.astype(value.dtype)
    # A rise below the rounding error of the value cannot be seen.
    blur = 8.0 * jnp.finfo(value.dtype).eps * (1.0 + jnp.abs(search.value))
    rises = value >= search.value + RISE * share * search.promised - blur
    point = search.centre + share * search.step
    moved = _moved(search, rises, point, value, slope)
    moved = moved._replace(moves=search.moves + 1)
    stop = jnp.where(rises, moved.moves >= search.most, search.count + 1 >= MOST_HALVINGS)
    on = moved._replace(
        phase=_code(jnp.where(rises, DIFFERENCES, CANDIDATES)),
        count=jnp.where(rises, 0, search.count + 1),
        moves=jnp.where(rises, moved.moves, search.moves),
    )
    return jax.lax.cond(stop, _begin_limits, lambda search: search, on)


def _begin_limits(search: Search) -> Search:
    return _to_next_limit(search._replace(phase=_code(LIMITS), count=_code(-1)))


def _to_next_limit(search: Search) -> Search:
    """Go to the next place where a limit may be; done if there is none."""
    nearly_level = _nearly_level(search)
    wanted = jnp.repeat(nearly_level, 2)
    places = jnp.arange(len(wanted))
    left = wanted & (places > search.count)
    # The step that is left is shorter than what the value can show, and right to second order.
    last = search.converged & ~jnp.any(left) & search.free & ~nearly_level
    return search._replace(
        phase=_code(jnp.where(jnp.any(left), LIMITS, DONE)),
        count=_code(jnp.argmax(left)),
        centre=search.centre + jnp.where(last, search.step, 0.0),
    )


def _nearly_level(search: Search) -> Array:
    """Coordinates along which the function hardly bends, so that they may be at a limit."""
    own = jnp.abs(jnp.diagonal(search.curvature))
    return own * jnp.where(search.bounded, 1.0, search.reach / SEVERAL) ** 2 < NEARLY_LEVEL


def _limit(search: Search, value: Array, slope: Array) -> Search:
    del slope
    blur = LEVEL[value.dtype.name] + 8.0 * jnp.finfo(value.dtype).eps * jnp.abs(search.value)
    level = value >= search.value - blur
    axis, code = search.count // 2, jnp.where(search.count % 2 == 0, LOWER, UPPER)
    limit = search.limit.at[axis].add(_code(jnp.where(level, code, INSIDE)))
    return _to_next_limit(search._replace(limit=limit))


def _moved(search: Search, moves: Array, point: Array, value: Array, slope: Array) -> Search:
    return search._replace(
        centre=jnp.where(moves, point, search.centre),
        value=jnp.where(moves, value, search.value),
        slope=jnp.where(moves, slope, search.slope),
    )


def _code(value: Any) -> Array:
    """Return a whole number of one type, whatever the precision in force."""
    return jnp.asarray(value, jnp.int32)
