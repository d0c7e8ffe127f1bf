"""Variational inference with fixed noise, and covariances by linear response.

A mean-field normal N(m, diag(s^2)) is fitted on the unconstrained space. The noise of the
evidence lower bound is drawn once, in antithetic pairs of variance one (uncorrelated where there
are as many as parameters), so that

    F(m, log s) = -mean_k log p(m + s e_k) - sum log s

is an ordinary function of 2 size numbers, minimised to the end by Newton's method
(`trust_region`). The sds of a mean field are too small where parameters are correlated. Linear
response puts that right: how far the optimal m moves if the log density is tilted by a linear term
is, by the implicit function theorem, the top left block of the inverse Hessian of F, which is the
covariance that the posterior would have if the tilt moved its mean as far. Where the posterior is
normal both are exact, whatever the noise: that is what the pairs are for.

References
----------
Giordano, Ingram, Broderick (2024), Black box variational inference with a deterministic objective:
faster, more accurate, and even more black box, JMLR 25(18), arXiv:2304.05527. Giordano, Broderick,
Jordan (2018), Covariances, robustness, and variational Bayes, JMLR 19(51), arXiv:1709.02536.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax import checks
from hierjax.arguments import Arguments
from hierjax.density import Arrays, Density, make_density, map_in_batches, starting_position
from hierjax.draws import Draws, Status
from hierjax.errors import SettingsError
from hierjax.infer.few import check_few
from hierjax.infer.near import variances
from hierjax.infer.program import Program
from hierjax.infer.svi_guides import INITIAL_SCALE, MultivariateGuide
from hierjax.infer.trust_region import hessian, newton_step
from hierjax.linalg.lapack import cholesky, solve_triangular

MOST_PARAMETERS = 1000  # the Hessian is dense, of twice as many rows
CHUNK = 5  # steps between two looks at the state
# Length of the gradient in posterior sds at which a search ends.
SMALL_SLOPE = {"float64": 1e-6, "float32": 1e-2}


@dataclasses.dataclass(frozen=True)
class DeterministicADVI:
    """Settings of variational inference with fixed noise and linear-response covariances.

    Parameters
    ----------
    draws
        Draws from the normal distribution that was found.
    points
        Draws of the noise that estimate the evidence lower bound, in antithetic pairs (even).
    max_steps
        Most Newton steps; reaching them gives the status `NOT_CONVERGED`.

    Raises
    ------
    SettingsError
        An option is out of range.
    """

    draws: int = 1000
    points: int = 30
    max_steps: int = 200

    def __post_init__(self) -> None:
        checks.positive_int("draws", self.draws)
        if checks.positive_int("points", self.points, minimum=4) % 2:
            raise SettingsError(f"`points` come in pairs, so must be even; got {self.points}.")
        checks.positive_int("max_steps", self.max_steps)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "deterministic_advi"

    def harder(self) -> "DeterministicADVI":
        """Return settings for data whose first run went wrong: more points and steps."""
        return dataclasses.replace(self, points=4 * self.points, max_steps=4 * self.max_steps)

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the method to a model function."""
        density = make_density(fn, Arguments.of(data), dict(data))
        check_few(density, "deterministic_advi", MOST_PARAMETERS, 'method="svi" or "nuts"')
        chunk = min(CHUNK, self.max_steps)
        chunks = -(-self.max_steps // chunk)

        def start(key: Array, arrays: Arrays) -> "_Run":
            first = starting_position(density, jax.random.fold_in(key, 0), arrays)
            scale = jnp.full(density.size, INITIAL_SCALE)
            return _begin(self, key, first.position, scale, first.found)

        def start_near(key: Array, near: Array, arrays: Arrays) -> "_Run":
            mean = jnp.mean(near, axis=0)
            found = jnp.isfinite(density.log_density(mean, arrays))
            return _begin(self, key, mean, jnp.sqrt(variances(near)), found)

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", None]:
            def step(_: Array, run: _Run) -> _Run:
                return jax.lax.cond(run.done, lambda run: run, move, run)

            def move(run: _Run) -> _Run:
                return _step(density, run, arrays)

            run = jax.lax.fori_loop(0, chunk, step, run)
            return run._replace(chunk=run.chunk + 1), None

        return Program(
            start=start,
            start_near=start_near,
            advance=advance,
            finish=lambda run, records, arrays: _finish(density, self, run, arrays),
            num_chunks=chunks,
            num_discarded=chunks,
            report=_report,
            phase="optimising",
        )


class _Run(NamedTuple):
    """Where the search stands."""

    key: Array
    chunk: Array
    steps: Array
    noise: Array
    mean: Array
    scale: Array
    radius: Array
    slope: Array
    value: Array
    status: Array
    done: Array


def _begin(
    settings: DeterministicADVI, key: Array, mean: Array, scale: Array, found: Array
) -> _Run:
    half = _noise(jax.random.fold_in(key, 1), settings.points // 2, len(mean))
    run = _Run(
        key=key,
        chunk=jnp.asarray(0),
        steps=jnp.asarray(0),
        noise=jnp.concatenate([half, -half]),
        mean=mean,
        scale=scale,
        radius=jnp.ones_like(mean[0]),
        slope=jnp.full_like(mean[0], jnp.inf),
        value=jnp.zeros_like(mean[0]),
        status=jnp.where(found, Status.NOT_CONVERGED, Status.NO_FINITE_START).astype(jnp.int32),
        done=~found,
    )
    # Weak types would become strong in the first chunk, and the second be compiled anew.
    return jax.tree_util.tree_map(lambda x: jax.lax.convert_element_type(x, x.dtype), run)


def _noise(key: Array, pairs: int, size: int) -> Array:
    """One of each antithetic pair: of variance one, and uncorrelated where there are enough."""
    half = jax.random.normal(key, (pairs, size))
    if pairs < size:
        return half / jnp.sqrt(jnp.mean(half**2, axis=0))
    root = cholesky(half.T @ half / pairs)
    return solve_triangular(root, half.T).T


def _objective(density: Density, run: _Run, arrays: Arrays) -> Callable[[Array], Array]:
    """Return F as a function of shifts in sds and of log scales, from where the search stands."""

    def objective(change: Array) -> Array:
        shift, stretch = jnp.split(change, 2)
        mean, scale = run.mean + run.scale * shift, run.scale * jnp.exp(stretch)
        values = jax.vmap(lambda e: density.log_density(mean + scale * e, arrays))(run.noise)
        return -jnp.mean(values) - jnp.sum(stretch) - jnp.sum(jnp.log(run.scale))

    return objective


def _step(density: Density, run: _Run, arrays: Arrays) -> _Run:
    trial = newton_step(_objective(density, run, arrays), 2 * density.size, run.radius)
    shift, stretch = jnp.split(trial.step, 2)
    close = trial.slope < SMALL_SLOPE[run.mean.dtype.name]
    broken = ~jnp.isfinite(trial.slope)
    status = jnp.where(close, Status.OK, jnp.where(broken, Status.NOT_FINITE, run.status))
    return run._replace(
        steps=run.steps + 1,
        mean=run.mean + run.scale * shift,
        scale=run.scale * jnp.exp(stretch),
        radius=trial.radius,
        slope=trial.slope,
        value=trial.value,
        status=status.astype(run.status.dtype),
        done=close | broken,
    )


def _finish(density: Density, settings: DeterministicADVI, run: _Run, arrays: Arrays) -> Draws:
    """Find the covariance by linear response, and draw."""
    guide = MultivariateGuide(density.size)
    root, bends_down = _linear_response(density, run, arrays)
    parameters = {"auto_loc": run.mean, "auto_scale_tril": root}
    noise = jax.random.normal(jax.random.fold_in(run.key, 2), (settings.draws, density.size))
    positions = guide.place(parameters, noise)

    def evaluate(position: Array) -> tuple[dict[str, Array], Array]:
        return density.constrain(position, arrays), density.log_density(position, arrays)

    sites, log_density = map_in_batches(evaluate, positions)
    log_guide = guide.distribution(parameters).log_prob(positions)
    stats = {"log_weight": log_density - log_guide, "log_density": log_density}
    entropy = 0.5 * density.size * (1.0 + jnp.log(2.0 * jnp.pi))
    widened = jnp.linalg.norm(root, axis=1) / run.scale
    trace = {
        "elbo": entropy - run.value[None],
        "steps": run.steps[None].astype(run.mean.dtype),
        "slope": run.slope[None],
        "largest_widening": jnp.max(widened)[None],
    }
    sites, stats, trace = jax.tree_util.tree_map(lambda x: x[None], (sites, stats, trace))
    unsound = (run.status == Status.OK) & bends_down
    status = jnp.where(unsound, Status.NOT_CONVERGED, run.status)
    return Draws(sites, stats, status[None], trace)


def _linear_response(density: Density, run: _Run, arrays: Arrays) -> tuple[Array, Array]:
    """Root of the covariance; that of the mean field where F is at no minimum, and whether so."""
    bend = hessian(_objective(density, run, arrays), 2 * density.size)
    # Eliminating the scales leaves the inverse of the covariance of the shifts, in units of scales.
    own, link, rest = (
        bend[: density.size, : density.size],
        bend[: density.size, density.size :],
        bend[density.size :, density.size :],
    )
    half = cholesky((rest + rest.T) / 2.0)
    solved = solve_triangular(half, link.T)
    precision = own - solved.T @ solved
    factor = cholesky((precision + precision.T) / 2.0)
    half = solve_triangular(factor, jnp.eye(density.size))
    root = cholesky(half.T @ half)
    sound = jnp.all(jnp.isfinite(root))
    relative = jnp.where(sound, root, jnp.eye(density.size))
    return run.scale[:, None] * relative, ~sound


def _report(run: _Run) -> dict[str, Any]:
    return {
        "done": run.done,
        "failed": run.status == Status.NO_FINITE_START,
        "steps": run.steps,
        "gradient": run.slope,
    }
