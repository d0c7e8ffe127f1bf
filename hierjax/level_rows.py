"""Which group of a level each observed value belongs to, where the model shows it."""

import numpy as np

from hierjax.errors import ModelError, SettingsError
from hierjax.level_graph import LevelGraph
from hierjax.level_maps import index_values
from hierjax.model import Model
from hierjax.trace import traced_arrays


def groupings(graph: LevelGraph) -> dict[str, str]:
    """Return the levels whose group of each observed value is known, with the observed site."""
    found: dict[str, str] = {}
    effects = {
        level
        for name, site in graph.sites.items()
        if site.kind == "latent"
        for level in graph.places[name]
    }
    for site in graph.response:
        place = graph.places[site]
        for level in graph.levels:
            paths = {link.path for link in graph.links if link.plate == level and link.index}
            rows = {link.rows for link in graph.links if link.plate == level}
            single = len(paths) == 1 and len(place) == 1 and rows <= {*place, ""}
            own = level in place and level in effects
            if single or own:
                found.setdefault(level, site)
    return found


def choose_grouping(graph: LevelGraph, level: str | None, *, name: str) -> tuple[str, str]:
    """Return a level and the observed site whose rows it groups.

    Parameters
    ----------
    graph
        Levels of the model.
    level
        The level that is meant; by default the first.
    name
        What the user calls the argument `level`.

    Raises
    ------
    ModelError
        The model does not show which group each observed value belongs to.
    SettingsError
        `level` is not such a level.
    """
    choices = groupings(graph)
    if not choices:
        raise ModelError(
            "this needs observed values that are a data argument and an index array that says "
            f"which group each row belongs to; the model shows none:\n{graph}"
        )
    if level is not None and level not in choices:
        raise SettingsError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}; got {level!r}."
        )
    chosen = level or next(iter(choices))
    return chosen, choices[chosen]


def group_of_rows(model: Model, graph: LevelGraph, level: str, site: str) -> np.ndarray:
    """Return the group of every observed value, in its shape."""
    shape, place = graph.sites[site].shape, graph.places[site]
    if level in place:
        return np.indices(shape)[place.index(level)]
    path = next(link.path for link in graph.links if link.plate == level and link.path)
    sizes = {name: plate.size for name, plate in graph.plates.items()}
    index = index_values(path, traced_arrays(model.data), sizes)
    assert index is not None and index.shape == shape
    return index
