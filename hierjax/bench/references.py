"""Reference posteriors of the problems: exact, or long runs of NumPyro, kept in the package.

    python -m hierjax.bench.references FILE              all of them (a quarter of an hour)
    python -m hierjax.bench.references FILE sleepstudy   one, in place of the one that is there

Eight schools is integrated numerically. The others are long runs of NumPyro's NUTS on the functions
written by hand, in the form that mixes better: nothing of hierjax takes part in them.
"""

import argparse
import dataclasses
import functools
import importlib.resources
import json
from pathlib import Path
from typing import Any

import numpy as np

from hierjax.bench.problems import PROBLEMS, Schools
from hierjax.bench.scalars import scalar_draws, statistic

FILE = "references.json"


@dataclasses.dataclass(frozen=True)
class Moment:
    """Mean and standard deviation of a scalar, and the Monte Carlo standard error of the mean."""

    mean: float
    sd: float
    mcse: float


@dataclasses.dataclass(frozen=True)
class Long:
    """A long run: the form that mixes better, and how many draws each of four chains keeps."""

    centred: bool
    draws: int = 10_000


LONG = {
    "sleepstudy": Long(centred=True),
    "radon": Long(centred=False),
    "penicillin": Long(centred=True),
    "cbpp": Long(centred=True),
    "broods": Long(centred=False),
    "grouseticks": Long(centred=False, draws=4_000),
}


@functools.cache
def _kept() -> dict[str, Any]:
    return json.loads(importlib.resources.files("hierjax.bench").joinpath(FILE).read_text())


def reference(problem: str) -> dict[str, Moment]:
    """Return scalar -> moment of a problem; empty where there is no reference."""
    parameters = _kept().get(problem, {}).get("parameters", {})
    return {name: Moment(*values) for name, values in parameters.items()}


def origin(problem: str) -> str:
    """Say how a reference was made."""
    return _kept()[problem]["made"]


def exact_schools(problem: Schools) -> dict[str, Moment]:
    """Moments of eight schools: given tau everything is normal, and tau is summed over a fine grid.

    With v_j = tau^2 + sigma_j^2, mu given tau is normal with precision 1/mu_sd^2 + sum 1/v_j, and
    theta_j given mu and tau is normal with weight tau^2 / v_j on y_j.
    """
    table = problem.table()
    y, sigma = (table[name].to_numpy(float)[:, None] for name in ("y", "sigma"))
    angle = (np.arange(200_000) + 0.5) / 200_000 * np.pi / 2
    tau = problem.tau_scale * np.tan(angle)  # equal weights: quantiles of the half-Cauchy prior
    variance = tau**2 + sigma**2
    precision = 1.0 / problem.mu_sd**2 + np.sum(1.0 / variance, axis=0)
    mu = np.sum(y / variance, axis=0) / precision
    log_weight = -0.5 * (
        np.sum(np.log(variance) + y**2 / variance, axis=0) + np.log(precision) - precision * mu**2
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    share = tau**2 / variance
    theta = share * y + (1.0 - share) * mu
    theta_variance = share * sigma**2 + (1.0 - share) ** 2 / precision
    found = {"mu": _moment(weight, mu, 1.0 / precision), "tau": _moment(weight, tau, 0.0 * tau)}
    for place in range(len(y)):
        found[f"theta[{place}]"] = _moment(weight, theta[place], theta_variance[place])
    return found


def _moment(weight: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> Moment:
    """Mean and sd of a mixture of distributions with these means and variances."""
    centre = float(weight @ mean)
    return Moment(centre, float(weight @ (variance + (mean - centre) ** 2)) ** 0.5, 0.0)


def sampled(problem: str, seed: int = 1) -> dict[str, Any]:
    """Run NumPyro for long; what the file keeps of it."""
    from hierjax.bench.tools.base import Settings
    from hierjax.bench.tools.with_numpyro import NumPyro

    long, entry = LONG[problem], PROBLEMS[problem]
    settings = Settings(chains=4, warmup=2_000, draws=long.draws)
    tool = NumPyro(long.centred)
    table = entry.table()
    answer = tool.prepare(entry, table, settings)(table, seed)
    parameters, sizes = {}, []
    for name, values in scalar_draws(answer.draws).items():
        size = {kind: statistic("ess", values, kind) for kind in ("bulk", "mean")}
        sizes.append(size["bulk"])
        sd = float(np.std(values, ddof=1))
        moment = (float(np.mean(values)), sd, sd / size["mean"] ** 0.5)
        parameters[name] = _written(moment, 7)
    form = "centred" if long.centred else "non-centred"
    return {
        "made": f"NumPyro's NUTS, {form}, 4 chains of 2,000 + {long.draws:,}, float64, seed {seed}",
        "minimum_ess": round(min(sizes)),
        "divergences": answer.divergences,
        "versions": tool.versions(),
        "parameters": parameters,
    }


def _written(values: tuple[float, ...], digits: int) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values]


def _made(problem: str) -> dict[str, Any]:
    entry = PROBLEMS[problem]
    if isinstance(entry, Schools):
        found = exact_schools(entry).items()
        parameters = {name: _written((m.mean, m.sd, 0.0), 10) for name, m in found}
        return {"made": "numerical integration", "parameters": parameters}
    return sampled(problem)


def main() -> None:
    """Make references, and put them into a file."""
    parser = argparse.ArgumentParser(description="Make reference posteriors of the problems.")
    parser.add_argument("file", type=Path)
    parser.add_argument("problem", nargs="*", choices=[*PROBLEMS, []], help="only these")
    options = parser.parse_args()
    kept = json.loads(options.file.read_text()) if options.file.exists() else {}
    for problem in options.problem or PROBLEMS:
        kept[problem] = _made(problem)
        ordered = {name: kept[name] for name in PROBLEMS if name in kept}
        lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in ordered.items()]
        options.file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(problem, kept[problem].get("minimum_ess", ""), flush=True)


if __name__ == "__main__":
    main()
