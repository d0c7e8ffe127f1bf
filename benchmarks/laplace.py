"""Importance sampling beside NUTS on the same integrated model: effective draws a CPU second.

    python -m benchmarks.laplace                  all problems, each tool in a process of its own
    python -m benchmarks.laplace --problem radon
    python -m benchmarks.laplace --table          the table of the results kept, no fits

Both tools are `hierjax.fit` with effects integrated out. A first fit compiles, and its CPU and wall
seconds are kept; three more with other seeds are timed, everything included: coordinates, the mode,
warm-up, all rounds, and drawing the effects back. Effective draws of NUTS are the smallest bulk
effective size over all scalar parameters; those of importance sampling are what the method says its
resampled draws are worth. The largest gap of a mean between the tools, in combined standard errors,
says whether they agree.
"""

import argparse
import dataclasses
import os
import time

import numpy as np

from benchmarks.effects import effective_sample_size, versions
from benchmarks.effects_problems import PROBLEMS, scalar_draws
from benchmarks.rows import FOLDER, keep_row, load_rows, measure_apart, print_row

RESULTS = FOLDER / "laplace.jsonl"
CHOSEN = ("sleepstudy", "radon", "penicillin", "dutch", "english", "mandarin", "dillonE1", "gg05")
TOOLS = ("nuts", "laplace")
ORDER = [(name, tool) for name in PROBLEMS for tool in TOOLS]
SEEDS = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class Row:
    """One problem and one tool: medians over the seeds."""

    problem: str
    tool: str
    effective: float
    cpu_seconds: float
    run_seconds: float
    first_cpu_seconds: float
    first_seconds: float
    k_hat: float
    load: float
    means: list[float]
    errors: list[float]
    versions: dict[str, str]


def measure(problem: str, tool: str) -> Row:
    """Fit one problem with one tool, once to compile and then once a seed."""
    import hierjax as hj

    model = PROBLEMS[problem].model()
    started, cpu_started = time.perf_counter(), time.process_time()
    post = hj.fit(model, method=tool, seed=0, progress=False)
    first, first_cpu = time.perf_counter() - started, time.process_time() - cpu_started
    effective, seconds, runs = [], [], []
    for seed in SEEDS:
        cpu_started = time.process_time()
        post = hj.fit(model, method=tool, seed=seed, progress=False)
        seconds.append(time.process_time() - cpu_started)
        runs.append(post.info.seconds["run"])
        scalars = scalar_draws(model, dict(post.draws))
        if tool == "laplace":
            effective.append(post.info.trace["effective_draws"][-1])
        else:
            effective.append(min(effective_sample_size(x, "bulk") for x in scalars.values()))
    worth = [
        effective[-1] if tool == "laplace" else effective_sample_size(x, "mean")
        for x in scalars.values()
    ]
    pairs = zip(scalars.values(), worth, strict=True)
    return Row(
        problem,
        tool,
        round(float(np.median(effective)), 1),
        round(float(np.median(seconds)), 3),
        round(float(np.median(runs)), 3),
        round(first_cpu, 2),
        round(first, 2),
        float(np.round(post.info.trace.get("k_hat", (np.nan,))[-1], 2)),
        round(os.getloadavg()[0], 1),
        [float(f"{np.mean(x):.6g}") for x in scalars.values()],
        [float(f"{np.std(x, ddof=1) / size**0.5:.3g}") for x, size in pairs],
        versions(),
    )


def table() -> str:
    """Return the rows kept, side by side."""
    rows = {(row.problem, row.tool): row for row in load_rows(RESULTS, Row)}
    lines = [
        "| problem | effective draws: NUTS | Laplace (k-hat) | CPU s: NUTS | Laplace "
        "| draws a CPU s: NUTS | Laplace | ratio | first fit, CPU s: NUTS | Laplace "
        "| largest gap, errors |",
        "|---|" + "---:|" * 10,
    ]
    for problem in CHOSEN:
        if not all((problem, tool) in rows for tool in TOOLS):
            continue
        nuts, ours = pair = [rows[problem, tool] for tool in TOOLS]
        rates = [row.effective / row.cpu_seconds for row in pair]
        gaps = np.subtract(nuts.means, ours.means) / np.hypot(nuts.errors, ours.errors)
        lines.append(
            f"| {problem} | {nuts.effective:,.0f} | {ours.effective:,.0f} ({ours.k_hat}) "
            f"| {nuts.cpu_seconds:.2f} | {ours.cpu_seconds:.2f} | {rates[0]:,.0f} "
            f"| {rates[1]:,.0f} | {rates[1] / rates[0]:.1f} | {nuts.first_cpu_seconds:.0f} "
            f"| {ours.first_cpu_seconds:.0f} | {np.abs(gaps).max():.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run as the docstring says."""
    parser = argparse.ArgumentParser(description="Importance sampling beside NUTS.")
    parser.add_argument("--problem", action="append", choices=PROBLEMS)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("PROBLEM", "TOOL"))
    options = parser.parse_args()
    if options.child:
        print_row(measure(*options.child))
        return
    if not options.table:
        for problem in options.problem or CHOSEN:
            for tool in TOOLS:
                keep_row(RESULTS, measure_apart(Row, "benchmarks.laplace", problem, tool), ORDER)
                print(f"{problem}, {tool}: done", flush=True)
    print(table())


if __name__ == "__main__":
    main()
