"""Adaptive importance sampling from a mixture of Student distributions fitted at the mode.

For the few parameters that are left when group effects are integrated out. A search by values alone
finds the mode and the curvature there (`laplace_mode`); then rounds of points are drawn from a
mixture (`laplace_proposal`) that is refitted to all points so far after each round. Weights are
those of a deterministic mixture: the target over the average of the proposals of all rounds, so
that no round spoils what another has found, and all points count. Their tail is smoothed by a
generalised Pareto distribution, whose shape, k-hat, says whether weighted means can be trusted.

Work comes in chunks: the search, then a round each. Log densities are computed at one place of the
program, in batches of one shape. The number of rounds is bounded, so that a batch of data sets
under vmap takes the time of one.

References
----------
Cornuet, Marin, Mira and Robert (2012), Adaptive multiple importance sampling, Scandinavian Journal
of Statistics 39. Berild, Martino, Gomez-Rubio and Rue (2022), Importance sampling with the
integrated nested Laplace approximation, JCGS 31, arXiv:2103.02721. Vehtari, Simpson, Gelman, Yao
and Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from hierjax import checks, low_discrepancy
from hierjax.arguments import Arguments
from hierjax.compiler import use_of
from hierjax.density import Arrays, Density, constrain_all, make_density, map_in_batches
from hierjax.draws import Draws, Status
from hierjax.infer.few import check_few
from hierjax.infer.laplace_mode import (
    MOST_MOVES,
    Search,
    batch_size,
    begin_search,
    restarted,
    scale_tril,
    search_on,
    search_points,
)
from hierjax.infer.laplace_proposal import (
    Mixture,
    draw,
    first_mixture,
    log_density,
    noise_columns,
    refit,
)
from hierjax.infer.laplace_scale import (
    MODE,
    STRETCH,
    Scale,
    bend,
    position_of,
    positive_elements,
    straight,
)
from hierjax.infer.laplace_weights import order_along_path, resampled, smoothed
from hierjax.infer.near import moments
from hierjax.infer.program import Iterated, Program
from hierjax.linalg.lapack import cholesky

MOST_PARAMETERS = 50
SMALLEST_BATCH = 128
SEARCH_BATCHES = 2 * MOST_MOVES + 3  # the first one, and two more on the bent scale
LARGEST_K_HAT = 0.7  # Vehtari et al. (2024)
# Share of the points that are effective. Below the first more rounds are wanted. Below the second
# the proposal does not follow the posterior: a funnel of which a part is missing can have a k-hat
# of 0.5, but not many effective points.
GOOD_SHARE, LEAST_SHARE = 0.6, 0.4
TOO_FEW = 100.0
MORE_ROUNDS = 2  # times as many rounds where the first ones do not suffice


@dataclasses.dataclass(frozen=True)
class Laplace:
    """Settings of importance sampling around the mode, for models with few parameters to sample.

    Parameters
    ----------
    draws
        Draws, resampled from the weighted points with as few duplicates as can be.
    points
        Points of one round, at which the log density is evaluated.
    rounds
        Rounds, each from a proposal fitted to the points of those before it. Where k-hat or the
        effective size are poor, up to twice as many are run.
    components
        Student distributions in the proposal, beside a wide one with a fixed share.

    Raises
    ------
    SettingsError
        An option is out of range.
    """

    draws: int = 4000
    points: int = 1000
    rounds: int = 4
    components: int = 3

    def __post_init__(self) -> None:
        checks.positive_int("draws", self.draws)
        checks.positive_int("points", self.points, minimum=100)
        checks.positive_int("rounds", self.rounds)
        checks.positive_int("components", self.components)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "laplace"

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the method to a model function."""
        density = make_density(fn, Arguments.of(data), dict(data))
        check_few(density, "laplace", MOST_PARAMETERS, 'method="nuts"')
        layout = _Layout.of(self, positive_elements(density, fn, data))
        passes = fn.passes if isinstance(fn, Iterated) else 1

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", None]:
            def work(run: _Run) -> _Run:
                return _work(density, layout, run, arrays)

            after = jax.lax.cond(run.done, lambda run: run, work, run)
            return after._replace(chunk=run.chunk + 1), None

        return Program(
            start=lambda key, arrays: _start(layout, key),
            start_near=lambda key, near, arrays: _start_near(layout, key, near),
            advance=advance,
            finish=lambda run, records, arrays: _finish(density, self, run, arrays),
            num_chunks=1 + layout.most_rounds,
            num_discarded=1 + layout.most_rounds,
            report=_report,
            phase="importance sampling",
            use=use_of(dict(data), self.points * self.rounds * passes),
        )


