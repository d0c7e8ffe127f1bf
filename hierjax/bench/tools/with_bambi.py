"""Bambi: a formula, like ours, turned into a PyMC model; its effects are non-centred."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import MixedModel, Problem, Schools
from hierjax.bench.tools.base import (
    Answer,
    NotExpressibleError,
    Run,
    Settings,
    load,
    package_versions,
)
from hierjax.bench.tools.with_pymc import sample_pymc

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Bambi:
    """`bambi.Model`, sampled by PyMC."""

    imports: tuple[str, ...] = ("bambi",)
    compiles_in_run: bool = True

    def versions(self) -> dict[str, str]:
        """Return the versions that matter."""
        return package_versions("bambi", "pymc", "pytensor")

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Build the model with the stated priors."""
        if isinstance(problem, Schools):
            raise NotExpressibleError("no known standard errors of a normal response")
        if any(factor.slope for factor in problem.factors):
            raise NotExpressibleError("no correlation of intercepts and slopes")
        model = _model(problem, table)

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            found = sample_pymc(model.backend.model, settings, seed)
            return _answer(problem, found)

        return run


def _model(problem: MixedModel, table: "pd.DataFrame") -> Any:
    bambi = load("bambi")

    numbers = problem.priors
    mean, sd = numbers.intercept
    priors = {"Intercept": bambi.Prior("Normal", mu=mean, sigma=sd)}
    for name in problem.coefficients:
        priors[name] = bambi.Prior("Normal", mu=0.0, sigma=numbers.slopes)
    for factor in problem.factors:
        scale = bambi.Prior("HalfNormal", sigma=numbers.sd)
        priors[f"1|{factor.name}"] = bambi.Prior("Normal", mu=0.0, sigma=scale)
    if problem.family == "gaussian":
        priors["sigma"] = bambi.Prior("HalfNormal", sigma=numbers.sigma)
    formula = problem.formula
    if problem.trials:
        right = formula.split("~")[1]
        formula = f"p({problem.response}, {problem.trials}) ~{right}"
    model = bambi.Model(
        formula, table, family=problem.family, priors=priors, center_predictors=False
    )
    model.build()
    return model


def _answer(problem: MixedModel, found: Any) -> Answer:
    posterior, stats = found["posterior"], found["sample_stats"]
    names = {"b_Intercept": "Intercept", "sigma": "sigma"}
    names |= {f"b_{name}": name for name in problem.coefficients}
    for factor in problem.factors:
        names |= {
            f"sd_{factor.name}": f"1|{factor.name}_sigma",
            f"r_{factor.name}": f"1|{factor.name}",
        }
    return Answer(
        {site: np.asarray(posterior[names[site]]) for site in problem.parameters},
        divergences=int(np.sum(np.asarray(stats["diverging"]))),
        gradients=int(np.sum(np.asarray(stats["n_steps"]))),
    )
