"""Sessions of the tools of `hierjax bench`: built at the first fit, and used again for new data.

A session is called several times on data of one shape, so that compiling can be told from running.
"""

from typing import Any

import numpy as np

from hierjax.bench.problems import Problem
from hierjax.bench.tools import TOOLS as ALL
from hierjax.bench.tools.base import Run, Settings

Result = tuple[dict[str, np.ndarray], int, float]


class Session:
    """One tool on one problem, in a process of its own."""

    def __init__(self, name: str, problem: Problem) -> None:
        self._name, self._problem = name, problem
        self._run: Run | None = None

    def fit(self, table: Any, seed: int) -> Result:
        """Return site -> draws (chain, draw, ...), divergent transitions, and what draws are worth.

        The last is infinite where draws are a chain's, whose effective size is in the draws.
        """
        if self._run is None:
            self._run = ALL[self._name].prepare(self._problem, table, Settings())
        answer = self._run(table, seed)
        return answer.draws, answer.divergences or 0, answer.worth


NAMES = {
    "hierjax": "hierjax",
    "hierjax NUTS": "hierjax nuts",
    "NumPyro centred": "numpyro centred",
    "NumPyro non-centred": "numpyro non-centred",
}
TOOLS = {shown: lambda problem, name=name: Session(name, problem) for shown, name in NAMES.items()}
