"""One row, measured in this process: everything that can go wrong becomes a row too."""

import dataclasses
import importlib
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np

from hierjax.bench.problems import Problem
from hierjax.bench.references import Moment, reference
from hierjax.bench.resources import Clock, own_peak_mb, peak_mb
from hierjax.bench.row import FAILED, NOT_EXPRESSIBLE, NOT_INSTALLED, CostRow, FitRow, Row
from hierjax.bench.scalars import scalar_draws, statistic
from hierjax.bench.tools.base import (
    Answer,
    NotExpressibleError,
    NotInstalledError,
    Settings,
    Tool,
)


def measure(task: Mapping[str, Any], imported: tuple[float, float]) -> Row:
    """Return the row of a task, as the runner writes it.

    Parameters
    ----------
    task
        "task" and what it takes: for "fit" names of problem and tool, where their tables are, seed
        and settings.
    imported
        Wall and CPU seconds of importing the tool.
    """
    if task["task"] == "fit":
        return measure_fit(task, imported)
    from hierjax.bench.batches import measure_batch
    from hierjax.bench.gradients import measure_gradient

    sizes = {"sets": task["sets"], "rows": task["rows"], "groups": task["groups"]}
    try:
        work = {"batch": measure_batch, "gradient": measure_gradient}[task["task"]]
        return work(task["tool"], **sizes)
    except Exception as error:
        return CostRow(
            task["task"], task["tool"], **sizes, status=FAILED, message=_told(error)
        )  # fmt: skip


def measure_fit(task: Mapping[str, Any], imported: tuple[float, float]) -> FitRow:
    """Fit one problem with one tool."""
    problem = _entry(task["problems"], task["problem"])
    tool = _entry(task["tools"], task["tool"])
    settings = Settings(**task["settings"])
    row = FitRow(task["problem"], task["tool"], settings=dataclasses.asdict(settings))
    try:
        row = dataclasses.replace(row, versions=tool.versions(), start_mb=round(own_peak_mb()))
        return _timed(row, problem, tool, settings, task["seed"], imported)
    except NotInstalledError as error:
        return dataclasses.replace(row, status=NOT_INSTALLED, message=str(error))
    except NotExpressibleError as error:
        return dataclasses.replace(row, status=NOT_EXPRESSIBLE, message=str(error))
    except Exception as error:
        traceback.print_exc()
        return dataclasses.replace(row, status=FAILED, message=_told(error))


def _entry(place: str, name: str) -> Any:
    """Return an entry of a table, given as "module:table"."""
    module, _, table = place.partition(":")
    return getattr(importlib.import_module(module), table)[name]


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def _timed(
    row: FitRow,
    problem: Problem,
    tool: Tool,
    settings: Settings,
    seed: int,
    imported: tuple[float, float],
) -> FitRow:
    table = problem.table()
    clock = Clock()
    run = tool.prepare(problem, table, settings)
    prepared = clock.read()
    clock = Clock()
    answer = run(table, seed)
    first = again = clock.read()
    if tool.compiles_in_run:
        clock = Clock()
        answer = run(table, seed)
        again = clock.read()
    # A second run can take longer than the first, which compiled, where others use the machine.
    compiled = [max(a + b - c, 0.0) for a, b, c in zip(prepared, first, again, strict=True)]
    answered = [a + b + c for a, b, c in zip(imported, prepared, first, strict=True)]
    row = dataclasses.replace(
        row,
        import_seconds=round(imported[0], 2),
        compile_seconds=round(compiled[0], 2),
        compile_cpu_seconds=round(compiled[1], 2),
        run_seconds=round(again[0], 4),
        run_cpu_seconds=round(again[1], 4),
        first_seconds=round(answered[0], 2),
        first_cpu_seconds=round(answered[1], 2),
        peak_mb=round(peak_mb()),
        device=_device(tool),
        precision=answer.precision,
        estimate=answer.estimate,
        divergences=answer.divergences,
        gradients=answer.gradients,
        note=answer.note,
    )
    return judge(row, answer, reference(row.problem))


def _device(tool: Tool) -> str:
    if {"hierjax", "numpyro"} & set(tool.imports):
        import jax

        return jax.devices()[0].device_kind
    return "cpu"


def judge(row: FitRow, answer: Answer, expected: Mapping[str, Moment]) -> FitRow:
    """Put into a row what its draws are worth and how far their means are from the reference.

    Raises
    ------
    ValueError
        Draws are not finite, or parameters of the reference are missing.
    """
    scalars = scalar_draws(answer.draws)
    for name, values in scalars.items():
        if not np.isfinite(values).all():
            raise ValueError(f"draws of {name} are not finite")
    found: dict[str, Any] = {}
    if expected:
        missing = sorted(set(expected) - set(scalars))
        if missing:
            raise ValueError(f"no draws of {', '.join(missing[:3])}")
        errors = {
            name: abs(float(np.mean(scalars[name])) - moment.mean) / moment.sd
            for name, moment in expected.items()
        }
        worst = max(errors, key=errors.__getitem__)
        found |= {"error_sds": round(errors[worst], 4), "error_parameter": worst}
    if not answer.estimate:
        sizes = {name: statistic("ess", x, method="bulk") for name, x in scalars.items()}
        worst = min(sizes, key=sizes.__getitem__)
        size = min(sizes[worst], answer.worth)
        found |= {"minimum_ess": round(size, 1), "ess_parameter": worst}
        if not np.isfinite(answer.worth):
            found |= _worst_rhat(scalars)
    return dataclasses.replace(row, **found)


def _worst_rhat(scalars: Mapping[str, np.ndarray]) -> dict[str, Any]:
    values = {name: statistic("rhat", x, method="rank") for name, x in scalars.items()}
    worst = max(values, key=values.__getitem__)
    return {"rhat": round(values[worst], 4), "rhat_parameter": worst}
