"""Log-likelihood of each observation, or of each group with its effects integrated out, by draw.

The integral over the effects of a group is taken at every draw by adaptive Gauss-Hermite quadrature
around the mode of the group, which is exact where the group's log density is quadratic in them (a
Gaussian likelihood with a linear predictor). Rows of a group depend on its own effects and no other
group's, so that all groups are treated at once: one gradient of the sum has the gradients of all of
them, and one Hessian-vector product a column of every group's Hessian.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.arguments import Arguments
from hierjax.draws import FitInfo
from hierjax.errors import ModelError
from hierjax.formula.function import FormulaFunction
from hierjax.level_graph import LevelGraph
from hierjax.level_rows import choose_grouping, group_of_rows
from hierjax.model import Model
from hierjax.names import latent_sites
from hierjax.pooling import effects_of
from hierjax.predict import response_of
from hierjax.predict_program import Filling, Messages, at_every_draw, flattened, run_at
from hierjax.trace import abstract_trace

MOST_VALUES = 2**26  # draws times observations that are kept, half a gigabyte
ORDERS = {1: 25, 2: 11, 3: 7, 4: 5}  # effects of a group -> nodes for each
MOST_STEPS = 50
STEPS = (1.0, 0.5, 0.2, 0.05, 0.0)  # of Newton's direction, the best of which is taken
SETTLED = 1e-8  # squared length of a step in sds of the effects

Draws = Mapping[str, np.ndarray]
Joint = Callable[[Array], tuple[Array, Array]]


def by_row(
    model: Model, draws: Draws, info: FitInfo, site: str | None = None, most: int | None = None
) -> np.ndarray:
    """Log density of every observation at every draw, (chain, draw, observation), rows in C order.

    At most 2^26 values are kept: draws are thinned evenly to that.
    """
    trace = abstract_trace(model.fn, model.data)
    site = response_of(trace, site)
    shape = trace.sites[site].shape
    batch = shape[: len(shape) - len(trace.sites[site].event_shape)]

    def read(messages: Messages, key: Array, extra: Any) -> Array:
        del key, extra
        return _log_likelihood(messages[site])

    largest = max(math.prod(each.shape) for each in trace.sites.values())
    flat, (chains, length) = _latents(model, draws, most, math.prod(batch))
    values = _run(model, flat, info, read, largest, ("log likelihood", site), None)
    return values.reshape(chains, length, -1)


@dataclasses.dataclass(frozen=True)
class Integrand:
    """What is integrated out when a group is left out.

    Attributes
    ----------
    level, site
        The grouping and the observed site.
    sites
        Sites with effects of the groups -> their event shapes.
    groups
        Number of groups.
    """

    level: str
    site: str
    sites: tuple[tuple[str, tuple[int, ...]], ...]
    groups: int

    @property
    def width(self) -> int:
        """Effects of one group."""
        return sum(math.prod(shape) for _, shape in self.sites)

    def stacked(self, draw: Mapping[str, Array]) -> Array:
        """Effects of all sites side by side, (group, effect)."""
        return jnp.concatenate([draw[name].reshape(self.groups, -1) for name, _ in self.sites], 1)

    def apart(self, effects: Array) -> dict[str, Array]:
        """Undo `stacked`."""
        found, start = {}, 0
        for name, shape in self.sites:
            width = math.prod(shape)
            found[name] = effects[:, start : start + width].reshape(self.groups, *shape)
            start += width
        return found


def by_group(
    model: Model, draws: Draws, info: FitInfo, level: str, most: int | None = None
) -> tuple[np.ndarray, Integrand]:
    """Log density of all observations of a group, its effects integrated out, at every draw.

    Returns
    -------
    Array (chain, draw, group), and what was integrated out.

    Raises
    ------
    ModelError
        The groups cannot be integrated out one by one: other effects lie within them, they have
        more than four effects each, or effects are not on the real line.
    SettingsError
        `level` is not a grouping of the model.
    """
    graph = model.levels()
    level, site = choose_grouping(graph, level, name="by")
    what = _integrand(graph, level, site)
    index = group_of_rows(model, graph, level, site).ravel()
    nodes, weights = _grid(what.width, 1 if _is_quadratic(model) else ORDERS[what.width])
    arguments = Arguments.of(model.data)
    flat, (chains, length) = _latents(model, draws, most, what.groups)
    filling = _filling(flat)

    def read(messages: Messages, key: Array, extra: Any) -> Array:
        arrays, index, nodes, weights = extra
        values = {name: messages[name]["value"] for name in flat}
        data = arguments.rebuild(arrays)

        def joint(effects: Array) -> tuple[Array, Array]:
            """Log joint density of rows and effects by group, for values and derivatives."""
            found = run_at(model.fn, data, {**values, **what.apart(effects)}, key, filling)
            rows = _log_likelihood(found[site])
            total = jax.ops.segment_sum(rows, index, num_segments=what.groups)
            for name, _ in what.sites:
                total = total + found[name]["fn"].log_prob(found[name]["value"])
            return total.sum(), total

        return _integral(joint, what.stacked(values), nodes, weights)

    extra = (arguments.arrays(model.data), index, nodes, weights)
    largest = max(len(index), what.groups * what.width**2) * len(STEPS)
    name = ("by group", what)
    values = _run(model, flat, info, read, largest, name, extra)
    return values.reshape(chains, length, -1), what


def _integrand(graph: LevelGraph, level: str, site: str) -> Integrand:
    inside = [
        other for other, each in graph.levels.items()
        if graph.relation(level, other) == "nested" and each.size > graph.levels[level].size
        and effects_of(graph, other)
    ]  # fmt: skip
    if inside:
        raise ModelError(
            f"groups of {level!r} cannot be left out: {', '.join(map(repr, inside))} lie within "
            "them and have effects of their own. Leave out groups of the innermost level."
        )
    found = {}
    for name in effects_of(graph, level):
        each = graph.sites[name]
        if graph.places[name] != (level,) and graph.places[name][:1] != (level,):
            raise ModelError(
                f"site {name!r} varies by {graph.places[name]}, not by {level!r} alone."
            )
        if each.support is None or not _is_real(each.support):
            raise ModelError(f"site {name!r} is not on the real line, so it is not integrated out.")
        found[name] = tuple(each.shape[1:])
    what = Integrand(level, site, tuple(found.items()), graph.levels[level].size)
    if not found or what.width not in ORDERS:
        raise ModelError(
            f"groups of {level!r} have {what.width} effects each; from 1 to {max(ORDERS)} can be "
            "integrated out by quadrature."
        )
    return what


def _is_real(support: Any) -> bool:
    from numpyro.distributions import constraints

    return support in (constraints.real, constraints.real_vector)


def _is_quadratic(model: Model) -> bool:
    """Whether the log density is known to be quadratic in the effects: one node is exact then."""
    return isinstance(model.fn, FormulaFunction) and model.fn.family == "gaussian"


def _grid(width: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (node, effect) of the product rule and log weights, for a density exp(-x^2 / 2)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    grid = np.stack(np.meshgrid(*[nodes] * width, indexing="ij"), -1).reshape(-1, width)
    log_weights = np.stack(np.meshgrid(*[np.log(weights)] * width, indexing="ij"), -1)
    log_weights = log_weights.reshape(-1, width).sum(-1)
    return grid, log_weights + 0.5 * (grid**2).sum(-1)


def _integral(joint: Joint, start: Array, nodes: Array, log_weights: Array) -> Array:
    """Log of the integral of exp(joint) over the effects of each group."""
    mode = _mode(joint, start)
    _, root, log_volume = _curvature(joint, mode)

    def add(total: Array, node: tuple[Array, Array]) -> tuple[Array, None]:
        place, log_weight = node
        values = joint(mode + root @ place)[1]
        return jnp.logaddexp(total, values + log_weight), None

    empty = jnp.full(start.shape[0], -jnp.inf, start.dtype)
    nodes, log_weights = nodes.astype(start.dtype), log_weights.astype(start.dtype)
    total, _ = jax.lax.scan(add, empty, (nodes, log_weights))
    return total + log_volume


def _mode(joint: Joint, start: Array) -> Array:
    """Newton's method for all groups at once; steps are shortened group by group."""

    def unsettled(state: tuple[Array, Array, Array]) -> Array:
        _, moved, count = state
        return (moved > SETTLED) & (count < MOST_STEPS)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        place, _, count = state
        gradient, root, _ = _curvature(joint, place)
        white = jnp.einsum("jba,jb->ja", root, gradient)
        direction = jnp.einsum("jab,jb->ja", root, white)
        values = jnp.stack([joint(place + size * direction)[1] for size in STEPS])
        best = jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values), axis=0)
        size = jnp.asarray(STEPS, place.dtype)[best]
        moved = jnp.max(jnp.sum((size[:, None] * white) ** 2, -1))
        return place + size[:, None] * direction, moved, count + 1

    first = (start, jnp.asarray(jnp.inf, start.dtype), jnp.asarray(0))
    return jax.lax.while_loop(unsettled, step, first)[0]


