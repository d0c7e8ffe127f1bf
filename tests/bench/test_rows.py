"""Rows: what is measured of a run, what becomes of failures, and rows as lines of JSON."""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from hierjax.bench import row as rows_module
from hierjax.bench.measure import judge, measure
from hierjax.bench.references import Moment
from hierjax.bench.row import CostRow, FitRow, from_json, load_rows, to_json
from hierjax.bench.runner import Task, run_task
from hierjax.bench.tools.base import Answer
from hierjax.errors import FileError
from tests.bench.fakes import OPTIONS

ROOT = Path(__file__).resolve().parents[2]


def task(tool):
    return Task("fit", {"problem": "tiny", "tool": tool}, ("json", "nosuchpackage"), OPTIONS)


def measured(tool):
    """Measure in this process."""
    return measure({"task": "fit", "problem": "tiny", "tool": tool, **OPTIONS}, (0.5, 0.4))


def test_a_run_becomes_a_row():
    row = measured("good")
    assert row.status == "ok" and row.versions == {"fake": "1.0"}
    assert row.first_seconds >= 0.5 and row.first_cpu_seconds >= 0.4 and row.import_seconds == 0.5
    assert 500 < row.minimum_ess < 1200 and row.rhat < 1.02
    assert row.ess_parameter in ("a[0]", "a[1]", "cor_g[1, 0]")
    assert row.ess_per_thousand_gradients == pytest.approx(row.minimum_ess / 20)
    assert row.ess_per_cpu_second == row.minimum_ess / row.run_cpu_seconds
    assert (row.divergences, row.device, row.precision) == (1, "cpu", "float64")
    assert row.peak_mb >= row.start_mb > 10


@pytest.mark.parametrize(
    ("tool", "status", "message"),
    [
        ("error", "failed", "ValueError: no | way"),
        ("nan", "failed", "ValueError: draws of a[0] are not finite"),
        ("not installed", "not installed", "pip install it"),
        ("not expressible", "cannot express it", "no such thing"),
    ],
)
def test_what_fails_stays_as_a_row(tool, status, message):
    row = measured(tool)
    assert (row.problem, row.tool, row.status, row.message) == ("tiny", tool, status, message)
    assert math.isnan(row.minimum_ess)


def test_an_estimate_has_no_effective_draws():
    row = measured("estimate")
    assert row.estimate and row.status == "ok"
    assert math.isnan(row.minimum_ess) and math.isnan(row.rhat)


def test_errors_are_in_standard_deviations_of_the_reference():
    values = np.random.default_rng(0).normal(size=(2, 500))
    values -= values.mean()
    answer = Answer({"a": values + 4.0, "b": values})
    expected = {"a": Moment(3.0, 2.0, 0.0), "b": Moment(0.1, 1.0, 0.0)}
    row = judge(FitRow("p", "t"), answer, expected)
    assert (row.error_sds, row.error_parameter) == (0.5, "a")
    with pytest.raises(ValueError, match="no draws of c"):
        judge(FitRow("p", "t"), answer, {"c": Moment(0.0, 1.0, 0.0)})


def test_weighted_draws_are_worth_what_their_weights_are():
    answer = Answer({"a": np.random.default_rng(0).normal(size=(1, 2000))}, worth=123.0)
    row = judge(FitRow("p", "t"), answer, {})
    assert row.minimum_ess == 123.0 and math.isnan(row.rhat) and math.isnan(row.error_sds)


def test_chains_that_disagree_are_seen():
    values = np.random.default_rng(0).normal(size=(4, 200)) + np.arange(4.0)[:, None]
    row = judge(FitRow("p", "t"), Answer({"a": values, "b": values[::-1] * 0 + 1.0}), {})
    assert row.rhat > 1.5 and row.rhat_parameter == "a"
    assert (row.minimum_ess, row.ess_parameter) == (0.0, "b")  # it never moved


ROWS = [
    FitRow("tiny", "good", versions={"jax": "1"}, minimum_ess=12.5, divergences=0, note='a "b"'),
    FitRow("tiny", "bad", status="failed", message="no | way"),
    CostRow("batch", "hierjax", sets=10, cpu_seconds=2.0),
    CostRow("gradient", "centred", rows=100, groups=8, status="timeout"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_come_back_from_json(row):
    line = to_json(row)
    assert "NaN" not in line and "\n" not in line
    json.loads(line)
    back = from_json(line)
    for field in dataclasses.fields(row):
        np.testing.assert_equal(getattr(back, field.name), getattr(row, field.name))


def test_a_file_of_other_things_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{to_json(row)}\n" for row in ROWS))
    assert [type(row) for row in load_rows(path)] == [FitRow, FitRow, CostRow, CostRow]
    assert len(rows_module.costs(load_rows(path), "batch")) == 1
    path.write_text('{"task": "fit", "colour": 3}\n')
    with pytest.raises(FileError, match="no file of benchmark rows"):
        load_rows(path)
    with pytest.raises(FileError, match="cannot be read"):
        load_rows(tmp_path / "nowhere.jsonl")


@pytest.fixture
def importable(monkeypatch):
    """Let children import the fakes."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def test_a_row_is_measured_in_a_process_of_its_own(importable):
    row = run_task(task("good"), 120.0)
    assert row.status == "ok", row.message
    assert row.minimum_ess == measured("good").minimum_ess


def test_a_row_that_hangs_is_ended_with_what_it_started(importable):
    row = run_task(task("hang"), 1.0)
    assert (row.status, row.message) == ("timeout", "not done in 1 s")


def test_a_process_that_dies_is_a_row(importable):
    row = run_task(task("crash"), 120.0)
    assert (row.status, row.message) == ("failed", "ended by signal SIGKILL")