class _Layout(NamedTuple):
    """Sizes that a program is made for, and which elements are logs of positive values."""

    positive: np.ndarray
    batch: int
    points: int
    rounds: int
    most_rounds: int
    components: int

    @property
    def size(self) -> int:
        return len(self.positive)

    @classmethod
    def of(cls, settings: Laplace, positive: np.ndarray) -> "_Layout":
        batch = batch_size(len(positive), min(SMALLEST_BATCH, settings.points))
        points = -(-settings.points // batch) * batch
        most = MORE_ROUNDS * settings.rounds
        return cls(positive, batch, points, settings.rounds, most, settings.components)


class _Run(NamedTuple):
    """Where the sampling stands; arrays of rounds are filled from the front.

    Points and proposals are on the scale `scale`.
    """

    keys: Array  # one a chunk, and one to resample with
    chunk: Array  # counts on when all is done: the same for every data set of a batch
    rounds: Array
    search: Search
    scale: Scale
    proposals: Mixture
    points: Array
    log_target: Array
    log_proposal: Array  # log of the sum over rounds of their proposals' densities
    log_weight: Array  # smoothed, of all points in a row, summing to one
    k_hat: Array
    effective: Array
    status: Array
    done: Array


def _start(layout: _Layout, key: Array) -> _Run:
    rounds, points, size = layout.most_rounds, layout.points, layout.size
    shape = (rounds, layout.components + 1)
    run = _Run(
        keys=jax.random.split(key, rounds + 2),
        chunk=jnp.asarray(0),
        rounds=jnp.asarray(0),
        search=begin_search(size),
        scale=straight(size),
        proposals=Mixture(
            jnp.zeros(shape),
            jnp.zeros((*shape, size)),
            jnp.broadcast_to(jnp.eye(size), (*shape, size, size)),
        ),
        points=jnp.zeros((rounds, points, size)),
        log_target=jnp.full((rounds, points), -jnp.inf),
        log_proposal=jnp.full((rounds, points), -jnp.inf),
        log_weight=jnp.full(rounds * points, -jnp.inf),
        k_hat=jnp.full(rounds, jnp.nan),
        effective=jnp.full(rounds, jnp.nan),
        status=jnp.asarray(Status.POOR_WEIGHTS),
        done=jnp.asarray(False),
    )
    # Weak types would become strong in the first chunk, and the second be compiled anew.
    return jax.tree.map(lambda x: x if x is run.keys else _of_own_type(x), run)


def _start_near(layout: _Layout, key: Array, near: Array) -> _Run:
    """Start the search where draws are, with their covariance."""
    run, (mean, covariance) = _start(layout, key), moments(near)
    search = restarted(run.search, mean, cholesky(covariance))
    return run._replace(search=search)


def _of_own_type(x: Array) -> Array:
    return jax.lax.convert_element_type(x, x.dtype)


def _work(density: Density, layout: _Layout, run: _Run, arrays: Arrays) -> _Run:
    """One chunk: the search for the mode, or a round of points."""
    searching = run.chunk == 0
    shape = (layout.points, noise_columns(layout.size))
    noise = low_discrepancy.normal(run.keys[run.chunk], *shape)
    places = draw(_of_round(run.proposals, run.chunk - 1), noise)
    steps = jnp.where(searching, SEARCH_BATCHES, layout.points // layout.batch)

    def unfinished(carry: tuple[Array, Search, Scale, Array]) -> Array:
        step, search, _, _ = carry
        return (step < steps) & ~(searching & search.done)

    def batch(carry: tuple[Array, Search, Scale, Array]) -> tuple[Array, Search, Scale, Array]:
        step, search, scale, values = carry
        first = step * layout.batch
        points = jax.lax.cond(
            searching,
            lambda: search_points(search, noise[: layout.batch, : layout.size]),
            lambda: jax.lax.dynamic_slice_in_dim(places, first, layout.batch),
        )
        found = _log_densities(density, scale, points, arrays)

        def on() -> tuple[Search, Scale, Array]:
            return *_bent(layout, search_on(search, points, found), scale), values

        def kept() -> tuple[Search, Scale, Array]:
            return search, scale, jax.lax.dynamic_update_slice(values, found, (first,))

        return (step + 1, *jax.lax.cond(searching, on, kept))

    nothing = jnp.full(layout.points, -jnp.inf)
    carry = (jnp.asarray(0), run.search, run.scale, nothing)
    _, search, scale, values = jax.lax.while_loop(unfinished, batch, carry)
    run = run._replace(search=search, scale=scale)
    return jax.lax.cond(
        searching,
        lambda: _begin_rounds(layout, run),
        lambda: _end_round(layout, run, places, values),
    )


def _bent(layout: _Layout, search: Search, scale: Scale) -> tuple[Search, Scale]:
    """At the mode, put positive elements on their scale, and let the search go on there."""
    if not layout.positive.any():
        return search, scale
    bending = search.done & ~jnp.any(scale.bent) & jnp.isfinite(search.value)
    mode = jnp.where(layout.positive, MODE, search.centre)
    scales = jnp.where(layout.positive, 1 / STRETCH, 1.0)
    again = restarted(search, mode, scales[:, None] * search.scale)
    bent = bend(layout.positive, search.centre)
    return jax.tree.map(
        lambda new, old: jnp.where(bending, new, old), (again, bent), (search, scale)
    )


def _log_densities(density: Density, scale: Scale, points: Array, arrays: Arrays) -> Array:
    """Log densities of a batch; -inf stands for everything that is no number."""
    positions, log_jacobian = position_of(scale, points)
    values = map_in_batches(lambda x: density.log_density(x, arrays), positions)
    return jnp.where(jnp.isfinite(values), values + log_jacobian, -jnp.inf)


def _begin_rounds(layout: _Layout, run: _Run) -> _Run:
    first = first_mixture(run.search.centre, scale_tril(run.search), layout.components)
    found = jnp.isfinite(run.search.value)
    return run._replace(
        proposals=_with_round(run.proposals, jnp.asarray(0), first),
        status=jnp.where(found, run.status, Status.NO_FINITE_START),
        done=~found,
    )


def _end_round(layout: _Layout, run: _Run, places: Array, values: Array) -> _Run:
    """Weigh all points so far, judge the weights, and fit the next proposal."""
    current = run.chunk - 1
    run = run._replace(
        rounds=current + 1,
        points=run.points.at[current].set(places),
        log_target=run.log_target.at[current].set(values),
        log_proposal=_log_proposals(run, places, current),
    )
    log_weight = _log_weights(run)
    smooth, k_hat = smoothed(log_weight)
    effective = jnp.exp(-logsumexp(2 * smooth))
    everything = jnp.reshape(run.points, (-1, layout.size))
    refitted = refit(everything, log_weight, layout.components)
    leaves = jax.tree.leaves(refitted)
    usable = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    newest = _of_round(run.proposals, current)
    proposal = jax.tree.map(lambda a, b: jnp.where(usable, a, b), refitted, newest)
    following = jnp.minimum(current + 1, layout.most_rounds - 1)
    share = effective / ((current + 1) * layout.points)
    before = run.k_hat[jnp.maximum(current - 1, 0)]
    # Looked at after every round, k-hat would pass by chance some time: it has to pass twice.
    trusted = (k_hat < LARGEST_K_HAT) & ((current == 0) | (before < LARGEST_K_HAT))
    covered = trusted & (share >= LEAST_SHARE) & (effective >= TOO_FEW)
    last = current + 1 >= layout.most_rounds
    return run._replace(
        proposals=_with_round(run.proposals, following, proposal),
        log_weight=smooth,
        k_hat=run.k_hat.at[current].set(k_hat),
        effective=run.effective.at[current].set(effective),
        status=jnp.where(covered, Status.OK, Status.POOR_WEIGHTS),
        done=last | ((current + 1 >= layout.rounds) & covered & (share >= GOOD_SHARE)),
    )


def _log_proposals(run: _Run, places: Array, current: Array) -> Array:
    """Log of the summed densities of all proposals, with the newest and its points among them."""
    newest = _of_round(run.proposals, current)

    def one(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        log_proposal, of_places = carry
        earlier = _of_round(run.proposals, index)
        pair = jax.tree.map(lambda *both: jnp.stack(both), newest, earlier)
        points = jnp.stack([run.points[index], places])
        under_newest, under_earlier = jax.vmap(log_density)(pair, points)
        added = jnp.logaddexp(log_proposal[index], under_newest)
        return log_proposal.at[index].set(added), jnp.logaddexp(of_places, under_earlier)

    nothing = jnp.full(len(places), -jnp.inf)
    log_proposal, of_places = jax.lax.fori_loop(0, current + 1, one, (run.log_proposal, nothing))
    return log_proposal.at[current].set(of_places)


def _log_weights(run: _Run) -> Array:
    """Log weights of the points of all rounds, -inf for those that were not run."""
    rounds = jnp.maximum(run.rounds, 1)
    log_weight = run.log_target - (run.log_proposal - jnp.log(rounds))
    is_run = jnp.arange(len(log_weight)) < rounds
    found = is_run[:, None] & jnp.isfinite(log_weight)
    return jnp.ravel(jnp.where(found, log_weight, -jnp.inf))


def _finish(density: Density, settings: Laplace, run: _Run, arrays: Arrays) -> Draws:
    """Resample points by their weights along a path through them; sites, in random order."""
    points, weight = jnp.reshape(run.points, (-1, density.size)), jnp.exp(run.log_weight)
    along = order_along_path(points, weight)
    of_offset, of_order = jax.random.split(run.keys[-1])
    offset = jax.random.uniform(of_offset)
    indices, size = resampled(offset, weight[along], settings.draws)
    order = low_discrepancy.random_order(of_order, settings.draws)
    indices = along[indices][order]
    chosen, _ = position_of(run.scale, points[indices])
    stats = {
        "log_weight": _log_weights(run)[indices],
        "log_density": run.log_target.ravel()[indices],
    }
    trace = {"k_hat": run.k_hat, "weight_ess": run.effective, "effective_draws": size[None]}
    stats, trace = jax.tree.map(lambda x: x[None], (stats, trace))
    sites = constrain_all(density, chosen[None], arrays)
    return Draws(sites, stats, run.status[None], trace, places=order[None])


def _of_round(proposals: Mixture, index: Array) -> Mixture:
    return jax.tree.map(lambda x: x[jnp.maximum(index, 0)], proposals)


def _with_round(proposals: Mixture, index: Array, new: Mixture) -> Mixture:
    return jax.tree.map(lambda x, y: x.at[index].set(y), proposals, new)


def _report(run: _Run) -> dict[str, Any]:
    last = jnp.maximum(run.rounds - 1, 0)
    searched = run.rounds > 0
    return {
        "done": run.done,
        "failed": run.status == Status.NO_FINITE_START,
        "k-hat": jnp.where(searched, run.k_hat[last], 0.0),
        "effective draws": jnp.where(searched, run.effective[last], 0.0),
    }
