"""`maximise`: the values of a fit, derivatives against fits of changed data, many data sets."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.errors import DataError, SettingsError

ROWS, GROUPS = 30, 6
STEP = 1e-4


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def normal_rows(y, x, group, num_groups, prior_sd):
    """A prior given as data: its parameters are traced, as those of every pytree."""
    b = numpyro.sample("b", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    sd, sigma = numpyro.sample("sd", prior_sd), numpyro.sample("sigma", dist.Exponential(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(b[0] + b[1] * x + u[group], sigma), obs=y)


def counts(y, x, group, num_groups, prior_sd):
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    sd = numpyro.sample("sd", prior_sd)
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Poisson(jnp.exp(b[0] + b[1] * x + u[group])), obs=y)


def data_of(seed=0, sd=1.0):
    generator = np.random.default_rng(seed)
    group, x = np.repeat(np.arange(GROUPS), ROWS // GROUPS), generator.normal(size=ROWS)
    mean = 1.0 + 0.5 * x + sd * generator.normal(size=GROUPS)[group]
    y = mean + 0.6 * generator.normal(size=ROWS)
    prior_sd = dist.HalfNormal(np.array(1.5))
    return {"y": y, "x": x, "group": group, "num_groups": GROUPS, "prior_sd": prior_sd}


DATA = data_of()
COUNTS = {**DATA, "y": np.random.default_rng(3).poisson(np.exp(DATA["y"]))}
MODEL = hj.Model(normal_rows, DATA)


@pytest.fixture(scope="module")
def estimate():
    return hj.maximise(MODEL, "map")


def score(found):
    """One number that depends on estimates of every kind."""
    return 2.0 * found["sd"] + 3.0 * found["u"][2] + found["b"][1]


def assert_derivatives_are_those_of_fits(estimate, data):
    """Compare gradients by data and by the scale of a prior with differences of new fits."""

    def of(x, scale):
        return score(estimate({**data, "x": x, "prior_sd": dist.HalfNormal(scale)}))

    x, scale, move = jnp.asarray(data["x"]), jnp.asarray(1.5), jnp.eye(ROWS)[7] * STEP
    assert estimate(data)["sd"] > 0.1  # nothing moves an sd of zero
    by_x, by_scale = jax.jit(jax.grad(of, argnums=(0, 1)))(x, scale)
    difference = (of(x + move, scale) - of(x - move, scale)) / (2 * STEP)
    np.testing.assert_allclose(by_x[7], difference, rtol=1e-6)
    difference = (of(x, scale + STEP) - of(x, scale - STEP)) / (2 * STEP)
    np.testing.assert_allclose(by_scale, difference, rtol=1e-5)


def test_derivatives_are_those_of_fits_of_changed_data(estimate):
    assert_derivatives_are_those_of_fits(estimate, DATA)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 9])
def test_derivatives_of_approximate_integrals_are_those_of_fits(order):
    estimate = hj.maximise(hj.Model(counts, COUNTS), "map", order=order)
    assert_derivatives_are_those_of_fits(estimate, COUNTS)


def test_twenty_data_sets_at_once_are_estimated_as_one_by_one(estimate):
    sets = jnp.stack([data_of(seed, sd=0.3)["y"] for seed in range(20)])
    together = jax.vmap(lambda y: estimate({**DATA, "y": y}))(sets)
    assert set(together) == {"b", "sd", "sigma", "u"}
    for place, y in enumerate(sets):
        alone = estimate({**DATA, "y": y})
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][place], value, rtol=1e-8, atol=1e-10)
    at_zero = np.sum(np.asarray(together["sd"]) == 0.0)
    assert 0 < at_zero < 20  # data sets of both kinds


def test_values_are_the_estimates_of_a_fit(estimate):
    post = hj.fit(MODEL, method=hj.EmpiricalBayes("map", draws=2), progress=False)
    for name, value in estimate().items():
        np.testing.assert_allclose(value, post.info.estimates[name][0], rtol=1e-7, atol=1e-9)


def test_a_variance_of_zero_has_no_derivative_and_spoils_no_other(estimate):
    # Rows around one line, whose means are the same in all groups.
    columns = np.column_stack([np.eye(GROUPS)[DATA["group"]], DATA["x"]])
    noise = DATA["y"] - columns @ np.linalg.lstsq(columns, DATA["y"])[0]
    same = 1.0 + 0.5 * DATA["x"] + noise

    def of(y):
        return estimate({**DATA, "y": y})

    found, moved = jax.jvp(of, (jnp.asarray(same),), (jnp.ones(ROWS),))
    assert found["sd"] == 0.0
    assert moved["sd"] == 0.0
    # Moved as a whole the data move the intercept alone, but for its prior.
    np.testing.assert_allclose(moved["b"], [1.0, 0.0], atol=1e-2)
    np.testing.assert_array_equal(moved["u"], 0.0)


def test_an_estimate_that_does_not_converge_is_not_a_number():
    found = hj.maximise(MODEL, "map", steps=1)()
    assert all(np.isnan(value).all() for value in found.values())


def test_misuse_is_refused_with_the_remedy(estimate):
    with pytest.raises(SettingsError, match=r"hierjax\.Model"):
        hj.maximise(normal_rows)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="normal response"):
        hj.maximise(hj.Model(counts, COUNTS), "reml")
    with pytest.raises(DataError, match="arguments"):
        estimate({"y": DATA["y"]})
