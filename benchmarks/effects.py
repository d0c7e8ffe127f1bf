"""How much the treatment of group effects saves, beside NumPyro on the same model, data and priors.

    python -m benchmarks.effects                          every problem: NumPyro and hierjax "auto"
    python -m benchmarks.effects --problem radon --effects integrate --effects noncentred
    python -m benchmarks.effects --baseline               NumPyro alone
    python -m benchmarks.effects --table                  the table of the results kept, no fits

The measure is the smallest rank-normalised bulk effective sample size over all scalar parameters
(hyperparameters, coefficients and group effects) per 1,000 leapfrog steps of sampling: it does not
depend on the machine. Beside it stand effective draws per CPU second of a run (warm-up included,
compiling not; all threads counted, one of them for linear algebra). NumPyro's NUTS samples the very
same model function, as written (centred) and non-centred, in double precision, its chains one after
another so that none waits.

Every fit has a process of its own. Two chains of 500 + 500 transitions; where that gives fewer
than 100 effective draws, 1,000 + 1,000. Rows are kept in `results/effects.jsonl`, one for a problem
and a tool, failures too; a new row replaces the old one.
"""

import argparse
import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.effects_problems import PROBLEMS, scalar_draws
from benchmarks.rows import (
    FOLDER,
    NotMeasuredError,
    keep_row,
    load_rows,
    measure_apart,
    print_row,
)

if TYPE_CHECKING:
    import hierjax as hj

RESULTS = FOLDER / "effects.jsonl"
CHAINS, DRAWS = 2, 500
ENOUGH, CONVERGED = 100.0, 50.0
BASELINE = ("NumPyro centred", "NumPyro non-centred")
EFFECTS = ("auto", "integrate", "recentre", "noncentred", "centred")
TOOLS = (*BASELINE, *(f"hierjax {name}" for name in EFFECTS))
ORDER = [(problem, tool) for problem in PROBLEMS for tool in TOOLS]
NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a tool hands back: draws (chain, draw, ...), and what they cost."""

    draws: dict[str, np.ndarray]
    leapfrogs: int
    divergences: int
    cpu_seconds: float
    compile_cpu_seconds: float
    effects: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Row:
    """One problem and one tool; `error` is set where the tool failed.

    `means` and `errors` (Monte Carlo standard errors) are of all scalars, in the model's order.
    """

    problem: str
    tool: str
    draws: int = 0
    leapfrogs: int = 0
    minimum_ess: float = NAN
    worst_parameter: str = ""
    divergences: int = -1
    cpu_seconds: float = NAN
    compile_cpu_seconds: float = NAN
    effects: dict[str, str] = dataclasses.field(default_factory=dict)
    means: list[float] = dataclasses.field(default_factory=list)
    errors: list[float] = dataclasses.field(default_factory=list)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str = ""

    @property
    def per_1000_leapfrogs(self) -> float:
        """Effective draws of the worst parameter per 1,000 leapfrog steps of sampling."""
        return 1000.0 * self.minimum_ess / self.leapfrogs if self.leapfrogs else NAN

    @property
    def per_cpu_second(self) -> float:
        """Effective draws of the worst parameter per CPU second, warm-up included."""
        return self.minimum_ess / self.cpu_seconds

    @property
    def converged(self) -> bool:
        """Whether means can be compared."""
        return self.minimum_ess >= CONVERGED


def run_numpyro(model: "hj.Model", centred: bool, draws: int, seed: int) -> Run:
    """Sample a model function with NumPyro's NUTS: compiled once, then chain after chain."""
    import jax

    from hierjax.arguments import Arguments
    from hierjax.transforms.noncentre import noncentre

    fn = model.fn if centred else noncentre(model.fn, model.data)[0]
    arguments = Arguments.of(model.data)
    with jax.enable_x64(True):
        arrays = arguments.arrays(model.data)
        keys = jax.random.split(jax.random.key(seed), CHAINS)
        started = time.process_time()
        chain = _numpyro_chain(fn, arguments.rebuild, draws)
        compiled = jax.jit(chain).lower(keys[0], arrays).compile()
        compile_seconds = time.process_time() - started
        started = time.process_time()
        results = [jax.device_get(compiled(key, arrays)) for key in keys]
        cpu_seconds = time.process_time() - started
    samples, extra = jax.tree_util.tree_map(lambda *parts: np.stack(parts), *results)
    return Run(
        samples,
        int(extra["num_steps"].sum()),
        int(extra["diverging"].sum()),
        cpu_seconds,
        compile_seconds,
    )


