"""Log density of every prior at every draw, with its derivatives in the numbers of the prior."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.draws import FitInfo
from hierjax.errors import ModelError
from hierjax.formula.origin import FormulaOrigin
from hierjax.model import Model
from hierjax.names import blocks_of, latent_sites, scalar_names
from hierjax.predict_program import Filling, Messages, at_every_draw, flattened
from hierjax.sensitivity_parameters import taken_apart
from hierjax.trace import abstract_trace
from hierjax.trace_recorder import unwrapped

Draws = Mapping[str, np.ndarray]
MOST_NUMBERS = 100  # in one parameter of a prior; more are not differentiated in
SAME = 1e-6  # relative difference of log densities of a prior and of the one made again

# What NumPyro and JAX raise when a distribution cannot be made from its parameters.
CANNOT_BE_MADE = (TypeError, ValueError, NotImplementedError)


@dataclasses.dataclass(frozen=True)
class PriorSlot:
    """A prior as the user sees it, in the table of `Model.priors`.

    Attributes
    ----------
    name
        Slot in that table.
    text
        Its distribution.
    site
        Latent site that it is on.
    elements
        Elements of the site that it is the prior of, in C order; empty for the whole site.
    """

    name: str
    text: str
    site: str
    elements: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Hyperparameter:
    """A number in a prior: its name, value, and the derivative of the log prior in it by draw.

    `score` has shape (chain, draw).
    """

    name: str
    value: float
    score: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class PriorDraws:
    """A prior with its log density at every draw, (chain, draw), and the numbers in it."""

    slot: PriorSlot
    log_density: np.ndarray
    hyperparameters: tuple[Hyperparameter, ...]


def prior_slots(model: Model) -> tuple[PriorSlot, ...]:
    """Return the priors of all latent sites that are not effects of groups.

    Raises
    ------
    ModelError
        There is none.
    """
    found = _of_formula(model, model.origin) if isinstance(model.origin, FormulaOrigin) else None
    found = _of_function(model) if found is None else found
    if not found:
        raise ModelError("every latent site of the model is an effect of groups: it has no priors.")
    return found


def _of_formula(model: Model, origin: FormulaOrigin) -> tuple[PriorSlot, ...]:
    """Priors of a formula, whose vectors may have several, one or more elements each."""
    sites = abstract_trace(model.fn, model.data).sites
    rows = iter(origin.priors().itertuples())
    found = []
    for prior in origin.chosen:
        site = sites[prior.slot.site]
        name = site.name if site.kind == "latent" else site.parents[0]  # a variance, sampled for it
        members: list[tuple[Any, list[int]]] = []
        chains = prior.slot.chains
        for place, chain in enumerate(chains):
            if not place or chain != chains[place - 1]:
                members.append((next(rows), []))
            members[-1][1].append(place)
        for row, elements in members:
            chosen = tuple(elements) if prior.slot.vector else ()
            found.append(PriorSlot(row.slot, row.distribution, name, chosen))
    return tuple(found)


def _of_function(model: Model) -> tuple[PriorSlot, ...]:
    blocks, sites = blocks_of(model), abstract_trace(model.fn, model.data).sites

    def is_prior(name: str) -> bool:
        # Hidden sites in a plate are effects in other coordinates.
        return blocks[name] != "effect" and not (blocks[name] == "hidden" and sites[name].plates)

    chosen = [name for name in sites if name in latent_sites(model) and is_prior(name)]
    return tuple(PriorSlot(name, sites[name].text, name) for name in chosen)


def evaluate(
    model: Model, draws: Draws, info: FitInfo
) -> tuple[tuple[PriorDraws, ...], np.ndarray]:
    """Compute the log densities of all priors and of the data given the latents, draw by draw.

    Returns
    -------
    priors
        In the order of `prior_slots`.
    log_likelihood
        Shape (chain, draw): all observed sites together.

    Raises
    ------
    ModelError
        There are no draws of a latent site.
    """
    slots = prior_slots(model)
    missing = sorted(name for name in latent_sites(model) if name not in draws)
    if missing:
        raise ModelError(
            f"there are no draws of {', '.join(missing)}, which the likelihood depends on: fit "
            'with keep="all".'
        )
    sites = {slot.site: _members(slots, slot.site) for slot in slots}

    def read(messages: Messages, key: Array, extra: Any) -> Any:
        del key, extra
        found = {site: _read_prior(messages[site], members) for site, members in sites.items()}
        observed = [m for m in messages.values() if m["type"] == "sample" and m["is_observed"]]
        return found, sum((_log_density(message) for message in observed), jnp.zeros(()))

    trace = abstract_trace(model.fn, model.data)
    flat, shape = flattened({name: draws[name] for name in latent_sites(model)})
    filling = Filling(tuple((name, values.shape[1:]) for name, values in sorted(flat.items())))
    with jax.enable_x64(info.dtype == "float64"):
        found, likelihood = at_every_draw(
            model.fn, model.data, flat, read, seed=0, count=math.prod(shape), filling=filling,
            size=max(math.prod(site.shape) for site in trace.sites.values()),
            name=("sensitivity", slots),
        )  # fmt: skip
    priors = tuple(_prior_draws(model, slot, sites, found[slot.site], shape) for slot in slots)
    return priors, np.asarray(likelihood, float).reshape(shape)


Members = tuple[tuple[int, ...], ...]


def _members(slots: tuple[PriorSlot, ...], site: str) -> Members:
    return tuple(slot.elements for slot in slots if slot.site == site)


def _log_density(message: Mapping[str, Any]) -> Array:
    values = message["fn"].log_prob(message["value"])
    return jnp.sum(values if message["scale"] is None else message["scale"] * values)


def _read_prior(message: Mapping[str, Any], members: Members) -> dict[str, Any]:
    """Log density of each slot of a site, and its derivatives in the numbers of the prior."""
    bare, value, scale = unwrapped(message["fn"]), message["value"], message["scale"]
    factor = 1.0 if scale is None or np.ndim(scale) else scale

    def by_slot(distribution: Any) -> Array:
        values = factor * jnp.ravel(distribution.log_prob(value))
        parts = [values[np.array(each)] if each else values for each in members]
        return jnp.stack([part.sum() for part in parts])

    whole = members == ((),)
    found: dict[str, Any] = {"log_density": _log_density(message)[None] if whole else by_slot(bare)}
    every, rebuild = taken_apart(bare)
    numbers = {name: each for name, each in every.items() if each.size <= MOST_NUMBERS}
    if not numbers:
        return found
    try:
        again = by_slot(rebuild(every))
    except CANNOT_BE_MADE:
        return found
    return found | {
        # Other where the site is masked, or where its class does not say how it was made.
        "again": again,
        "value": numbers,
        "score": jax.jacrev(lambda each: by_slot(rebuild(every | each)))(numbers),
        "edge": jax.grad(lambda each: _ends(rebuild(every | each)))(numbers),
    }


def _ends(distribution: Any) -> Array:
    """Sum of the ends of the support: it depends on a number that moves one of them."""
    leaves = jax.tree.leaves(distribution.support)
    return sum((jnp.sum(jnp.asarray(leaf, float)) for leaf in leaves), jnp.zeros(()))


def _prior_draws(
    model: Model,
    slot: PriorSlot,
    sites: Mapping[str, Members],
    found: Mapping[str, Any],
    shape: tuple[int, int],
) -> PriorDraws:
    place = sites[slot.site].index(slot.elements)
    log_density = np.asarray(found["log_density"], float)[:, place]
    given = ()
    if "again" in found and np.allclose(found["again"][:, place], log_density, SAME, SAME):
        given = _hyperparameters(model, slot, place, found, shape)
        if model.origin is None and [number.name for number in given] == list(found["value"]):
            slot = dataclasses.replace(slot, text=_with_values(slot.text, given))
    return PriorDraws(slot, log_density.reshape(shape), given)


def _with_values(text: str, numbers: tuple[Hyperparameter, ...]) -> str:
    """Write a distribution of a model function with its values in place of names of arguments."""
    shown = ", ".join(f"{number.name}={number.value:.4g}" for number in numbers)
    return f"{text.partition('(')[0]}({shown})"


def _hyperparameters(
    model: Model,
    slot: PriorSlot,
    place: int,
    found: Mapping[str, Any],
    shape: tuple[int, int],
) -> tuple[Hyperparameter, ...]:
    """Numbers in a prior that can be changed: those of one name and value change together."""
    by_name: dict[str, list[tuple[str, float, np.ndarray]]] = {}
    for path, values in found["value"].items():
        values = np.asarray(values, float)
        scores = np.asarray(found["score"][path], float)[:, place].reshape(len(values), -1)
        edges = np.asarray(found["edge"][path], float).reshape(len(values), -1)
        flat = values.reshape(len(values), -1)
        for element in range(flat.shape[1]):
            value, score = flat[:, element], scores[:, element]
            fixed = np.ptp(value) <= SAME * np.abs(value).max()  # not computed from other latents
            if fixed and np.any(score) and not np.any(edges[:, element]):
                label = _label(model, slot, path, element, flat.shape[1])
                name = path.rpartition(".")[2]
                by_name.setdefault(name, []).append((label, float(value[0]), score.reshape(shape)))
    chosen = []
    for name, each in by_name.items():
        if len({value for _, value, _ in each}) == 1:
            total = np.sum([score for *_, score in each], axis=0)
            chosen.append(Hyperparameter(name, each[0][1], total))
        else:
            chosen += [Hyperparameter(f"{name}{label}", value, s) for label, value, s in each]
    return tuple(chosen)


def _label(model: Model, slot: PriorSlot, path: str, element: int, size: int) -> str:
    """Name of an element of a parameter, that of the element of the site if they are paired."""
    names = scalar_names(model, slot.site)
    component = path.partition(".")[0]
    if component.isdecimal():
        element, size = int(component), len(names)
    return names[element].removeprefix(slot.site) if size == len(names) else f"[{element}]"
