"""Find out which linear predictors of a model belong together, from its shapes and derivatives."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.cache import ProgramCache
from hierjax.compiler import compile_for, use_of
from hierjax.effects import Layout
from hierjax.effects.coupling import Coupling, couples, mixes
from hierjax.effects.design import Design, design_of
from hierjax.polynomial import Split, split
from hierjax.transforms.rows import Rows, built_once, probe
from hierjax.transforms.trial import Trial

MOST_PREDICTORS = 32  # of one element: its Hessian is dense

_LOOKS = ProgramCache(size=32)


class _Look(NamedTuple):
    """What derivatives say of a coupling.

    Attributes
    ----------
    holds
        Whether the Hessian has no more than its blocks.
    needed
        Whether predictors of one element differ (if not, their blocks add up to one number) and
        blocks are no diagonal matrices.
    together
        Whether all predictors of an element depend on one group of each factor.
    """

    holds: Array
    needed: Array
    together: Array


def read_coupling(trial: Trial, layout: Layout) -> Coupling | None:
    """Which predictors belong together; None where each term of the likelihood has one.

    Also None where that is not found out: if a response has more than 32 predictors an element, or
    they are not laid out like its elements, or two responses share them.
    """
    rows = trial.rows
    elements = _element_shapes(rows, trial)
    if rows.shapes == elements:
        return None
    parts = _parts(rows, elements, trial)
    if parts is None:
        return None
    coupling = Coupling(parts, rows.shapes)
    found = _look(trial, layout, coupling)
    if not (found.holds and found.needed):
        return None
    return Coupling(parts, rows.shapes, bool(found.together))


def _element_shapes(rows: Split, trial: Trial) -> tuple[tuple[int, ...], ...]:
    def log_densities(effects: Any, others: Any) -> list[Array]:
        return rows.rest(rows.predictors(effects, others), others)

    found = jax.eval_shape(log_densities, trial.zeros, trial.others)
    return tuple(each.shape for each in found)


def _parts(
    rows: Split, elements: Sequence[tuple[int, ...]], trial: Trial
) -> tuple[tuple[tuple[int, int], ...], ...] | None:
    """Give each predictor to the one response that it enters."""
    numbers = range(len(rows.shapes))
    owners = _owners(rows, trial) if len(elements) > 1 else [[0]] * len(rows.shapes)
    if any(len(owner) != 1 for owner in owners):
        return None
    found = []
    for place, shape in enumerate(elements):
        own = [number for number in numbers if owners[number] == [place]]
        if any(rows.shapes[number][: len(shape)] != shape for number in own):
            return None
        widths = [math.prod(rows.shapes[number][len(shape) :]) for number in own]
        if not 1 <= sum(widths) <= MOST_PREDICTORS or not math.prod(shape):
            return None
        found.append(tuple(zip(own, widths, strict=True)))
    return tuple(found)


def _owners(rows: Split, trial: Trial) -> list[list[int]]:
    """Responses that each predictor enters, read off the traced program."""
    effects = jax.eval_shape(rows.predictors, trial.zeros, trial.others)
    found = []
    for number in range(len(effects)):
        degrees = _enters(rows, effects, number, trial.others)
        found.append([place for place, degree in enumerate(degrees) if degree > 0])
    return found


def _enters(rows: Split, predictors: Sequence[Any], number: int, others: Any) -> tuple[float, ...]:
    def log_densities(values: Any, others: Any) -> list[Array]:
        return rows.rest(values, others)

    return split(
        log_densities, list(predictors), others, lambda path: path[0].idx == number
    ).degrees


def _look(trial: Trial, layout: Layout, coupling: Coupling) -> _Look:
    split = trial.rows

    def look(others: Any) -> _Look:
        rows = Rows(split, others)
        design = design_of(rows.predictors, layout)
        near, direction = probe(rows, design.start)
        exact = layout.structure.crossing is not None
        return _Look(
            couples(rows.log_density, near, direction, coupling),
            _differ(design, coupling) & mixes(rows.log_density, near, coupling),
            _together(design, coupling, exact=exact),
        )

    def build(shapes: Any) -> Any:
        return compile_for(look, shapes, use=use_of(shapes))[0]

    others = jax.tree.map(lambda x: np.asarray(x, jnp.result_type(x)), trial.others)
    key = (trial.fn, trial.arguments, trial.sites, layout, coupling)
    return jax.device_get(built_once(_LOOKS, key, others, build)(others))


def _differ(design: Design, coupling: Coupling) -> Array:
    """Whether predictors of one element have different coefficients or groups."""
    columns = [design.columns, *(term.design for term in design.terms)]
    columns += [
        jnp.asarray(term.index)[:, None].astype(design.start.dtype) for term in design.terms
    ]
    gaps = [
        jnp.max(jnp.abs(piece - piece[:, :1]), initial=0.0)
        for piece in coupling.cut(jnp.concatenate(columns, axis=1))
    ]
    return jnp.max(jnp.stack(gaps)) > 0.0


def _together(design: Design, coupling: Coupling, *, exact: bool) -> Array:
    """Whether predictors of an element that depend on a factor depend on one group of it.

    `exact` asks it of the others too: pairs of groups that are kept are those of the rows.
    """
    found = jnp.asarray(True)
    for term in design.terms:
        used = jnp.any(term.design != 0, axis=1) | exact
        index = jnp.where(used, term.index, -1)
        for piece in coupling.cut(index):
            group = jnp.max(piece, axis=1, keepdims=True)
            found &= jnp.all((piece == group) | (piece < 0))
    return found
