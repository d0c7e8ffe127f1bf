"""Time to the first answer, beside a fit written by hand in NumPyro with the same priors.

    python -m benchmarks.first_fit                       every problem and tool: JSON lines, a table
    python -m benchmarks.first_fit --problem radon
    python -m benchmarks.first_fit --warm                every process finds programs on disk

Each tool runs in a fresh process, without a compilation cache on disk; or with --warm with one
that a process before it filled, as the command line of hierjax keeps for its users. It fits three
times: the data (first fit: model building, compiling and running), the same data again (running
only: the difference is the time to compile), and new data of the same shape. Importing is timed
apart. Effective sample sizes are rank-normalised bulk ones by arviz-stats, the smallest over all
parameters, group effects included; of importance sampling at most what its draws are worth. CPU
seconds count all threads, and stay fair on a machine that is shared. Accuracy: the largest gap
between a posterior mean and that of the better NumPyro fit, in posterior sds (Monte Carlo error is
about 1 / sqrt(ESS) of each).
"""

import argparse
import dataclasses
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np

CHOSEN = ("radon", "sleepstudy", "eight_schools")


@dataclasses.dataclass(frozen=True)
class Row:
    """What one process measured; `error` is set where a tool failed.

    `cpu_seconds` are of the first fit, the same data again, and new data.
    """

    problem: str
    tool: str
    import_seconds: float = float("nan")
    first_seconds: float = float("nan")
    compile_seconds: float = float("nan")
    run_seconds: float = float("nan")
    new_data_seconds: float = float("nan")
    minimum_ess: float = float("nan")
    cpu_seconds: tuple[float, float, float] = (float("nan"),) * 3
    worst_parameter: str = ""
    divergences: int = -1
    means: dict[str, float] = dataclasses.field(default_factory=dict)
    sds: dict[str, float] = dataclasses.field(default_factory=dict)
    error: str = ""

    @property
    def ess_per_cpu_second(self) -> float:
        """Effective draws per CPU second of running, warm-up included and compiling not."""
        return self.minimum_ess / self.cpu_seconds[1]


def measure(problem_name: str, tool: str, seed: int) -> Row:
    """Fit three times in this process."""
    started = time.perf_counter()
    importlib.import_module("hierjax" if tool.startswith("hierjax") else "numpyro")
    import_seconds = time.perf_counter() - started
    from benchmarks.tools import TOOLS
    from hierjax.bench.problems import PROBLEMS
    from hierjax.bench.scalars import scalar_draws

    problem = PROBLEMS[problem_name]
    table, new_table = problem.table(), problem.table(new=True)
    session = TOOLS[tool](problem)
    seconds, cpu_seconds, results = [], [], []
    for data in (table, table, new_table):
        started, cpu_started = time.perf_counter(), time.process_time()
        results.append(session.fit(data, seed))
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
    first, again, new = seconds
    draws, divergences, worth = results[0]
    scalars = scalar_draws({name: draws[name] for name in problem.parameters})
    sizes = {name: effective_sample_size(values) for name, values in scalars.items()}
    worst = min(sizes, key=sizes.__getitem__)
    return Row(
        problem_name,
        tool,
        import_seconds,
        first,
        first - again,
        again,
        new,
        min(sizes[worst], worth),
        tuple(cpu_seconds),
        worst,
        divergences,
        {name: float(np.mean(values)) for name, values in scalars.items()},
        {name: float(np.std(values)) for name, values in scalars.items()},
    )


def effective_sample_size(draws: np.ndarray) -> float:
    """Bulk effective sample size of draws (chain, draw)."""
    from arviz_stats.base import array_stats

    return float(array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk"))


def run_apart(problem: str, tool: str, seed: int, cache: str = "") -> Row:
    """Measure in a fresh process, with compiled programs kept in `cache`; a failure is a row."""
    command = [sys.executable, "-m", "benchmarks.first_fit", "--child", problem, tool, str(seed)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    if cache:
        environment["JAX_COMPILATION_CACHE_DIR"] = cache
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        environment["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return Row(problem, tool, error=last[0][:200])
    return Row(**json.loads(done.stdout.strip().splitlines()[-1]))


def _row(problem: str, tool: str, seed: int, warm: bool) -> Row:
    if not warm:
        return run_apart(problem, tool, seed)
    with tempfile.TemporaryDirectory() as cache:
        run_apart(problem, tool, seed, cache)
        return run_apart(problem, tool, seed, cache)


def largest_gap(row: Row, rows: list[Row]) -> float:
    """Largest gap of a mean from the better fit written by hand, in its posterior sds."""
    rows = [r for r in rows if r.problem == row.problem]
    by_hand = [r for r in rows if not r.tool.startswith("hierjax") and not r.error]
    if row.error or not by_hand:
        return float("nan")
    best = max(by_hand, key=lambda r: r.minimum_ess)
    return max(abs(row.means[name] - best.means[name]) / best.sds[name] for name in best.means)


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    header = (
        "| problem | tool | first fit, s (CPU s) | of it compiling, s | run, s (CPU s) "
        "| new data, s (CPU s) | min bulk ESS | ESS per CPU s of run | divergences "
        "| largest gap of a mean, sd |"
    )
    lines = [header, "|---|---|" + "---:|" * 8]
    for row in rows:
        if row.error:
            lines.append(f"| {row.problem} | {row.tool} | failed: {row.error} |" + " |" * 7)
            continue
        cpu = [f"({seconds:.1f})" for seconds in row.cpu_seconds]
        lines.append(
            f"| {row.problem} | {row.tool} | {row.first_seconds:.1f} {cpu[0]} "
            f"| {row.compile_seconds:.1f} | {row.run_seconds:.1f} {cpu[1]} "
            f"| {row.new_data_seconds:.1f} {cpu[2]} "
            f"| {row.minimum_ess:.0f} ({row.worst_parameter}) | {row.ess_per_cpu_second:.0f} "
            f"| {row.divergences} | {largest_gap(row, rows):.2f} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Where and with what the numbers were taken."""
    from importlib.metadata import version

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    packages = ("jax", "numpyro", "blackjax", "hierjax")
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "commit": commit,
        **{package: version(package) for package in packages},
    }


def main() -> None:
    """Run the comparison, or one measurement in a child process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", action="append", help="only this problem (may be repeated)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--warm", action="store_true", help="with programs on disk")
    parser.add_argument("--child", nargs=3, metavar=("PROBLEM", "TOOL", "SEED"))
    options = parser.parse_args()
    if options.child:
        problem, tool, seed = options.child
        print(json.dumps(dataclasses.asdict(measure(problem, tool, int(seed)))))
        return
    from benchmarks.tools import TOOLS

    print(json.dumps(machine()))
    rows = []
    for problem in options.problem or CHOSEN:
        for tool in TOOLS:
            rows.append(_row(problem, tool, options.seed, options.warm))
            shown = dataclasses.asdict(rows[-1])
            print(json.dumps({k: v for k, v in shown.items() if k not in ("means", "sds")}))
            sys.stdout.flush()
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
