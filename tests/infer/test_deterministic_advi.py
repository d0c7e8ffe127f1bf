"""Deterministic variational inference against exact posteriors."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import optimize

import hierjax as hj
from hierjax.draws import Status
from hierjax.errors import ModelError, SettingsError
from hierjax.infer.deterministic_advi import DeterministicADVI
from hierjax.infer.trust_region import hessian, newton_step
from tests import models
from tests.infer.runner import Runner


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def gaussian():
    """Two data sets on which all is normal, by one compiled program."""
    data = models.known_variances_data() | {"sd_group": 0.4}
    other = data | {"y": 2.0 * data["y"] - 10.0, "sd_group": 0.7}
    with jax.enable_x64(True):
        runner = Runner(DeterministicADVI(draws=4000, points=16), models.known_variances, data)
        return [(each, runner(each)) for each in (data, other)], runner


def test_a_normal_posterior_is_found_exactly_whatever_the_noise(gaussian):
    fits, runner = gaussian
    assert runner.traces == 1
    for data, draws in fits:
        mean, covariance = models.known_variances_posterior(**data)
        assert draws.status == Status.OK
        weights = draws.stats["log_weight"]
        # the same weight everywhere: density and guide are proportional
        np.testing.assert_allclose(weights, weights.mean(), atol=1e-6)
        flat = np.concatenate([draws.sites["mu"][0, :, None], draws.sites["effect"][0]], axis=1)
        error = (flat.mean(0) - mean) / np.sqrt(np.diag(covariance) / len(flat))
        assert np.abs(error).max() < 4
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), (flat - mean).T)
        np.testing.assert_allclose(whitened @ whitened.T / len(flat), np.eye(7), atol=0.1)


def test_linear_response_widens_what_the_mean_field_makes_too_narrow(gaussian):
    (data, draws), _ = gaussian[0]
    _, covariance = models.known_variances_posterior(**data)
    conditional = 1.0 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    widest = np.max(np.sqrt(np.diag(covariance)) / conditional)
    np.testing.assert_allclose(draws.trace["largest_widening"], widest, rtol=1e-5)
    assert widest > 1.03


def tilted(t):
    x = numpyro.sample("x", dist.Gumbel(0.0, 1.0))
    numpyro.factor("tilt", t * x)


def test_linear_response_is_how_the_mean_moves_when_a_skewed_density_is_tilted():
    runner = Runner(DeterministicADVI(draws=10, points=10), tilted, {"t": 0.0})

    def end(t):
        arrays = (jnp.asarray(t),)
        run = runner.start(jax.random.key(0), arrays)
        for _ in range(5):
            run, _ = runner.advance(run, arrays)
        return run, runner.finish(run, arrays)

    run, draws = end(0.0)
    assert draws.status == Status.OK
    variance = (draws.trace["largest_widening"] * run.scale[0]) ** 2
    moved = (end(1e-3)[0].mean - end(-1e-3)[0].mean) / 2e-3
    np.testing.assert_allclose(variance, moved[None], rtol=1e-4)
    assert abs(variance / run.scale**2 - 1.0) > 0.05  # the mean field's is another


def curved(x):
    """A function with a saddle on the way, and scales a hundredfold apart."""
    return jnp.sum(jnp.cos(x) * jnp.exp(-(x**2) / 50.0)) + jnp.sum(jnp.array([1.0, 100.0]) * x**4)


def test_newton_steps_go_down_to_a_minimum_past_a_place_where_the_function_bends_down():
    @jax.jit
    def step(place, radius):
        trial = newton_step(lambda change: curved(place + change), 2, radius)
        return place + trial.step, trial.radius, trial.slope

    place, radius, values = jnp.array([1e-3, 1e-3]), jnp.asarray(1.0), []
    for _ in range(40):
        place, radius, slope = step(place, radius)
        values.append(float(curved(place)))
    assert slope < 1e-10 and np.all(np.diff(values) <= 1e-12)
    reference = optimize.minimize(lambda x: float(curved(jnp.asarray(x))), np.array([0.3, 0.1]))
    np.testing.assert_allclose(np.abs(place), np.abs(reference.x), atol=1e-4)
    bend = hessian(lambda change: curved(place + change), 2)
    np.testing.assert_allclose(bend, jax.hessian(curved)(place), rtol=1e-8)


def many(y):
    with numpyro.plate("units", 2000):
        numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def test_too_many_parameters_are_refused():
    with pytest.raises(
        ModelError, match=r"2,000 parameters are left to sample, 2,000 of them in site 'x'"
    ):
        DeterministicADVI().program(many, {"y": np.zeros(3)})


def test_too_few_steps_and_a_start_that_is_none_are_statuses(gaussian):
    [(data, _), _], runner = gaussian
    arrays = tuple(map(jnp.asarray, runner.arguments.arrays(data)))
    run, _ = runner.advance(runner.start(jax.random.key(0), arrays), arrays)
    draws = runner.finish(run, arrays)
    assert draws.status == Status.NOT_CONVERGED and not bool(run.done)
    assert np.isfinite(draws.stats["log_weight"]).all()
    wrong = tuple(map(jnp.asarray, runner.arguments.arrays(data | {"sd_rows": -1.0})))
    report = runner.program.report(runner.start(jax.random.key(0), wrong))
    assert bool(report["failed"]) and bool(report["done"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"points": 7}, "`points` come in pairs, so must be even; got 7"),
        ({"points": 2}, "`points` must be an integer of at least 4"),
        ({"draws": 0}, "`draws` must be an integer of at least 1"),
        ({"max_steps": 0}, "`max_steps` must be an integer of at least 1"),
    ],
)
def test_settings_are_checked(option, message):
    with pytest.raises(SettingsError, match=message):
        DeterministicADVI(**option)


@pytest.mark.slow
def test_it_is_a_method_by_name_and_is_mapped_over_data_sets():
    model = hj.library.eight_schools(models.SCHOOLS_Y, models.SCHOOLS_SIGMA, mu_sd=5.0)
    run = hj.sampler(model, DeterministicADVI(draws=500))
    given = model.data | {"mu_sd": np.asarray(5.0), "tau_scale": np.asarray(5.0)}
    stacked = {name: np.stack([value, 2.0 * value]) for name, value in given.items()}
    keys = jax.random.split(jax.random.key(0), 2)
    draws = jax.device_get(jax.jit(jax.vmap(run))(keys, stacked))
    assert (draws.status == Status.OK).all()
    assert draws.sites["theta"].shape == (2, 1, 500, 8)
