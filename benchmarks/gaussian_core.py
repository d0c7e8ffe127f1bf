"""What one integrated gradient costs, beside the gradient of the joint density of the same model.

    python -m benchmarks.gaussian_core                   every data set: a line each
    python -m benchmarks.gaussian_core dutch eeg         these only
    python -m benchmarks.gaussian_core --rows            one gradient at 1e3, 1e5 and 1e7 rows
    python -m benchmarks.gaussian_core --formula-rows 1e7   the same from a data frame
    python -m benchmarks.gaussian_core --insteval cells  two large crossed factors (or dense)

The model is y ~ X beta + sum over factors of Z b, half-normal scales, one correlation per pair of
intercept and slope, normal coefficients. The joint density is written by hand as a NumPyro user
would have it, non-centred, over hyperparameters, coefficients and effects. Both run as they would
in a sampler, many times inside one compiled loop, alternately; the least time per evaluation counts
because other work on the machine only adds. Pin the process to one core for figures to compare.
"""

import argparse
import dataclasses
import functools
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.groups import encode
from hierjax.linalg import (
    Factor,
    Prior,
    Structure,
    Term,
    least_squares,
    log_likelihood,
    summarise,
    summarise_stream,
)
from hierjax.linalg.structure import worth_crossing

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "reference"
REPEATS = 200
LONGEST = 20.0  # seconds of repeats per data set, once there are five


@dataclasses.dataclass(frozen=True)
class Problem:
    """One data set: its file, response, column of X beside the intercept, factors, parents."""

    file: str
    response: str
    column: str | None
    factors: tuple[str, ...]
    slopes: bool = True
    parents: dict[str, str] = dataclasses.field(default_factory=dict)


def _crossed(name: str, factors: tuple[str, ...] = ("A", "B")) -> Problem:
    return Problem(f"crossed_{name}.csv.gz", "y", "x", factors)