def _numpyro_chain(
    fn: Callable[..., Any], rebuild: Callable[..., dict[str, Any]], draws: int
) -> Callable[..., Any]:
    from numpyro.infer import MCMC, NUTS

    def chain(key: Any, arrays: tuple[Any, ...]) -> Any:
        mcmc = MCMC(NUTS(fn), num_warmup=draws, num_samples=draws, progress_bar=False)
        mcmc.run(key, extra_fields=("num_steps", "diverging"), **rebuild(arrays))
        return mcmc.get_samples(), mcmc.get_extra_fields()

    return chain


def run_hierjax(model: "hj.Model", effects: str, draws: int, seed: int) -> Run:
    """Fit with hierjax twice: the second fit finds everything compiled, and is the one timed."""
    import hierjax as hj

    settings = hj.NUTS(chains=CHAINS, warmup=draws, draws=draws)
    cpu_seconds = []
    for _ in range(2):
        started = time.process_time()
        post = hj.fit(model, method=settings, seed=seed, effects=effects, progress=False)
        cpu_seconds.append(time.process_time() - started)
    return Run(
        dict(post.draws),
        int(post.stats["num_steps"].sum()),
        int(post.stats["diverging"].sum()),
        cpu_seconds[1],
        cpu_seconds[0] - cpu_seconds[1],
        dict(post.info.effects),
    )


def run(model: "hj.Model", tool: str, draws: int, seed: int) -> Run:
    """Run one tool by its name in the table."""
    if tool in BASELINE:
        return run_numpyro(model, tool == BASELINE[0], draws, seed)
    return run_hierjax(model, tool.removeprefix("hierjax "), draws, seed)


def measure(problem: str, tool: str, draws: int, seed: int) -> Row:
    """Fit one problem with one tool, once more and longer if too few draws are effective."""
    model = PROBLEMS[problem].model()
    row = judge(problem, tool, draws, model, run(model, tool, draws, seed))
    if row.minimum_ess >= ENOUGH:
        return row
    return judge(problem, tool, 2 * draws, model, run(model, tool, 2 * draws, seed))


def judge(problem: str, tool: str, draws: int, model: "hj.Model", found: Run) -> Row:
    """Turn a run into a row: effective sizes, means and their errors."""
    scalars = scalar_draws(model, found.draws)
    bulk = {name: effective_sample_size(values, "bulk") for name, values in scalars.items()}
    worst = min(bulk, key=bulk.__getitem__)
    errors = [
        float(np.std(values, ddof=1) / effective_sample_size(values, "mean") ** 0.5)
        for values in scalars.values()
    ]
    return Row(
        problem,
        tool,
        draws,
        found.leapfrogs,
        round(bulk[worst], 1),
        worst,
        found.divergences,
        round(found.cpu_seconds, 3),
        round(found.compile_cpu_seconds, 3),
        found.effects,
        [float(f"{np.mean(values):.6g}") for values in scalars.values()],
        [float(f"{error:.3g}") for error in errors],
        versions(),
    )


def effective_sample_size(draws: np.ndarray, method: str) -> float:
    """Effective sample size of draws (chain, draw); not-a-number counts as none."""
    from arviz_stats.base import array_stats

    size = float(array_stats.ess(draws, chain_axis=0, draw_axis=1, method=method))
    return size if np.isfinite(size) else 0.0


def versions() -> dict[str, str]:
    """Package versions, and the commit of hierjax."""
    from importlib.metadata import version

    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    names = ("hierjax", "jax", "numpyro", "blackjax")
    return {name: version(name) for name in names} | {"commit": commit}


