"""Some rows in place of all: the estimate is unbiased, and models that have no rows are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.arguments import Arguments
from hierjax.density import make_density
from hierjax.density_rows import log_density_in_parts, log_density_of_rows
from hierjax.errors import ModelError, SettingsError
from hierjax.methods import Problem
from tests import models


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def counts():
    """A model of a formula, whose plate of rows has a size of its own among the data."""
    generator = np.random.default_rng(0)
    table = {
        "y": generator.poisson(2.0, 60),
        "x": generator.normal(size=60),
        "g": [f"g{n % 6}" for n in range(60)],
        "h": [f"h{n % 3}" for n in range(60)],
    }
    model = hj.formula("y ~ x + (1 + x | g) + (1 | h)", table, family="poisson")
    return model.fn, model.data


def slopes():
    """A function that takes the number of rows from an array."""
    return models.correlated_slopes, models.correlated_slopes_data(rows=60)


COUNTED = {"r_g": "noncentred", "r_h": "centred"}  # 10 and 20 rows a group


@pytest.mark.parametrize("make", [counts, slopes])
def test_gradients_of_the_parts_of_a_partition_average_to_that_of_all_rows(make):
    fn, data = make()
    method = hj.SVI(minibatch=20)
    coordinates = Problem(fn, data, "auto").coordinates_for(method)
    words = {name: word.split(" (to integrate")[0] for name, word in coordinates.choices}
    assert words == ({"effect": "noncentred"} if make is slopes else COUNTED)
    arguments = Arguments.of(data)
    density = make_density(coordinates.fn, arguments, data)
    arrays = tuple(map(jnp.asarray, arguments.arrays(data)))

    @jax.jit
    def both(position, order):
        def of_some(places):
            some = log_density_of_rows(density, coordinates.fn, places, jnp.full(20, 3.0))
            return jax.value_and_grad(some)(position, arrays)

        whole = jax.value_and_grad(density.log_density)(position, arrays)
        return whole, jax.lax.map(of_some, order)

    generator = np.random.default_rng(2)
    order = generator.permutation(60).reshape(3, 20)
    whole, parts = both(0.3 * generator.normal(size=density.size), order)
    assert np.std(parts[0]) > 0.1  # each alone is off
    np.testing.assert_allclose(parts[0].mean(), whole[0], rtol=1e-12)
    np.testing.assert_allclose(parts[1].mean(0), whole[1], rtol=1e-9, atol=1e-10)


def test_the_density_of_all_rows_is_found_in_parts_of_any_number():
    fn, data = slopes()
    function = Problem(fn, data, "auto").coordinates_for(hj.SVI(minibatch=20)).fn
    arguments = Arguments.of(data)
    density = make_density(function, arguments, data)
    arrays = tuple(map(jnp.asarray, arguments.arrays(data)))
    position = jnp.full(density.size, 0.2)
    whole = jax.jit(density.log_density)(position, arrays)
    for number in (7, 60):
        parts = jax.jit(
            lambda x, number=number: log_density_in_parts(density, function, number, x, arrays)
        )(position)
        np.testing.assert_allclose(parts, whole, rtol=1e-12)


def a_value_for_each_row(y):
    with numpyro.plate("rows", len(y)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(z, 1.0), obs=y)


def no_plate(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([len(y)]).to_event(1), obs=y)


def not_in_the_plate(y, x):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    numpyro.factor("other", -mu * jnp.sum(x))


Y = np.arange(30.0)


@pytest.mark.parametrize(
    ("fn", "data", "message"),
    [
        (a_value_for_each_row, {"y": Y}, "site 'z' has a value for each row"),
        (no_plate, {"y": Y}, "no observed site has a plate along its first axis"),
        (not_in_the_plate, {"y": Y, "x": Y}, "is no sum over the 30 rows of plate 'rows': of all"),
    ],
)
def test_what_is_no_sum_over_rows_is_refused(fn, data, message):
    with pytest.raises(ModelError, match=message):
        Problem(fn, data, "auto").coordinates_for(hj.SVI(minibatch=10))


def test_settings_that_need_all_rows_are_refused():
    fn, data = slopes()
    with pytest.raises(SettingsError, match="less than the number of rows, 60; got 60"):
        Problem(fn, data, "auto").coordinates_for(hj.SVI(minibatch=60))
    with pytest.raises(SettingsError, match="effects are integrated out and recentred on all"):
        Problem(fn, data, "integrate").coordinates_for(hj.SVI(minibatch=20))
    with pytest.raises(ModelError, match="can be run on some of its rows"):
        hj.SVI(minibatch=20).program(fn, data)
