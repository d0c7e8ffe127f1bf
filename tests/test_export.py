"""The tree for ArviZ: groups, labels as coordinates, and names that would collide."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from hierjax.draws import FitInfo
from hierjax.export import to_datatree
from hierjax.model import Model
from tests.test_names import radon_model

INFO = FitInfo("nuts", {"chains": 2}, 1, "float64", {}, {"run": 2.5}, (0, 0), {"jax": "0.10"})
SHAPES = {
    "b_Intercept": (),
    "sd_county": (2,),
    "L_county": (2, 2),
    "cor_county": (2, 2),
    "r_county": (3, 2),
    "mean": (5,),
    "sigma": (),
}


def draws_of(shapes):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(2, 10, *shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def radon_tree():
    stats = {"diverging": np.zeros((2, 10), dtype=bool), "num_steps": np.full((2, 10), 7)}
    return to_datatree(radon_model(), draws_of(SHAPES), stats, INFO)


def test_groups_and_variables(radon_tree):
    variables = {name: list(group.data_vars) for name, group in radon_tree.children.items()}
    assert variables == {
        "posterior": list(SHAPES),
        "sample_stats": ["diverging", "n_steps"],
        "observed_data": ["y"],
        "constant_data": ["county_index"],
    }


def test_dimensions_and_coordinates_are_the_levels(radon_tree):
    effects = radon_tree["posterior"]["r_county"]
    assert effects.dims == ("chain", "draw", "county", "term")
    assert list(effects.coords["county"].values) == ["AITKIN", "ANOKA", "BECKER"]
    expected = draws_of(SHAPES)["r_county"][:, :, 1, 1]
    picked = effects.sel(county="ANOKA", term="floor")
    np.testing.assert_array_equal(picked.values, expected)
    assert radon_tree["observed_data"]["y"].dims == ("rows",)
    assert radon_tree["constant_data"]["county_index"].dims == ("rows",)


def test_statistics_keep_their_types(radon_tree):
    assert radon_tree["sample_stats"]["diverging"].dtype == bool
    assert radon_tree["sample_stats"]["n_steps"].dtype == np.int64
    assert radon_tree["sample_stats"]["n_steps"].attrs["name"] == "num_steps"


def test_attributes_say_how_it_was_made(radon_tree):
    found = {key: radon_tree.attrs[key] for key in ("model_name", "method", "seed", "dtype")}
    assert found == {"model_name": "radon", "method": "nuts", "seed": 1, "dtype": "float64"}
    assert radon_tree.attrs["sampling_time"] == 2.5
    assert radon_tree.attrs["versions"] == '{"jax": "0.10"}'


def collisions(y, x, school, tau):
    """Names that xarray or NetCDF cannot have twice, or at all."""
    numpyro.sample("x", dist.Normal(0, 1))
    numpyro.sample("draw", dist.Normal(0, 1))
    numpyro.sample("b_a/b", dist.Normal(0, 1))
    with numpyro.plate("school", 3):
        theta = numpyro.sample("school", dist.Normal(0, tau))
    with numpyro.plate("chain", 4):
        numpyro.sample("part", dist.Normal(0, 1))
    with numpyro.plate("y", 6):
        numpyro.sample("y", dist.Normal(theta[school] + x, 1.0), obs=y)


@pytest.fixture(scope="module")
def collision_tree():
    data = {"y": np.arange(6.0), "x": np.ones(6), "school": np.arange(6) % 3, "tau": 2.0}
    model = Model(collisions, data, labels={"school": ["A", "B", "C"]})
    draws = draws_of({"x": (), "draw": (), "b_a/b": (), "school": (3,), "part": (4,)})
    return to_datatree(model, draws, {}, INFO), draws


@pytest.mark.parametrize(
    ("group", "variable", "dims", "name"),
    [
        ("posterior", "x", (), "x"),
        ("posterior", "draw_site", (), "draw"),
        ("posterior", "b_a|b", (), "b_a/b"),
        ("posterior", "school", ("school_dim",), "school"),
        ("posterior", "part", ("chain_dim",), "part"),
        ("observed_data", "y", ("y_dim",), "y"),
        ("constant_data", "school_data", ("y_dim",), "school"),
        ("constant_data", "x_data", ("y_dim",), "x"),
    ],
)
def test_names_that_collide_are_kept_apart(collision_tree, group, variable, dims, name):
    tree, draws = collision_tree
    found = tree[group][variable]
    assert found.dims == (("chain", "draw", *dims) if group == "posterior" else dims)
    assert found.attrs["name"] == name
    if group == "posterior":
        np.testing.assert_array_equal(found.values, draws[name])


def test_a_tree_with_collisions_can_be_written(collision_tree, tmp_path):
    collision_tree[0].to_netcdf(tmp_path / "tree.nc", engine="h5netcdf")


LABELS = {
    "text": (["a", "b", "c"], "U"),
    "whole numbers": ([10, 20, 30], "i"),
    "numbers": ([1, 2.5, 3], "f"),
    "mixed": ([1, "b", 2.5], "U"),
    "truth": ([True, False, True], "b"),
}


@pytest.mark.parametrize(("labels", "kind"), LABELS.values(), ids=LABELS)
def test_types_of_labels(labels, kind):
    model = radon_model(labels={"county": labels})
    tree = to_datatree(model, draws_of(SHAPES), {}, INFO)
    coordinate = tree["posterior"].coords["county"].values
    assert coordinate.dtype.kind == kind
    assert [str(label) for label in coordinate] == [
        str(float(label)) if kind == "f" else str(label) for label in labels
    ]
