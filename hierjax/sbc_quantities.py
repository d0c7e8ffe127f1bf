"""What is ranked: elements of sites, one by one or pooled over groups, and two log densities."""

import collections
import dataclasses
import itertools
from collections.abc import Collection, Sequence

import numpy as np

from hierjax import checks
from hierjax.errors import ModelError, SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of, coordinates, scalar_names, site_dims
from hierjax.sbc_simulate import Simulated, Simulator
from hierjax.summary_frame import LARGEST_COMPUTED, _informative
from hierjax.trace import Site, abstract_trace

GROUPS = ("pooled", "each")
LOG_DENSITY = "log density"  # stands for a site of two elements, which depend on the data
LOG_LIKELIHOOD, LOG_JOINT = "log likelihood", "log joint density"
WITH_DATA = "data"  # their block


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One line of the report.

    Attributes
    ----------
    name
        As it is shown.
    site, block
        Where its values come from, and the block of the summary that it belongs to.
    elements
        Places in the site, in C order: one, or those of the groups that are pooled.
    labels
        Name of each element.
    """

    name: str
    site: str
    block: str
    elements: tuple[int, ...]
    labels: tuple[str, ...]


def log_densities() -> list[Quantity]:
    """Return the quantities that depend on parameters and data."""
    names = (LOG_LIKELIHOOD, LOG_JOINT)
    return [
        Quantity(name, LOG_DENSITY, WITH_DATA, (place,), (name,))
        for place, name in enumerate(names)
    ]


def choose_sites(
    model: Model, simulator: Simulator, sites: Sequence[str] | None
) -> tuple[str, ...]:
    """Choose the sites that are ranked.

    By default those that a summary shows: latent ones, and computed ones outside plates.

    Parameters
    ----------
    model
        The model that is fitted.
    simulator
        What parameters are drawn from.
    sites
        Names, or None.

    Raises
    ------
    ModelError
        A parameter of the simulation is no site of the model that is fitted, or has another shape.
    SettingsError
        A name is that of no site of both.
    """
    fitted = _values(abstract_trace(model.fn, model.data).sites.values())
    drawn = _values(simulator.trace.sites.values())
    for name in simulator.latents:
        if name not in fitted:
            raise ModelError(
                f"site {name!r} is drawn from the prior, but is no site of the model that is "
                f"fitted. Record it there: numpyro.deterministic({name!r}, ...)."
            )
    for name in set(fitted) & set(drawn):
        if fitted[name].shape != drawn[name].shape:
            raise ModelError(
                f"site {name!r} has shape {drawn[name].shape} in the simulation and "
                f"{fitted[name].shape} in the model that is fitted."
            )
    both, blocks = [name for name in drawn if name in fitted], blocks_of(simulator.model)
    if sites is not None:
        if isinstance(sites, str):
            raise SettingsError(f"`sites` must be a list of names; got {sites!r}.")
        return tuple(checks.one_of("sites", name, both) for name in sites)

    def shown(site: Site) -> bool:
        if blocks[site.name] == "hidden":
            return False
        small = int(np.prod(site.shape)) <= LARGEST_COMPUTED
        return site.kind == "latent" or (small and not any(site.axes))

    return tuple(name for name in both if shown(drawn[name]))


def make_quantities(
    simulator: Simulator, sites: Sequence[str], groups: str, simulated: Simulated
) -> list[Quantity]:
    """Return the quantities of the sites, in the order of the blocks of a summary.

    Elements that are fixed or repeated (of a correlation matrix) are left out, as some simulations
    show them.
    """
    blocks, found = blocks_of(simulator.model), []
    for name in sites:
        values = np.asarray(simulated.sites[name])
        moves = np.ptp(values.reshape(len(values), -1), axis=0) > 0
        used = set(np.flatnonzero(_informative(values[None]) & moves).tolist())
        found += _of_site(simulator, name, blocks[name], groups, used)
    order = ("level", "coefficient", "other", "effect", "hidden")
    return sorted(found, key=lambda quantity: order.index(quantity.block))


def _of_site(
    simulator: Simulator, name: str, block: str, groups: str, used: Collection[int]
) -> list[Quantity]:
    site, names = simulator.trace.sites[name], scalar_names(simulator.model, name)
    if groups == "each" or not any(site.axes):
        return [Quantity(names[n], name, block, (n,), (names[n],)) for n in sorted(used)]
    members: dict[str, list[int]] = collections.defaultdict(list)
    for place, title in enumerate(_titles(simulator.model, site)):
        if place in used:
            members[title].append(place)
    return [
        Quantity(title, name, block, tuple(places), tuple(names[n] for n in places))
        for title, places in members.items()
    ]


def _titles(model: Model, site: Site) -> list[str]:
    """Name of each element of a site without its places along plates."""
    dims, labels = site_dims(model)[site.name], coordinates(model)
    shown = [
        [""] * length if plate else [str(label) for label in labels[dim]]
        for dim, plate, length in zip(dims, site.axes, site.shape, strict=True)
    ]
    inside = (", ".join(filter(None, each)) for each in itertools.product(*shown))
    return [f"{site.name}[{words}]" if words else site.name for words in inside]


def _values(sites: Collection[Site]) -> dict[str, Site]:
    return {site.name: site for site in sites if site.kind in ("latent", "deterministic")}
