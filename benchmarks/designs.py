"""Every design of the library on real data: time, mixing, and error against a reference.

    python -m benchmarks.designs                     every problem, with every method for it
    python -m benchmarks.designs --problem pumps     one problem
    python -m benchmarks.designs --reference         long chains of NumPyro, the last resort
    python -m benchmarks.designs --table             write docs/notes/designs.md, no fits

Every fit has a process of its own, and rows are kept in `results/designs.jsonl`. The largest error
is over all parameters that the reference has: of posterior means, in Monte Carlo standard errors of
both sides and in posterior sds; of estimates (empirical Bayes against lme4), relative.

References of last resort are 4 chains of NumPyro's own NUTS, on the same function with non-centred
effects, kept with their Monte Carlo errors in `results/designs_reference.json`.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.designs_problems import PROBLEMS, SAMPLED, DesignProblem, Reference
from benchmarks.effects import effective_sample_size, versions

if TYPE_CHECKING:
    import hierjax as hj

RESULTS = Path(__file__).parent / "results" / "designs.jsonl"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "notes" / "designs.md"
CHAINS, WARMUP, DRAWS = 4, 1000, 2000  # of the reference
NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Row:
    """One problem and one method; `error` is set where the method failed."""

    problem: str
    method: str
    design: str = ""
    rows: int = 0
    groups: str = ""
    parameters: int = 0
    compile_seconds: float = NAN
    run_seconds: float = NAN
    minimum_ess: float = NAN
    rhat: float = NAN
    k_hat: float = NAN
    divergences: int = -1
    source: str = ""
    gap_errors: float = NAN
    gap_sds: float = NAN
    worst: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str = ""


def scalars(model: "hj.Model", draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every scalar of the sites that are not hidden, (chain, draw), by site and place."""
    found = {}
    for site, values in draws.items():
        if model.blocks.get(site) == "hidden":
            continue
        for place in np.ndindex(values.shape[2:]):
            label = ", ".join(map(str, place))
            found[f"{site}[{label}]" if place else site] = values[(..., *place)]
    return found


def gaps(
    found: Mapping[str, np.ndarray], expected: Mapping[str, Reference]
) -> dict[str, tuple[float, float]]:
    """Gap of every mean that the reference has, in combined standard errors and in sds."""
    compared = {}
    for name, reference in expected.items():
        draws = found[name]
        error = np.std(draws, ddof=1) / effective_sample_size(draws, "mean") ** 0.5
        gap = abs(float(np.mean(draws)) - reference.mean)
        compared[name] = (gap / float(np.hypot(error, reference.error)), gap / reference.sd)
    return compared


def estimate_gaps(
    posterior: "hj.Posterior", expected: Mapping[str, Reference]
) -> dict[str, tuple[float, float]]:
    """Relative gap of every estimate; there are no standard errors of it."""
    estimates = {name: values[0][None, None] for name, values in posterior.info.estimates.items()}
    found = scalars(posterior.model, estimates)
    return {
        name: (NAN, abs(float(found[name].item()) - each.mean) / each.sd)
        for name, each in expected.items()
    }


def measure(name: str, method: str, seed: int = 0) -> Row:
    """Fit one problem with one method and compare it with its reference."""
    import hierjax as hj

    problem = PROBLEMS[name]
    model = problem.model()
    posterior = hj.fit(model, method=method, seed=seed, progress=False)
    diagnostics = posterior.diagnostics()
    expected = problem.reference()
    if method == "empirical_bayes":
        compared = estimate_gaps(posterior, expected)
    else:
        compared = gaps(scalars(model, posterior.draws), expected)
    worst = max(compared, key=lambda each: compared[each][1])
    by_errors = max(compared.values(), key=lambda pair: pair[0])[0]
    weighted = diagnostics.k_hat is not None
    chains = diagnostics.ess_bulk is not None
    return Row(
        problem=name,
        method=method,
        design=model.name,
        rows=int(np.shape(model.data["y"])[0]),
        groups=groups_text(model),
        parameters=sum(int(np.prod(d.shape[2:])) for d in posterior.draws.values()),
        compile_seconds=round(posterior.info.seconds["compile"], 1),
        run_seconds=round(posterior.info.seconds["run"], 1),
        minimum_ess=_minimum_ess(diagnostics),
        rhat=round(float(diagnostics.rhat.value), 4) if chains else NAN,
        k_hat=round(float(diagnostics.k_hat), 2) if weighted else NAN,
        divergences=int(diagnostics.divergences),
        source=problem.source,
        gap_errors=round(by_errors, 2),
        gap_sds=float(f"{compared[worst][1]:.3g}"),
        worst=worst,
        versions=versions(),
    )


def _minimum_ess(diagnostics: Any) -> float:
    if diagnostics.ess_bulk is not None:
        return round(float(diagnostics.ess_bulk.value), 0)
    return NAN if diagnostics.weight_ess is None else round(float(diagnostics.weight_ess), 0)


def groups_text(model: "hj.Model") -> str:
    """Sizes of the plates that effects lie in."""
    from hierjax.trace import abstract_trace

    trace = abstract_trace(model.fn, model.data)
    effects = [site for site, block in model.blocks.items() if block == "effect"]
    plates = dict.fromkeys(trace.sites[site].plates[0] for site in effects)
    return ", ".join(f"{trace.plates[plate].size} {plate}" for plate in plates)


