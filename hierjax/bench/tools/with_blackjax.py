"""blackjax's NUTS and window adaptation, as its documentation shows, on the same functions."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import Problem
from hierjax.bench.tools.base import Answer, Run, Settings, package_versions

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Blackjax:
    """`blackjax.nuts`, every chain with a warm-up of its own, vectorised."""

    centred: bool
    imports: tuple[str, ...] = ("blackjax", "numpyro")
    compiles_in_run: bool = False

    def versions(self) -> dict[str, str]:
        """Return the versions that matter."""
        return package_versions("blackjax", "numpyro", "jax", "jaxlib", "numpy")

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Trace and compile."""
        import jax

        program = self._program(problem, table, settings)
        with jax.enable_x64(True):
            keys = jax.random.split(jax.random.key(0), settings.chains)
            compiled = (
                jax.jit(jax.vmap(program, in_axes=(0, None)))
                .lower(keys, problem.arguments(table))
                .compile()
            )

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            with jax.enable_x64(True):
                keys = jax.random.split(jax.random.key(seed), settings.chains)
                found = jax.device_get(compiled(keys, problem.arguments(table)))
            draws, diverging, steps = found
            return Answer(
                {site: np.asarray(draws[site]) for site in problem.parameters},
                divergences=int(diverging.sum()),
                gradients=int(steps.sum()),
            )

        return run

    def _program(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Any:
        import blackjax
        import jax
        from numpyro.infer.util import initialize_model

        function = problem.function(table, self.centred)

        def chain(key: Any, arrays: dict[str, Any]) -> Any:
            start_key, warmup_key, draws_key = jax.random.split(key, 3)
            found = initialize_model(start_key, function, model_kwargs=arrays, dynamic_args=True)
            potential = found.potential_fn(**arrays)
            constrain = found.postprocess_fn(**arrays)

            def log_density(position: Any) -> Any:
                return -potential(position)

            warmup: Any = blackjax.window_adaptation(blackjax.nuts, log_density)
            (state, tuned), _ = warmup.run(warmup_key, found.param_info.z, settings.warmup)
            kernel: Any = blackjax.nuts(log_density, **tuned)

            def step(state: Any, key: Any) -> Any:
                state, info = kernel.step(key, state)
                return state, (state.position, info.is_divergent, info.num_integration_steps)

            keys = jax.random.split(draws_key, settings.draws)
            _, (positions, diverging, steps) = jax.lax.scan(step, state, keys)
            return jax.vmap(constrain)(positions), diverging, steps

        return chain
