"""Empirical Bayes: the maximum of the likelihood with the group effects integrated out.

What is maximised is a function of the few parameters that are left (sds of levels, correlations,
the residual sd; coefficients too where they could not be integrated out), by a Newton method on the
unconstrained scale (`hierjax.infer.newton`). Priors of these parameters count for "map" only, in
the constrained space: no Jacobian, so that the estimate is that of the parameter as it is written.

References
----------
Bates, Maechler, Bolker and Walker (2015), doi:10.18637/jss.v067.i01. Chung, Rabe-Hesketh, Dorie,
Gelman and Liu (2013), doi:10.1007/s11336-013-9328-2 (maximum a posteriori for variances).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import IdentityTransform, IndependentTransform

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.density import Arrays, Density, make_density
from hierjax.draws import Draws, Status
from hierjax.infer.estimate import Estimate
from hierjax.infer.laplace_scale import positive_elements
from hierjax.infer.newton import MOST_HALVINGS, Search, begin_search, evaluations, search_on
from hierjax.infer.program import Program
from hierjax.trace import abstract_trace

KINDS = ("ml", "reml", "map")
Kind = Literal["ml", "reml", "map"]
LOG_SCALES = np.log(10.0) * np.arange(-3, 5)  # at which all positive parameters are tried first
MOVES = 4  # Newton steps in a chunk of work


@dataclasses.dataclass(frozen=True)
class EmpiricalBayes:
    """Settings of empirical Bayes: a maximum, its standard errors, and the effects given it.

    Group effects are integrated out, exactly for a normal response, by quadrature or Laplace's
    approximation otherwise; the rest is put at its maximum.

    Parameters
    ----------
    kind
        "ml" maximises the likelihood: priors of coefficients, sds, correlations and other
        parameters do not count. "reml" does too, with coefficients integrated over a flat prior
        (a normal response only). "map" maximises likelihood times prior of the parameters
        as they are written (no Jacobian; as blme), coefficients integrated where that is exact.
    draws
        Draws of coefficients and group effects given the other parameters at their estimates.
    order
        Nodes per effect of the quadrature, for responses that are not normal; 1 is Laplace's
        approximation, None as many nodes as the log likelihood needs to settle to within 0.01.
    steps
        Most Newton steps.

    Raises
    ------
    SettingsError
        An option is out of range.

    Notes
    -----
    Standard errors are those of the observed information. Draws have no uncertainty of sds and
    correlations in them: intervals of effects and coefficients are too short with few groups.
    """

    kind: Kind = "ml"
    draws: int = 1000
    order: int | None = None
    steps: int = 60

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.positive_int("draws", self.draws)
        checks.positive_int("steps", self.steps)
        if self.order is not None:
            checks.positive_int("order", self.order)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "empirical_bayes"

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the method to a model function whose group effects are integrated out."""
        target = Target.of(fn, data, self.kind)
        size, starts = target.density.size, len(LOG_SCALES)
        trips = MOVES * (2 * size + 2)

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", None]:
            evaluate = target.value_and_slope(arrays)
            return run._replace(search=search_on(run.search, evaluate, trips)), None

        chunks = -(-evaluations(size, starts, self.steps) // trips) + 2
        return Program(
            start=lambda key, arrays: _Run(key, target.begin(arrays, self.steps)),
            start_near=lambda key, near, arrays: _Run(
                key, target.begin(arrays, self.steps, jnp.mean(near, axis=0))
            ),
            advance=advance,
            finish=lambda run, records, arrays: _finish(target, self, run, arrays),
            num_chunks=chunks,
            num_discarded=chunks,
            report=_report,
            phase="maximising",
        )


class _Run(NamedTuple):
    key: Array
    search: Search


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """What is maximised.

    Attributes
    ----------
    density
        Of the model function whose group effects are integrated out.
    kind
        Whether priors count ("map").
    positive
        Mask over a position: logs of positive values.
    bounded
        Mask: values that have limits.
    """

    density: Density
    kind: str
    positive: np.ndarray
    bounded: np.ndarray

    @classmethod
    def of(cls, fn: Callable[..., Any], data: Mapping[str, Any], kind: str) -> "Target":
        """Read the sites of a model function."""
        density = make_density(fn, Arguments.of(data), dict(data))
        sites = abstract_trace(fn, data).sites
        bounded = [np.full(each.size, not _is_real(sites[each.name])) for each in density.slots]
        positive = positive_elements(density, fn, data)
        return cls(density, kind, positive, np.concatenate(bounded))

    def log_density(self, position: Array, arrays: Arrays) -> Array:
        """Return what is maximised, a scalar."""
        likelihood, prior = self.density.log_parts(position, arrays)
        return likelihood + prior if self.kind == "map" else likelihood

    def value_and_slope(self, arrays: Arrays) -> Callable[[Array], tuple[Array, Array]]:
        """Return value and gradient as a function of the position."""
        return jax.value_and_grad(lambda position: self.log_density(position, arrays))

    def begin(self, arrays: Arrays, most: int, near: Array | None = None) -> Search:
        """Return a search before its first step: all scales equal, each real site at its mean.

        Or where a position `near` the maximum is, if there is one.
        """
        means, units = self._priors(arrays)
        if near is not None:
            return begin_search(near[None], self.bounded, units, most)
        scales = jnp.asarray(LOG_SCALES, means.dtype)[:, None]
        starts = jnp.where(self.positive, scales, jnp.where(self.bounded, 0.0, means))
        return begin_search(starts, self.bounded, units, most)

    def search(self, arrays: Arrays, most: int) -> Search:
        """Return a finished search; pure."""
        first = self.begin(arrays, most)
        trips = evaluations(self.density.size, len(first.starts), most) + most * MOST_HALVINGS
        return search_on(first, self.value_and_slope(arrays), trips)

    def estimate(self, search: Search, arrays: Arrays) -> Estimate:
        """Return what is known at the end of a search."""
        drawn = np.flatnonzero(~self.bounded)
        return Estimate(self.density, arrays, search, self.positive, drawn)

    def _priors(self, arrays: Arrays) -> tuple[Array, Array]:
        """Mean and sd of the prior of each real element; 0 and 1 where there are none."""
        fn = handlers.seed(self.density.fn, rng_seed=0)
        with handlers.block():
            sites = handlers.trace(fn).get_trace(**self.density.arguments.rebuild(arrays))
        means, sds = [], []
        for slot in self.density.slots:
            mean, variance = _moments(sites[slot.name]["fn"], slot.shape)
            means.append(jnp.ravel(jnp.where(jnp.isfinite(mean), mean, 0.0)))
            usable = jnp.isfinite(variance) & (variance > 0)
            sds.append(jnp.ravel(jnp.sqrt(jnp.where(usable, variance, 1.0))))
        return jnp.concatenate(means), jnp.concatenate(sds)


def _is_real(site: Any) -> bool:
    transform = biject_to(site.support)
    while isinstance(transform, IndependentTransform):
        transform = transform.base_transform
    return isinstance(transform, IdentityTransform)


def _moments(prior: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and variance of a prior, where it knows them and they have the shape of the position."""
    try:
        return jnp.broadcast_to(prior.mean, shape), jnp.broadcast_to(prior.variance, shape)
    except (NotImplementedError, AttributeError, ValueError):
        return jnp.full(shape, jnp.nan), jnp.full(shape, jnp.nan)


def _finish(target: Target, settings: EmpiricalBayes, run: _Run, arrays: Arrays) -> Draws:
    search = run.search
    sites, estimates, size = target.estimate(search, arrays).describe(run.key, settings.draws)
    likelihood = search.value
    if settings.kind == "map":
        likelihood -= target.density.log_parts(search.centre, arrays)[1]
    status = jnp.where(search.converged, Status.OK, Status.NOT_CONVERGED)
    status = jnp.where(jnp.isfinite(search.value), status, Status.NO_FINITE_START)
    trace = {
        "log_likelihood": likelihood,
        "log_density": search.value,
        "parameters": size.astype(likelihood.dtype),
        "distance": jnp.sqrt(search.decrement),
        "steps": search.moves.astype(likelihood.dtype),
    }
    stats = {"log_density": jnp.full((1, settings.draws), search.value)}
    trace = {name: jnp.reshape(value, (1, 1)) for name, value in trace.items()}
    sites = {name: value[None] for name, value in sites.items()}
    return Draws(sites, stats, status[None].astype(jnp.int32), trace, estimates)


def _report(run: _Run) -> dict[str, Any]:
    search = run.search
    return {
        "done": search.done,
        "failed": search.done & ~jnp.isfinite(search.value),
        "steps": search.moves,
        "distance": search.decrement,
    }
