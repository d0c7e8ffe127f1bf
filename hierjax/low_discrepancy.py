"""Random points spread more evenly than independent ones: Sobol' points, shifted at random.

Each point is uniform on the unit cube. Together they fill it evenly, so that a mean over n of them
has an error that falls faster than 1 / sqrt(n) where the function is not too rough and depends on
few of the columns at a time.

References
----------
Sobol' (1967), doi:10.1016/0041-5553(67)90144-9. Owen (1995), Randomly permuted (t, m, s)-nets and
(t, s)-sequences. Joe and Kuo (2008), doi:10.1137/070709359. Gerber and Chopin (2015), Sequential
quasi Monte Carlo, doi:10.1111/rssb.12104.
"""

import functools
import importlib.resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

PLACES = 16  # binary digits of a place in the sequence: after so many points it starts again
DIGITS = 32  # binary digits of a point
MOST_COLUMNS = 64  # of the cube; further ones are independent
PATH_DIGITS = 13  # binary digits of the cell of a point: as many cells as there are points, about


class Evenly(NamedTuple):
    """Where the randomness of one draw among many comes from.

    Attributes
    ----------
    key
        Random key of this draw alone.
    shared
        Random key of all draws.
    place
        Place of this draw among all.
    """

    key: Array
    shared: Array
    place: Array


def own_key(key: Array | Evenly) -> Array:
    """Random key of one draw alone."""
    return key.key if isinstance(key, Evenly) else key


def uniform(key: Array | Evenly, shape: tuple[int, ...]) -> Array:
    """Uniform variables between 0 and 1, exclusive; spread evenly over the draws of an `Evenly`.

    The first `MOST_COLUMNS`, in row-major order, are those of a shifted Sobol' point.
    """
    dtype = jnp.result_type(float)
    least = float(jnp.finfo(dtype).tiny)
    independent = jax.random.uniform(own_key(key), shape, dtype, minval=least)
    if not isinstance(key, Evenly):
        return independent
    columns = min(independent.size, MOST_COLUMNS)
    even = sobol(key.shared, key.place[None], columns)[0]
    return jnp.concatenate([even, jnp.ravel(independent)[columns:]]).reshape(shape)


def normal(key: Array, count: int, columns: int) -> Array:
    """Draw standard normal variables (count, columns), every row spread evenly among the others."""
    of_points, of_rest = jax.random.split(key)
    even = sobol(of_points, jnp.arange(count), min(columns, MOST_COLUMNS))
    rest = jax.random.normal(of_rest, (count, columns - even.shape[1]))
    return jnp.concatenate([jax.scipy.stats.norm.ppf(even), rest], axis=1)


def sobol(key: Array, places: Array, columns: int) -> Array:
    """Return points of a Sobol' sequence in the unit cube, their digits shifted at random.

    Parameters
    ----------
    key
        Random key of the shift.
    places
        Which points of the sequence, integers (n,).
    columns
        Dimension of the cube, at most `MOST_COLUMNS`; the first ones are the same in all.

    Returns
    -------
    Array
        Shape (n, columns), between 0 and 1, exclusive.
    """
    dtype = jnp.result_type(float)
    place = jnp.asarray(places, jnp.uint32)
    gray = place ^ (place >> 1)
    directions = jnp.asarray(_directions()[:, :columns])
    shift = jax.random.bits(key, (MOST_COLUMNS,), jnp.uint32)[:columns]
    point = jnp.broadcast_to(shift, (len(place), columns))

    def add(digit: Array, point: Array) -> Array:
        is_set = (gray >> jnp.astype(digit, jnp.uint32)) & 1
        return point ^ jnp.where(is_set[:, None] > 0, directions[digit], jnp.uint32(0))

    point = jax.lax.fori_loop(0, PLACES, add, point)
    kept = min(DIGITS, jnp.finfo(dtype).nmant)
    return ((point >> (DIGITS - kept)).astype(dtype) + 0.5) / 2**kept


@functools.cache
def _directions() -> np.ndarray:
    """Direction numbers (digit, column), those of Joe and Kuo scrambled once.

    In Gray order, point 2^(k+1) - 1 differs from point 0 by number k alone. They are kept in a
    file, made by SciPy, because importing `scipy.stats` takes longer than many a fit.
    """
    lines = importlib.resources.files("hierjax") / "sobol_directions.csv"
    return np.loadtxt(lines.read_text().splitlines(), np.uint32, delimiter=",").T


def along_path(points: Array) -> Array:
    """Place of each point along a path to and fro through the unit cube: near places, near points.

    The cube is cut into slices, each slice into rods and so on; every other one is gone through
    backwards.

    Parameters
    ----------
    points
        Between 0 and 1, (n, columns).

    Returns
    -------
    Array
        Numbers (n,), the lowest at the start of the path.
    """
    columns = min(points.shape[1], PATH_DIGITS)
    slices = 2 ** (PATH_DIGITS // columns)
    place = jnp.zeros_like(points[:, 0])
    for column in range(columns):
        along = jnp.where(place % 2 == 1, 1.0 - points[:, column], points[:, column])
        if column < columns - 1:
            along = jnp.clip(jnp.floor(along * slices), 0, slices - 1)
            place = place * slices + along
    return place + along


def random_order(key: Array, count: int) -> Array:
    """Order of so many draws (count,), such that any of them are a random part of all.

    Draws that are spread evenly along a path must not be thinned along it: what is left would have
    the same places in every run. Here draw i has place (a p(i) + b) modulo count, with p a
    permutation, b and a at random, a without a divisor in common with `count`; sorting random
    numbers would take XLA longer.
    """
    fixed = np.random.default_rng(0).permutation(count).astype(np.int32)
    steps = np.arange(min(count, 2**31 // count - 1), dtype=np.int32)  # no overflow below
    steps = steps[np.gcd(steps, count) == 1]
    of_step, of_start = jax.random.split(key)
    step = jax.random.choice(of_step, jnp.asarray(steps))
    start = jax.random.randint(of_start, (), 0, count, jnp.int32)
    return (step * fixed + start) % count
