"""What the runner knows of a tool: what it needs, how to prepare it, and what a run hands back."""

import dataclasses
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hierjax.bench.problems import Problem

if TYPE_CHECKING:
    import pandas as pd

PEERS = 'in a clone of hierjax: pip install ".[peers]"'


class NotInstalledError(Exception):
    """The tool is not there; the message is the line that installs it."""


class NotExpressibleError(Exception):
    """The tool has no such model; the message says what it lacks."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long chains are; the same for every tool that has chains."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a run hands back.

    Attributes
    ----------
    draws
        Site, named as hierjax does -> (chain, draw, *shape); one of each for an estimate.
    divergences, gradients
        Divergent transitions and gradients of the draws that are kept; None where there is no such
        thing.
    worth
        Effective draws at most, where draws are weighted; a chain's are in the draws.
    estimate
        Whether it is a point, that has no effective draws.
    precision
        Of the arithmetic.
    note
        What a reader of the row has to know, such as the method that was chosen.
    """

    draws: dict[str, np.ndarray]
    divergences: int | None = None
    gradients: int | None = None
    worth: float = np.inf
    estimate: bool = False
    precision: str = "float64"
    note: str = ""


Run = Callable[["pd.DataFrame", int], Answer]


class Tool(Protocol):
    """One tool, in one of its variants.

    Attributes
    ----------
    imports
        Modules whose import belongs to the time to a first answer.
    compiles_in_run
        Whether the first run compiles, so that a second one is timed.
    """

    @property
    def imports(self) -> tuple[str, ...]:
        """Modules that it needs."""
        ...

    @property
    def compiles_in_run(self) -> bool:
        """Whether the first run compiles."""
        ...

    def versions(self) -> dict[str, str]:
        """Return the versions that matter, or raise `NotInstalledError`."""
        ...

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Build and compile; return the run, or raise `NotExpressibleError`."""
        ...


def load(name: str) -> Any:
    """Import a package that need not be there, for nobody who does not use it."""
    return importlib.import_module(name)


def package_versions(*names: str, install: str = PEERS) -> dict[str, str]:
    """Return the versions of Python packages.

    Raises
    ------
    NotInstalledError
        One is not there.
    """
    try:
        return {name: importlib.metadata.version(name) for name in names}
    except importlib.metadata.PackageNotFoundError as error:
        raise NotInstalledError(install) from error
