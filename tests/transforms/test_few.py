"""Few parameters: group effects by quadrature, drawn back by importance, beside brute force."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import hierjax as hj
from hierjax.draws import Status
from hierjax.transforms.coordinates import choose_coordinates
from hierjax.transforms.few import few_parameters
from tests import models
from tests.transforms.cases import GROUPED
from tests.transforms.test_recentre import location_and_scale

SUCCESSES, TRIALS = np.array([0.0, 1.0, 3.0, 4.0, 4.0]), 4


def arms(y):
    """Binomial arms, one of them without a success, two without a failure."""
    sd = numpyro.sample("sd", dist.HalfNormal(2.0))
    with numpyro.plate("group", len(y)):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
        numpyro.sample("y", dist.Binomial(TRIALS, logits=u), obs=y)


def by_group(sd):
    """Mean and sd of each effect given sd, and the log marginal likelihood, on a fine grid."""
    grid = np.linspace(-12.0, 12.0, 4001)[:, None] * sd
    likelihood = stats.binom.logpmf(SUCCESSES, TRIALS, 1 / (1 + np.exp(-grid)))
    log_density = stats.norm.logpdf(grid, 0.0, sd) + likelihood
    weight = np.exp(log_density)
    total = weight.sum(0)
    mean = (weight * grid).sum(0) / total
    spread = np.sqrt((weight * (grid - mean) ** 2).sum(0) / total)
    return mean, spread, np.log(total * (grid[1, 0] - grid[0, 0])).sum()


def stage():
    model = hj.Model(arms, {"y": SUCCESSES})
    coordinates = choose_coordinates(model.fn, model.data, "auto")
    return model, few_parameters(coordinates, model.fn, model.data)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("sd", [2.0, pytest.param(0.3, marks=SLOW), pytest.param(6.0, marks=SLOW)])
def test_effects_given_the_rest_are_drawn_from_their_conditional(sd):
    count = 8000
    with jax.enable_x64(True):
        model, coordinates = stage()
        data = coordinates.prepare(model.data)

        @jax.jit
        def draw(keys):
            values = {"sd": jnp.asarray(sd)}
            return jax.vmap(lambda key: coordinates.recover(key, values, data)["u"])(keys)

        draws = np.asarray(draw(jax.random.split(jax.random.key(0), count)))
    mean, spread, _ = by_group(sd)
    np.testing.assert_allclose((draws.mean(0) - mean) / spread, 0.0, atol=4 / np.sqrt(count))
    error = np.sqrt(stats.kurtosis(draws, fisher=False) - 1.0) / np.sqrt(4 * count)
    assert np.all(np.abs(draws.std(0) / spread - 1.0) < 4 * error)


AGE = np.array([-1.0, 0.0, 1.0, 2.0])
CASES = np.array([[0.0, 1.0, 4.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
MOMENTS = (
    lambda u, v: u + 0 * v,
    lambda u, v: v + 0 * u,
    lambda u, v: u * v,
    lambda u, v: u**2 + 0 * v,
    lambda u, v: v**2 + 0 * u,
)


def lines(y, age):
    """Binomial responses over age, with an intercept and a slope in each group."""
    sds = numpyro.sample("sds", dist.HalfNormal(2.0).expand([2]).to_event(1))
    with numpyro.plate("group", y.shape[0], dim=-2):
        u = numpyro.sample("u", dist.Normal(0.0, sds[0]))
        v = numpyro.sample("v", dist.Normal(0.0, sds[1]))
        with numpyro.plate("visit", y.shape[1], dim=-1):
            numpyro.sample("y", dist.Binomial(TRIALS, logits=u + v * age), obs=y)


@pytest.mark.slow
def test_two_effects_of_a_group_are_drawn_together():
    count, sds = 8000, np.array([1.5, 0.8])
    data = {"y": CASES, "age": AGE}
    with jax.enable_x64(True):
        coordinates = few_parameters(choose_coordinates(lines, data, "auto"), lines, data)
        prepared = coordinates.prepare(data)

        @jax.jit
        def draw(keys):
            found = jax.vmap(lambda key: coordinates.recover(key, {"sds": sds}, prepared))(keys)
            return jnp.stack([found["u"][..., 0], found["v"][..., 0]], -1)

        draws = np.asarray(draw(jax.random.split(jax.random.key(0), count)))
    z = np.linspace(-8.0, 8.0, 401)
    u, v = sds[0] * z[:, None], sds[1] * z[None, :]
    for place, y in enumerate(CASES):
        log_density = stats.norm.logpdf(z)[:, None] + stats.norm.logpdf(z)[None, :]
        rates = 1 / (1 + np.exp(-(u[..., None] + v[..., None] * AGE)))
        weight = np.exp(log_density + stats.binom.logpmf(y, TRIALS, rates).sum(-1))
        weight /= weight.sum()
        for moment in MOMENTS:
            exact = (weight * moment(u, v)).sum()
            spread = np.sqrt((weight * (moment(u, v) - exact) ** 2).sum())
            ours = moment(*draws[:, place].T)
            assert abs(ours.mean() - exact) < 4 * spread / np.sqrt(count)


@pytest.mark.slow
def test_the_posterior_is_that_of_brute_force():
    model, coordinates = stage()
    assert list(dict(coordinates.choices)) == ["u"]
    posterior = hj.fit(model, method="laplace", progress=False)
    assert posterior.info.status == (Status.OK,)
    assert "drawn back by importance" in posterior.report()
    size = posterior.info.trace["effective_draws"][-1]
    grid = np.linspace(0.005, 10.0, 1200)
    found = [by_group(sd) for sd in grid]
    log_density = stats.halfnorm.logpdf(grid, scale=2.0) + [each[2] for each in found]
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = weight @ grid
    spread = np.sqrt(weight @ (grid - mean) ** 2)
    assert abs(posterior.draws["sd"].mean() - mean) < 4 * spread / np.sqrt(size)
    means, spreads = (np.array([each[place] for each in found]) for place in (0, 1))
    effect = weight @ means
    effect_sd = np.sqrt(weight @ (spreads**2 + means**2) - effect**2)
    gap = posterior.draws["u"][0].mean(0) - effect
    assert np.all(np.abs(gap) < 4 * effect_sd / np.sqrt(size))


@pytest.mark.parametrize(
    ("fn", "data"),
    [
        (models.known_variances, models.known_variances_data()),
        (location_and_scale, GROUPED),
    ],
    ids=["Gaussian", "effects in mean and scale"],
)
def test_other_models_stay_as_they_are_but_for_the_scale(fn, data):
    coordinates = choose_coordinates(fn, data, "auto")
    found = few_parameters(coordinates, fn, data)
    assert found.choices == coordinates.choices
    assert dataclasses.asdict(found)["complete"] is False


@pytest.mark.slow
def test_a_batch_of_arms_gives_what_each_gives_alone():
    model, _ = stage()
    sets = np.stack([SUCCESSES, SUCCESSES[::-1], np.array([2.0, 2.0, 2.0, 1.0, 3.0])])
    batch = hj.fit_many(model, {"y": sets}, method="laplace", progress=False)
    for place, y in enumerate(sets):
        alone = hj.fit(model.with_data({"y": y}), method="laplace", seed=9, progress=False)
        sizes = [each.info.trace["effective_draws"][-1] for each in (batch[place], alone)]
        one, two = (each.draws["sd"].ravel() for each in (batch[place], alone))
        error = one.std() * np.sqrt(sum(1 / size for size in sizes))
        assert abs(one.mean() - two.mean()) < 4 * error
