"""Points that are spread evenly must each be uniform, and together fill what they claim to fill."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from hierjax import low_discrepancy
from hierjax.low_discrepancy import (
    MOST_COLUMNS,
    PLACES,
    Evenly,
    along_path,
    normal,
    random_order,
    sobol,
    uniform,
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_direction_numbers_are_those_of_scipy():
    """The file was written from these: one line a column."""
    engine = qmc.Sobol(MOST_COLUMNS, scramble=True, bits=32, rng=np.random.default_rng(0))
    points = np.asarray(engine.random(2**PLACES) * 2.0**32, np.uint32)
    found = points[2 ** np.arange(1, PLACES + 1) - 1] ^ points[0]
    np.testing.assert_array_equal(low_discrepancy._directions(), found)


def test_every_interval_has_one_point():
    points = np.asarray(sobol(jax.random.key(1), jnp.arange(1024), 8))
    for column in points.T:
        assert len(np.unique(np.floor(column * 1024))) == 1024
    cells = np.floor(points[:, :2] * 32).astype(int)
    assert len(np.unique(cells, axis=0)) == 1024  # the first two columns are a (0, 10, 2)-net


def test_one_point_is_uniform_over_keys():
    keys = jax.random.split(jax.random.key(2), 2000)
    drawn = np.asarray(jax.vmap(lambda key: sobol(key, jnp.array([5, 70_001]), 3))(keys))
    for values in drawn.reshape(2000, -1).T:
        assert stats.kstest(values, "uniform").pvalue > 1e-4
    correlations = np.corrcoef(drawn[:, 0].T) - np.eye(3)
    assert np.abs(correlations).max() < 4 / 2000**0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_point_is_zero_or_one(dtype):
    with jax.enable_x64(dtype == "float64"):
        points = sobol(jax.random.key(3), jnp.arange(2**14), 4)
        assert points.dtype == dtype
        assert 0.0 < float(points.min()) and float(points.max()) < 1.0


def test_normal_variables_have_moments_closer_than_independent_ones():
    drawn = np.asarray(normal(jax.random.key(4), 1024, MOST_COLUMNS + 6))
    assert drawn.shape == (1024, MOST_COLUMNS + 6)
    means = np.abs(drawn.mean(0)) * 1024**0.5  # standard normal for independent ones
    assert means[:MOST_COLUMNS].max() < 0.1 and means[MOST_COLUMNS:].max() > 0.1
    np.testing.assert_allclose(drawn[:, :MOST_COLUMNS].std(0), 1.0, atol=0.01)


def test_a_draw_among_many_has_further_columns_of_its_own():
    own, other, shared = jax.random.split(jax.random.key(5), 3)
    whole = uniform(Evenly(own, shared, jnp.asarray(7)), (50, 2))
    np.testing.assert_array_equal(whole[:3], uniform(Evenly(own, shared, jnp.asarray(7)), (3, 2)))
    same_place = uniform(Evenly(other, shared, jnp.asarray(7)), (50, 2)).ravel()
    assert np.array_equal(same_place[:MOST_COLUMNS], whole.ravel()[:MOST_COLUMNS])
    assert not np.isin(same_place[MOST_COLUMNS:], whole).any()
    np.testing.assert_array_equal(uniform(own, (50, 2)).ravel()[MOST_COLUMNS:], whole.ravel()[64:])


@pytest.mark.parametrize(("columns", "slices"), [(1, 32), (2, 16), (3, 8)])
def test_the_path_visits_every_cell_and_goes_to_a_neighbour(columns, slices, monkeypatch):
    monkeypatch.setattr(low_discrepancy, "PATH_DIGITS", columns * round(np.log2(slices)))
    axes = np.meshgrid(*[np.arange(slices)] * columns, indexing="ij")
    cells = np.stack(axes, -1).reshape(-1, columns)
    places = np.asarray(along_path(jnp.asarray((cells + 0.5) / slices)))
    assert len(np.unique(places)) == len(cells)
    steps = np.abs(np.diff(cells[np.argsort(places)], axis=0)).sum(1)
    assert (steps == 1).all()


def test_many_columns_have_a_path_through_the_first():
    points = np.random.default_rng(6).random((50, 40))
    places = np.asarray(along_path(jnp.asarray(points)))
    assert len(np.unique(places)) == 50
    np.testing.assert_array_equal(places, along_path(jnp.asarray(points[:, :13])))


@pytest.mark.parametrize("count", [1, 2, 300, 46_341])
def test_random_order_is_an_order(count):
    found = jax.jit(random_order, static_argnums=1)(jax.random.key(3), count)
    np.testing.assert_array_equal(np.sort(found), np.arange(count))


def test_thinned_draws_have_other_places_in_every_run():
    """Every third of 300 draws is like a random third: its mean place varies as it should."""
    count, thin, runs = 300, 3, 2000
    keys = jax.random.split(jax.random.key(0), runs)
    places = np.asarray(jax.jit(jax.vmap(lambda key: random_order(key, count)))(keys))
    every = places.mean(0)
    standard_error = np.sqrt((count**2 - 1) / 12 / runs)
    assert np.abs(every - (count - 1) / 2).max() < 4.5 * standard_error
    means = places[:, ::thin].mean(1)
    expected = np.sqrt((count**2 - 1) / 12 * (1 - 1 / thin) / (count / thin))
    assert abs(means.mean() - (count - 1) / 2) < 4 * expected / np.sqrt(runs)
    assert means.std() == pytest.approx(expected, rel=0.25)
