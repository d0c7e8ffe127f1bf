"""Stan by PyStan, which compiles with the C++ compiler of the machine."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import Problem, Schools
from hierjax.bench.tools.base import Answer, Run, Settings, load, package_versions
from hierjax.bench.tools.stan_program import mixed_program, schools_program

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Stan:
    """Stan's NUTS, one process a chain."""

    centred: bool
    imports: tuple[str, ...] = ("stan",)
    compiles_in_run: bool = False

    def versions(self) -> dict[str, str]:
        """Return the versions that matter."""
        return package_versions("pystan", "httpstan")

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Translate and compile the program (half a minute of a C++ compiler)."""
        stan = load("stan")

        if isinstance(problem, Schools):
            program = schools_program(problem, self.centred)
        else:
            program = mixed_program(problem, self.centred)
        stan.build(program, data=_data(problem, table))

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            built = stan.build(program, data=_data(problem, table), random_seed=seed + 1)
            fit = built.sample(
                num_chains=settings.chains, num_warmup=settings.warmup, num_samples=settings.draws
            )
            return Answer(
                named_draws(problem, table, fit, settings.chains),
                divergences=int(np.sum(fit["divergent__"])),
                gradients=int(np.sum(fit["n_leapfrog__"])),
            )

        return run


def _data(problem: Problem, table: "pd.DataFrame") -> dict[str, Any]:
    """Return what the data block of the program asks for."""
    arrays = problem.arguments(table)
    if isinstance(problem, Schools):
        return {"J": len(table), "y": arrays["y"].tolist(), "sigma": arrays["sigma"].tolist()}
    means, sds = problem.coefficient_priors(table)
    data = {
        "N": len(table),
        "P": len(means),
        "X": arrays["design"].tolist(),
        "y": arrays["y"].tolist(),
        "b_mean": means.tolist(),
        "b_sd": sds.tolist(),
    }
    if problem.trials:
        data["trials"] = arrays["trials"].tolist()
    for number, size in enumerate(problem.sizes(table)):
        data |= {f"J_{number}": size, f"g_{number}": (arrays["groups"][number] + 1).tolist()}
        if arrays["slopes"][number] is not None:
            data[f"x_{number}"] = arrays["slopes"][number].tolist()
    return data


def named_draws(
    problem: Problem, table: "pd.DataFrame", fit: Any, chains: int
) -> dict[str, np.ndarray]:
    """Return draws by the names of hierjax, (chain, draw, *shape)."""

    def site(name: str) -> np.ndarray:
        values = np.asarray(fit[name])  # (*shape, draw), draws of different chains side by side
        values = values.reshape(*values.shape[:-1], -1, chains)
        return np.moveaxis(values, (-1, -2), (0, 1))

    if isinstance(problem, Schools):
        return {
            "mu": site("mu")[..., 0], "tau": site("tau")[..., 0], "theta": site("theta")
        }  # fmt: skip
    found = problem.named_coefficients(table, site("b"))
    for number, factor in enumerate(problem.factors):
        sd = site(f"sd_{number}")
        found[f"sd_{factor.name}"] = sd if factor.slope else sd[..., 0]
        found[f"r_{factor.name}"] = site(f"r_{number}")
        if factor.slope:
            found[f"cor_{factor.name}"] = site(f"cor_{number}")
    if problem.family == "gaussian":
        found["sigma"] = site("sigma")[..., 0]
    return found
