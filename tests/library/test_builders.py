"""Builders of the designs: data, labels and default priors; and every wrong input has its error."""

import jax
import numpy as np
import pandas as pd
import pytest

from hierjax import library
from hierjax.errors import (
    ColumnTypeError,
    DataError,
    EmptyDataError,
    GroupCountError,
    GroupIndexError,
    LengthError,
    MissingValueError,
    NonFiniteError,
    PriorError,
)
from hierjax.names import coordinates
from hierjax.trace import abstract_trace

Y = [1.0, 2.0, 4.0, 3.0]
X = [0.5, 1.0, 1.5, 2.0]
GROUP = ["b", "a", "b", "a"]


@pytest.mark.parametrize("name", library.MODELS)
def test_example_traces_and_blocks_name_its_sites(name):
    model = library.MODELS[name].example()
    trace = abstract_trace(model.fn, model.data)
    assert set(model.blocks) == {s.name for s in trace.sites.values() if s.kind == "latent"}
    assert model.name == name
    of_events = {dim for dims in model.dims.values() for dim in dims}
    for plate, labels in model.labels.items():
        assert plate in trace.plates or plate in of_events
        assert plate in of_events or trace.plates[plate].size == len(labels)
    assert coordinates(model)  # raises if labels of an event dimension have another length


@pytest.mark.parametrize("name", library.MODELS)
def test_prior_can_be_drawn_without_a_response(name):
    model = library.MODELS[name].example()
    site = abstract_trace(model.fn, dict(model.data) | {"y": None}).sites["y"]
    assert site.shape == model.data["y"].shape
    assert site.kind == "latent"


@pytest.mark.parametrize("name", library.MODELS)
def test_priors_are_data(name):
    """A float that reached the function as a static value would force a new program each time."""
    model = library.MODELS[name].example()
    for argument, value in model.data.items():
        leaves = jax.tree_util.tree_leaves(value)
        if argument.startswith("num_"):
            assert all(isinstance(leaf, int) for leaf in leaves)
        else:
            assert all(isinstance(leaf, np.ndarray) for leaf in leaves), argument


@pytest.mark.parametrize("group", [GROUP, np.array([7, 3, 7, 3]), pd.Series(GROUP, name="school")])
def test_groups_are_sorted_by_label(group):
    for model in (library.test_scores(Y, group), library.hierarchical_linear(Y, X, group)):
        assert list(model.labels["group"]) == sorted(set(group))
        np.testing.assert_array_equal(model.data["group"], [1, 0, 1, 0])
        assert model.data["num_groups"] == 2


def test_default_priors_scale_with_the_data():
    """In other units it is the same model: prior scales change by the ratio of units."""
    small = library.hierarchical_linear(Y, X, GROUP).data
    large = library.hierarchical_linear(10 * np.array(Y), 2 * np.array(X), GROUP).data
    assert large["sigma_sd"] == pytest.approx(10 * small["sigma_sd"])
    assert large["tau_sd"] == pytest.approx(5 * small["tau_sd"])
    assert large["gamma_sd"] == pytest.approx(5 * small["gamma_sd"])
    small = library.test_scores(Y, GROUP).data
    large = library.test_scores(10 * np.array(Y), GROUP).data
    assert large["sigma2_scale"] == pytest.approx(100 * small["sigma2_scale"])
    assert large["tau2_scale"] == pytest.approx(100 * small["tau2_scale"])
    assert large["mu_sd"] == pytest.approx(10 * small["mu_sd"])
    assert large["mu_mean"] == pytest.approx(10 * small["mu_mean"])


