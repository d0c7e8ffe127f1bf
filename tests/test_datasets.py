"""Packaged data: the files are those of the table, and every column has its type and meaning."""

import dataclasses
import importlib.resources

import numpy as np
import pandas as pd
import pytest

from hierjax.datasets import DATASETS, datasets, load_data
from hierjax.errors import FileError, UnknownDatasetError
from tests.helpers import reference

# Our name -> file of the reference folder that it must agree with, column by column. The others are
# not there, or in another form.
REFERENCE_FILES = {
    "radon": "radon_mn.csv",
    "eight_schools": "eight_schools.csv",
    "sleepstudy": "sleepstudy.csv",
    "cbpp": "cbpp.csv",
    "grouseticks": "grouseticks.csv",
    "penicillin": "penicillin.csv",
    "pastes": "pastes.csv",
    "dyestuff": "dyestuff.csv",
    "chem97": "chem97.csv.gz",
    "bcg": "meta_bcg.csv",
    "surgical": "surgical.csv",
    "baseball": "bball1970.csv",
    "pumps": "pumps.csv",
    "hsb82": "hsb82.csv",
    "verbagg": "verbagg.csv.gz",
}

# Group -> number of groups, and pairs (inner, outer) that nest, as published with each data set.
GROUPS = {
    "radon": {"county": 85},
    "eight_schools": {"school": 8},
    "sleepstudy": {"Subject": 18},
    "cbpp": {"herd": 15, "period": 4},
    "grouseticks": {"INDEX": 403, "BROOD": 118, "LOCATION": 63, "YEAR": 3},
    "penicillin": {"plate": 24, "sample": 6},
    "pastes": {"batch": 10, "cask": 3, "sample": 30},
    "dyestuff": {"Batch": 6},
    "chem97": {"lea": 131, "school": 2410},
    "bcg": {"trial": 13, "alloc": 3},
    "surgical": {"hospital": 12},
    "baseball": {"Player": 18},
    "pumps": {"pump": 10},
    "sarcoma": {"subtype": 10},
    "clinics": {"clinic": 8},
    "blockers": {"trial": 22},
    "btheb": {"patient": 97, "treatment": 2},
    "hsb82": {"school": 160, "sector": 2},
    "verbagg": {"id": 316, "item": 24, "r2": 2},
    "margarine": {"hhid": 516, "choice": 10},
    "cheese": {"retailer": 88, "market": 46},
    "dune": {"site": 20, "species": 30},
    "salamanders": {"site": 23, "spp": 7, "mined": 2},
    "california_schools": {"county": 57, "type": 3},
    "austen": {"novel": 6, "chapter": 269, "word": 150},
}
NESTED = [
    ("grouseticks", "BROOD", "LOCATION"),
    ("pastes", "sample", "batch"),
    ("chem97", "school", "lea"),
    ("btheb", "patient", "treatment"),
    ("hsb82", "school", "sector"),
    ("cheese", "retailer", "market"),
    ("salamanders", "site", "mined"),
    ("austen", "chapter", "novel"),
]


@pytest.mark.parametrize("name", DATASETS)
def test_frame_is_what_the_table_says(name):
    row, frame = DATASETS[name], load_data(name)
    assert list(frame.columns) == list(row.columns)
    assert len(frame) == row.rows
    assert not frame.isna().any(axis=None)
    for column, (kind, meaning) in row.columns.items():
        assert all(isinstance(value, str) == (kind is str) for value in frame[column]), column
        if kind is str:
            assert (frame[column] != "").all(), column
        else:
            assert frame[column].dtype.kind == {int: "i", float: "f"}[kind], column
            assert np.isfinite(frame[column]).all(), column
        assert meaning


@pytest.mark.parametrize("name", DATASETS)
def test_attributes_state_where_the_data_come_from(name):
    attributes = load_data(name).attrs
    assert set(attributes) == {"source", "licence", "description", "columns", "citation"}
    assert all(attributes.values())
    assert list(attributes["columns"]) == list(load_data(name).columns)
    assert "github" not in attributes["source"].lower()


@pytest.mark.parametrize("name", DATASETS)
def test_number_of_groups(name):
    frame = load_data(name)
    assert {group: frame[group].nunique() for group in GROUPS[name]} == GROUPS[name]


@pytest.mark.parametrize(("name", "inner", "outer"), NESTED)
def test_nesting(name, inner, outer):
    assert load_data(name).groupby(inner)[outer].nunique().max() == 1


@pytest.mark.parametrize("name", REFERENCE_FILES)
def test_agrees_with_the_reference_folder(name):

    expected = pd.read_csv(
        reference(f"csv/{REFERENCE_FILES[name]}"), dtype=str, keep_default_na=False
    )
    frame = load_data(name)
    for column in expected:
        if DATASETS[name].columns[column][0] is str:
            assert list(frame[column]) == list(expected[column])
        else:
            numbers = expected[column].astype(float)
            np.testing.assert_allclose(frame[column], numbers, rtol=1e-12, atol=1e-12)


