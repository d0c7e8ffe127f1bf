"""Group terms of a formula: blocks of effects, their sites and prior slots."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from numpyro import distributions as dist

from hierjax.formula.coding import DesignTerm
from hierjax.formula.design import Design
from hierjax.formula.function import Correlation, Effects, Group, Scale
from hierjax.formula.groups import Grouping
from hierjax.formula.layout import Layout, Outcome, Spread
from hierjax.formula.priors import CORRELATION, Slot, lkj_cholesky
from hierjax.formula.terms import Bar


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


def lay_out_group(
    layout: Layout, plan: GroupPlan, spread: Spread, outcomes: Sequence[Outcome]
) -> Group:
    """Name the sites of one grouping factor and give them their default priors.

    Every predictor has blocks of its own, which are independent of those of the others.
    """
    factor = plan.grouping.name
    layout.labels[factor] = plan.grouping.labels
    several = len(plan.blocks) > 1
    effects = []
    designs: dict[str, str] = {}
    for outcome in outcomes:
        for block in plan.blocks:
            suffix = f"{factor}__{block.terms[0].name}" if several else factor
            part = _lay_out_block(layout, factor, suffix, block, spread, outcome)
            if not block.intercept_only:
                if suffix not in designs:
                    designs[suffix] = layout.names.free(f"Z_{suffix}")
                part = dataclasses.replace(part, design=designs[suffix])
            effects.append(part)
    return Group(factor, layout.names.free(f"num_{factor}"), tuple(effects))


def _lay_out_block(
    layout: Layout, factor: str, suffix: str, block: Block, spread: Spread, outcome: Outcome
) -> Effects:
    """Name the sites of one block; its design is not named here."""
    width = len(block.labels) if len(block.labels) > 1 else None
    dims = (layout.dimension(f"{suffix}_term", block.labels),) if width else ()
    prefix = outcome.prefix
    scale = layout.site(f"sd_{prefix}{suffix}", "level", dims)
    default = 2.5 * spread.response / block.deviations
    own = f"sd_{prefix}{factor}"
    chains = tuple(
        tuple(
            dict.fromkeys(
                (
                    f"{own}__{label}",
                    f"{own}__{term}",
                    own,
                    f"sd_{factor}__{label}",
                    f"sd_{factor}__{term}",
                    f"sd_{factor}",
                    "sd",
                )
            )
        )
        for label, term in zip(block.labels, block.term_names, strict=True)
    )
    applies = tuple(
        f"standard deviation of {label} between {factor}{outcome.words}" for label in block.labels
    )
    prior = dist.HalfNormal(default) if width else dist.HalfNormal(float(default[0]))
    layout.slots.append(Slot(scale, "scale", chains, prior, applies, width is not None))
    layout.scales[scale] = f"variance_{prefix}{suffix}"
    correlation = None
    if block.correlated and width:
        correlation = _lay_out_correlation(layout, factor, suffix, block, dims, outcome)
    effect = layout.site(f"r_{prefix}{suffix}", "effect", dims)
    return Effects(effect, Scale(scale, None), width, None, correlation, outcome.number)


def _lay_out_correlation(
    layout: Layout,
    factor: str,
    suffix: str,
    block: Block,
    dims: tuple[str, ...],
    outcome: Outcome,
) -> Correlation:
    own = f"{outcome.prefix}{suffix}"
    cholesky = layout.site(f"L_{own}", "hidden")
    again = layout.dimension(f"{dims[0]}_bis", block.labels)
    correlation = layout.site(f"cor_{own}", "level", (dims[0], again))
    layout.dims[cholesky] = (dims[0], again)
    names = (f"cor_{own}", f"cor_{outcome.prefix}{factor}", f"cor_{suffix}", f"cor_{factor}", "cor")
    chain = tuple(dict.fromkeys(names))
    with jax.enable_x64(True):
        prior = lkj_cholesky(len(block.labels), CORRELATION)
    applies = (f"correlation of {', '.join(block.labels)} between {factor}{outcome.words}",)
    layout.slots.append(Slot(cholesky, "correlation", (chain,), prior, applies, False))
    return Correlation(cholesky, correlation)