def sample_reference(problem: DesignProblem, seed: int = 1) -> dict[str, Any]:
    """Long chains of NumPyro's NUTS with non-centred effects, one after another."""
    import jax
    from numpyro.infer import MCMC, NUTS

    from hierjax.transforms.noncentre import noncentre

    model = problem.model()
    fn = noncentre(model.fn, model.data)[0]
    started = time.process_time()
    with jax.enable_x64(True):
        kernel = NUTS(fn, target_accept_prob=0.9)
        mcmc = MCMC(
            kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        mcmc.run(jax.random.key(seed), extra_fields=("diverging",), **model.data)
        draws = {name: np.asarray(v) for name, v in mcmc.get_samples(group_by_chain=True).items()}
        diverging = int(mcmc.get_extra_fields()["diverging"].sum())
    wanted = {site: draws[site] for site in model.blocks if model.blocks[site] != "hidden"}
    found = {}
    sizes = []
    for name, values in scalars(model, wanted).items():
        sizes.append(effective_sample_size(values, "bulk"))
        error = float(np.std(values, ddof=1) / effective_sample_size(values, "mean") ** 0.5)
        found[name] = [float(f"{x:.7g}") for x in (np.mean(values), np.std(values, ddof=1), error)]
    return {
        "sampler": f"NumPyro NUTS, non-centred, {CHAINS} chains, {WARMUP} + {DRAWS}, target 0.9",
        "minimum_ess": round(min(sizes)),
        "divergences": diverging,
        "cpu_seconds": round(time.process_time() - started),
        "versions": versions(),
        "parameters": found,
    }


def keep_reference(name: str) -> None:
    """Sample a reference and put it into the file, in place of the one that is there."""
    kept = json.loads(SAMPLED.read_text()) if SAMPLED.exists() else {}
    kept[name] = sample_reference(PROBLEMS[name])
    ordered = {each: kept[each] for each in PROBLEMS if each in kept}
    lines = [f"{json.dumps(each)}: {json.dumps(row)}" for each, row in ordered.items()]
    SAMPLED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def run_apart(name: str, method: str, limit: float) -> Row:
    """Measure in a fresh process; a failure becomes a row."""
    command = [sys.executable, "-m", "benchmarks.designs", "--child", name, method]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return Row(name, method, error=f"not done in {limit:.0f} s")
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return Row(name, method, error=last[0][:200])
    return Row(**json.loads(done.stdout.strip().splitlines()[-1]))


def load_rows() -> list[Row]:
    """Read the rows that are kept."""
    if not RESULTS.exists():
        return []
    return [Row(**json.loads(line)) for line in RESULTS.read_text().splitlines()]


def keep_row(new: Row) -> None:
    """Put a row in the file, in place of the one of the same problem and method."""
    rows = [row for row in load_rows() if (row.problem, row.method) != (new.problem, new.method)]
    rows.append(new)
    order = [(name, method) for name, problem in PROBLEMS.items() for method in problem.methods]
    rows = [row for row in rows if (row.problem, row.method) in order]
    rows.sort(key=lambda row: order.index((row.problem, row.method)))
    RESULTS.write_text("".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows))


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    header = (
        "| design | data | method | rows | groups | compile, run, s | min ESS | R-hat or k-hat "
        "| divergences | reference | largest error of a mean: MCSE, sd |"
    )
    return "\n".join(
        [header, "|---|---|---|---:|---|---:|---:|---:|---:|---|---:|", *map(_line, rows)]
    )


def _line(row: Row) -> str:
    if row.error:
        error = row.error.replace("|", "\\|")
        return f"| | {row.problem} | {row.method} | failed: {error} |" + " |" * 7
    trust = "-" if np.isnan(row.rhat) else f"{row.rhat:.3f}"
    trust = trust if np.isnan(row.k_hat) else f"k {row.k_hat:.2f}"
    size = "-" if np.isnan(row.minimum_ess) else f"{row.minimum_ess:,.0f}"
    gap = f"{row.gap_errors:.1f}, {row.gap_sds:.3f} ({row.worst})"
    if np.isnan(row.gap_errors):
        gap = f"{row.gap_sds:.0e} of its size ({row.worst})"
    divergences = "-" if row.method != "nuts" else str(row.divergences)
    return (
        f"| {row.design} | {row.problem} | {row.method} | {row.rows:,} | {row.groups} "
        f"| {row.compile_seconds:.0f}, {row.run_seconds:.1f} | {size} | {trust} "
        f"| {divergences} | {row.source} | {gap} |"
    )


def write_page() -> None:
    """Put the table into the page, between its two marks."""
    before, rest = PAGE.read_text().split("<!-- table -->\n")
    _, after = rest.split("<!-- end of table -->\n")
    text = f"<!-- table -->\n{table(load_rows())}\n<!-- end of table -->\n"
    PAGE.write_text(before + text + after)


def arguments() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", action="append", choices=list(PROBLEMS), help="only these")
    parser.add_argument("--method", action="append", help="only these")
    parser.add_argument("--reference", action="store_true", help="sample references instead")
    parser.add_argument("--table", action="store_true", help="write the page, no fits")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds a fit")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run what the command line asks for."""
    options = arguments().parse_args()
    if options.child:
        print(json.dumps(dataclasses.asdict(measure(*options.child))))
        return
    for name, problem in PROBLEMS.items():
        if options.table or (options.problem and name not in options.problem):
            continue
        if options.reference:
            if problem.source == "NumPyro":
                keep_reference(name)
                print(name, flush=True)
            continue
        for method in problem.methods:
            if not options.method or method in options.method:
                row = run_apart(name, method, options.limit)
                keep_row(row)
                print(_line(row), flush=True)
    if PAGE.exists() and not options.reference:
        write_page()


if __name__ == "__main__":
    main()
