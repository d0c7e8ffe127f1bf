"""Simulation-based calibration of every design of the library, with every exact method for it.

    python -m benchmarks.calibration                    every case, with every method for it
    python -m benchmarks.calibration --case anova       one case
    python -m benchmarks.calibration --table            write docs/notes/calibration.md, no fits
    python -m benchmarks.calibration --case anova --seed 1 --simulations 1000      look once more

Rows are kept in `results/calibration.jsonl`, but for those of another seed or of another number of
simulations, which are printed only. Bands are those that all curves of an exact method
stay in with probability 99.9 %, so that one row in a thousand is off by chance. The cases are those
of `tests/calibration`.
"""

import argparse
import collections
import dataclasses
import time
from pathlib import Path

import hierjax as hj
from benchmarks.calibration_around import AROUND, calibrate_around
from benchmarks.calibration_cases import CASES as PRIOR
from benchmarks.calibration_cases import Case
from benchmarks.effects import versions
from benchmarks.rows import FOLDER, keep_row, load_rows, write_table
from hierjax.sbc_verdict import visible_errors

RESULTS = FOLDER / "calibration.jsonl"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "notes" / "calibration.md"
COVERAGE = 0.999
CASES = PRIOR | AROUND
ORDER = [(name, method) for name, case in CASES.items() for method in case.methods]


@dataclasses.dataclass(frozen=True)
class Row:
    """What one method did on one case.

    `adjusted` is the smallest p-value of all tests, that of `worst`, multiplied by their number;
    `visible_shift`, in posterior sds, and `visible_spread` are the errors that leave a band.
    """

    case: str
    method: str
    design: str
    simulations: int
    ranked: int
    flagged: int
    fitted_by: dict[str, int]
    tests: int
    worst: str
    p_value: float
    adjusted: float
    shift: float
    sd_ratio: float
    verdict: str
    visible_shift: float
    visible_spread: float
    cpu_seconds: float
    versions: dict[str, str]


def calibrate(
    case: str,
    method: str,
    simulator: hj.Model | None = None,
    seed: int = 0,
    simulations: int | None = None,
) -> hj.Calibration:
    """Calibrate one method on one case; `simulator` is for those without real data."""
    chosen = CASES[case]
    chosen = dataclasses.replace(chosen, simulations=simulations or chosen.simulations)
    if not isinstance(chosen, Case):
        return calibrate_around(chosen, chosen.methods[method], COVERAGE, seed)
    return hj.sbc(
        chosen.model(),
        chosen.methods[method],
        simulations=chosen.simulations,
        sites=chosen.sites,
        retries=int(method == "auto"),  # which runs NUTS where importance sampling failed
        simulator=simulator,
        coverage=COVERAGE,
        seed=seed,
        progress=False,
    )


def row_of(case: str, method: str, found: hj.Calibration, cpu_seconds: float) -> Row:
    """Put what was found into a row."""
    worst = min(found.findings, key=lambda finding: finding.p_value)
    ranked, tests = len(found.outcomes) - found.not_ranked, len(found.findings)
    shift, spread = visible_errors(ranked, 1.0 - COVERAGE, tests)
    wrong = [finding for finding in found.findings if not finding.ok]
    verdict = "; ".join(f"{finding.title} {finding.verdict}" for finding in wrong)
    return Row(
        case=case,
        method=method,
        design=CASES[case].design,
        simulations=len(found.outcomes),
        ranked=ranked,
        flagged=sum(outcome.status == "check" for outcome in found.outcomes),
        fitted_by=dict(collections.Counter(each.method for each in found.outcomes if each.method)),
        tests=tests,
        worst=worst.title,
        p_value=float(f"{worst.p_value:.2g}"),
        adjusted=float(f"{worst.adjusted:.2g}"),
        shift=round(worst.shift, 2),
        sd_ratio=round(worst.sd_ratio, 2),
        verdict=verdict or ("calibrated" if found.ok else "too few ranked"),
        visible_shift=round(shift, 2),
        visible_spread=round(spread, 2),
        cpu_seconds=round(cpu_seconds),
        versions=versions(),
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    header = (
        "| case | method | simulations ranked | flagged | tests | smallest p-value, of all tests "
        "| where | verdict | shift, sd error that show | CPU s |"
    )
    return "\n".join([header, "|---|---|---:|---:|---:|---:|---|---|---:|---:|", *map(_line, rows)])


def _line(row: Row) -> str:
    by = ", ".join(f"{name} {count}" for name, count in row.fitted_by.items())
    method = f"{row.method} ({by})" if row.method == "auto" else row.method
    remark = CASES[row.case].remark
    case = f"{row.case}: {remark}" if remark else row.case
    return (
        f"| {case} | {method} | {row.ranked} of {row.simulations} | {row.flagged} | {row.tests} "
        f"| {row.p_value:.2g}, {row.adjusted:.2g} | {row.worst} | {row.verdict} "
        f"| {row.visible_shift:.2f}, {row.visible_spread:.0%} | {row.cpu_seconds:.0f} |"
    )


def arguments() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", choices=list(CASES), help="only these")
    parser.add_argument("--method", action="append", help="only these")
    parser.add_argument("--first", action="store_true", help="only the first method of each")
    parser.add_argument("--new", action="store_true", help="only those without a row")
    parser.add_argument("--seed", type=int, default=0, help="another one: the row is not kept")
    parser.add_argument("--simulations", type=int, help="how many: the row is not kept")
    parser.add_argument("--table", action="store_true", help="write the page, no fits")
    return parser


def main() -> None:
    """Run what the command line asks for."""
    options = arguments().parse_args()
    again = bool(options.seed or options.simulations)
    kept = {(row.case, row.method) for row in load_rows(RESULTS, Row)}
    for name, case in CASES.items():
        if options.table or (options.case and name not in options.case):
            continue
        for place, method in enumerate(case.methods):
            if options.method and method not in options.method:
                continue
            if options.first and place:
                continue
            if options.new and (name, method) in kept:
                continue
            started = time.process_time()
            found = calibrate(name, method, None, options.seed, options.simulations)
            row = row_of(name, method, found, time.process_time() - started)
            if not again:
                keep_row(RESULTS, row, ORDER)
            print(_line(row), flush=True)
            if again or row.verdict != "calibrated":
                print(found, flush=True)
    write_table(PAGE, table(load_rows(RESULTS, Row)))


if __name__ == "__main__":
    main()
