"""Gibbs sampling beside NUTS on the same models: effective draws a CPU second.

    python -m benchmarks.gibbs                    all problems, each tool in a process of its own
    python -m benchmarks.gibbs --problem insteval
    python -m benchmarks.gibbs --table            the table of the results kept, no fits

Tools are settings of `hierjax.Gibbs` and NUTS with effects integrated out (InstEval: centred, since
its integrated gradient takes 0.2 s). A first fit compiles; three more with other seeds are timed,
everything included: reading the model, warm-up, sweeps, and mapping draws to sites. Effective draws
are the smallest bulk effective size over hyperparameters and coefficients, and over all scalars.
The largest gap between a mean and that of NUTS, in combined standard errors, says whether they
agree.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpyro.distributions as dist

from benchmarks.effects import effective_sample_size, versions
from benchmarks.effects_problems import PROBLEMS as EFFECTS_PROBLEMS
from benchmarks.effects_problems import REFERENCE, scalar_draws
from benchmarks.rows import FOLDER, keep_row, load_rows, measure_apart, print_row

if TYPE_CHECKING:
    import hierjax as hj

RESULTS = FOLDER / "gibbs.jsonl"
SEEDS = (1, 2, 3)
SMALL = ("nuts", "collapsed", "conjugate")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A model, and the tools that are run on it."""

    model: Callable[[], "hj.Model"]
    tools: tuple[str, ...] = SMALL


def _dyestuff() -> "hj.Model":
    """Six batches of five; inverse-gamma variances that are worth one observation each."""
    import hierjax as hj

    table = hj.load_data("dyestuff")
    return hj.library.test_scores(table["Yield"], table["Batch"])


def _radon_variances() -> "hj.Model":
    """Radon with inverse-gamma variances; a level whose variance is small."""
    import hierjax as hj

    priors = {
        "b_Intercept": dist.Normal(1.0, 2.5),
        "b": dist.Normal(0.0, 2.5),
        "sd_county": hj.Variance(dist.InverseGamma(0.5, 0.05)),
        "sigma": hj.Variance(dist.InverseGamma(0.5, 0.3)),
    }
    return hj.formula(
        "log_radon ~ floor + log_uranium + (1 | county)", hj.load_data("radon"), priors=priors
    )


def _penicillin_half_t() -> "hj.Model":
    import hierjax as hj

    half_t = dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 2.5))
    priors = {"b_Intercept": dist.Normal(20.0, 10.0), "sd": half_t, "sigma": half_t}
    return hj.formula(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", hj.load_data("penicillin"), priors=priors
    )


def _insteval() -> "hj.Model":
    """73,421 ratings by 2,972 students of 1,128 lecturers in 14 departments."""
    import pandas as pd

    import hierjax as hj

    table = pd.read_csv(REFERENCE / "insteval.csv.gz")
    priors = {
        "b_Intercept": dist.Normal(3.0, 2.0),
        "sd": dist.HalfNormal(1.0),
        "sigma": dist.HalfNormal(2.0),
    }
    return hj.formula(
        "y ~ 1 + (1 | s) + (1 | d) + (1 | dept)",
        table.astype({"s": str, "d": str, "dept": str}),
        priors=priors,
    )


def _of_effects(name: str) -> Problem:
    return Problem(lambda: EFFECTS_PROBLEMS[name].model(), ("nuts", "collapsed"))


PROBLEMS = {
    "dyestuff": Problem(_dyestuff),
    "radon, variances": Problem(_radon_variances),
    "penicillin, half-t": Problem(_penicillin_half_t, (*SMALL, "by factor")),
    "sleepstudy": _of_effects("sleepstudy"),
    "radon": _of_effects("radon"),
    "dutch": Problem(lambda: EFFECTS_PROBLEMS["dutch"].model(), ("nuts", "collapsed", "by factor")),
    "insteval": Problem(_insteval, ("nuts centred", "by factor")),
}


ORDER = [(name, tool) for name, each in PROBLEMS.items() for tool in each.tools]


