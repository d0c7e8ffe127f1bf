"""Checks of a model and its data that run before anything expensive is compiled."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.density import make_density, observed_support
from hierjax.errors import (
    EmptyDataError,
    MissingValueError,
    ModelError,
    NonFiniteError,
    SupportError,
)
from hierjax.levels import check_indexes
from hierjax.model import Model
from hierjax.trace import abstract_trace

SHOWN = 5
SUPPORT_PROGRAMS = ProgramCache(size=32)


def validate(model: Model) -> None:
    """Raise the first problem found in the data or the structure of `model`.

    Raises
    ------
    DataError
        Empty, missing, non-finite or unsupported values, or a wrong group index; argument,
        positions and remedy are in the message.
    ModelError
        About the model function, e.g. a plate that no site uses, or no observed site.
    """
    check_finite(model.data, model.allow_missing)
    check_observed(model.fn, model.data)
    check_indexes(model.levels(), model.data)
    check_support(model.fn, model.data)


def check_observed(fn: Callable[..., Any], data: Mapping[str, Any]) -> None:
    """Raise if no site is observed and no factor weighs the latent ones: nothing can be learnt."""
    kinds = {site.kind for site in abstract_trace(fn, data).sites.values()}
    if "latent" in kinds and not kinds & {"observed", "factor"}:
        raise ModelError(
            "the model has no observed site, so that there is nothing to learn from. Give the "
            "response as obs= of its site; hierjax.prior_predict draws from the prior."
        )


def check_finite(data: Mapping[str, Any], allow_missing: tuple[str, ...] = ()) -> None:
    """Raise if an array of numbers is empty or holds NaN or infinities."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(data)):
        name = path[0].key
        if not isinstance(leaf, np.ndarray) or len(path) > 1:
            continue
        if leaf.size == 0:
            raise EmptyDataError(f"data[{name!r}] is empty: there is nothing to fit.")
        if leaf.dtype.kind != "f" or name in allow_missing:
            continue
        for wrong, error, word in (
            (np.isnan(leaf), MissingValueError, "missing (NaN)"),
            (np.isinf(leaf), NonFiniteError, "infinite"),
        ):
            if wrong.any():
                raise error(
                    f"data[{name!r}]: {_counted(wrong)} {word}, at {_positions(wrong)}. "
                    "Drop those rows, or mask them in the model function and name the argument in "
                    "Model(..., allow_missing=...)."
                )


def check_support(fn: Callable[..., Any], data: Mapping[str, Any]) -> None:
    """Raise if an observed value lies outside the support of its distribution."""
    arguments = Arguments.of(data)
    masks = _support_program(fn, arguments, data)(arguments.arrays(data))
    for site, inside in masks.items():
        outside = ~np.asarray(inside)
        if outside.any():
            raise SupportError(
                f"observed site {site!r}: {_counted(outside)} outside the support of its "
                f"distribution, at {_positions(outside)}. Correct those rows, or choose a "
                "distribution that can produce them."
            )


def _support_program(
    fn: Callable[..., Any], arguments: Arguments, data: Mapping[str, Any]
) -> Callable[[Any], Mapping[str, Any]]:
    """Compile the support check once per model function, and structure and shapes of the data."""

    def build() -> Callable[[Any], Mapping[str, Any]]:
        density = make_density(fn, arguments, dict(data))
        return jax.jit(lambda arrays: observed_support(density, arrays))

    # Plates may have the length of an array, so the latent sites depend on shapes.
    shapes = tuple(np.shape(array) for array in arguments.arrays(data))
    return SUPPORT_PROGRAMS.get((fn, arguments, shapes), build)


def _counted(wrong: np.ndarray) -> str:
    count = int(wrong.sum())
    return "1 value is" if count == 1 else f"{count:,} values are"


def _positions(wrong: np.ndarray) -> str:
    """Name the first few true entries: "rows 3, 17, 20 and 4 more"."""
    where = np.argwhere(wrong)
    shown = [str(int(i[0])) if len(i) == 1 else str(tuple(map(int, i))) for i in where[:SHOWN]]
    more = f" and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
    word = ("row" if wrong.ndim == 1 else "position") + ("s" if len(where) > 1 else "")
    return f"{word} {', '.join(shown)}{more}" if where[0].size else "its only value"
