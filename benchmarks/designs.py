"""Every design of the library on real data: time, mixing, and error against a reference.

    python -m benchmarks.designs                     every problem, with every method for it
    python -m benchmarks.designs --problem pumps     one problem
    python -m benchmarks.designs --reference         long chains of NumPyro, the last resort
    python -m benchmarks.designs --table             write docs/notes/designs.md, no fits

Every fit has a process of its own, and rows are kept in `results/designs.jsonl`. The largest error
is over all parameters that the reference has: of posterior means, in Monte Carlo standard errors of
both sides and in posterior sds; of estimates (empirical Bayes against lme4), relative. Beside it
stands what the largest of so many gaps may be by chance, and the smallest and largest ratio of sds.

References of last resort are 4 chains of NumPyro's own NUTS, on the same function with non-centred
effects (of Gaussian designs: a sampler in NumPy with their effects integrated out), kept with their
Monte Carlo errors in `results/designs_reference.json`.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.designs_compare import beyond_chance, chance, estimate_gaps, gaps, scalars
from benchmarks.designs_problems import PROBLEMS
from benchmarks.effects import versions
from benchmarks.rows import (
    FOLDER,
    NotMeasuredError,
    keep_row,
    load_rows,
    measure_apart,
    print_row,
    write_table,
)

if TYPE_CHECKING:
    import hierjax as hj

RESULTS = FOLDER / "designs.jsonl"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "notes" / "designs.md"
LARGEST_GAP = 0.1  # of exact methods, in sds, where it is more than chance
LARGEST_RELATIVE = 1e-3  # of estimates
FEW_DIVERGENCES = 1e-3  # of the draws
MANY, LARGEST_RHAT = 100, 1.02  # of so many parameters one is above 1.01 by chance
# Of approximations: largest gap of a mean in sds, and what sds may be of the reference's. These are
# no claim of quality: they are there so that a change for the worse is seen.
ALLOWED = {
    "svi": (0.5, 0.5, 1.5),
    "svi_starts": (0.5, 0.5, 1.5),
    "deterministic_advi": (0.5, 0.5, 1.5),
}
# The same where one was measured to be poorer.
POORER = {
    ("pumps", "deterministic_advi"): (0.5, 0.5, 2.0),
    ("topics", "svi_starts"): (0.5, 0.5, 2.0),
    ("verbagg_2pl", "svi"): (0.9, 0.4, 1.5),
    ("verbagg_2pl", "deterministic_advi"): (0.9, 0.5, 1.5),
    ("salamanders", "svi"): (0.7, 0.4, 1.5),
    ("salamanders", "deterministic_advi"): (0.7, 0.5, 1.5),
}
# Approximations that take longer than the methods that are exact: no test waits for them.
TOO_SLOW = {
    ("margarine", "svi"): "NUTS takes less",
    ("nested_topics", "svi_starts"): "not converged after 100,000 steps; NUTS takes as long",
}
ORDER = [(name, method) for name, problem in PROBLEMS.items() for method in problem.methods]
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
    verdict: str = ""
    source: str = ""
    compared: int = 0
    gap_errors: float = NAN
    gap_sds: float = NAN
    worst: str = ""
    sd_least: float = NAN
    sd_most: float = NAN
    mean_beyond: float = NAN
    sd_beyond: float = NAN
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str = ""


def settings(method: str) -> Any:
    """Return what a method's word stands for."""
    import hierjax as hj

    return hj.SVI(guide="normal", starts=4) if method == "svi_starts" else method


def measure(name: str, method: str, seed: int = 0) -> Row:
    """Fit one problem with one method and compare it with its reference."""
    import hierjax as hj

    problem = PROBLEMS[name]
    model = problem.model()
    posterior = hj.fit(model, method=settings(method), seed=seed, progress=False)
    diagnostics = posterior.diagnostics()
    expected = problem.reference()
    if method == "empirical_bayes":
        compared = estimate_gaps(posterior, expected)
    else:
        # Draws that were resampled by weight are worth as much as the weighted points.
        most = diagnostics.weight_ess if method == "laplace" else None
        draws = scalars(model, problem.comparable(posterior.draws, expected))
        compared = gaps(draws, expected, np.inf if most is None else most)
    worst = max(compared, key=lambda each: compared[each].sds)
    ratios = [gap.ratio for gap in compared.values()]
    by_mean, by_sd = beyond_chance(compared)
    rhat = diagnostics.rhat
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
        rhat=NAN if rhat is None else round(float(rhat.value), 4),
        k_hat=NAN if diagnostics.k_hat is None else round(float(diagnostics.k_hat), 2),
        divergences=int(diagnostics.divergences),
        verdict=_verdict(diagnostics, len(compared)),
        source=problem.source,
        compared=len(compared),
        gap_errors=round(max(gap.errors for gap in compared.values()), 2),
        gap_sds=float(f"{compared[worst].sds:.3g}"),
        worst=worst,
        sd_least=round(min(ratios), 3),
        sd_most=round(max(ratios), 3),
        mean_beyond=by_mean,
        sd_beyond=by_sd,
        versions=versions(),
    )


