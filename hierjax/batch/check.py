"""Checks of every data set's values, without compiling anything for a single one of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.density import make_density, observed_support
from hierjax.errors import HierjaxError
from hierjax.levels import LevelGraph, check_indexes, read_levels
from hierjax.model import Model
from hierjax.validation import check_support

BLOCK = 32  # data sets whose responses are looked at together
_PROGRAMS = ProgramCache(size=32)


def check_all(
    models: Mapping[int, Model], sizes: Mapping[int, Mapping[str, int]]
) -> dict[int, HierjaxError]:
    """Check index arrays and numbers of groups of data sets of one structure.

    Parameters
    ----------
    models
        Data sets by their places in the batch.
    sizes
        Place -> plate -> size, for the plates whose size varies.

    Returns
    -------
    dict
        Place -> what is wrong, for the data sets that cannot be fitted.
    """
    errors: dict[int, HierjaxError] = {}
    graph: LevelGraph | None = None
    for place, model in models.items():
        try:
            if graph is None:
                graph = read_levels(model.fn, model.data)
            check_indexes(_resized(graph, sizes[place]), model.data)
        except HierjaxError as error:
            errors[place] = error
    return errors


def _resized(graph: LevelGraph, sizes: Mapping[str, int]) -> LevelGraph:
    """Return the levels of another data set, whose program is the same but for sizes."""
    levels = {
        name: dataclasses.replace(level, size=sizes.get(name, level.size))
        for name, level in graph.levels.items()
    }
    return dataclasses.replace(graph, levels=levels)


def unsupported(
    fn: Callable[..., Any], arguments: Arguments, arrays: Sequence[np.ndarray]
) -> list[int]:
    """Find the data sets with an observed value that its distribution cannot produce.

    Parameters
    ----------
    fn, arguments
        Model function of padded data, and their structure.
    arrays
        Traced leaves, stacked along a first axis.
    """

    def build() -> Any:
        first = arguments.rebuild(tuple(array[0] for array in arrays))
        density = make_density(fn, arguments, first)

        def outside(each: Any) -> Any:
            inside = observed_support(density, each)
            return jax.tree_util.tree_map(lambda leaf: ~leaf.all(), inside)

        return jax.jit(jax.vmap(outside))

    # Plates may have the length of an array, so the latent sites depend on shapes.
    shapes = tuple(np.shape(array)[1:] for array in arrays)
    program = _PROGRAMS.get((fn, arguments, shapes), build)
    count, found = len(arrays[0]), []
    for first in range(0, count, BLOCK):
        places = np.minimum(np.arange(first, first + BLOCK), count - 1)
        outside = jax.device_get(program(tuple(array[places] for array in arrays)))
        wrong = np.any(np.stack([np.asarray(each) for each in outside.values()]), axis=0)
        found += [int(place) for place in np.unique(places[wrong])]
    return found


def support_error(model: Model) -> HierjaxError | None:
    """Say which observed values of one data set cannot be produced, if any."""
    try:
        check_support(model.fn, model.data)
    except HierjaxError as error:
        return error
    return None
