"""NumPyro's own NUTS on the functions written by hand, double precision, chains vectorised."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import Problem
from hierjax.bench.tools.base import Answer, Run, Settings, package_versions

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class NumPyro:
    """`numpyro.infer.NUTS`.

    The whole run is one program with the data as arguments, compiled ahead, so that a fit to new
    data of the same shape does not compile again (`MCMC.run` by itself compiles at every call).
    """

    centred: bool
    imports: tuple[str, ...] = ("numpyro",)
    compiles_in_run: bool = False

    def versions(self) -> dict[str, str]:
        """Return the versions that matter."""
        return package_versions("numpyro", "jax", "jaxlib", "numpy")

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Trace and compile."""
        import jax

        program = self._program(problem, table, settings)
        with jax.enable_x64(True):
            compiled = jax.jit(program).lower(jax.random.key(0), problem.arguments(table)).compile()

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            with jax.enable_x64(True):
                arrays = problem.arguments(table)
                draws, extra = jax.device_get(compiled(jax.random.key(seed), arrays))
            return Answer(
                {site: np.asarray(draws[site]) for site in problem.parameters},
                divergences=int(extra["diverging"].sum()),
                gradients=int(extra["num_steps"].sum()),
            )

        return run

    def _program(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Any:
        from numpyro.infer import MCMC, NUTS

        function = problem.function(table, self.centred)

        def program(key: Any, arrays: dict[str, Any]) -> Any:
            mcmc = MCMC(
                NUTS(function),
                num_warmup=settings.warmup,
                num_samples=settings.draws,
                num_chains=settings.chains,
                chain_method="vectorized",
                progress_bar=False,
            )
            mcmc.run(key, extra_fields=("diverging", "num_steps"), **arrays)
            return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields()

        return program
