"""The two NUTS kernels on one target: hierjax's (blackjax's transition) and NumPyro's.

    python -m benchmarks.kernels                  all problems, each kernel in a process of its own
    python -m benchmarks.kernels --problem radon
    python -m benchmarks.kernels --table          the table of the results kept, no fits

The target is the function that `hierjax.fit(effects="auto")` samples: group effects integrated out
or recentred. That is a NumPyro function, so NumPyro's own NUTS takes it as it is. Both run 4 chains
of 500 + 1,000 transitions, vectorised, in one compiled program, double precision. The first run
compiles; the second, with another seed, is timed. Effective draws are the smallest bulk effective
size over the parameters sampled.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.effects import effective_sample_size, versions
from benchmarks.effects_problems import PROBLEMS, scalar_draws
from benchmarks.rows import (
    FOLDER,
    NotMeasuredError,
    keep_row,
    load_rows,
    measure_apart,
    print_row,
)

RESULTS = FOLDER / "kernels.jsonl"
CHOSEN = ("sleepstudy", "radon", "penicillin", "cbpp", "grouseticks")
CHAINS, WARMUP, DRAWS = 4, 500, 1000
Runner = Callable[[int], tuple[dict[str, np.ndarray], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One kernel on one problem; seconds are of all threads."""

    problem: str
    kernel: str
    first_cpu_seconds: float
    cpu_seconds: float
    leapfrogs: int
    effective: float
    load: float
    versions: dict[str, str]

    @property
    def microseconds(self) -> float:
        """CPU microseconds per leapfrog step of one chain, warm-up counted as sampling."""
        steps = self.leapfrogs * (WARMUP + DRAWS) / DRAWS
        return 1e6 * self.cpu_seconds / steps


def hierjax_kernel(problem: str) -> Runner:
    """Return a run of `hierjax.sampler`."""
    import hierjax as hj

    model = PROBLEMS[problem].model()
    with jax.enable_x64(True):
        sample = jax.jit(hj.sampler(model, hj.NUTS(chains=CHAINS, warmup=WARMUP, draws=DRAWS)))

    def run(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        with jax.enable_x64(True):
            draws = jax.device_get(sample(jax.random.key(seed), dict(model.data)))
        return scalar_draws(model, draws.sites), draws.stats["num_steps"]

    return run


def numpyro_kernel(problem: str) -> Runner:
    """Return a run of NumPyro's NUTS on the same function, effects drawn back too."""
    from numpyro.infer import MCMC, NUTS

    import hierjax as hj
    from hierjax.arguments import Arguments
    from hierjax.draws import Draws
    from hierjax.methods import Problem
    from hierjax.programs import named, prepared_data, recovered, site_names

    model = PROBLEMS[problem].model()
    compiled: list[Any] = []

    def build() -> Callable[..., Any]:
        coordinates = Problem(model.fn, model.data, "auto").coordinates
        prepared = prepared_data(coordinates, model.data)
        arguments = Arguments.of(prepared)
        keep = site_names(model)

        def sample(key: Any, arrays: Any) -> Any:
            data = arguments.rebuild(arrays)
            mcmc = MCMC(
                NUTS(lambda: coordinates.fn(**data)),
                num_warmup=WARMUP,
                num_samples=DRAWS,
                num_chains=CHAINS,
                chain_method="vectorized",
                progress_bar=False,
            )
            mcmc.run(key, extra_fields=("num_steps",))
            steps = mcmc.get_extra_fields(group_by_chain=True)["num_steps"]
            sites = mcmc.get_samples(group_by_chain=True)
            draws = Draws(sites, {"num_steps": steps}, np.zeros(CHAINS, int))
            return named(recovered(coordinates, draws, key, data), keep).sites, steps

        arrays = arguments.arrays(prepared)
        run = jax.jit(sample)
        return lambda key: run(key, arrays)

    def run(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        with jax.enable_x64(True):
            if not compiled:
                compiled.append(build())
            sites, steps = jax.device_get(compiled[0](jax.random.key(seed)))
        return scalar_draws(model, sites), steps

    assert hj.__version__
    return run


KERNELS = {"hierjax": hierjax_kernel, "NumPyro": numpyro_kernel}
ORDER = [(problem, kernel) for problem in CHOSEN for kernel in KERNELS]


def measure(problem: str, kernel: str) -> Row:
    """Run twice in this process: once to compile, once to time."""
    run = KERNELS[kernel](problem)
    started = time.process_time()
    run(0)
    first = time.process_time() - started
    started = time.process_time()
    draws, steps = run(1)
    seconds = time.process_time() - started
    sizes = [effective_sample_size(values, "bulk") for values in draws.values()]
    return Row(
        problem,
        kernel,
        first,
        seconds,
        int(steps.sum()),
        min(sizes),
        os.getloadavg()[0],
        versions(),
    )


def table(rows: list[Row]) -> str:
    """Write the rows as a Markdown table."""
    head = (
        "| problem | kernel | compile, CPU s | run, CPU s | microseconds a leapfrog | leapfrogs a "
        "draw | effective draws a CPU s |\n|---|---|---:|---:|---:|---:|---:|"
    )
    lines = [
        f"| {row.problem} | {row.kernel} | {row.first_cpu_seconds - row.cpu_seconds:.1f} | "
        f"{row.cpu_seconds:.2f} | {row.microseconds:.0f} | "
        f"{row.leapfrogs / (CHAINS * DRAWS):.1f} | {row.effective / row.cpu_seconds:.0f} |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--problem", choices=CHOSEN, action="append")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print_row(measure(*chosen.child))
        return
    for problem in [] if chosen.table else chosen.problem or CHOSEN:
        for kernel in KERNELS:
            try:
                keep_row(RESULTS, measure_apart(Row, "benchmarks.kernels", problem, kernel), ORDER)
            except NotMeasuredError as error:
                print(f"{problem}, {kernel}: failed\n{error.printed[-2000:]}", file=sys.stderr)
    print(table(load_rows(RESULTS, Row)))


if __name__ == "__main__":
    main()