def _settings(tool: str) -> tuple["hj.NUTS | hj.Gibbs", str]:
    """Return a method and how it treats effects."""
    import hierjax as hj

    return {
        "nuts": (hj.NUTS(), "auto"),
        "nuts centred": (hj.NUTS(chains=1, warmup=300, draws=300), "centred"),
        "collapsed": (hj.Gibbs(blocks="joint"), "auto"),
        "conjugate": (hj.Gibbs(updates="conjugate", blocks="joint"), "auto"),
        "by factor": (hj.Gibbs(blocks="factor"), "auto"),
    }[tool]


@dataclasses.dataclass(frozen=True)
class Row:
    """One problem and one tool: medians over the seeds."""

    problem: str
    tool: str
    effective: float
    effective_all: float
    worst: str
    cpu_seconds: float
    run_seconds: float
    first_cpu_seconds: float
    load: float
    names: list[str]
    means: list[float]
    errors: list[float]
    versions: dict[str, str]


def measure(problem: str, tool: str) -> Row:
    """Fit one problem with one tool, once to compile and then once a seed."""
    import hierjax as hj

    model = PROBLEMS[problem].model()
    method, effects = _settings(tool)
    started = time.process_time()
    hj.fit(model, method=method, effects=effects, seed=0, progress=False)
    first = time.process_time() - started
    found = []
    for seed in SEEDS if tool != "nuts centred" else SEEDS[:1]:
        started = time.process_time()
        post = hj.fit(model, method=method, effects=effects, seed=seed, progress=False)
        seconds = time.process_time() - started
        scalars = scalar_draws(model, dict(post.draws))
        sizes = {name: effective_sample_size(x, "bulk") for name, x in scalars.items()}
        shared = {name: size for name, size in sizes.items() if _is_shared(model, name)}
        found.append((min(shared.values()), min(sizes.values()), seconds, post.info.seconds["run"]))
    medians = np.median(found, axis=0)
    shared_scalars = {name: x for name, x in scalars.items() if name in shared}
    return Row(
        problem,
        tool,
        round(float(medians[0]), 1),
        round(float(medians[1]), 1),
        min(shared, key=shared.__getitem__),
        round(float(medians[2]), 3),
        round(float(medians[3]), 3),
        round(first, 2),
        round(os.getloadavg()[0], 1),
        list(shared_scalars),
        [float(f"{np.mean(x):.6g}") for x in shared_scalars.values()],
        [
            float(f"{np.std(x, ddof=1) / effective_sample_size(x, 'mean') ** 0.5:.3g}")
            for x in shared_scalars.values()
        ],
        versions(),
    )


def _is_shared(model: "hj.Model", name: str) -> bool:
    """Whether a scalar belongs to no single group."""
    return model.blocks.get(name.split("[")[0]) != "effect"


def table() -> str:
    """Return the rows kept, a line for each problem and tool."""
    rows = {(row.problem, row.tool): row for row in load_rows(RESULTS, Row)}
    lines = [
        "| problem | tool | effective draws (worst) | with group effects | a fit, CPU s "
        "| of it sampling, s | effective a CPU s | largest gap, errors |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for problem, each in PROBLEMS.items():
        reference = rows.get((problem, each.tools[0]))
        for tool in each.tools:
            row = rows.get((problem, tool))
            if row is None or reference is None:
                continue
            gap = np.subtract(row.means, reference.means)
            gap = np.abs(gap / np.hypot(row.errors, reference.errors)).max()
            lines.append(
                f"| {problem} | {tool} | {row.effective:,.0f} ({row.worst}) "
                f"| {row.effective_all:,.0f} | {row.cpu_seconds:.2f} "
                f"| {row.run_seconds:.2f} | {row.effective / row.cpu_seconds:,.0f} "
                f"| {gap:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run as the docstring says."""
    parser = argparse.ArgumentParser(description="Gibbs sampling beside NUTS.")
    parser.add_argument("--problem", action="append", choices=PROBLEMS)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("PROBLEM", "TOOL"))
    options = parser.parse_args()
    if options.child:
        print_row(measure(*options.child))
        return
    if not options.table:
        for problem in options.problem or PROBLEMS:
            for tool in PROBLEMS[problem].tools:
                keep_row(RESULTS, measure_apart(Row, "benchmarks.gibbs", problem, tool), ORDER)
                print(f"{problem}, {tool}: done", flush=True)
    print(table())


if __name__ == "__main__":
    main()