def _curvature(joint: Joint, place: Array) -> tuple[Array, Array, Array]:
    """Gradient of each group, a root of the inverse of its negative Hessian, and its log volume."""
    slope = jax.grad(joint, has_aux=True)
    columns = []
    for effect in range(place.shape[1]):
        direction = jnp.zeros_like(place).at[:, effect].set(1.0)
        columns.append(jax.jvp(lambda each: slope(each)[0], (place,), (direction,))[1])
    values, vectors = _eigen(-jnp.stack(columns, -1))
    # Where the density is not log-concave the step still goes upwards.
    largest = jnp.max(jnp.abs(values), -1, keepdims=True)
    values = jnp.maximum(jnp.abs(values), 1e-10 * largest)
    root = vectors / jnp.sqrt(values)[:, None, :]
    return slope(place)[0], root, -0.5 * jnp.sum(jnp.log(values), -1)


def _eigen(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of each matrix; LAPACK takes them one by one, 1 x 1 ones too."""
    if matrix.shape[-1] == 1:
        return matrix[..., 0], jnp.ones_like(matrix)
    return jnp.linalg.eigh(matrix)


def _log_likelihood(message: Mapping[str, Any]) -> Array:
    values = message["fn"].log_prob(message["value"])
    if message["scale"] is not None:
        values = values * message["scale"]
    return values.ravel()


def _latents(
    model: Model, draws: Draws, most: int | None, count: int
) -> tuple[Draws, tuple[int, int]]:
    """Draws of the latent sites, thinned to what can be kept."""
    names = latent_sites(model)
    missing = sorted(name for name in names if name not in draws)
    if missing:
        raise ModelError(
            f"there are no draws of {', '.join(missing)}, which the likelihood depends on. "
            'Fit with keep="all".'
        )
    bound = max(1, MOST_VALUES // max(count, 1))
    return flattened({name: draws[name] for name in names}, min(most or bound, bound))


def _filling(flat: Draws) -> Filling:
    return Filling(tuple((name, values.shape[1:]) for name, values in sorted(flat.items())))


def _run(
    model: Model,
    flat: Draws,
    info: FitInfo,
    read: Callable[..., Array],
    size: int,
    name: Any,
    extra: Any,
) -> np.ndarray:
    count = len(next(iter(flat.values())))
    with jax.enable_x64(info.dtype == "float64"):
        return at_every_draw(
            model.fn, model.data, flat, read, seed=0, count=count, filling=_filling(flat),
            size=size, extra=extra, name=name,
        )  # fmt: skip
