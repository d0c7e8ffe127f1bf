"""Predictions from posterior or prior draws, for rows of known, new and unknown groups."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax import checks
from hierjax.draws import FitInfo
from hierjax.errors import DataError, ModelError, SettingsError
from hierjax.model import Model, NewData
from hierjax.names import coordinates, site_dims
from hierjax.predict_data import check_new_data, new_data
from hierjax.predict_program import Filling, Messages, at_every_draw, flattened
from hierjax.predict_result import Prediction
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.trace_recorder import CATEGORICAL, unwrapped

GROUPS = ("sample", "population", "error")
KINDS = ("mean", "draw")
CATEGORY = "_category"  # after the name of a response: the dimension of its categories

Draws = Mapping[str, np.ndarray]


def predict(
    model: Model,
    draws: Draws,
    info: FitInfo,
    new: Any = None,
    *,
    groups: str = "sample",
    kind: str = "mean",
    seed: int = 0,
    most_draws: int | None = None,
    site: str | None = None,
    all_new: Sequence[str] | str = (),
    **arrays: Any,
) -> Prediction:
    """Predict the response of rows, at every posterior draw; see `Posterior.predict`.

    Parameters
    ----------
    model, draws, info
        The parts of a posterior.
    new, groups, kind, seed, most_draws, site, all_new, **arrays
        As in `Posterior.predict`.
    """
    checks.one_of("groups", groups, GROUPS)
    checks.one_of("kind", kind, KINDS)
    checks.positive_int("seed", seed, minimum=0)
    if most_draws is not None:
        checks.positive_int("most_draws", most_draws)
    fitted = abstract_trace(model.fn, model.data)
    site = response_of(fitted, site)
    given = new_data(model, new, groups, precision=kind == "draw", arrays=arrays)
    with jax.enable_x64(info.dtype == "float64"):
        trace = abstract_trace(model.fn, given.data)
        fresh = _all_new(all_new, trace)
        kept = _kept(fitted, trace, draws, fresh)
        grown = _grown(kept, trace)
        if groups == "error" and grown:
            listed = ", ".join(f"{count} of {plate!r}" for plate, count in grown.items())
            raise DataError(
                f"the new data have groups that the fit does not know: {listed}. "
                'groups="sample" draws their effects from the population, groups="population" '
                "puts them at their mean."
            )
        check_new_data(model, given.data)
        flat, (chains, length) = flattened(draws, most_draws)
        filling = Filling(tuple(kept.items()), pooled=groups == "population")
        values = _predicted(model, given, flat, site, kind, seed, chains * length, filling, trace)
    values = values.reshape(chains, length, *values.shape[1:])
    return _result(model, given, values, site, kind, groups, grown)


def prior_predict(
    model: Model,
    new: Any = None,
    *,
    draws: int = 1000,
    kind: str = "draw",
    seed: int = 0,
    site: str | None = None,
    dtype: str = "float64",
    **arrays: Any,
) -> Prediction:
    """Draw responses from the prior: what the model expects before it has seen them.

    Parameters
    ----------
    model
        The model; its own responses are not looked at.
    new
        Other rows to draw responses for, as in `Posterior.predict`.
    draws
        Number of draws.
    kind
        "draw" for observations, "mean" for their expectations.
    seed
        The same seed gives the same draws.
    site
        The response, if the model has several.
    dtype
        "float64" or "float32".
    **arrays
        As in `Posterior.predict`.

    Returns
    -------
    Prediction
        With one chain.

    Raises
    ------
    ModelError
        A prior cannot be drawn from, or the response has no mean.
    """
    checks.one_of("kind", kind, KINDS)
    checks.positive_int("draws", draws)
    checks.positive_int("seed", seed, minimum=0)
    checks.one_of("dtype", dtype, ("float64", "float32"))
    site = response_of(abstract_trace(model.fn, model.data), site)
    given = new_data(model, new, "sample", precision=kind == "draw", arrays=arrays)
    with jax.enable_x64(dtype == "float64"):
        trace = abstract_trace(model.fn, given.data)
        check_new_data(model, given.data)
        values = _predicted(model, given, {}, site, kind, seed, draws, Filling(()), trace)
    return _result(model, given, values[None], site, kind, "sample", {})


def response_of(trace: ModelTrace, site: str | None = None) -> str:
    """Return the observed site that is meant.

    Raises
    ------
    ModelError
        The model observes nothing.
    SettingsError
        `site` is not observed, or there are several to choose from.
    """
    observed = [each.name for each in trace.sites.values() if each.kind == "observed"]
    if not observed:
        raise ModelError("the model observes nothing, so there is no response.")
    if site is None and len(observed) > 1:
        raise SettingsError(f"choose one of the responses with site=: {', '.join(observed)}.")
    return observed[0] if site is None else checks.one_of("site", site, observed)


def _all_new(all_new: Sequence[str] | str, trace: ModelTrace) -> frozenset[str]:
    names = (all_new,) if isinstance(all_new, str) else tuple(all_new)
    for name in names:
        checks.one_of("all_new", name, trace.plates)
    return frozenset(names)


def _kept(
    fitted: ModelTrace, trace: ModelTrace, draws: Draws, all_new: frozenset[str]
) -> dict[str, tuple[int, ...]]:
    """Say for every latent site how many of its elements have draws, along each axis."""
    found = {}
    for site in trace.sites.values():
        before = fitted.sites.get(site.name)
        if site.kind != "latent" or (before is not None and before.kind == "observed"):
            continue
        if before is None or site.name not in draws:
            raise ModelError(
                f"there are no draws of site {site.name!r}, which the response depends on"
                + (
                    '. Fit with keep="all".'
                    if before
                    else ": the model with the new data has sites of its own."
                )
            )
        old = draws[site.name].shape[2:]
        if all_new & set(site.plates):
            found[site.name] = tuple(
                0 if plate in all_new else length
                for plate, length in zip(site.axes, old, strict=True)
            )
            continue
        _check_shapes(site, old)
        found[site.name] = old
    return found


def _check_shapes(site: Any, old: tuple[int, ...]) -> None:
    """Refuse a site whose elements with the new data are not those of the fit and new ones."""
    batch = len(site.shape) - len(site.event_shape)
    if len(old) != len(site.shape) or old[batch:] != site.shape[batch:]:
        raise ModelError(
            f"site {site.name!r} has shape {old} in the fit and {site.shape} with the new data. "
            "Only plates can grow."
        )
    for axis, (before, now) in enumerate(zip(old, site.shape, strict=True)):
        if now < before:
            plate = site.axes[axis]
            remedy = f", or all_new={plate!r} if none of its units is one of the fit" * bool(plate)
            raise DataError(
                f"site {site.name!r} has {now} units of {plate or 'an axis'!r} with the new data "
                f"and {before} in the fit. Unit k of the new data is unit k of the fit, so give "
                f"the size of the fit, or more for new units{remedy}."
            )


def _grown(kept: Mapping[str, tuple[int, ...]], trace: ModelTrace) -> dict[str, int]:
    """Plate (or site, for an axis without one) -> number of units that have no draws."""
    grown: dict[str, int] = {}
    for name, lengths in kept.items():
        site = trace.sites[name]
        for plate, before, now in zip(site.axes, lengths, site.shape, strict=True):
            if now > before:
                grown[plate or name] = now - before
    return grown


def _predicted(
    model: Model,
    given: NewData,
    draws: Draws,
    site: str,
    kind: str,
    seed: int,
    count: int,
    filling: Filling,
    trace: ModelTrace,
) -> np.ndarray:
    """Values (count, *shape) of the response, with rows that stand for one row brought together."""
    rows = given.rows
    spans = None if rows is None else np.unique(rows, return_index=True, return_counts=True)[1:]

    def read(messages: Messages, key: Array, spans: Any) -> Array:
        distribution = messages[site]["fn"]
        if kind == "mean":
            values = _mean_of(distribution, site)
            return values if spans is None else _averaged(values, spans)
        draw_key, pick_key = jax.random.split(key)
        values = distribution.sample(draw_key)
        return values if spans is None else _picked(values, spans, pick_key)

    size = max(int(np.prod(each.shape)) for each in trace.sites.values())
    values = at_every_draw(
        model.fn, given.data, draws, read, seed=seed, count=count, filling=filling, size=size,
        extra=spans, name=("predict", site, kind, spans is None),
    )  # fmt: skip
    if not np.isfinite(values).all():
        remedy = ' Its observations can be drawn: kind="draw".' if kind == "mean" else ""
        raise ModelError(
            f"the predicted {site!r} is not finite for some draws: its distribution has no finite "
            f"mean there, or the new values are so extreme that it overflows.{remedy}"
        )
    return values


def _mean_of(distribution: Any, site: str) -> Array:
    """Mean of the response; for categories the probability of each, along a last axis."""
    bare = unwrapped(distribution)
    if isinstance(bare, CATEGORICAL):
        probabilities = jnp.asarray(bare.probs)
        return jnp.broadcast_to(probabilities, (*distribution.shape(), probabilities.shape[-1]))
    try:
        return jnp.asarray(distribution.mean)
    except NotImplementedError as error:
        raise ModelError(
            f'the distribution of {site!r} has no mean; draw observations with kind="draw".'
        ) from error


def _averaged(values: Array, spans: tuple[Array, Array]) -> Array:
    """Mean over the candidates of each row: they follow one another."""
    starts, counts = map(jnp.asarray, spans)
    owner = jnp.searchsorted(starts, jnp.arange(values.shape[0]), side="right") - 1
    sums = jax.ops.segment_sum(values, owner, num_segments=starts.shape[0])
    return sums / counts.reshape(-1, *(1,) * (values.ndim - 1))


def _picked(values: Array, spans: tuple[Array, Array], key: Array) -> Array:
    """One of the candidates of each row, at random."""
    starts, counts = map(jnp.asarray, spans)
    return values[starts + jax.random.randint(key, counts.shape, 0, counts)]


def _result(
    model: Model,
    given: NewData,
    values: np.ndarray,
    site: str,
    kind: str,
    groups: str,
    grown: Mapping[str, int],
) -> Prediction:
    labels = {
        plate: [*each, *(f"new {number + 1}" for number in range(grown.get(plate, 0)))]
        for plate, each in model.labels.items()
    }
    named = dataclasses.replace(
        model, data=given.data, labels={**labels, **given.labels}, origin=None
    )
    dims = site_dims(named)[site]
    places = coordinates(named)
    found = {dim: places[dim] for dim in dims}
    if given.rows is not None:
        found[dims[0]] = range(values.shape[2])
    categories = tuple(labels.get(f"{site}{CATEGORY}", ()))
    if values.ndim - 2 > len(dims):
        dims = (*dims, f"{site}{CATEGORY}")
        found[dims[-1]] = categories or range(values.shape[-1])
    return Prediction(site, values, dims, found, kind, groups, categories)