def test_trials_of_beta_blockers_are_those_of_the_bugs_book():
    expected = pd.read_csv(reference("csv/blockers.csv")).to_numpy()[:, 1:]
    np.testing.assert_array_equal(load_data("blockers").to_numpy()[:, 1:].astype(int), expected)


def test_margarine_is_its_two_tables_joined():
    choices = pd.read_csv(reference("csv/margarine_choice.csv"))
    households = pd.read_csv(reference("csv/margarine_demos.csv"))
    frame, brands = load_data("margarine"), list(choices.columns[2:])
    np.testing.assert_array_equal(frame["hhid"].astype(int), choices["hhid"])
    assert [f"P{brand}" for brand in frame["choice"]] == [brands[k - 1] for k in choices["choice"]]
    np.testing.assert_array_equal(frame.iloc[:, 2:12], choices[brands])
    joined = choices[["hhid"]].merge(households, on="hhid")
    np.testing.assert_array_equal(frame.iloc[:, 12:], joined.iloc[:, 1:])


def test_dune_is_a_table_of_sites_and_species():
    expected = pd.read_csv(reference("csv/dune.csv"), dtype={"site": str}).set_index("site")
    table = load_data("dune").pivot(index="site", columns="species", values="cover")
    pd.testing.assert_frame_equal(
        table.loc[expected.index], expected[table.columns], check_names=False, check_dtype=False
    )


def test_every_visit_to_a_stream_counts_every_species():
    assert (load_data("salamanders").groupby(["site", "spp"])["sample"].nunique() == 4).all()


def test_samples_of_schools_have_their_sizes():
    schools = load_data("california_schools")
    assert schools["random"].sum() == 200
    drawn = schools[schools["stratified"] == 1].groupby("type").size()
    assert drawn.to_dict() == {"E": 100, "M": 50, "H": 50}


def test_imatinib_trial_has_its_published_totals():
    frame = load_data("sarcoma")
    assert (frame["patients"].sum(), frame["responses"].sum()) == (179, 28)


def test_clinics_have_their_published_totals():
    totals = load_data("clinics").sum(numeric_only=True)
    assert totals.to_dict() == {"cured": 55, "treated": 130, "control_cured": 47, "control": 143}


def test_bcg_effects_follow_from_the_counts():
    frame = load_data("bcg")
    vaccinated, control = frame.tpos + frame.tneg, frame.cpos + frame.cneg
    yi = np.log(frame.tpos / vaccinated) - np.log(frame.cpos / control)
    variance = 1 / frame.tpos - 1 / vaccinated + 1 / frame.cpos - 1 / control
    np.testing.assert_allclose(frame.yi, yi, rtol=1e-12)
    np.testing.assert_allclose(frame.sei, np.sqrt(variance), rtol=1e-12)


def test_radon_scales_follow_from_the_activity():
    frame = load_data("radon")
    np.testing.assert_allclose(frame.log_radon, np.log(frame.activity + 0.1), atol=1e-10)
    zero_replaced = np.log(frame.activity.where(frame.activity > 0, 0.1))
    np.testing.assert_allclose(frame.log_radon_gh, zero_replaced, atol=1e-10)
    means = frame.groupby("county").floor.transform("mean")
    np.testing.assert_allclose(frame.floor_by_county, means, atol=1e-10)


def test_table_lists_every_data_set():
    table = datasets()
    assert list(table.columns) == ["name", "rows", "structure", "source", "licence"]
    assert list(table["name"]) == list(DATASETS)


def test_every_packaged_file_has_a_row():
    folder = importlib.resources.files("hierjax") / "data"
    files = {path.name for path in folder.iterdir() if ".csv" in path.name}
    assert files == {row.file for row in DATASETS.values()}


def test_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownDatasetError, match=r"'raddon'.*Did you mean 'radon'\?"):
        load_data("raddon")
    with pytest.raises(UnknownDatasetError, match=r"'zzz'\. Packaged are radon, eight_schools"):
        load_data("zzz")


def test_no_name_lists_the_names():
    with pytest.raises(UnknownDatasetError, match=r"radon.*sleepstudy.*bcg"):
        load_data()


def test_changed_file_is_refused(monkeypatch):
    changed = dataclasses.replace(DATASETS["radon"], sha256="0" * 64)
    monkeypatch.setitem(DATASETS, "radon", changed)
    with pytest.raises(FileError, match=r"radon\.csv is damaged or was changed.*Reinstall"):
        load_data("radon")


def test_missing_file_is_named(monkeypatch):
    gone = dataclasses.replace(DATASETS["radon"], file="gone.csv")
    monkeypatch.setitem(DATASETS, "radon", gone)
    with pytest.raises(FileError, match=r"gone\.csv cannot be read"):
        load_data("radon")
