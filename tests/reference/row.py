"""A row of the table of posteriors: a model, what it is compared with, and by which methods."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

import hierjax as hj
from tests.reference.expected import Source

Names = Mapping[str, np.ndarray]
Method = hj.NUTS | hj.Laplace | hj.Gibbs


@dataclasses.dataclass(frozen=True)
class Row:
    """One posterior, with all that the reference folder says of it.

    Attributes
    ----------
    build
        Returns the model, with exactly the priors of the references.
    names
        Draws (chain, draw) of every scalar that a reference has, under its name there.
    sources
        References of this posterior; one fit is compared with all of them.
    methods
        Word of a method -> settings; those that apply, with default treatment of effects.
    absent
        Word of a method that does not apply -> the reason.
    """

    build: Callable[[], "hj.Model"]
    names: Callable[["hj.Posterior"], Names]
    sources: tuple[Source, ...]
    methods: Mapping[str, Method]
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)


def elements(name: str, draws: np.ndarray, first: int = 1) -> dict[str, np.ndarray]:
    """Split a vector site: `theta[1]`, `theta[2]`, ..."""
    return {f"{name}[{i + first}]": draws[..., i] for i in range(draws.shape[-1])}


def every_element(posterior: "hj.Posterior", first: int = 1) -> dict[str, np.ndarray]:
    """Split all vector sites, and keep scalars as they are."""
    found = {}
    for name, draws in posterior.draws.items():
        found |= {name: draws} if draws.ndim == 2 else elements(name, draws, first)
    return found
