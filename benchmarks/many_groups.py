"""Whether the time of a fit depends on the number of groups: 100,000 binary rows in few or many.

    python -m benchmarks.many_groups               all numbers of groups, on the device JAX has
    python -m benchmarks.many_groups --rows 10000

On a GPU the derivative of `effect[group]` is a scatter of rows into groups. Where groups are few,
compilers make that a loop of compare-and-swap in which all rows wait for one another, up to 2,000
times slower than where groups are many (numpyro#2225 has the report, with the numbers of groups
that are run here). Timed is one gradient of the log density as it is sampled, the least of several.
Flat is a ratio of slowest to fastest below 3.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import jax

from benchmarks.effects import versions
from hierjax.bench.gradients import gradient_model, gradient_of

RESULTS = Path(__file__).parent / "results" / "many_groups.jsonl"
GROUPS = (8, 48, 900, 15_000)
REPEATS = 20
TREATMENTS = ("centred", "noncentred", "recentre")


@dataclasses.dataclass(frozen=True)
class Row:
    """One number of groups and treatment of effects; milliseconds of wall time."""

    device: str
    dtype: str
    rows: int
    groups: int
    effects: str
    gradient: float
    versions: dict[str, str]


def measure(rows: int, groups: int, effects: str, dtype: str) -> Row:
    """Time a gradient."""
    evaluate = gradient_of(gradient_model(rows, groups, effects), effects, dtype)
    seconds = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        evaluate()
        seconds.append(time.perf_counter() - started)
    return Row(
        jax.devices()[0].device_kind,
        dtype,
        rows,
        groups,
        effects,
        1e3 * min(seconds[1:]),
        versions(),
    )


def table(rows: list[Row]) -> str:
    """Write the rows as a Markdown table, with the ratio of slowest to fastest."""
    head = "| device | precision | effects | groups | gradient, ms |\n|---|---|---|---:|---:|"
    lines = [
        f"| {row.device} | {row.dtype} | {row.effects} | {row.groups:,} | {row.gradient:.2f} |"
        for row in rows
    ]
    for effects in dict.fromkeys(row.effects for row in rows):
        times = [row.gradient for row in rows if row.effects == effects]
        lines.append(f"| slowest to fastest | | {effects} | | {max(times) / min(times):.1f} |")
    return "\n".join([head, *lines])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    chosen = parser.parse_args()
    rows = []
    for effects in TREATMENTS:
        for groups in GROUPS:
            if groups < chosen.rows:
                rows.append(measure(chosen.rows, groups, effects, chosen.dtype))
                print(json.dumps(dataclasses.asdict(rows[-1])), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.writelines(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows)
    print(table(rows))


if __name__ == "__main__":
    main()
