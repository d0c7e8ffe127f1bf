"""From designs and groupings to named sites: the structure of the model and its prior slots."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpyro import distributions as dist

from hierjax.formula.design import Design
from hierjax.formula.distributions import OrderStatistics
from hierjax.formula.families import Family, Parameter
from hierjax.formula.function import Arguments, Coefficient, Scale
from hierjax.formula.priors import Slot


class Names:
    """Hands out names; one that is taken gets an underscore, so that users' columns keep theirs."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def free(self, name: str) -> str:
        """Return `name`, or the first of `name_`, `name__`, ... that is not taken."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


@dataclasses.dataclass(frozen=True)
class Spread:
    """What the default priors know of the response.

    Attributes
    ----------
    centre
        Middle of the response on the link's scale.
    response
        Spread on the link's scale.
    residual
        Spread of a residual of weight 1.
    categories
        Labels of the categories that the response is in, if it is.
    """

    centre: float
    response: float
    residual: float
    categories: tuple[Any, ...] = ()


@dataclasses.dataclass
class Layout:
    """Sites, slots, labels and dimensions as they are collected (filled in by `lay_out`)."""

    names: Names
    slots: list[Slot] = dataclasses.field(default_factory=list)
    labels: dict[str, Sequence] = dataclasses.field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    blocks: dict[str, str] = dataclasses.field(default_factory=dict)
    scales: dict[str, str] = dataclasses.field(default_factory=dict)
    dimensions: dict[tuple[str, tuple], str] = dataclasses.field(default_factory=dict)

    def dimension(self, name: str, labels: Sequence) -> str:
        """Name a dimension and remember the labels along it; the same again is not a new one."""
        key = (name, tuple(labels))
        if key not in self.dimensions:
            self.dimensions[key] = self.names.free(name)
            self.labels[self.dimensions[key]] = tuple(labels)
        return self.dimensions[key]

    def site(self, name: str, block: str, dims: tuple[str, ...] = ()) -> str:
        """Name a new site and remember its block and dimensions."""
        name = self.names.free(name)
        self.blocks[name] = block
        if dims:
            self.dims[name] = dims
        return name


def argument_names(names: Names) -> Arguments:
    """Names of the data arguments that belong to the model and not to a column."""
    wanted = {"design": "X"}
    fields = (field.name for field in dataclasses.fields(Arguments))
    return Arguments(**{field: names.free(wanted.get(field, field)) for field in fields})


def coefficient_scales(
    matrix: np.ndarray, design: Design, spread: Spread
) -> tuple[np.ndarray, float]:
    """Scales of the default priors of all coefficients, and of the intercept at x = 0."""
    intercept = [term.columns.start for term in design.terms if term.name == "Intercept"]
    mean = matrix.mean(axis=0)
    size = np.sqrt((matrix**2).mean(axis=0))
    deviation = matrix.std(axis=0) if intercept else size
    deviation = np.where(deviation > 0, deviation, np.where(size > 0, size, 1.0))
    scales = 2.5 * spread.response / deviation
    others = np.delete(mean * scales, intercept)
    return scales, float(np.sqrt((2.5 * spread.response) ** 2 + np.sum(others**2)))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A category with a linear predictor of its own: number of that and label, "" if there is one.

    Names of its sites have the label in front: `b_<label>_x`, `sd_<label>_g`.
    """

    number: int = 0
    label: str = ""

    @property
    def prefix(self) -> str:
        """What stands before names."""
        return f"{self.label}_" if self.label else ""

    @property
    def words(self) -> str:
        """What follows a description."""
        return f" in the predictor of {self.label}" if self.label else ""


def lay_out_coefficients(
    layout: Layout,
    matrix: np.ndarray,
    design: Design,
    spread: Spread,
    outcome: Outcome,
    *,
    thresholds: bool,
) -> tuple[Coefficient, ...]:
    """Name the coefficients of the common part and give them their default priors.

    Where there are `thresholds`, they take the place of the intercept.
    """
    prefix = outcome.prefix
    scales, wide = coefficient_scales(matrix, design, spread)
    coefficients = []
    for term in design.terms:
        where = term.columns
        if term.name == "Intercept":
            if thresholds:
                continue
            default = dist.Normal(spread.centre, wide)
            chain = (f"b_{prefix}Intercept", "b_Intercept")
        else:
            scale = scales[where]
            vector = term.labels is not None
            default = (
                dist.Normal(np.zeros(len(scale)), scale)
                if vector
                else dist.Normal(0.0, float(scale[0]))
            )
            chain = (f"b_{prefix}{term.name}", f"b_{term.name}", "b")
        dims = (layout.dimension(term.name, term.labels),) if term.labels is not None else ()
        site = layout.site(f"b_{prefix}{term.name}", "coefficient", dims)
        width = None if term.labels is None else len(term.labels)
        chains = (tuple(dict.fromkeys(chain)),) * (width or 1)
        applies = tuple(f"coefficient of {label}{outcome.words}" for label in term.column_labels)
        if term.name == "Intercept":
            applies = (f"intercept, where every predictor is 0{outcome.words}",)
        layout.slots.append(Slot(site, "coefficient", chains, default, applies, width is not None))
        coefficients.append(Coefficient(site, width, outcome.number))
    return tuple(coefficients)


def lay_out_parameters(
    layout: Layout, family: Family, spread: Spread, wide: float, *, known_sd: bool
) -> tuple[tuple[str, Scale], ...]:
    """Name the parameters of the family and give them their default priors.

    `wide` is the scale of an intercept.
    """
    found = []
    for name, parameter in family.parameters.items():
        if name == "sigma" and known_sd:
            continue
        if parameter.kind == "thresholds":
            site, default = _lay_out_thresholds(layout, name, parameter, spread, wide)
        else:
            site, default = layout.site(name, "other"), parameter.default(spread.residual)
        applies = (f"{name} of the family {family.name}",)
        layout.slots.append(Slot(site, parameter.kind, ((name,),), default, applies, False))
        layout.scales[site] = f"variance_{name}"
        found.append((name, Scale(site, None)))
    return tuple(found)


def _lay_out_thresholds(
    layout: Layout, name: str, parameter: Parameter, spread: Spread, wide: float
) -> tuple[str, dist.Distribution]:
    pairs = itertools.pairwise(spread.categories)
    between = tuple(f"{low}|{high}" for low, high in pairs)
    site = layout.site(name, "coefficient", (layout.dimension(f"{name}s", between),))
    with jax.enable_x64(True):
        return site, OrderStatistics(parameter.default(wide), len(between))
