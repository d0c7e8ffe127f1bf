"""The tools that are compared; each is a session that builds, runs and hands back named draws.

A session is called three times on data of one shape, so that compiling can be told from running.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from benchmarks.problems import Schools, Slopes

CHAINS, WARMUP, DRAWS = 4, 1000, 1000
Result = tuple[dict[str, np.ndarray], int, float]


class Session(Protocol):
    """One tool on one problem, in a process of its own."""

    def fit(self, table: Any, seed: int) -> Result:
        """Return site -> draws (chain, draw, ...), divergent transitions, and what draws are worth.

        The last is infinite where draws are a chain's, whose effective size is in the draws.
        """
        ...


class Hierjax:
    """hierjax: a model from the formula or the library, and `fit` as it is or by NUTS."""

    def __init__(self, problem: Slopes | Schools, method: str) -> None:
        self.problem, self.method = problem, method

    def fit(self, table: Any, seed: int) -> Result:
        """Build the model anew and fit it, as a script would."""
        import hierjax as hj

        model = self.problem.model(table)
        posterior = hj.fit(model, method=self.method, seed=seed, progress=False)
        diverging = np.sum(posterior.stats.get("diverging", 0))
        worth = posterior.info.trace.get("effective_draws", (np.inf,))[-1]
        return dict(posterior.draws), int(diverging), float(worth)


class HandWritten:
    """NumPyro's own NUTS on the function written by hand, chains vectorised, double precision.

    The whole run is jitted with data as arguments, so that a second fit on data of the same shape
    does not compile again (`MCMC.run` by itself compiles anew at every call).
    """

    def __init__(self, problem: Slopes | Schools, centred: bool) -> None:
        self.problem, self.centred = problem, centred
        self.run: Any = None

    def fit(self, table: Any, seed: int) -> Result:
        """Run NUTS, compiling at the first call."""
        with jax.enable_x64(True):
            if self.run is None:
                self.run = _jitted_run(self.problem.function(table, self.centred))
            arrays = self.problem.arguments(table)
            draws, diverging = jax.device_get(self.run(jax.random.key(seed), arrays))
        return draws, int(diverging.sum()), np.inf


def _jitted_run(function: Callable[..., None]) -> Callable[..., Any]:
    """Return `run(key, arrays) -> (draws, diverging)` of one NumPyro function."""
    from numpyro.infer import MCMC, NUTS

    def run(key: Any, arrays: dict[str, Any]) -> Any:
        mcmc = MCMC(
            NUTS(function),
            num_warmup=WARMUP,
            num_samples=DRAWS,
            num_chains=CHAINS,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.run(key, extra_fields=("diverging",), **arrays)
        return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields()["diverging"]

    return jax.jit(run)


TOOLS = {
    "hierjax": lambda problem: Hierjax(problem, "auto"),
    "hierjax NUTS": lambda problem: Hierjax(problem, "nuts"),
    "NumPyro centred": lambda problem: HandWritten(problem, centred=True),
    "NumPyro non-centred": lambda problem: HandWritten(problem, centred=False),
}