def complaints(row: Row) -> list[str]:
    """Say what is wrong with a row, for its method; nothing if it is as it should be.

    Exact methods: no gap of a mean or an sd that chance does not explain may be larger than a tenth
    of an sd, and no diagnostic may complain (divergences may be one draw in 1,000, R-hat of
    more than 100 parameters 1.02).
    Approximations: see `ALLOWED`.
    """
    if row.error:
        return [row.error]
    if row.method == "empirical_bayes":
        return [f"{row.worst} is off by {row.gap_sds}"] * (not row.gap_sds < LARGEST_RELATIVE)
    if row.method in ALLOWED:
        mean, least, most = POORER.get((row.problem, row.method), ALLOWED[row.method])
        wrong = [f"the mean of {row.worst} is {row.gap_sds} sds off"] * (not row.gap_sds < mean)
        inside = least < row.sd_least and row.sd_most < most
        return wrong + [f"sds are {row.sd_least} to {row.sd_most} of theirs"] * (not inside)
    found = [row.verdict] * bool(row.verdict)
    for what, gap in (("mean", row.mean_beyond), ("sd", row.sd_beyond)):
        found += [f"a {what} is {gap:.3g} sds off, which is no chance"] * (not gap < LARGEST_GAP)
    return found


def _verdict(diagnostics: Any, compared: int) -> str:
    """Say which checks are bad; what chance does is not, since means and sds are compared."""
    rhat = diagnostics.rhat
    passed = {
        "divergences": diagnostics.divergence_fraction <= FEW_DIVERGENCES,
        "R-hat": compared > MANY and rhat is not None and rhat.value <= LARGEST_RHAT,
    }
    bad = [check for check in diagnostics.checks if not check.ok]
    return "; ".join(check.problem for check in bad if not passed.get(check.name, False))


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


def run_apart(name: str, method: str, limit: float) -> Row:
    """Measure in a fresh process; a failure becomes a row."""
    try:
        return measure_apart(Row, "benchmarks.designs", name, method, limit=limit)
    except NotMeasuredError as error:
        return Row(name, method, error=str(error))


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    header = (
        "| design | data | method | rows | groups | compile, run, s | min ESS | R-hat or k-hat "
        "| divergences | reference | parameters | largest error of a mean: MCSE (chance), sd "
        "| sds, of theirs |"
    )
    rule = "|---|---|---|---:|---|---:|---:|---:|---:|---|---:|---:|---:|"
    return "\n".join([header, rule, *map(_line, rows)])


def _line(row: Row) -> str:
    if row.error:
        error = row.error.replace("|", "\\|")
        return f"| | {row.problem} | {row.method} | failed: {error} |" + " |" * 9
    trust = "-" if np.isnan(row.rhat) else f"{row.rhat:.3f}"
    trust = trust if np.isnan(row.k_hat) else f"k {row.k_hat:.2f}"
    size = "-" if np.isnan(row.minimum_ess) else f"{row.minimum_ess:,.0f}"
    of_chance = f"{row.gap_errors:.1f} ({chance(row.compared):.1f})"
    gap = f"{of_chance}, {row.gap_sds:.3f} ({row.worst})"
    sds = f"{row.sd_least:.2f} to {row.sd_most:.2f}"
    if row.method == "empirical_bayes":
        gap, sds = f"{row.gap_sds:.0e} of its size ({row.worst})", "-"
    divergences = "-" if row.method != "nuts" else str(row.divergences)
    return (
        f"| {row.design} | {row.problem} | {row.method} | {row.rows:,} | {row.groups} "
        f"| {row.compile_seconds:.0f}, {row.run_seconds:.1f} | {size} | {trust} "
        f"| {divergences} | {row.source} | {row.compared} | {gap} | {sds} |"
    )


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
        print_row(measure(*options.child))
        return
    for name, problem in PROBLEMS.items():
        if options.table or (options.problem and name not in options.problem):
            continue
        if options.reference:
            if problem.source in ("NumPyro", "NumPy"):
                from benchmarks.designs_sampling import keep_reference

                print(keep_reference(name), flush=True)
            continue
        for method in problem.methods:
            if not options.method or method in options.method:
                row = run_apart(name, method, options.limit)
                keep_row(RESULTS, row, ORDER)
                print(_line(row), *complaints(row), flush=True)
    if PAGE.exists() and not options.reference:
        write_table(PAGE, table(load_rows(RESULTS, Row)))


if __name__ == "__main__":
    main()
