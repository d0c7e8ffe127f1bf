"""The table of priors that a formula model shows before anything is fitted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hierjax.formula.distributions import in_words
from hierjax.formula.priors import Prior, element

if TYPE_CHECKING:
    import pandas as pd


def table_of(chosen: Sequence[Prior]) -> "pd.DataFrame":
    """Put the prior of every slot into a table: where it comes from and what it is about."""
    import pandas as pd

    rows = []
    for prior in chosen:
        for place, chain in enumerate(prior.slot.chains):
            if place and chain == prior.slot.chains[place - 1]:
                continue
            rows.append(_row(prior, place))
    return pd.DataFrame(rows)


def _row(prior: Prior, place: int) -> dict[str, str]:
    chain, source = prior.slot.chains[place], prior.sources[place]
    alike = all(c == chain for c in prior.slot.chains)
    name = prior.slot.site if prior.slot.site in chain else chain[0]
    if not alike:
        name = chain[0]
    distribution = _shown(prior, None if alike else place)
    if prior.variance:
        distribution = f"variance ~ {distribution}"
    return {
        "slot": name,
        "distribution": distribution,
        "source": f"user ({source})" if source else "default",
        "applies_to": prior.slot.applies_to[place]
        if not alike
        else ", ".join(dict.fromkeys(prior.slot.applies_to)),
        "also_set_by": ", ".join(other for other in chain if other != name),
    }


def _shown(prior: Prior, place: int | None) -> str:
    if place is None or not prior.slot.vector:
        return in_words(prior.distribution)
    return in_words(element(prior.distribution, place))
