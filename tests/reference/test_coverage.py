"""Every file and entry of the reference folder is compared with something, or excluded by name."""

import pytest

from tests.helpers import REFERENCE_FOLDER, reference, reference_json
from tests.infer.test_lme4 import TABLE
from tests.reference.expected import EXACT, PUBLISHED
from tests.reference.frequentist import FREQUENTIST, compared_entries
from tests.reference.table import EXCLUDED, ROWS

LME4 = "lme4.json"


def answers():
    """Every answer of the folder: a posterior's folder, or file:entry, or a file."""
    reference("README.md")
    found = set()
    for path in REFERENCE_FOLDER.rglob("*"):
        place = path.relative_to(REFERENCE_FOLDER)
        if path.is_file():
            found |= entries(place.as_posix(), place.parts)
    return found


def entries(place, parts):
    """Split a file into the answers in it."""
    if parts[0] == "csv":
        return {"csv"}
    if parts[0] in ("bayes", "posteriordb"):
        return {"/".join(parts[:2])}
    if place in (PUBLISHED, FREQUENTIST):
        table = reference_json(place)
        return {
            f"{place}:{name}[{i}]"
            for name, rows in table.items()
            if not name.startswith("_")
            for i in range(len(rows))
        }
    if place == EXACT:
        return {f"{place}:{name}" for name in reference_json(place) if not name.startswith("_")}
    if place == LME4:
        fits = reference_json(place)
        return {f"{place}:{name} {kind}" for name, row in fits.items() for kind in row["fits"]}
    return {place}


def compared():
    """Every answer that a test compares something with."""
    posteriors = {str(source) for row in ROWS.values() for source in row.sources}
    lme4 = {f"{LME4}:{row.values[0]} {row.values[1]}" for row in TABLE}
    return posteriors | lme4 | compared_entries()


def test_every_answer_is_compared_or_excluded():
    assert answers() - compared() - set(EXCLUDED) == set()


def test_nothing_is_excluded_that_is_compared_or_is_not_there():
    assert set(EXCLUDED) & compared() == set()
    assert set(EXCLUDED) <= answers()
    assert compared() <= answers()


@pytest.mark.parametrize("name", ROWS)
def test_a_method_is_compared_or_absent_for_a_reason(name):
    row = ROWS[name]
    assert {*row.methods, *row.absent} == {"nuts", "laplace", "gibbs"}
    assert all(row.absent.values())
    for source in row.sources:
        assert bool(source.left_out) == bool(source.because)
        assert set(source.left_out) <= set(source.everything())


def test_a_new_file_would_be_noticed(tmp_path, monkeypatch):
    reference("README.md")
    monkeypatch.setattr("tests.reference.test_coverage.REFERENCE_FOLDER", tmp_path)
    (tmp_path / "bayes" / "new").mkdir(parents=True)
    (tmp_path / "bayes" / "new" / "info.json").write_text("{}")
    (tmp_path / "new.json").write_text("{}")
    assert answers() - compared() - set(EXCLUDED) == {"bayes/new", "new.json"}
