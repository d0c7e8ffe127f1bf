"""Several starts: each is tried for a while, and the one with the highest bound goes on.

Posteriors of topics and of other mixtures have several modes, and a guide that follows gradients
ends in one of them. The evidence lower bound compares them: it is the log evidence, the same for
all, less the Kullback-Leibler divergence of the guide from the posterior.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.infer.svi_guides import Parameters

CHUNKS_PER_START = 20
CHUNKS_JUDGED = 5  # at the end of each, over which its bound is averaged


class Starts(NamedTuple):
    """What became of starts.

    Attributes
    ----------
    positions
        Where each begins, shape (start, size).
    elbo
        Bound that each has reached, shape (start,); NaN of those to come.
    total
        Sum of the bounds that count, of the start whose turn it is.
    best
        Parameters that the start with the highest bound has reached.
    """

    positions: Array
    elbo: Array
    total: Array
    best: Parameters


class Turn(NamedTuple):
    """Whose turn it is, whether it ends, and whether bounds count yet."""

    index: Array
    ends: Array
    counts: Array

    @classmethod
    def of(cls, chunk: Array) -> "Turn":
        """Read the number of a chunk of steps, from 0."""
        place = chunk % CHUNKS_PER_START
        last = CHUNKS_PER_START - 1
        return cls(chunk // CHUNKS_PER_START, place == last, place > last - CHUNKS_JUDGED)


def untried(positions: Array, parameters: Parameters) -> Starts:
    """Return what is known before any start was tried."""
    return Starts(positions, jnp.full(len(positions), jnp.nan), jnp.zeros(()), parameters)


def with_chunk(starts: Starts, turn: Turn, bound: Array, parameters: Parameters) -> Starts:
    """Count the bound of a chunk of steps; where the turn ends, keep the start if it is best."""
    total = starts.total + jnp.where(turn.counts, bound, 0.0)
    reached = total / CHUNKS_JUDGED
    highest = jnp.max(jnp.nan_to_num(starts.elbo, nan=-jnp.inf))
    better = turn.ends & ((turn.index == 0) | (reached > highest))
    return starts._replace(
        elbo=jnp.where(turn.ends, starts.elbo.at[turn.index].set(reached), starts.elbo),
        total=jnp.where(turn.ends, 0.0, total),
        best=choose(better, parameters, starts.best),
    )


def best_start(starts: Starts) -> Array:
    """Return which of the starts that were tried has the highest bound."""
    return jnp.argmax(jnp.nan_to_num(starts.elbo, nan=-jnp.inf))


def choose(condition: Array, yes: Any, no: Any) -> Any:
    """Return one of two pytrees of one structure; pure."""
    return jax.tree_util.tree_map(lambda a, b: jnp.where(condition, a, b), yes, no)