PROBLEMS = {
    "radon_mn": Problem("radon_mn.csv", "log_radon", "floor", ("county",)),
    "chem97": Problem(
        "chem97.csv.gz", "score", "gcsecnt", ("school", "lea"), False, {"school": "lea"}
    ),
    "pastes": Problem(
        "pastes.csv", "strength", None, ("sample", "batch"), False, {"sample": "batch"}
    ),
    "penicillin": Problem("penicillin.csv", "diameter", None, ("plate", "sample"), False),
    "mandarin": _crossed("mandarin"),
    "dutch": _crossed("dutch"),
    "english": _crossed("english"),
    "gg05": _crossed("gg05", ("A", "B", "C")),
    "dillonE1": _crossed("dillonE1"),
    "eeg": _crossed("eeg"),
}
INSTEVAL = Problem("insteval.csv.gz", "y", "service", ("s", "d"), False)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Arrays of one data set on the host."""

    structure: Structure
    response: np.ndarray
    terms: tuple[Term, ...]
    columns: np.ndarray


def read(problem: Problem) -> Rows:
    """Read a data set of the reference folder."""
    import pandas as pd

    frame = pd.read_csv(FOLDER / "csv" / problem.file)
    one = np.ones(len(frame))
    names = [problem.column] if problem.column else []
    columns = np.stack([one, *(np.asarray(frame[name], float) for name in names)], axis=1)
    factors, terms = [], []
    for name in problem.factors:
        index, labels = encode(frame[name])
        design = columns if problem.slopes else columns[:, :1]
        parent = problem.parents.get(name)
        factors.append(Factor(name, len(labels), design.shape[1], parent))
        terms.append(Term(index, np.ascontiguousarray(design)))
    structure = Structure(tuple(factors), columns.shape[1])
    return Rows(structure, np.asarray(frame[problem.response], float), tuple(terms), columns)


def hyper_size(structure: Structure) -> int:
    """Count the hyperparameters: log sds and correlation per factor, log sigma."""
    return 1 + sum(2 * factor.effects - 1 for factor in structure.factors)


def unpack(structure: Structure, point: jax.Array) -> tuple[list[jax.Array], jax.Array, jax.Array]:
    """Scales (q, q) per factor, sigma, and the log prior of the unconstrained point."""
    scales, start, log_prior = [], 1, -0.5 * jnp.exp(2.0 * point[0]) / 25.0 + point[0]
    for factor in structure.factors:
        sd = jnp.exp(point[start : start + factor.effects])
        log_prior += jnp.sum(-0.5 * sd**2 / 25.0 + jnp.log(sd))
        start += factor.effects
        if factor.effects == 1:
            scales.append(sd[:, None])
            continue
        correlation = jnp.tanh(point[start])
        rest = jnp.sqrt(1.0 - correlation**2)
        log_prior += 4.0 * jnp.log(rest)  # LKJ(2) and the Jacobian of tanh
        start += 1
        zero = jnp.zeros(())
        scales.append(
            jnp.stack([jnp.stack([sd[0], zero]), jnp.stack([sd[1] * correlation, sd[1] * rest])])
        )
    return scales, jnp.exp(point[0]), log_prior


COLUMN_SCALE = 10.0


def integrated(structure: Structure) -> Callable[..., jax.Array]:
    """Log density of hyperparameters, effects and coefficients integrated out."""

    def density(point: jax.Array, statistics: Any) -> jax.Array:
        scales, sigma, log_prior = unpack(structure, point)
        column_scale = jnp.full(structure.columns, COLUMN_SCALE)
        return log_prior + log_likelihood(statistics, Prior(tuple(scales), column_scale), sigma)

    return density


def joint(structure: Structure) -> Callable[..., jax.Array]:
    """Log density of hyperparameters, coefficients and standardised effects, by hand."""

    def density(point: jax.Array, rows: tuple[Any, ...]) -> jax.Array:
        response, indexes, designs, columns = rows
        scales, sigma, log_density = unpack(structure, point)
        start = hyper_size(structure)
        beta = point[start : start + structure.columns]
        start += structure.columns
        log_density += jnp.sum(-0.5 * (beta / COLUMN_SCALE) ** 2)
        mean = columns @ beta
        for factor, scale, index, design in zip(
            structure.factors, scales, indexes, designs, strict=True
        ):
            white = point[start : start + factor.size].reshape(factor.groups, factor.effects)
            start += factor.size
            log_density += jnp.sum(-0.5 * white**2)
            mean += jnp.sum(design * (white @ scale.T)[index], axis=1)
        standardised = (response - mean) / sigma
        return log_density - 0.5 * jnp.sum(standardised**2) - len(response) * jnp.log(sigma)

    return density


def looped(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """Evaluate `function(point, data)` `steps` times, each at a slightly different point."""

    def run(point: jax.Array, data: Any) -> jax.Array:
        def step(_: int, point: jax.Array) -> jax.Array:
            return point + 1e-12 * function(point, data)

        return jax.lax.fori_loop(0, steps, step, point)

    return jax.jit(run)


def alternate(
    sides: dict[str, tuple[Callable[..., Any], Any, Any]], seconds: float = 0.002
) -> dict[str, float]:
    """Least seconds per evaluation of each side `(function, point, data)`, taken in turns."""
    ready = {}
    for name, (function, point, data) in sides.items():
        once = looped(function, 10)
        once(point, data).block_until_ready()
        started = time.perf_counter()
        once(point, data).block_until_ready()
        steps = int(np.clip(10 * seconds / (time.perf_counter() - started), 2, 1000))
        ready[name] = (looped(function, steps), steps, point, data)
        ready[name][0](point, data).block_until_ready()
    best = dict.fromkeys(sides, np.inf)
    deadline = time.perf_counter() + LONGEST
    for repeat in range(REPEATS):
        if repeat >= 5 and time.perf_counter() > deadline:
            break
        for name, (run, steps, point, data) in ready.items():
            started = time.perf_counter()
            run(point, data).block_until_ready()
            best[name] = min(best[name], (time.perf_counter() - started) / steps)
    return best


def sides_of(rows: Rows) -> dict[str, tuple[Callable[..., Any], Any, Any]]:
    """Value, gradient and joint gradient of one data set."""
    structure = rows.structure
    arrays = (rows.response, [t.index for t in rows.terms], [t.design for t in rows.terms])
    data = jax.device_put((*arrays, rows.columns))
    statistics = statistics_of(rows)
    rng = np.random.default_rng(0)
    point = jnp.asarray(0.3 * rng.normal(size=hyper_size(structure)))
    size = sum(factor.size for factor in structure.factors) + structure.columns
    wide = jnp.concatenate([point, jnp.asarray(rng.normal(size=size))])
    return {
        "value": (integrated(structure), point, statistics),
        "gradient": (jax.grad(integrated(structure)), point, statistics),
        "joint": (jax.grad(joint(structure)), wide, data),
    }


def statistics_of(rows: Rows) -> Any:
    """Sum a data set once."""
    origin = least_squares(rows.response, rows.columns)
    return summarise_stream(rows.structure, rows.response, rows.terms, rows.columns, origin=origin)


def summed(rows: Rows) -> Any:
    """Sum a data set in one compiled program, cell by cell if its structure says so."""
    structure, origin = rows.structure, least_squares(rows.response, rows.columns)

    @jax.jit
    def run(response: Any, terms: Any, columns: Any) -> Any:
        return summarise(structure, response, terms, columns, origin=origin)

    return run(rows.response, rows.terms, rows.columns)


def report(names: list[str]) -> None:
    """Print a line for each data set."""
    print(
        f"{'data set':12} {'rows':>6} {'dense':>5} {'value':>8} {'gradient':>8} {'joint':>8} ratio"
    )
    for name in names:
        rows = read(PROBLEMS[name])
        found = alternate(sides_of(rows))
        value, gradient, joint_gradient = (1e6 * found[k] for k in ("value", "gradient", "joint"))
        print(
            f"{name:12} {len(rows.response):6} {rows.structure.rest_size:5} {value:8.1f} "
            f"{gradient:8.1f} {joint_gradient:8.1f} {gradient / joint_gradient:5.2f}",
            flush=True,
        )


def report_rows(sizes: tuple[int, ...] = (1_000, 100_000, 10_000_000)) -> None:
    """Print set-up seconds, peak memory and the time of one gradient against the rows."""
    print(f"{'rows':>10} {'set-up s':>9} {'peak MB':>8} {'gradient us':>11}")
    for size in sizes:
        rng = np.random.default_rng(1)
        design = np.stack([np.ones(size), rng.normal(size=size)], axis=1)
        index = (np.arange(size) % 100).astype(np.int32)
        structure = Structure((Factor("g", 100, 2),), columns=2)
        rows = Rows(structure, rng.normal(size=size), (Term(index, design),), design)
        started = time.perf_counter()
        statistics = jax.block_until_ready(statistics_of(rows))
        setup = time.perf_counter() - started
        point = jnp.zeros(hyper_size(structure))
        gradient = jax.grad(integrated(structure))
        best = alternate({"gradient": (gradient, point, statistics)})["gradient"]
        print(f"{size:10} {setup:9.2f} {_peak_megabytes():8.0f} {1e6 * best:11.1f}", flush=True)


def report_formula_rows(size: int) -> None:
    """Print what it takes from a data frame of many rows to a gradient of its formula model."""
    import pandas as pd

    import hierjax
    from hierjax.arguments import Arguments
    from hierjax.density import make_density

    rng = np.random.default_rng(1)
    group, x = rng.integers(0, 100, size), rng.normal(size=size)
    y = 1.0 + 0.5 * x + rng.normal(size=100)[group] + rng.normal(size=size)
    labels = pd.Categorical.from_codes(group, [str(number) for number in range(100)])
    frame = pd.DataFrame({"y": y, "x": x, "g": labels})
    print(f"{size} rows; frame in memory: {_peak_megabytes():.0f} MB")
    started = time.perf_counter()
    model = hierjax.formula("y ~ x + (1 + x | g)", frame)
    print(f"model {time.perf_counter() - started:.1f} s, {_peak_megabytes():.0f} MB")
    started = time.perf_counter()
    function = hierjax.integrate(model.fn, data=model.data)
    data = function.prepare(model.data)
    print(f"structure and sums {time.perf_counter() - started:.1f} s, {_peak_megabytes():.0f} MB")
    arguments = Arguments.of(data)
    density = make_density(function, arguments, data)
    point, arrays = jnp.zeros(density.size), arguments.arrays(data)
    best = alternate({"gradient": (jax.grad(density.log_density), point, arrays)})["gradient"]
    print(f"gradient {1e6 * best:.1f} us, {_peak_megabytes():.0f} MB")


def report_insteval(kept: str) -> None:
    """Print value and gradient of InstEval, and the log-likelihood at lme4's estimate."""
    rows = read(INSTEVAL)
    if kept == "cells":
        crossing = worth_crossing(rows.structure, [term.index for term in rows.terms])
        rows = dataclasses.replace(
            rows, structure=dataclasses.replace(rows.structure, crossing=crossing)
        )
        print(f"by cells: {crossing}")
    before, started = _peak_megabytes(), time.perf_counter()
    statistics = jax.block_until_ready(summed(rows))
    print(f"set-up {time.perf_counter() - started:.2f} s; {before:.0f} MB before")
    point = jnp.zeros(hyper_size(rows.structure))
    density = integrated(rows.structure)
    best = alternate(
        {"value": (density, point, statistics), "gradient": (jax.grad(density), point, statistics)}
    )
    print(f"value {1e3 * best['value']:.1f} ms, gradient {1e3 * best['gradient']:.1f} ms")
    print(f"peak memory {_peak_megabytes():.0f} MB")
    answer = json.loads((FOLDER / "lme4.json").read_text())["insteval"]["fits"]["ML"]
    structure = dataclasses.replace(statistics.structure, fixed="ml")
    statistics = dataclasses.replace(statistics, structure=structure)
    sds = (answer["sdcor"]["s|(Intercept)|"], answer["sdcor"]["d|(Intercept)|"])
    prior = Prior(tuple(jnp.full((1, 1), sd) for sd in sds))
    found = float(jax.jit(log_likelihood)(statistics, prior, answer["sigma"]))
    print(f"ML log-likelihood {found:.6f}, lme4 {answer['loglik']:.6f}")


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROBLEMS))
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--formula-rows", type=float, metavar="ROWS")
    parser.add_argument("--insteval", choices=("cells", "dense"))
    arguments = parser.parse_args()
    todo: list[Callable[[], None]] = []
    todo += [report_rows] if arguments.rows else []
    if arguments.formula_rows:
        todo.append(functools.partial(report_formula_rows, int(arguments.formula_rows)))
    if arguments.insteval:
        todo.append(functools.partial(report_insteval, arguments.insteval))
    if arguments.names or not todo:
        todo.insert(0, functools.partial(report, arguments.names or list(PROBLEMS)))
    with jax.enable_x64(True):
        for task in todo:
            task()


if __name__ == "__main__":
    main()
