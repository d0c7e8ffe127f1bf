"""Many data sets of one model: what each costs, and beside it a loop of NumPyro's NUTS.

    python -m benchmarks.batches                    1,000 data sets like sleepstudy, beside NumPyro
    python -m benchmarks.batches --sets 100 --numpyro 2
    python -m benchmarks.batches --curve            cost of a data set among 10, 100, 1,000, 10,000
    python -m benchmarks.batches --ragged           data sets of unequal sizes beside equal ones

The data sets are a parametric bootstrap of the sleepstudy fit with correlated slopes: responses
drawn anew, the design as it is. hierjax draws the full posterior of each, effects summarised
(`keep="hyper"`). The loop is NumPyro's NUTS, vectorised chains, compiled once and used again for
each data set, 4 x (1,000 + 1,000). CPU seconds count all threads and are fair on a shared machine;
peak memory is of the process.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import hierjax as hj
from benchmarks.first_fit import machine
from benchmarks.tools import TOOLS
from hierjax.bench.batches import bootstrap
from hierjax.bench.problems import PROBLEMS
from hierjax.bench.scalars import scalar_draws

METHOD = hj.Laplace(draws=1000, points=500)
WANTED = 400  # effective draws of every hyperparameter


def model() -> hj.Model:
    """Return the model of sleepstudy with the priors of the other benchmarks."""
    problem = PROBLEMS["sleepstudy"]
    return problem.model(hj.load_data("sleepstudy"))


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Run `work`; its result, wall and CPU seconds, and peak memory of the process so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result, {
        "wall_s": round(time.perf_counter() - wall, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mb": round(peak),
    }


def say(**row: Any) -> None:
    """Print one row."""
    print(json.dumps(row), flush=True)


def frames(responses: np.ndarray) -> list[pd.DataFrame]:
    """Return the data sets as data frames."""
    table = hj.load_data("sleepstudy")
    return [table.assign(Reaction=response) for response in responses]


def thousand(count: int, numpyro: int) -> None:
    """Fit `count` data sets as data frames and stacked, and `numpyro` of them in a loop."""
    responses = bootstrap(count)
    given = {"data frames": frames(responses), "stacked arrays": {"Reaction": responses}}
    for form, datasets in given.items():
        batch, cost = measured(
            lambda datasets=datasets: hj.fit_many(
                model(), datasets, method=METHOD, keep="hyper", progress=False
            )
        )
        report = batch.report()
        say(
            tool="hierjax", given=form, sets=count, **cost,
            cpu_ms_each=round(1e3 * cost["cpu_s"] / count, 1),
            status=report["status"].value_counts().to_dict(),
            least_effective_draws=round(float(report["ess_bulk"].min())),
            enough=int((report["ess_bulk"] >= WANTED).sum()), retries=int(report["retries"].sum()),
        )  # fmt: skip
    session = TOOLS["NumPyro non-centred"](PROBLEMS["sleepstudy"])
    for place, table in enumerate(frames(responses[: numpyro + 1])):
        (draws, divergences, _), cost = measured(lambda table=table: session.fit(table, 0))
        smallest = min(
            hj.diagnostics.chain_summary(values[..., None]).ess_bulk[0]
            for values in scalar_draws({name: draws[name] for name in NAMES}).values()
        )
        say(tool="NumPyro", first=place == 0, **cost, least_effective_draws=round(smallest),
            divergences=divergences)  # fmt: skip


NAMES = ("b_Intercept", "b_Days", "sd_Subject", "cor_Subject", "sigma")


def curve(largest: int) -> None:
    """Cost of a data set by their number; the program is compiled in the first line."""
    counts = [10**power for power in range(1, 8) if 10**power <= largest]
    for count in [counts[0], *counts]:
        datasets = {"Reaction": bootstrap(count)}
        _, cost = measured(
            lambda datasets=datasets: hj.fit_many(
                model(), datasets, method=METHOD, keep="hyper", progress=False
            )
        )
        say(tool="hierjax", sets=count, **cost, cpu_ms_each=round(1e3 * cost["cpu_s"] / count, 1))


def ragged(count: int) -> None:
    """Fit data sets that lack rows at random, beside as many of full size."""
    generator = np.random.default_rng(1)
    whole = frames(bootstrap(count))
    lacking = [table.sample(frac=generator.uniform(0.6, 1.0), random_state=n).sort_index()
               for n, table in enumerate(whole)]  # fmt: skip
    for form, datasets in {"equal": whole, "ragged": lacking}.items():
        for again in (False, True):
            batch, cost = measured(
                lambda datasets=datasets: hj.fit_many(
                    model(), datasets, method=METHOD, keep="hyper", progress=False
                )
            )
            report = batch.report()
            say(tool="hierjax", sizes=form, compiled=again, sets=count, **cost,
                programs=report["padded"].nunique(),
                status=report["status"].value_counts().to_dict())  # fmt: skip


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--numpyro", type=int, default=5, help="data sets that the loop fits")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--largest", type=int, default=10_000, help="data sets of the curve")
    parser.add_argument("--ragged", action="store_true")
    options = parser.parse_args()
    say(**machine())
    if options.curve:
        curve(options.largest)
    elif options.ragged:
        ragged(options.sets)
    else:
        thousand(options.sets, options.numpyro)


if __name__ == "__main__":
    main()
