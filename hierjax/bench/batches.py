"""Many data sets of one model: what each costs, and beside it a loop of NumPyro's NUTS.

The data sets are a parametric bootstrap of the sleepstudy fit with correlated slopes: responses
drawn anew, the design as it is. hierjax draws the full posterior of each, effects summarised
(`keep="hyper"`). The loop is compiled once and used again for each data set.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.bench.problems import PROBLEMS
from hierjax.bench.resources import Clock, peak_mb
from hierjax.bench.row import CostRow
from hierjax.bench.scalars import scalar_draws
from hierjax.bench.tools import TOOLS
from hierjax.bench.tools.base import Settings

if TYPE_CHECKING:
    import pandas as pd

PROBLEM = "sleepstudy"
COEFFICIENTS, SDS, CORRELATION, RESIDUAL = (251.4, 10.5), (24.7, 5.9), 0.07, 25.6  # REML
HYPERPARAMETERS = ("b_Intercept", "b_Days", "sd_Subject", "cor_Subject", "sigma")
WANTED = 400  # effective draws of every hyperparameter
POINTS = 500
MOST_TO_COMPILE = 1_000  # data sets of the first run, whose programs serve larger ones too


def bootstrap(count: int, seed: int = 0) -> np.ndarray:
    """Responses (data set, row) of the design of sleepstudy at its REML estimates."""
    table = PROBLEMS[PROBLEM].table()
    days = table["Days"].to_numpy(float)
    group = np.unique(table["Subject"], return_inverse=True)[1]
    covariance = np.outer(SDS, SDS) * np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
    generator = np.random.default_rng(seed)
    effects = generator.multivariate_normal(np.zeros(2), covariance, size=(count, group.max() + 1))
    mean = COEFFICIENTS[0] + effects[:, group, 0] + (COEFFICIENTS[1] + effects[:, group, 1]) * days
    return mean + RESIDUAL * generator.normal(size=mean.shape)


def measure_batch(tool: str, sets: int, rows: int, groups: int) -> CostRow:
    """Time `sets` data sets by one tool; rows and groups are those of sleepstudy."""
    table = PROBLEMS[PROBLEM].table()
    responses = bootstrap(sets)
    work = _hierjax if tool == "hierjax" else _loop
    compiled, (seconds, cpu), good, device = work(tool, table, responses)
    return CostRow(
        "batch",
        tool,
        sets,
        len(table),
        len(set(table["Subject"])),
        compile_seconds=round(compiled, 2),
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu, 3),
        good=round(good, 4),
        peak_mb=round(peak_mb()),
        device=device,
        precision="float64",
        versions=TOOLS[tool].versions(),
    )


def _hierjax(tool: str, table: "pd.DataFrame", responses: np.ndarray) -> Any:
    import jax

    import hierjax

    model = PROBLEMS[PROBLEM].model(table)
    method = hierjax.Laplace(draws=1000, points=POINTS)

    def fit(some: np.ndarray) -> Any:
        clock = Clock()
        batch = hierjax.fit_many(
            model, {"Reaction": some}, method=method, keep="hyper", progress=False
        )
        return batch, clock.read()

    some = responses[:MOST_TO_COMPILE]
    _, (first, _) = fit(some)
    batch, seconds = fit(responses)
    report = batch.report()
    good = float(np.mean((report["status"] == "ok") & (report["ess_bulk"] >= WANTED)))
    compiled = first - seconds[0] * len(some) / len(responses)
    return compiled, seconds, good, jax.devices()[0].device_kind


def _loop(tool: str, table: "pd.DataFrame", responses: np.ndarray) -> Any:
    import jax

    from hierjax.diagnostics import chain_summary

    clock = Clock()
    run = TOOLS[tool].prepare(PROBLEMS[PROBLEM], table, Settings())
    compiled = clock.read()[0]
    clock = Clock()
    answers = [run(table.assign(Reaction=response), 0) for response in responses]
    seconds = clock.read()
    enough = [
        min(
            chain_summary(values[..., None]).ess_bulk[0]
            for values in scalar_draws({s: each.draws[s] for s in HYPERPARAMETERS}).values()
        )
        >= WANTED
        for each in answers
    ]
    return compiled, seconds, float(np.mean(enough)), jax.devices()[0].device_kind
