"""How much pooling: what each group says alone, what the model and what the population say."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from hierjax.draws import FitInfo
from hierjax.errors import ModelError
from hierjax.level_graph import LevelGraph
from hierjax.level_rows import choose_grouping, group_of_rows, groupings
from hierjax.model import Model
from hierjax.names import coordinates, latent_sites, site_dims
from hierjax.predict_program import Filling, Messages, at_every_draw, flattened
from hierjax.trace import traced_arrays
from hierjax.trace_response import expected_response

if TYPE_CHECKING:
    import pandas as pd

MOST_DRAWS = 200  # for means over the rows of a group

Draws = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Shrinkage:
    """No pooling, partial pooling and complete pooling of every group that has rows.

    Attributes
    ----------
    site, level
        Observed site and grouping.
    groups
        Positions of the groups shown, shape (group,).
    rows
        Number of rows in each.
    raw
        Mean of the observed values in each group: no pooling.
    fitted
        Mean of the model's expected values in each group, over its rows and the draws.
    population
        The same with the effects of all groups at their prior mean: complete pooling.
    """

    site: str
    level: str
    groups: np.ndarray
    rows: np.ndarray
    raw: np.ndarray
    fitted: np.ndarray
    population: np.ndarray


def has_shrinkage(model: Model) -> bool:
    """Whether some observed site's rows are known to belong to groups with effects."""
    return bool(groupings(model.levels()))


def shrinkage_of(model: Model, draws: Draws, group: str | None = None) -> Shrinkage:
    """Compare each group's own mean with what the model expects with and without its effects.

    All are on the scale of the response and over the same rows, so that covariates do not tell
    them apart: raw_j = mean of y_i, fitted_j = mean of E[y_i | data], i in group j.

    Raises
    ------
    ModelError
        No observed site's rows are known to belong to groups, its distribution has no mean, or
        draws of effects were not kept.
    SettingsError
        `group` is not among the groupings.
    """
    graph = model.levels()
    level, site = choose_grouping(graph, group, name="group")
    observed = np.asarray(traced_arrays(model.data)[graph.response[site]], dtype=float)
    index = group_of_rows(model, graph, level, site)
    names = [name for name, each in graph.sites.items() if each.kind == "latent"]
    missing = [name for name in names if name not in draws]
    if missing:
        raise ModelError(
            f"there are no draws of {', '.join(missing)}, which the expected response depends on. "
            'Fit with keep="all".'
        )
    latent = {name: _thinned(draws[name]) for name in names}
    effects = effects_of(graph, level)
    known = np.isfinite(observed)
    size = graph.levels[level].size
    rows = np.bincount(index[known], minlength=size)
    groups = np.flatnonzero(rows)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(index[known], np.broadcast_to(values, known.shape)[known], size)
        return sums[groups] / rows[groups]

    fitted, population = (
        mean(expected_response(model.fn, model.data, latent, site, pooled).mean(axis=0))
        for pooled in ((), effects)
    )
    return Shrinkage(site, level, groups, rows[groups], mean(observed), fitted, population)


def effects_of(graph: LevelGraph, level: str) -> list[str]:
    """Return the latent sites that have a value for each unit of a level."""
    return [
        name
        for name, site in graph.sites.items()
        if site.kind == "latent" and level in graph.places[name]
    ]


def _thinned(values: np.ndarray) -> np.ndarray:
    """Return at most `MOST_DRAWS` draws, evenly spaced over the chains: (draw, *site shape)."""
    flat = np.reshape(values, (-1, *np.shape(values)[2:]))
    return flat[np.linspace(0, len(flat) - 1, min(len(flat), MOST_DRAWS)).astype(int)]


def shrinkage_table(
    model: Model, draws: Draws, info: FitInfo, group: str | None = None
) -> "pd.DataFrame":
    """Pooling of every group: its own mean, the model's and the population's, and the factors.

    Parameters
    ----------
    model, draws, info
        The parts of a posterior.
    group
        As in `Posterior.shrinkage`.
    """
    import pandas as pd

    with jax.enable_x64(info.dtype == "float64"):
        found = shrinkage_of(model, draws, group)
    labels = coordinates(model).get(found.level) or range(int(found.groups.max()) + 1)
    columns: dict[str, Any] = {
        "rows": found.rows,
        "no_pooling": found.raw,
        "partial_pooling": found.fitted,
        "complete_pooling": found.population,
    }
    for name, factors in pooling_factors(model, draws, info, found.level).items():
        columns[f"pooling of {name}"] = factors[found.groups]
    names = [labels[position] for position in found.groups.tolist()]
    return pd.DataFrame(columns, index=pd.Index(names, name=found.level))


def pooling_factors(model: Model, draws: Draws, info: FitInfo, level: str) -> dict[str, np.ndarray]:
    """Posterior variance of each effect in units of its prior variance: Var((u - m) / s | data).

    m and s are mean and sd of the prior of the effect given the other parameters of each draw. In
    a normal model with known variances this is the weight (v / n) / (v / n + s^2) that the
    population has in the estimate of a group of n rows.

    Returns
    -------
    dict
        Effect, such as `r_county[floor]` -> one number a group.
    """
    sites = [
        site for site in effects_of(model.levels(), level)
        if site in draws and site_dims(model)[site][0] == level
    ]  # fmt: skip
    latent = {name: draws[name] for name in latent_sites(model) if name in draws}
    flat, (chains, length) = flattened(latent)

    def read(messages: Messages, key: Array, extra: Any) -> dict[str, Array]:
        del key, extra
        return {
            site: (messages[site]["value"] - messages[site]["fn"].mean)
            / messages[site]["fn"].variance ** 0.5
            for site in sites
        }

    filling = Filling(tuple((name, values.shape[1:]) for name, values in flat.items()))
    with jax.enable_x64(info.dtype == "float64"):
        white = at_every_draw(
            model.fn, model.data, flat, read, seed=0, count=chains * length, filling=filling,
            size=max(values[0].size for values in flat.values()), name=("pooling", *sites),
        )  # fmt: skip
    found = {}
    for site, values in white.items():
        variances = np.asarray(values, dtype=float).var(axis=0).reshape(values.shape[1], -1)
        for name, column in zip(_effect_names(model, site), variances.T, strict=True):
            found[name] = column
    return found


def _effect_names(model: Model, site: str) -> list[str]:
    """Name of every effect that a group has in a site."""
    labels, dims = coordinates(model), site_dims(model)[site][1:]
    names = [""]
    for dim in dims:
        names = [
            f"{name}, {label}" if name else str(label) for name in names for label in labels[dim]
        ]
    return [f"{site}[{name}]" if name else site for name in names]
