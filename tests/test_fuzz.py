"""Input made at random: an answer that is right, or an error of ours; never another traceback."""

import datetime
import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hierjax as hj
from hierjax import ragged
from hierjax.batch.plan import find_padding
from hierjax.cli_priors import read_priors
from hierjax.cli_table import read_table
from hierjax.errors import FileError, HierjaxError
from hierjax.groups import check_index, group_sum, take
from tests import models
from tests.batch.cases import ragged as some_of_each
from tests.batch.cases import rows_data, varying_intercepts

pytestmark = pytest.mark.faults
MANY = settings(max_examples=200, deadline=None)
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

LABELS = st.one_of(
    st.text(max_size=3),
    st.integers(-5, 5),
    st.floats(-2, 2, width=16),
    st.booleans(),
    st.none(),
    st.just(float("nan")),
    st.just(pd.NA),
    st.dates(datetime.date(1990, 1, 1), datetime.date(1990, 1, 5)),
    st.tuples(st.integers(0, 1)),
)
ONE_KIND = st.sampled_from([st.text(max_size=2), st.integers(-9, 9), st.booleans()]).flatmap(
    lambda kind: st.lists(kind, max_size=12)
)


@MANY
@given(st.one_of(ONE_KIND, st.lists(LABELS, max_size=12)), st.sampled_from([list, pd.Series]))
def test_labels_are_encoded_or_refused(values, container):
    given_values = container(values) if container is list else pd.Series(values, dtype=object)
    try:
        index, labels = hj.encode(given_values)
    except HierjaxError as error:
        assert len(str(error)) > 20
        return
    assert index.dtype == np.int32
    assert [labels[place] for place in index] == values
    assert sorted(labels) == list(labels)


INDEXES = st.sampled_from([(1, 1), (7, 3), (30, 9), (30, 40)]).flatmap(
    lambda sizes: st.tuples(
        st.just(sizes[1]),
        st.lists(st.integers(-1, sizes[1]), min_size=sizes[0], max_size=sizes[0]),
    )
)


@FEW
@given(INDEXES, st.integers(0, 2**31))
def test_groups_are_summed_as_by_a_loop_or_refused(indexes, seed):
    num_groups, index = indexes[0], np.array(indexes[1])
    values = np.random.default_rng(seed).normal(size=(len(index), 2)).astype(np.float32)
    if index.min() < 0 or index.max() >= num_groups:
        with pytest.raises(HierjaxError, match="entries outside"):
            check_index(index, num_groups)
        return
    check_index(index, num_groups)
    expected = np.zeros((num_groups, 2))
    for row, group in enumerate(index):
        expected[group] += values[row]
    found = np.asarray(group_sum(values, index, num_groups))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(take(found, index)), found[index])


@MANY
@given(st.integers(1, 3).flatmap(
    lambda axes: st.lists(st.tuples(*[st.integers(1, 5000)] * axes), min_size=1, max_size=60)
))  # fmt: skip
def test_every_data_set_is_in_one_bucket_that_holds_it(sizes):
    found = ragged.buckets(sizes)
    assert sorted(place for places in found.values() for place in places) == list(range(len(sizes)))
    assert len(found) <= max(ragged.MOST_BUCKETS, 1)
    for padded, places in found.items():
        for place in places:
            assert all(np.array(padded) >= np.array(sizes[place]))
    for axis, column in enumerate(zip(*sizes, strict=True)):
        if len(set(column)) == 1:
            assert {padded[axis] for padded in found} == {column[0]}


PADDING = find_padding(varying_intercepts, some_of_each(rows_data))


@MANY
@given(
    st.integers(0, 99), st.integers(1, 20), st.integers(1, 60), st.integers(0, 9), st.integers(0, 9)
)
def test_padded_data_begin_with_the_data(seed, groups, rows, more_groups, more_rows):
    data = rows_data(seed, groups, rows)
    assert PADDING.sizes(data) == (groups, rows)
    padded = PADDING.apply(data, (groups + more_groups, rows + more_rows))
    assert padded["hierjax_sizes"].tolist() == [groups, rows]
    assert padded["num_groups"] == groups + more_groups
    for name in ("y", "x", "group"):
        assert len(padded[name]) == rows + more_rows
        np.testing.assert_array_equal(padded[name][:rows], data[name])
    assert np.isfinite(padded["y"]).all()
    assert 0 <= padded["group"].min() <= padded["group"].max() < groups + more_groups


SUFFIXES = st.sampled_from([".csv", ".csv.gz", ".parquet", ".CSV"])
CELLS = st.text(alphabet='ab1.,";\n\t\x00é-e', max_size=60)


@FEW
@given(
    st.one_of(st.binary(max_size=300), CELLS.map(str.encode)),
    SUFFIXES,
    st.booleans(),
    st.integers(0, 12),
    st.integers(0, 255),
)
def test_any_file_is_a_table_or_is_refused(tmp_path, content, suffix, zipped, cut, flipped):
    path = tmp_path / f"table{suffix}"
    content = bytearray(gzip.compress(content) if zipped else content)
    content = content[: len(content) - cut]
    if content:
        content[len(content) // 2] ^= flipped
    path.write_bytes(content)
    try:
        table = read_table(str(path))
    except FileError as error:
        assert str(path) in str(error)
    else:
        assert isinstance(table, pd.DataFrame)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = hj.Model(models.eight_schools, {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA})
    fit = hj.fit(model, method=hj.Laplace(draws=20), progress=False)
    path = fit.save(tmp_path_factory.mktemp("saved") / "fit.nc")
    return path, path.read_bytes(), model


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "insert", "delete"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=30),
    ),
    min_size=1,
    max_size=3,
)


@FEW
@given(CHANGES)
def test_a_changed_posterior_file_is_refused(saved, tmp_path, changes):
    _, whole, model = saved
    content = bytearray(whole)
    for kind, place, piece in changes:
        start = int(place * len(content))
        end = start if kind == "insert" else start + len(piece)
        content[start:end] = b"" if kind == "delete" else piece
    path = tmp_path / "changed.nc"
    path.write_bytes(content)
    if bytes(content) == whole:
        return
    with pytest.raises(FileError):
        hj.load(path, model)


@FEW
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89HDF\r\n\x1a\n", b"CDF\x01"]))
def test_any_file_that_is_no_posterior_is_refused(tmp_path, content, start):
    path = tmp_path / "other.nc"
    path.write_bytes(start + content)
    with pytest.raises(FileError):
        hj.load(path)


PIECES = st.sampled_from(
    ["b", "=", "Normal", "(", ")", ",", "0", "-1", "1e400", "Variance", "*", "**", "x", "'a'", "."]
)


@MANY
@given(st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=12).map("".join)))
def test_any_text_is_a_prior_or_is_refused(text):
    try:
        found = read_priors([text])
    except HierjaxError as error:
        assert "--prior" in str(error)
    else:
        assert len(found) == 1
