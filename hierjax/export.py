"""Draws as the labelled tree that ArviZ works with.

The tree has the groups `posterior`, `sample_stats`, `observed_data` and `constant_data`. Dimensions
are the model's plates and named axes, and their coordinates its labels: counties, not numbers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.draws import FitInfo
from hierjax.model import Model
from hierjax.names import coordinates, data_dims, responses, site_dims

if TYPE_CHECKING:
    import xarray

# Names that ArviZ and its plots look for.
ARVIZ_STATS = {
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
    "log_density": "lp",
}
SAMPLE_DIMS = ("chain", "draw")


def to_datatree(
    model: Model,
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    info: FitInfo,
) -> "xarray.DataTree":
    """Return draws, statistics and data with named dimensions and coordinates.

    xarray reads a variable with the name of a dimension as that dimension's coordinate. Where a
    site or statistic has the name of a plate, the dimension is called `<plate>_dim`; a data
    argument of that name (`county` in a formula) becomes `<argument>_index`, and one with the name
    of a site `<argument>_data`. A `/` in a name becomes `|`. The attribute `name` of each variable
    holds the name as it was.

    Parameters
    ----------
    model, draws, stats, info
        The parts of a posterior; arrays are (chain, draw, *shape).

    Returns
    -------
    xarray.DataTree
        As `arviz_base.from_dict` makes it.
    """
    import arviz_base

    names = _Names(model, draws, stats)
    observed = responses(model)
    constants = {
        argument: values
        for argument, values in model.data.items()
        if isinstance(values, np.ndarray) and argument not in observed.values()
    }
    groups = {
        "posterior": {names.variable(site): np.asarray(value) for site, value in draws.items()},
        "sample_stats": {names.statistic(stat): np.asarray(value) for stat, value in stats.items()},
        "observed_data": {
            names.variable(site): np.asarray(model.data[argument])
            for site, argument in observed.items()
        },
        "constant_data": {names.argument(name): value for name, value in constants.items()},
    }
    tree = arviz_base.from_dict(
        {group: variables for group, variables in groups.items() if variables},
        coords=names.coordinates(),
        dims=names.dims(constants),
        sample_dims=list(SAMPLE_DIMS),
        attrs={"/": _attributes(model, info)},
    )
    originals = names.originals([*draws, *observed], stats, constants)
    for group, node in tree.children.items():
        for variable in map(str, node.data_vars):
            node[variable].attrs["name"] = originals[group][variable]
    return tree


class _Names:
    """Names of variables and dimensions that xarray and NetCDF can hold, without collisions."""

    def __init__(self, model: Model, draws: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
        self._site_dims = site_dims(model)
        self._data_dims = data_dims(model)
        self._coordinates = coordinates(model)
        self._taken = {_plain(name) for name in (*self._site_dims, *draws)}
        self._taken |= {self.statistic(stat) for stat in stats} | {*SAMPLE_DIMS}
        dims = (*self._site_dims.values(), *self._data_dims.values())
        self._dimensions = {self.dimension(dim) for names in dims for dim in names}

    def variable(self, site: str) -> str:
        name = _plain(site)
        return f"{name}_site" if name in SAMPLE_DIMS else name

    def statistic(self, stat: str) -> str:
        return ARVIZ_STATS.get(stat, _plain(stat))

    def argument(self, name: str) -> str:
        plain = _plain(name)
        if plain in self._taken:
            return f"{plain}_data"
        return f"{plain}_index" if plain in self._dimensions else plain

    def dimension(self, dim: str) -> str:
        plain = _plain(dim)
        return f"{plain}_dim" if plain in self._taken else plain

    def dims(self, constants: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
        """Dimensions of each variable of any group."""
        of_data = {self.argument(name): self._data_dims[name] for name in constants}
        of_sites = {self.variable(site): dims for site, dims in self._site_dims.items()}
        return {
            name: [*map(self.dimension, dims)] for name, dims in {**of_data, **of_sites}.items()
        }

    def coordinates(self) -> dict[str, np.ndarray]:
        return {self.dimension(dim): _labels(each) for dim, each in self._coordinates.items()}

    def originals(
        self, sites: Sequence[str], stats: Mapping[str, Any], constants: Mapping[str, Any]
    ) -> dict[str, dict[str, str]]:
        """Group -> variable -> name as the model has it."""
        of_sites = {self.variable(site): site for site in sites}
        return {
            "posterior": of_sites,
            "observed_data": of_sites,
            "sample_stats": {self.statistic(stat): stat for stat in stats},
            "constant_data": {self.argument(name): name for name in constants},
        }


def _plain(name: str) -> str:
    # NetCDF and xarray keep "/" for paths of groups.
    return name.replace("/", "|")


def _labels(labels: Sequence[Any]) -> np.ndarray:
    """Labels as numbers where all are, else as text; mixed types would not survive a file."""
    values = np.asarray(list(labels), dtype=object)
    if all(isinstance(value, bool | np.bool_) for value in values):
        return values.astype(bool)
    if all(isinstance(value, int | np.integer) for value in values):
        return values.astype(np.int64)
    if all(isinstance(value, int | float | np.number) for value in values):
        return values.astype(np.float64)
    return np.array([str(value) for value in values])


def _attributes(model: Model, info: FitInfo) -> dict[str, Any]:
    return {
        "creation_library": "hierjax",
        "creation_library_version": info.versions.get("hierjax", ""),
        "model_name": model.name,
        "method": info.method,
        "settings": json.dumps(dict(info.settings), default=str),
        "seed": info.seed,
        "dtype": info.dtype,
        "effects": json.dumps(dict(info.effects)),
        "sampling_time": float(info.seconds.get("run", 0.0)),
        "versions": json.dumps(dict(info.versions)),
    }
