"""What is grouped in what: the static description that the conditional-Gaussian core works from.

The row model is  y = sum over factors of Z_f b_f + X beta + noise,  with one q-vector of effects
per group of each factor. The posterior precision of all effects is an arrow: block-diagonal over
the groups of a factor, linked to parents if the factor is nested, to everything else if it is
crossed. `Structure.chain` (a factor, its parent, its parent's parent, ...) is eliminated block by
block without fill; what is left is one dense matrix over the other factors' effects and the columns
of X.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from hierjax.errors import ModelError

Fixed = Literal["prior", "ml", "reml"]
LEAST_CROSSED = 256  # effects of a factor below which a dense product is always quicker
PAIR = 200  # operations of a matrix product that take as long as one pair of cells


@dataclasses.dataclass(frozen=True)
class Factor:
    """A grouping factor and the effects that vary over it.

    Parameters
    ----------
    name
        Name, unique in the structure.
    groups
        Number of groups J.
    effects
        Number of effects per group q, summed over the factor's terms: `(1 | g) + (0 + x | g)` is
        one factor with q = 2 and a diagonal scale.
    parent
        Name of the factor in whose groups these groups are nested, if any.
    """

    name: str
    groups: int
    effects: int
    parent: str | None = None

    @property
    def size(self) -> int:
        """Number of effects in all, J q."""
        return self.groups * self.effects


@dataclasses.dataclass(frozen=True)
class Crossing:
    """A large factor outside the chain that shares rows with few groups of the eliminated one.

    Parameters
    ----------
    factor
        Its name.
    cells
        Pairs of a group of this factor and an eliminated group that share rows.
    pairs
        Pairs of such cells of one eliminated group, each cell with itself included.
    """

    factor: str
    cells: int
    pairs: int


@dataclasses.dataclass(frozen=True)
class Structure:
    """Factors, their nesting, and how many columns of X stand beside them; hashable and static.

    Parameters
    ----------
    factors
        The grouping factors; arrays given per factor follow this order everywhere.
    columns
        Number of columns p of X.
    fixed
        Coefficients of X: "prior", Gaussian and integrated out (a zero scale holds one at its
        mean); "reml", integrated over a flat prior; "ml", maximised.
    crossing
        A factor whose products with the eliminated one are kept cell by cell. Only the chain's one
        factor may be eliminated then.

    Raises
    ------
    ModelError
        A name occurs twice, a parent is unknown or its own descendant, or a size is not positive.
    """

    factors: tuple[Factor, ...]
    columns: int = 0
    fixed: Fixed = "prior"
    crossing: Crossing | None = None

    def __post_init__(self) -> None:
        names = [factor.name for factor in self.factors]
        if len(set(names)) != len(names):
            raise ModelError(f"Factors need distinct names; got {', '.join(names)}.")
        for factor in self.factors:
            if factor.groups < 1 or factor.effects < 1:
                raise ModelError(
                    f"Factor `{factor.name}` needs at least one group and one effect; got "
                    f"{factor.groups} groups and {factor.effects} effects."
                )
            if factor.parent is not None and factor.parent not in names:
                raise ModelError(
                    f"Factor `{factor.name}` is nested in `{factor.parent}`, which is not among "
                    f"the factors {', '.join(names)}."
                )
        for factor in self.factors:
            self._lineage(factor)
        if self.crossing is not None:
            self._check_crossing(self.crossing)

    def _check_crossing(self, crossing: Crossing) -> None:
        outside = [self.factors[place].name for place in self.rest]
        if len(self.chain) != 1 or crossing.factor not in outside:
            raise ModelError(
                f"Factor `{crossing.factor}` cannot be kept cell by cell: it must be crossed with "
                "one eliminated factor that is nested in no other."
            )

    def _lineage(self, factor: Factor) -> tuple[int, ...]:
        """Positions of a factor, its parent, its parent's parent, ..."""
        position = {each.name: place for place, each in enumerate(self.factors)}
        lineage = [position[factor.name]]
        while (parent := self.factors[lineage[-1]].parent) is not None:
            if position[parent] in lineage:
                raise ModelError(f"Factor `{parent}` is nested in itself.")
            lineage.append(position[parent])
        return tuple(lineage)

    @functools.cached_property
    def chain(self) -> tuple[int, ...]:
        """Positions of the eliminated factors, innermost first: the lineage with most effects."""
        lineages = [self._lineage(factor) for factor in self.factors]

        def size(lineage: tuple[int, ...]) -> int:
            return sum(self.factors[position].size for position in lineage)

        return max(lineages, key=size, default=())

    @functools.cached_property
    def rest(self) -> tuple[int, ...]:
        """Positions of the factors that stay in the dense matrix, in the order given."""
        return tuple(place for place in range(len(self.factors)) if place not in self.chain)

    @functools.cached_property
    def rest_slices(self) -> tuple[slice, ...]:
        """Where each factor of `rest` lies in the dense matrix: effect by effect, groups last."""
        slices, start = [], 0
        for place in self.rest:
            stop = start + self.factors[place].size
            slices.append(slice(start, stop))
            start = stop
        return tuple(slices)

    @property
    def rest_effects(self) -> int:
        """Number of effects in the dense matrix; the columns of X follow them."""
        return sum(self.factors[place].size for place in self.rest)

    @property
    def rest_size(self) -> int:
        """Order m of the dense matrix."""
        return self.rest_effects + self.columns

    @property
    def has_prior(self) -> bool:
        """Whether the coefficients of X have a Gaussian prior."""
        return self.fixed == "prior"


def crossing_of(structure: Structure, indexes: Sequence[np.ndarray], name: str) -> Crossing:
    """Count the cells of a crossed factor with the eliminated one, and their pairs.

    Parameters
    ----------
    structure
        Has one eliminated factor.
    indexes
        Group of each row, per factor, on the host.
    name
        The factor to keep cell by cell.
    """
    (eliminated,) = structure.chain
    large = next(f for f, factor in enumerate(structure.factors) if factor.name == name)
    sizes = structure.factors[eliminated].groups, structure.factors[large].groups
    key = indexes[eliminated].astype(np.int64) * sizes[1] + indexes[large]
    cells = np.unique(key)
    each = np.bincount(cells // sizes[1], minlength=sizes[0]).astype(np.int64)
    return Crossing(name, len(cells), int(np.sum(each * (each + 1) // 2)))


def worth_crossing(structure: Structure, indexes: Sequence[np.ndarray]) -> Crossing | None:
    """Say which factor to keep cell by cell: the largest, if that is less work than the zeros."""
    if len(structure.chain) != 1 or not structure.rest:
        return None
    place = max(structure.rest, key=lambda each: structure.factors[each].size)
    large, eliminated = structure.factors[place], structure.factors[structure.chain[0]]
    dense = large.size**2 * eliminated.size
    if large.size < LEAST_CROSSED or large.groups * eliminated.groups >= 2**31:
        return None
    found = crossing_of(structure, indexes, large.name)
    return found if found.pairs * large.effects**2 * eliminated.effects * PAIR < dense else None
