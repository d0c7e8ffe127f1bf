"""hierjax as its users call it: a model from a formula or the library, and `fit`."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import Problem, Schools
from hierjax.bench.tools.base import Answer, Run, Settings, package_versions

if TYPE_CHECKING:
    import pandas as pd

    from hierjax.infer.program import Method
    from hierjax.posterior import Posterior

POINT = "empirical_bayes"


@dataclasses.dataclass(frozen=True)
class Hierjax:
    """`hierjax.fit` by a method."""

    method: str
    imports: tuple[str, ...] = ("hierjax",)
    compiles_in_run: bool = True

    def versions(self) -> dict[str, str]:
        """Return the versions that matter."""
        return package_versions("hierjax", "jax", "jaxlib", "numpyro", "blackjax", "numpy")

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Return the run, which builds the model anew as a script would; its first one compiles."""
        import hierjax

        method = self._settings(problem, settings)

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            posterior = hierjax.fit(problem.model(table), method=method, seed=seed, progress=False)
            return _answer(posterior, problem)

        return run

    def _settings(self, problem: Problem, settings: Settings) -> "str | Method":
        import hierjax

        if self.method == "nuts":
            return hierjax.NUTS(
                chains=settings.chains, warmup=settings.warmup, draws=settings.draws
            )
        if self.method == POINT:
            normal = isinstance(problem, Schools) or problem.family == "gaussian"
            return hierjax.EmpiricalBayes("reml" if normal else "ml")
        return self.method


def _answer(posterior: "Posterior", problem: Problem) -> Answer:
    draws, stats, trace = posterior.draws, posterior.stats, posterior.info.trace
    if posterior.info.method == POINT:
        return Answer(
            _estimates(posterior, problem), estimate=True, note=posterior.info.settings["kind"]
        )
    diverging: Any = stats.get("diverging")
    return Answer(
        {site: np.asarray(draws[site]) for site in problem.parameters},
        divergences=None if diverging is None else int(np.sum(diverging)),
        gradients=int(np.sum(stats["num_steps"])) if "num_steps" in stats else None,
        worth=float(trace.get("effective_draws", (np.inf,))[-1]),
        precision=posterior.info.dtype,
        note=_note(posterior),
    )


def _note(posterior: "Posterior") -> str:
    """Name the method and, of importance sampling, its k-hat."""
    name, k_hat = posterior.info.method, posterior.info.trace.get("k_hat", ())
    return f"{name}, k-hat {k_hat[-1]:.2f}" if k_hat else name


def _estimates(posterior: "Posterior", problem: Problem) -> dict[str, np.ndarray]:
    """Estimates of parameters, and means of the effects given them."""
    found = {}
    for site in problem.parameters:
        if site in posterior.info.estimates:
            value = np.asarray(posterior.info.estimates[site])[0]
        else:
            value = np.mean(posterior.draws[site], axis=(0, 1))
        found[site] = value[None, None]
    return found
