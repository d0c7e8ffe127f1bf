"""Draws: what every method returns, arrays only; a pytree, so that jit, vmap and scan take it."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import Array


class Status(enum.IntEnum):
    """Outcome of one chain, a code so that a whole batch can be judged after one program."""

    OK = 0
    NO_FINITE_START = 1
    NOT_FINITE = 2
    NOT_CONVERGED = 3
    POOR_WEIGHTS = 4


STATUS_MESSAGE = {
    Status.OK: "finished",
    Status.NO_FINITE_START: (
        "no starting point with a finite log density and gradient was found; check that the priors "
        "put mass where the likelihood is finite"
    ),
    Status.NOT_FINITE: "the log density became non-finite during the run; look for overflow in the "
    "model function or use dtype='float64'",
    Status.NOT_CONVERGED: "the method stopped at its limit before it converged; raise the limit",
    Status.POOR_WEIGHTS: "importance sampling did not cover the posterior: too few points "
    "have nearly all the weight",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Draws:
    """Posterior draws as a pytree of arrays, without labels.

    Attributes
    ----------
    sites
        Site name -> array of shape (chain, draw, *site shape), in the constrained space.
    stats
        Sampler statistic -> array of shape (chain, draw).
    status
        `Status` code of each chain, shape (chain,).
    trace
        What a method recorded on its way, e.g. "elbo" -> array of shape (chain, record); NaN where
        it stopped before a record was made.
    estimates
        Of a method that estimates a point: site name -> estimate and standard error, shape
        (2, *site shape); an error is NaN where there is none.
    places
        Of a method with independent draws: place of each along a path through the parameters, shape
        (chain, draw), by which what is drawn given them is spread evenly; None afterwards.
    """

    sites: Mapping[str, Array | np.ndarray]
    stats: Mapping[str, Array | np.ndarray]
    status: Array | np.ndarray
    trace: Mapping[str, Array | np.ndarray] = dataclasses.field(default_factory=dict)
    estimates: Mapping[str, Array | np.ndarray] = dataclasses.field(default_factory=dict)
    places: Array | None = None


@dataclasses.dataclass(frozen=True)
class FitInfo:
    """How a posterior was made: everything a report or a file has to say beside the draws.

    Attributes
    ----------
    method
        Name of the method, e.g. "nuts".
    settings
        Its settings, JSON-able.
    seed
        Seed that reproduces the draws.
    dtype
        "float64" or "float32".
    effects
        Site -> parametrisation it was sampled in, e.g. "noncentred"; sites left out are as written.
    seconds
        Phase ("compile", "run") -> wall seconds.
    status
        `Status` code of each chain.
    versions
        Package -> version.
    trace
        What the method recorded on its way, e.g. "elbo" -> one value per record.
    index
        Place of the data set in a batch: its key is `fold_in(key(seed), index)`; None outside one.
    estimates
        Of a method that estimates a point: site -> estimate and standard error, (2, *site shape).
    reason
        Why `method="auto"` chose the method; empty where the user did.
    init
        The fit that this one was started from (`init=`); empty if there was none.
    """

    method: str
    settings: Mapping[str, Any]
    seed: int
    dtype: str
    effects: Mapping[str, str]
    seconds: Mapping[str, float]
    status: tuple[int, ...]
    versions: Mapping[str, str]
    trace: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    index: int | None = None
    estimates: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    reason: str = ""
    init: str = ""