def run_apart(problem: str, tool: str, draws: int, seed: int, limit: float) -> tuple[Row, str]:
    """Measure in a fresh process; a failure becomes a row. Also return what was on stderr."""
    arguments = (problem, tool, "--draws", str(draws), "--seed", str(seed))
    try:
        return measure_apart(Row, "benchmarks.effects", *arguments, limit=limit), ""
    except NotMeasuredError as error:
        return Row(problem, tool, versions=versions(), error=str(error)), error.printed


def better_baseline(rows: Iterable[Row], problem: str) -> Row | None:
    """NumPyro's row with more effective draws per leapfrog step."""
    found = [r for r in rows if r.problem == problem and r.tool in BASELINE and not r.error]
    return max(found, key=lambda row: row.per_1000_leapfrogs, default=None)


def largest_gap(row: Row, other: Row) -> float:
    """Largest gap of a mean between two fits, in combined Monte Carlo standard errors."""
    combined = np.hypot(row.errors, other.errors)
    return float(np.max(np.abs(np.subtract(row.means, other.means)) / combined))


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    header = (
        "| problem | tool | draws a chain | leapfrogs | min bulk ESS | ESS per 1,000 leapfrogs "
        "| times better NumPyro (target) | ESS per CPU s | CPU s (compile) | divergences "
        "| largest gap of a mean, MCSE |"
    )
    return "\n".join([header, "|---|---|" + "---:|" * 9, *(_line(row, rows) for row in rows)])


def _line(row: Row, rows: list[Row]) -> str:
    if row.error:
        error = row.error.replace("|", "\\|")
        return f"| {row.problem} | {row.tool} | failed: {error} |" + " |" * 8
    best = better_baseline(rows, row.problem)
    ratio = gap = ""
    if best is not None and row.tool not in BASELINE:
        ratio = f"{row.per_1000_leapfrogs / best.per_1000_leapfrogs:.1f}"
        ratio += f" ({PROBLEMS[row.problem].target:.0f})"
        valid = row.converged and best.converged
        gap = f"{largest_gap(row, best):.1f}" + ("" if valid else " (not valid)")
    note = "" if row.converged else ", not converged"
    return (
        f"| {row.problem} | {row.tool} | {row.draws} | {row.leapfrogs:,} "
        f"| {row.minimum_ess:.0f} ({row.worst_parameter}{note}) | {row.per_1000_leapfrogs:.3g} "
        f"| {ratio} | {row.per_cpu_second:.3g} "
        f"| {row.cpu_seconds:.1f} ({row.compile_cpu_seconds:.1f}) | {row.divergences} | {gap} |"
    )


def arguments() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", action="append", choices=list(PROBLEMS), help="only these")
    parser.add_argument("--slow", action="store_true", help="the slow problems too")
    parser.add_argument("--baseline", action="store_true", help="NumPyro alone")
    parser.add_argument("--effects", action="append", choices=EFFECTS, help="hierjax alone, so")
    parser.add_argument("--draws", type=int, default=DRAWS, help="a chain, and as many to warm up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that a fit may take")
    parser.add_argument("--table", action="store_true", help="only print and write the table")
    parser.add_argument("--child", nargs=2, metavar=("PROBLEM", "TOOL"), help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the comparison, or one measurement in a child process."""
    options = arguments().parse_args()
    if options.child:
        print_row(measure(*options.child, options.draws, options.seed))
        return
    usual = [name for name, problem in PROBLEMS.items() if options.slow or not problem.slow]
    tools = [] if options.effects else list(BASELINE)
    if not options.baseline:
        tools += [f"hierjax {name}" for name in options.effects or ["auto"]]
    for problem in [] if options.table else options.problem or usual:
        for tool in tools:
            row, messages = run_apart(problem, tool, options.draws, options.seed, options.limit)
            keep_row(RESULTS, row, ORDER)
            print(_line(row, load_rows(RESULTS, Row)), flush=True)
            if row.error:
                print(messages, file=sys.stderr, flush=True)
    text = table(load_rows(RESULTS, Row))
    print(f"\n{text}")
    (FOLDER / "effects.md").write_text(f"# Group effects\n\n{text}\n")


if __name__ == "__main__":
    main()