def test_given_priors_are_used():
    model = library.test_scores(
        Y, GROUP, mu_mean=50, mu_sd=5, sigma2_shape=2, sigma2_scale=3, tau2_shape=4, tau2_scale=6
    )
    given = {"mu_mean": 50, "mu_sd": 5, "sigma2_shape": 2, "sigma2_scale": 3}
    given |= {"tau2_shape": 4, "tau2_scale": 6}
    assert {name: float(model.data[name]) for name in given} == given
    model = library.hierarchical_linear(
        Y, X, GROUP, gamma_mean=-1, gamma_sd=2, tau_sd=3, sigma_sd=4
    )
    given = {"gamma_mean": -1, "gamma_sd": 2, "tau_sd": 3, "sigma_sd": 4}
    assert {name: float(model.data[name]) for name in given} == given
    model = library.eight_schools(Y, X, mu_sd=7, tau_scale=8)
    assert (float(model.data["mu_sd"]), float(model.data["tau_scale"])) == (7, 8)


def test_eight_schools_without_labels():
    assert library.eight_schools(Y, X).labels == {}


NAN, INFINITY = [1.0, np.nan, 4.0, 3.0], [1.0, 2.0, np.inf, 3.0]
WRONG = [
    (library.test_scores, ([], []), {}, EmptyDataError, "`y` is empty"),
    (library.test_scores, (NAN, GROUP), {}, MissingValueError, "`y` is missing in row 1;"),
    (library.test_scores, (INFINITY, GROUP), {}, NonFiniteError, "`y` is infinite in row 2;"),
    (library.test_scores, (list("abcd"), GROUP), {}, ColumnTypeError, "`y` must hold numbers"),
    (library.test_scores, ([Y], GROUP), {}, LengthError, r"shape \(1, 4\)"),
    (library.test_scores, ([2.0] * 4, GROUP), {}, DataError, "all scores are equal"),
    (library.test_scores, (Y, GROUP[:3]), {}, LengthError, r"`group` has shape \(3,\).*4 rows"),
    (
        library.test_scores,
        (Y, ["a", None, "b", "b"]),
        {},
        MissingValueError,
        "labels are missing .rows 1,",
    ),
    (library.test_scores, (Y, [0, 1, -1, 1]), {}, GroupIndexError, "negative in row 2;"),
    (library.test_scores, (Y, ["a"] * 4), {}, GroupCountError, "one group only"),
    (library.test_scores, (Y, list("abcd")), {}, GroupCountError, r"as many groups as rows \(4\)"),
    (library.test_scores, (Y, GROUP), {"mu_sd": 0}, PriorError, "`mu_sd`.*above zero; got 0"),
    (library.test_scores, (Y, GROUP), {"mu_mean": np.nan}, PriorError, "`mu_mean`.*finite number;"),
    (library.test_scores, (Y, GROUP), {"mu_sd": "wide"}, PriorError, "`mu_sd` must be a number"),
    (library.hierarchical_linear, (Y, X[:2], GROUP), {}, LengthError, "`x` has 2 rows.*4 of `y`"),
    (
        library.hierarchical_linear,
        (Y, NAN, GROUP),
        {},
        MissingValueError,
        "`x` is missing in row 1",
    ),
    (library.hierarchical_linear, (Y, [0] * 4, GROUP), {}, DataError, "`x` is zero in every row"),
    (library.hierarchical_linear, ([0] * 4, X, GROUP), {}, DataError, "`y` is zero in every row"),
    (library.eight_schools, (Y, X[:3]), {}, LengthError, "`sigma` has 3 rows"),
    (library.eight_schools, (Y, [1, 0, 1, -1]), {}, DataError, "`sigma`.*not in rows 1, 3"),
    (library.eight_schools, ([1.0], [1.0]), {}, GroupCountError, "one school only"),
    (library.eight_schools, (Y, X), {"labels": ["A"]}, LengthError, "`labels` has 1 names"),
    (library.eight_schools, (Y, X), {"tau_scale": -1}, PriorError, "`tau_scale`.*got -1"),
]


@pytest.mark.parametrize(("build", "arguments", "options", "error", "message"), WRONG)
def test_wrong_input_says_what_and_where(build, arguments, options, error, message):
    with pytest.raises(error, match=message):
        build(*arguments, **options)


def test_many_wrong_rows_are_counted():
    y = np.full(10, np.nan)
    with pytest.raises(MissingValueError, match="rows 0, 1, 2, 3, 4 and 5 more"):
        library.test_scores(y, np.arange(10) % 2)
