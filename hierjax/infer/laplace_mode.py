"""The mode of a log density and its curvature there, from values alone.

A Newton method whose derivatives are differences over the width of the posterior: at the centre m
with scale matrix S the log density is taken at m + S h e, for steps h in the directions of the axes
and their pairs, which gives slope and curvature in the units of S; S then becomes the scale that
makes the curvature one. This is what a proposal distribution needs (the curvature as the posterior
sees it, not at a point), it compiles in a fraction of the time of second derivatives, and rounding
in single precision does not reach differences taken so wide.

A search goes through batches of points, all of one shape, so that one compiled evaluation serves
it: first points scattered about the origin, then by turns differences and candidates.
Candidates lie along the Newton step under many dampings and lengths at once, and the best is taken,
which needs neither a line search nor a trust region, and never goes down.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg.lapack import eigenvectors

SCATTER_SD = 1.2  # of the first points: as wide as Stan's, which are uniform on (-2, 2)
STEP = 0.7  # of differences, in units of the scale: about the width that a proposal must have
FIRST_SCALE = 0.5
LARGEST_CHANGE = 10.0  # of a scale at one step upwards; ten times as much downwards
SMALL_GAIN, SMALL_CHANGE = 0.05, 0.5
MOST_MOVES = 25

SCATTER, DIFFERENCES, CANDIDATES = 0, 1, 2
_DAMPINGS = np.concatenate([[0.0], 10.0 ** np.linspace(-3, 4, 15)])
_LENGTHS = 2.0 ** np.arange(-4, 4)


class Search(NamedTuple):
    """Where a search stands.

    `slope` and `stretch` are of the step in hand: gradient in units of `scale`, and the squares of
    the factors by which `scale` was last divided.
    """

    phase: Array
    centre: Array
    value: Array
    scale: Array
    slope: Array
    stretch: Array
    moves: Array
    done: Array


def batch_size(size: int, smallest: int) -> int:
    """Points in a batch of a search over `size` dimensions, at least `smallest`."""
    return max(smallest, len(_axes_and_pairs(size)), len(_DAMPINGS) * len(_LENGTHS))


def begin_search(size: int) -> Search:
    """Return the state before the first batch."""
    return Search(
        phase=jnp.asarray(SCATTER),
        centre=jnp.zeros(size),
        value=jnp.asarray(-jnp.inf),
        scale=FIRST_SCALE * jnp.eye(size),
        slope=jnp.zeros(size),
        stretch=jnp.ones(size),
        moves=jnp.asarray(0),
        done=jnp.asarray(False),
    )


def search_points(search: Search, noise: Array) -> Array:
    """Return the points whose log density is needed next; standard normal `noise` has their shape.

    The noise may be the same in every batch.
    """
    batch, size = noise.shape
    precision = np.dtype(noise.dtype)  # constants of another would not be converted under jit

    def scatter() -> Array:
        return jnp.where(jnp.arange(batch)[:, None] == 0, 0.0, SCATTER_SD * noise)

    def differences() -> Array:
        steps = np.zeros((batch, size), precision)
        steps[: len(_axes_and_pairs(size))] = STEP * _axes_and_pairs(size)
        return search.centre + jnp.asarray(steps) @ search.scale.T

    def candidates() -> Array:
        dampings, lengths = _DAMPINGS.astype(precision), _LENGTHS.astype(precision)
        damped = search.slope / (1.0 + dampings[:, None] / search.stretch)
        steps = jnp.reshape(lengths[:, None, None] * damped, (-1, size))
        return search.centre + jnp.concatenate([steps, noise[len(steps) :]]) @ search.scale.T

    return jax.lax.switch(search.phase, (scatter, differences, candidates))


def search_on(search: Search, points: Array, values: Array) -> Search:
    """Return the state after log densities (batch,), -inf where there is none, at its points."""
    best = jnp.argmax(values)
    better = values[best] > search.value
    gain = jnp.where(better, values[best] - search.value, 0.0)
    moved = search._replace(
        centre=jnp.where(better, points[best], search.centre),
        value=jnp.where(better, values[best], search.value),
    )

    def scatter() -> Search:
        return moved._replace(phase=jnp.asarray(DIFFERENCES), done=~jnp.isfinite(moved.value))

    def differences() -> Search:
        return _new_scale(search, values)

    def candidates() -> Search:
        change = jnp.max(jnp.abs(jnp.log(search.stretch)))
        settled = (gain < SMALL_GAIN) & (change < SMALL_CHANGE)
        moves = search.moves + 1
        return moved._replace(
            phase=jnp.asarray(DIFFERENCES), moves=moves, done=settled | (moves >= MOST_MOVES)
        )

    return jax.lax.switch(search.phase, (scatter, differences, candidates))


def restarted(search: Search, centre: Array, scale: Array) -> Search:
    """Return the same search at another centre and scale, with its moves spent."""
    going_on = search._replace(phase=jnp.asarray(DIFFERENCES), done=jnp.asarray(False))
    return going_on._replace(centre=centre, scale=scale)


def scale_tril(search: Search) -> Array:
    """Return the lower triangular matrix with positive diagonal of the same covariance."""
    upper = jnp.linalg.qr(search.scale.T, mode="r")
    return upper.T * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)


def _new_scale(search: Search, values: Array) -> Search:
    """Find slope and curvature from differences, and make the curvature one."""
    size = len(search.centre)
    up, down = values[1 : 2 * size + 1 : 2], values[2 : 2 * size + 2 : 2]
    slope = (up - down) / (2.0 * STEP)
    curvature = jnp.diag(2.0 * values[0] - up - down)
    if size > 1:
        row, column = np.tril_indices(size, -1)
        first = 2 * size + 1
        mixed = up[row] + up[column] - values[0] - values[first : first + len(row)]
        curvature = curvature.at[row, column].set(mixed).at[column, row].set(mixed)
    finite = jnp.all(jnp.isfinite(values))
    curvature = jnp.where(finite, curvature / STEP**2, jnp.eye(size))
    # Where the log density bends upwards, its curvature still says on what scale it changes.
    eigenvalues, directions = eigenvectors(curvature)
    stretch = jnp.clip(jnp.abs(eigenvalues), LARGEST_CHANGE**-2, LARGEST_CHANGE**4)
    root = jnp.sqrt(stretch)
    found = search._replace(
        phase=jnp.asarray(CANDIDATES),
        value=values[0],
        scale=search.scale @ directions / root,
        slope=directions.T @ slope / root,
        stretch=stretch,
    )
    # A difference reached beyond where the density is finite: come nearer.
    nearer = search._replace(scale=search.scale / 4.0, moves=search.moves + 1)
    nearer = nearer._replace(done=nearer.moves >= MOST_MOVES)
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), found, nearer)


def _axes_and_pairs(size: int) -> np.ndarray:
    """Offsets (point, size): the centre, each axis up and down, sums of pairs of axes."""
    axes = np.eye(size)
    both = np.stack([axes, -axes], axis=1).reshape(2 * size, size)
    row, column = np.tril_indices(size, -1)
    return np.concatenate([np.zeros((1, size)), both, axes[row] + axes[column]])
