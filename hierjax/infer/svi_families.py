"""The table of guides."""

from collections.abc import Callable, Collection, Mapping, Sequence

from hierjax.density import Slot
from hierjax.infer.svi_guides import Guide, LowRankGuide, MultivariateGuide, NormalGuide
from hierjax.infer.svi_structured import StructuredGuide, shared_elements

Slots = Sequence[Slot]


def _low_rank(slots: Slots, local: Collection[str], rank: int | None) -> Guide:
    size = _size(slots)
    return LowRankGuide(size, round(size**0.5) if rank is None else min(rank, size))


def _structured(slots: Slots, local: Collection[str], rank: int | None) -> Guide:
    size, shared = _size(slots), shared_elements(slots, local)
    if not shared:
        return NormalGuide(size)
    return MultivariateGuide(size) if len(shared) == size else StructuredGuide(size, shared)


# Each makes a guide over the sites of a model, with the names of those in plates and the rank that
# was asked for.
GUIDES: Mapping[str, Callable[[Slots, Collection[str], int | None], Guide]] = {
    "structured": _structured,
    "normal": lambda slots, local, rank: NormalGuide(_size(slots)),
    "lowrank": _low_rank,
    "multivariate": lambda slots, local, rank: MultivariateGuide(_size(slots)),
}


def make_guide(name: str, slots: Slots, local: Collection[str], rank: int | None = None) -> Guide:
    """Return a guide of the family `name` over the sites of a density.

    Parameters
    ----------
    name
        One of `GUIDES`.
    slots
        Of the density.
    local
        Names of the sites in plates.
    rank
        Columns of a low-rank guide; None is round(sqrt(size)), as NumPyro's.
    """
    return GUIDES[name](slots, local, rank)


def _size(slots: Slots) -> int:
    return sum(slot.size for slot in slots)
