"""What things are called: dimensions, coordinates, elements and summary blocks of a model's sites.

Tables, files and plots all take their labels from here, so that an element has one name everywhere.
Names come from the model's `labels`, `dims` and `blocks`; what those leave out is read from the
plates and dependencies of the model function. No array is computed.
"""

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpyro.distributions import constraints

from hierjax.errors import ModelError
from hierjax.model import Model
from hierjax.trace import ModelTrace, Site, abstract_trace

_TRACES: "weakref.WeakKeyDictionary[Model, ModelTrace]" = weakref.WeakKeyDictionary()
_REAL = (constraints.real, constraints.real_vector, constraints.real_matrix)


def site_dims(model: Model) -> dict[str, tuple[str, ...]]:
    """Dimension names of every site of a model, plates first; never the chain or draw.

    An axis that neither a plate nor `model.dims` names is called `<site>_dim_<axis>`. A name that a
    site would have twice (rows and columns of a correlation matrix) gets `_2` the second time.

    Returns
    -------
    dict
        Latent, observed or deterministic site -> one name for each axis.

    Raises
    ------
    ModelError
        `model.dims` does not give a site as many names as it has axes beside its plates.
    """
    return {site.name: _dims_of(model, site) for site in _sites(model)}


def data_dims(model: Model) -> dict[str, tuple[str, ...]]:
    """Dimension names of every array among the data: the plates that its axes run along.

    An axis that runs along no plate is called `<argument>_dim_<axis>`.
    """
    plate = _trace(model).alignment.plate
    return {
        name: tuple(
            plate([("data", name, axis)]) or f"{name}_dim_{axis}" for axis in range(values.ndim)
        )
        for name, values in model.data.items()
        if isinstance(values, np.ndarray)
    }


def responses(model: Model) -> dict[str, str]:
    """Observed site -> the data argument that it is, where the model function shows that."""
    return dict(_trace(model).response)


def coordinates(model: Model) -> dict[str, Sequence[Any]]:
    """Labels along every dimension of `site_dims`: those of `model.labels`, else 0, 1, 2, ...

    Raises
    ------
    ModelError
        A dimension has two lengths, or `model.labels` has the wrong number of labels for it.
    """
    lengths: dict[str, tuple[int, str]] = {}
    for site in _sites(model):
        for dim, length in zip(_dims_of(model, site), site.shape, strict=True):
            known, owner = lengths.setdefault(dim, (length, site.name))
            if known != length:
                raise ModelError(
                    f"dimension {dim!r} has length {known} in site {owner!r} and {length} in "
                    f"{site.name!r}. Give one of them another name in `dims`."
                )
    return {dim: _labels(model, dim, length) for dim, (length, _) in lengths.items()}


def scalar_names(model: Model, site: str) -> list[str]:
    """Name of every element of a site in C order, e.g. `r_county[AITKIN, Intercept]`.

    A scalar site has one element, called as the site.
    """
    dims, labels = site_dims(model)[site], coordinates(model)
    if not dims:
        return [site]
    places = itertools.product(*(labels[dim] for dim in dims))
    return [f"{site}[{', '.join(map(str, place))}]" for place in places]


def blocks_of(model: Model) -> dict[str, str]:
    """Block of the summary that each latent or deterministic site belongs to.

    Sites that `model.blocks` leaves out are placed by what the model function shows:

    - "effect": sites in a plate, and non-scalar latents that depend on other latents;
    - "level": latents of restricted support (scales, correlations) that the effects depend on and
      that have no plate or fewer plates than they, and what is computed from those alone;
    - "coefficient": other latents on the real line;
    - "other": the rest, e.g. the scale of the residuals.
    """
    sites = {site.name: site for site in _sites(model)}
    latents = {site.name: _latent_parents(site, sites) for site in sites.values()}
    effects = {site.name for site in sites.values() if _is_effect(site, latents[site.name])}
    levels = {
        parent
        for effect in effects
        for parent in latents[effect]
        if not _is_real(sites[parent]) and _is_above(sites[parent], sites[effect])
    }

    def block(site: Site) -> str:
        computed = site.kind == "deterministic" and not any(site.axes)
        if site.name in levels or (
            computed and latents[site.name] and latents[site.name] <= levels
        ):
            return "level"
        if site.name in effects:
            return "effect"
        return "coefficient" if site.kind == "latent" and _is_real(site) else "other"

    drawn = (site for site in sites.values() if site.kind in ("latent", "deterministic"))
    return {site.name: model.blocks.get(site.name) or block(site) for site in drawn}


def latent_sites(model: Model) -> frozenset[str]:
    """Names of the sites that are sampled, not computed or observed."""
    return frozenset(site.name for site in _sites(model) if site.kind == "latent")


def _is_effect(site: Site, latents: set[str]) -> bool:
    if site.kind == "observed":
        return False
    return any(site.axes) or (site.kind == "latent" and bool(site.shape) and bool(latents))


def _is_above(parent: Site, effect: Site) -> bool:
    """Whether `parent` belongs to a whole level: one value for all units of the effect."""
    return not parent.plates or set(parent.plates) < set(effect.plates)


def _latent_parents(site: Site, sites: dict[str, Site]) -> set[str]:
    """Latent sites that a site depends on directly or through deterministic ones."""
    found: set[str] = set()
    for name in site.parents:
        parent = sites.get(name)
        if parent is not None and parent.kind == "latent":
            found.add(name)
        elif parent is not None and parent.kind == "deterministic":
            found |= _latent_parents(parent, sites)
    return found


def _is_real(site: Site) -> bool:
    return any(site.support == real for real in _REAL)


def _trace(model: Model) -> ModelTrace:
    if model not in _TRACES:
        _TRACES[model] = abstract_trace(model.fn, model.data)
    return _TRACES[model]


def _sites(model: Model) -> list[Site]:
    kinds = ("latent", "observed", "deterministic")
    return [site for site in _trace(model).sites.values() if site.kind in kinds]


def _dims_of(model: Model, site: Site) -> tuple[str, ...]:
    unnamed = [axis for axis, plate in enumerate(site.axes) if not plate]
    given = tuple(model.dims.get(site.name, ()))
    if given and len(given) != len(unnamed):
        raise ModelError(
            f"`dims[{site.name!r}]` has {len(given)} names {given}, but the site has "
            f"{len(unnamed)} axes beside its plates (shape {site.shape}, plates {site.plates})."
        )
    event_names = dict(zip(unnamed, given, strict=True)) if given else {}
    names: list[str] = []
    for axis, plate in enumerate(site.axes):
        name = plate or event_names.get(axis) or f"{site.name}_dim_{axis}"
        names.append(f"{name}_2" if name in names else name)
    return tuple(names)


def _labels(model: Model, dim: str, length: int) -> Sequence[Any]:
    labels = model.labels.get(dim)
    if labels is None:
        labels = model.labels.get(dim.removesuffix("_2"), range(length))
    if len(labels) != length:
        raise ModelError(
            f"`labels[{dim!r}]` has {len(labels)} labels, but the dimension has length {length}."
        )
    return labels
