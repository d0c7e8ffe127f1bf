"""Checks of index arrays, plates and group counts, made before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hierjax.errors import GroupCountError, GroupIndexError, ModelError
from hierjax.level_graph import LevelGraph, Link
from hierjax.provenance import Index
from hierjax.trace import traced_arrays

SHOWN = 5


def check_indexes(graph: LevelGraph, data: Mapping[str, Any]) -> None:
    """Raise the first problem with the plates, group counts and index arrays of a model.

    JAX moves an index that is out of range to the last group without a word, and counts a negative
    one from the end; here both are errors.

    Parameters
    ----------
    graph
        Levels of the model, from `read_levels`.
    data
        The model's arguments; index arrays must be concrete.

    Raises
    ------
    ModelError
        No site uses a plate.
    GroupCountError
        A level whose effects share a learnt prior has one group only.
    GroupIndexError
        An index array is not of integers, or has a value outside the level that it indexes.
    """
    if graph.unused:
        raise ModelError(
            f"no site uses plate {graph.unused[0]!r}. Write its sample statements inside "
            f"`with numpyro.plate({graph.unused[0]!r}, ...):`, or delete the plate."
        )
    check_links(graph, data)
    for name, level in graph.levels.items():
        if level.size == 1:
            _check_count(name, graph)


def check_links(graph: LevelGraph, data: Mapping[str, Any]) -> None:
    """Raise the first index array that is not of integers, or points outside its level.

    Raises
    ------
    GroupIndexError
        Names the argument, the rows and the values.
    """
    for link in graph.links:
        if link.path is not None:
            _check_link(link, link.path, graph, traced_arrays(data))


def _check_count(level: str, graph: LevelGraph) -> None:
    """Raise if effects of a level with one group have a prior that is learnt from them."""
    for site in graph.sites.values():
        learnt = [parent for parent in site.parents if graph.sites[parent].kind == "latent"]
        if site.kind == "latent" and graph.places[site.name] == (level,) and learnt:
            raise GroupCountError(
                f"level {level!r} has one group, so {', '.join(map(repr, learnt))} cannot be "
                f"learnt from how {site.name!r} varies between groups. Drop the level, or give "
                f"{site.name!r} a prior without unknown parameters."
            )


def _check_link(
    link: Link, index: Index, graph: LevelGraph, arrays: Mapping[str, np.ndarray]
) -> None:
    """Check the array of each step from the rows up to the level that is indexed."""
    size, target = graph.levels[link.plate].size, f"level {link.plate!r} of site {link.site!r}"
    step: Index | None = index
    while step is not None and step.kind == "data":
        array = np.asarray(arrays[step.name])
        _check_array(step, array, size, target)
        size, target = len(array) if array.ndim else 1, f"data[{step.name!r}]"
        step = step.of


def _check_array(step: Index, array: np.ndarray, size: int, target: str) -> None:
    name, lowest, highest = step.name, -step.offset, size - 1 - step.offset
    if array.dtype.kind not in "iu":
        raise GroupIndexError(
            f"data[{name!r}] indexes {target} but holds {array.dtype} values. Group indexes must "
            f"be integers: use `.astype(int)`, or `index, labels = hj.encode(values)` for labels."
        )
    wrong = np.flatnonzero((array < lowest) | (array > highest))
    if not wrong.size:
        return
    flat = array.reshape(-1)
    rows = ", ".join(str(row) for row in wrong[:SHOWN])
    more = f" and {wrong.size - SHOWN} more" if wrong.size > SHOWN else ""
    values = ", ".join(str(value) for value in flat[wrong[:SHOWN]])
    remedy = "Use `index, labels = hj.encode(values)`, or make the plate larger."
    if flat.min() == lowest + 1 and flat.max() == highest + 1:
        remedy = f"The groups seem to be counted from 1: use `{name} - 1`."
    raise GroupIndexError(
        f"data[{name!r}] indexes {target}, which has {size} groups: allowed are {lowest} to "
        f"{highest}, but rows {rows}{more} hold {values}. {remedy}"
    )
