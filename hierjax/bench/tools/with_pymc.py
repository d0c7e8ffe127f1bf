"""PyMC models, sampled by PyMC itself or by nutpie."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import Factor, MixedModel, Problem, Schools
from hierjax.bench.tools.base import Answer, Run, Settings, load, package_versions

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class PyMC:
    """A PyMC model and its `sampler`, "pymc" or "nutpie"."""

    sampler: str
    centred: bool

    @property
    def imports(self) -> tuple[str, ...]:
        """Modules that it needs."""
        return ("pymc",) if self.sampler == "pymc" else ("pymc", "nutpie")

    @property
    def compiles_in_run(self) -> bool:
        """Whether the first run compiles: `pymc.sample` does, nutpie compiles apart."""
        return self.sampler == "pymc"

    def versions(self) -> dict[str, str]:
        """Return the versions that matter."""
        return package_versions(*self.imports, "pytensor")

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Build the model; nutpie compiles it."""
        model = build(problem, table, self.centred)
        if self.sampler == "pymc":
            return lambda table, seed: _answer(problem, table, sample_pymc(model, settings, seed))
        nutpie = load("nutpie")

        compiled = nutpie.compile_pymc_model(model)

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            found = nutpie.sample(
                compiled,
                draws=settings.draws,
                tune=settings.warmup,
                chains=settings.chains,
                seed=seed,
                progress_bar=False,
            )
            return _answer(problem, table, found)

        return run


def sample_pymc(model: Any, settings: Settings, seed: int) -> Any:
    """Run PyMC's NUTS, one process a chain, as many at once as there are cores."""
    pymc = load("pymc")

    with model:
        return pymc.sample(
            draws=settings.draws,
            tune=settings.warmup,
            chains=settings.chains,
            cores=min(settings.chains, os.cpu_count() or 1),
            random_seed=seed,
            progressbar=False,
            compute_convergence_checks=False,
            nuts_sampler="pymc",
        )


def build(problem: Problem, table: "pd.DataFrame", centred: bool) -> Any:
    """Return the problem as a PyMC model."""
    pymc = load("pymc")

    with pymc.Model() as model:
        if isinstance(problem, Schools):
            _schools(problem, table, centred)
        else:
            _mixed(problem, table, centred)
    return model


def _schools(problem: Schools, table: "pd.DataFrame", centred: bool) -> None:
    pymc = load("pymc")

    arrays = problem.arguments(table)
    mu = pymc.Normal("mu", 0.0, problem.mu_sd)
    tau = pymc.HalfCauchy("tau", problem.tau_scale)
    if centred:
        theta = pymc.Normal("theta", mu, tau, shape=len(table))
    else:
        z = pymc.Normal("z", 0.0, 1.0, shape=len(table))
        theta = pymc.Deterministic("theta", mu + tau * z)
    pymc.Normal("y", theta, arrays["sigma"], observed=arrays["y"])


def _mixed(problem: MixedModel, table: "pd.DataFrame", centred: bool) -> None:
    pymc = load("pymc")

    arrays = problem.arguments(table)
    means, sds = problem.coefficient_priors(table)
    b = pymc.Normal("b", means, sds, shape=len(means))
    mean = pymc.math.dot(arrays["design"], b)
    for number, (factor, size) in enumerate(
        zip(problem.factors, problem.sizes(table), strict=True)
    ):
        effect = _effects(factor, size, problem, centred)[arrays["groups"][number]]
        if factor.slope:
            mean = mean + effect[:, 0] + effect[:, 1] * arrays["slopes"][number]
        else:
            mean = mean + effect
    if problem.family == "gaussian":
        sigma = pymc.HalfNormal("sigma", problem.priors.sigma)
        pymc.Normal("y", mean, sigma, observed=arrays["y"])
    elif problem.family == "binomial":
        pymc.Binomial("y", n=arrays["trials"], logit_p=mean, observed=arrays["y"])
    else:
        pymc.Poisson("y", pymc.math.exp(mean), observed=arrays["y"])


def _effects(factor: Factor, size: int, problem: MixedModel, centred: bool) -> Any:
    pymc = load("pymc")

    name, priors = factor.name, problem.priors
    if not factor.slope:
        sd = pymc.HalfNormal(f"sd_{name}", priors.sd)
        if centred:
            return pymc.Normal(f"r_{name}", 0.0, sd, shape=size)
        z = pymc.Normal(f"z_{name}", 0.0, 1.0, shape=size)
        return pymc.Deterministic(f"r_{name}", sd * z)
    scale, correlation, sds = pymc.LKJCholeskyCov(
        f"L_{name}",
        n=2,
        eta=priors.concentration,
        sd_dist=pymc.HalfNormal.dist(priors.sd, shape=2),
        compute_corr=True,
    )
    pymc.Deterministic(f"sd_{name}", sds)
    pymc.Deterministic(f"cor_{name}", correlation)
    if centred:
        return pymc.MvNormal(f"r_{name}", mu=np.zeros(2), chol=scale, shape=(size, 2))
    z = pymc.Normal(f"z_{name}", 0.0, 1.0, shape=(size, 2))
    return pymc.Deterministic(f"r_{name}", z @ scale.T)


def _answer(problem: Problem, table: "pd.DataFrame", found: Any) -> Answer:
    posterior, stats = found["posterior"], found["sample_stats"]
    draws = {}
    if not isinstance(problem, Schools):
        draws = problem.named_coefficients(table, np.asarray(posterior["b"]))
    for site in problem.parameters:
        if site not in draws:
            draws[site] = np.asarray(posterior[site])
    return Answer(
        draws,
        divergences=int(np.sum(np.asarray(stats["diverging"]))),
        gradients=int(np.sum(np.asarray(stats["n_steps"]))),
    )
