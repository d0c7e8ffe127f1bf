"""Random points spread more evenly than independent ones: Sobol' points, shifted at random.

Each point is uniform on the unit cube. Together they fill it evenly, so that a mean over n of them
has an error that falls faster than 1 / sqrt(n) where the function is not too rough and depends on
few of the columns at a time.

References
----------
Sobol' (1967), doi:10.1016/0041-5553(67)90144-9. Owen (1995), Randomly permuted (t, m, s)-nets and
(t, s)-sequences. Joe and Kuo (2008), doi:10.1137/070709359. Gerber and Chopin (2015), Sequential
quasi Monte Carlo, doi:10.1111/rssb.12104. Skilling (2004), Programming the Hilbert curve,
doi:10.1063/1.1751381.
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
CURVE_DIGITS = 30  # binary digits of a place along the curve


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
    for digit in range(PLACES):
        is_set = ((gray >> digit) & 1).astype(bool)
        point ^= jnp.where(is_set[:, None], directions[digit], jnp.uint32(0))
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


def along_curve(points: Array) -> Array:
    """Place of each point along a Hilbert curve through the unit cube: near places, near points.

    Parameters
    ----------
    points
        Between 0 and 1, (n, columns).

    Returns
    -------
    Array
        Unsigned integers (n,).
    """
    columns = min(points.shape[1], CURVE_DIGITS)
    digits = CURVE_DIGITS // columns
    scaled = jnp.clip(points[:, :columns] * 2**digits, 0, 2**digits - 1)
    axes = list(jnp.astype(scaled, jnp.uint32).T)
    for digit in reversed(range(1, digits)):
        _turn(axes, jnp.uint32(2**digit))
    for column in range(1, columns):
        axes[column] ^= axes[column - 1]
    flips = jnp.zeros_like(axes[0])
    for digit in reversed(range(1, digits)):
        is_set = (axes[-1] & jnp.uint32(2**digit)) > 0
        flips ^= jnp.where(is_set, jnp.uint32(2**digit - 1), jnp.uint32(0))
    place = jnp.zeros_like(axes[0])
    for digit in reversed(range(digits)):
        for axis in axes:
            place = (place << 1) | (((axis ^ flips) >> digit) & 1)
    return place


def _turn(axes: list[Array], bit: Array) -> None:
    """Undo the rotation of the curve at one digit, in place (Skilling's transposed axes)."""
    lower = bit - 1
    for column, axis in enumerate(axes):
        is_set = (axis & bit) > 0
        swapped = jnp.where(is_set, jnp.uint32(0), (axes[0] ^ axis) & lower)
        axes[0] = jnp.where(is_set, axes[0] ^ lower, axes[0] ^ swapped)
        if column:
            axes[column] = axis ^ swapped
