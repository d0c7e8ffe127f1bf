"""From designs and groupings to named sites: the structure of the model and its prior slots."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpyro import distributions as dist

from hierjax.formula.coding import DesignTerm
from hierjax.formula.design import Design
from hierjax.formula.distributions import OrderStatistics
from hierjax.formula.families import Family, Parameter
from hierjax.formula.function import Arguments, Coefficient, Correlation, Effects, Group, Scale
from hierjax.formula.groups import Grouping
from hierjax.formula.priors import CORRELATION, Slot
from hierjax.formula.terms import Bar


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


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Effects of one group term that vary together (or, uncorrelated, of one term).

    Attributes
    ----------
    design
        Makes the columns of the whole group term.
    columns
        Those of this block.
    terms
        The terms of this block.
    correlated
        Whether the effects of a group are correlated.
    deviations
        Standard deviation of each column, 1 for an intercept.
    """

    design: Design
    columns: slice
    terms: tuple[DesignTerm, ...]
    correlated: bool
    deviations: np.ndarray

    @property
    def labels(self) -> tuple[str, ...]:
        """Label of each column."""
        return tuple(label for term in self.terms for label in term.column_labels)

    @property
    def term_names(self) -> tuple[str, ...]:
        """Term of each column."""
        return tuple(term.name for term in self.terms for _ in term.column_labels)

    @property
    def intercept_only(self) -> bool:
        """Whether the only effect is an intercept, which needs no design."""
        return self.labels == ("Intercept",)


@dataclasses.dataclass(frozen=True, eq=False)
class GroupPlan:
    """A grouping factor with its blocks and, once named, its sites."""

    grouping: Grouping
    blocks: tuple[Block, ...]


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


def blocks_of(bar: Bar, matrix: np.ndarray, design: Design) -> tuple[Block, ...]:
    """Cut a group term into blocks: one, or one a term for `||`."""
    deviation = matrix.std(axis=0)
    size = np.sqrt((matrix**2).mean(axis=0))
    deviations = np.where(deviation > 1e-8 * size, deviation, np.where(size > 0, size, 1.0))
    parts = (design.terms,) if bar.correlated else tuple((term,) for term in design.terms)
    blocks = []
    for terms in parts:
        columns = slice(terms[0].columns.start, terms[-1].columns.stop)
        correlated = bar.correlated and columns.stop - columns.start > 1
        blocks.append(Block(design, columns, terms, correlated, deviations[columns]))
    return tuple(blocks)


@dataclasses.dataclass
class Layout:
    """Sites, slots, labels and dimensions as they are collected (filled in by `lay_out`)."""

    names: Names
    slots: list[Slot] = dataclasses.field(default_factory=list)
    labels: dict[str, Sequence] = dataclasses.field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    blocks: dict[str, str] = dataclasses.field(default_factory=dict)
    scales: dict[str, str] = dataclasses.field(default_factory=dict)

    def dimension(self, name: str, labels: Sequence) -> str:
        """Name a new dimension and remember the labels along it."""
        name = self.names.free(name)
        self.labels[name] = tuple(labels)
        return name

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


def lay_out_coefficients(
    layout: Layout, matrix: np.ndarray, design: Design, spread: Spread, *, thresholds: bool
) -> tuple[Coefficient, ...]:
    """Name the coefficients of the common part and give them their default priors.

    Where there are `thresholds`, they take the place of the intercept.
    """
    scales, wide = coefficient_scales(matrix, design, spread)
    coefficients = []
    for term in design.terms:
        where = term.columns
        if term.name == "Intercept":
            if thresholds:
                continue
            default = dist.Normal(spread.centre, wide)
            chain = ("b_Intercept",)
        else:
            scale = scales[where]
            vector = term.labels is not None
            default = (
                dist.Normal(np.zeros(len(scale)), scale)
                if vector
                else dist.Normal(0.0, float(scale[0]))
            )
            chain = (f"b_{term.name}", "b")
        dims = (layout.dimension(term.name, term.labels),) if term.labels is not None else ()
        site = layout.site(f"b_{term.name}", "coefficient", dims)
        width = None if term.labels is None else len(term.labels)
        chains = (chain,) * (width or 1)
        applies = tuple(f"coefficient of {label}" for label in term.column_labels)
        if term.name == "Intercept":
            applies = ("intercept, where every predictor is 0",)
        layout.slots.append(Slot(site, "coefficient", chains, default, applies, width is not None))
        coefficients.append(Coefficient(site, width))
    return tuple(coefficients)


def lay_out_group(layout: Layout, plan: GroupPlan, spread: Spread) -> Group:
    """Name the sites of one grouping factor and give them their default priors."""
    factor = plan.grouping.name
    layout.labels[factor] = plan.grouping.labels
    several = len(plan.blocks) > 1
    effects = []
    for block in plan.blocks:
        suffix = f"{factor}__{block.terms[0].name}" if several else factor
        effects.append(_lay_out_block(layout, factor, suffix, block, spread))
    return Group(factor, layout.names.free(f"num_{factor}"), tuple(effects))


def _lay_out_block(
    layout: Layout, factor: str, suffix: str, block: Block, spread: Spread
) -> Effects:
    width = len(block.labels) if len(block.labels) > 1 else None
    dims = (layout.dimension(f"{suffix}_term", block.labels),) if width else ()
    scale = layout.site(f"sd_{suffix}", "level", dims)
    default = 2.5 * spread.response / block.deviations
    chains = tuple(
        tuple(
            dict.fromkeys((f"sd_{factor}__{label}", f"sd_{factor}__{term}", f"sd_{factor}", "sd"))
        )
        for label, term in zip(block.labels, block.term_names, strict=True)
    )
    applies = tuple(f"standard deviation of {label} between {factor}" for label in block.labels)
    prior = dist.HalfNormal(default) if width else dist.HalfNormal(float(default[0]))
    layout.slots.append(Slot(scale, "scale", chains, prior, applies, width is not None))
    layout.scales[scale] = f"variance_{suffix}"
    correlation = None
    if block.correlated and width:
        correlation = _lay_out_correlation(layout, factor, suffix, block, dims)
    effect = layout.site(f"r_{suffix}", "effect", dims)
    design = None if block.intercept_only else layout.names.free(f"Z_{suffix}")
    return Effects(effect, Scale(scale, None), width, design, correlation)


def _lay_out_correlation(
    layout: Layout, factor: str, suffix: str, block: Block, dims: tuple[str, ...]
) -> Correlation:
    cholesky = layout.site(f"L_{suffix}", "hidden")
    again = layout.dimension(f"{dims[0]}_bis", block.labels)
    correlation = layout.site(f"cor_{suffix}", "level", (dims[0], again))
    layout.dims[cholesky] = (dims[0], again)
    chain = tuple(dict.fromkeys((f"cor_{suffix}", f"cor_{factor}", "cor")))
    with jax.enable_x64(True):
        prior = dist.LKJCholesky(len(block.labels), CORRELATION)
    applies = (f"correlation of {', '.join(block.labels)} between {factor}",)
    layout.slots.append(Slot(cholesky, "correlation", (chain,), prior, applies, False))
    return Correlation(cholesky, correlation)


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
