"""Every design is calibrated with every exact method for it: `pytest -m slow tests/calibration`."""

import dataclasses

import numpy as np
import pytest

import hierjax as hj
from benchmarks import calibration
from benchmarks.calibration import CASES, calibrate, row_of
from benchmarks.rows import load_rows

MOST_WITHOUT_RANKS = 0.02
ROWS = [(name, method) for name, case in CASES.items() for method in case.methods]


def test_every_design_is_a_case():
    assert {case.design for case in CASES.values()} == set(hj.library.MODELS)


def test_kept_rows_are_those_of_the_cases_and_of_the_page():
    rows = load_rows(calibration.RESULTS, calibration.Row)
    kept = [(row.case, row.method) for row in rows]
    assert kept == [each for each in ROWS if each in kept]
    assert calibration.table(rows) in calibration.PAGE.read_text()
    assert [row.case for row in rows if row.verdict != "calibrated"] == []


@pytest.mark.slow
@pytest.mark.parametrize(("case", "method"), ROWS)
def test_draws_are_calibrated(case, method):
    found = calibrate(case, method)
    assert all(finding.ok for finding in found.findings), str(found)
    assert found.not_ranked <= MOST_WITHOUT_RANKS * len(found.outcomes), str(found)


def changed(case, **data):
    """Another model to simulate from: some of the data of the case are others."""
    model = CASES[case].model()
    return dataclasses.replace(model, data={**model.data, **data})


PLANTED = {
    "wider prior of a mean": (
        "eight_schools",
        lambda: changed("eight_schools", mu_sd=np.asarray(12.0)),
        "mu",
    ),
    "sd of known errors": (
        "eight_schools",
        lambda: changed("eight_schools", sigma=1.6 * CASES["eight_schools"].model().data["sigma"]),
        "log likelihood",
    ),
    "inverse gamma of another scale": (
        "test_scores",
        lambda: changed("test_scores", tau2_scale=np.asarray(9.0)),
        "tau2",
    ),
    "slopes of other predictors": (
        "varying_slopes",
        lambda: changed(
            "varying_slopes", x=CASES["varying_slopes"].model().data["x"] * np.array([1.0, 1.7])
        ),
        "log joint density",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", PLANTED)
def test_planted_mistakes_are_found(what):
    case, simulator, where = PLANTED[what]
    found = calibrate(case, "auto", simulator())
    wrong = {finding.title for finding in found.findings if not finding.ok}
    assert where in wrong, str(found)
    row = row_of(case, "auto", found, 0.0)
    assert row.verdict != "calibrated"
    assert row.adjusted < 1e-3
