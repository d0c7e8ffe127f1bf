"""Importance sampling around the mode against exact posteriors, and its verdict on itself.

Draws are resampled from weighted points: their standard errors come from what the method says they
are worth, so that a wrong effective size would be seen as a wrong mean.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import hierjax as hj
from hierjax.draws import Status
from hierjax.errors import FitError, ModelError, SettingsError
from hierjax.infer.laplace_mode import begin_search, scale_tril, search_on, search_points
from hierjax.infer.laplace_proposal import Mixture, draw, log_density, noise_columns, refit
from tests import models
from tests.infer.runner import Runner


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def worth(draws):
    return draws.trace["effective_draws"].item()


def rounds(draws):
    return int(np.isfinite(draws.trace["k_hat"]).sum())


def assert_moments(flat, size, mean, sd, kurtosis=3.0):
    """Means and sds of draws (draw, parameter) that are worth `size` draws; 4 standard errors."""
    np.testing.assert_array_less(np.abs(flat.mean(0) - mean) / sd, 4 / np.sqrt(size))
    allowed = 4 * np.sqrt((kurtosis - 1) / 4 / size)
    np.testing.assert_array_less(np.abs(flat.std(0) / sd - 1), allowed)


# -- targets that are known, in one program --------------------------------------------------------

WIDE, CURVED, APART = 3.0, 0.3, 1.5


def gaussian(x):
    return -jnp.sum((x - jnp.arange(3.0)) ** 2 / jnp.array([1e-4, 1.0, 1e4])) / 2


def student(x):
    return dist.MultivariateStudentT(8.0, jnp.ones(3), jnp.eye(3)).log_prob(x)


def banana(x):
    bent = x[1] - CURVED * (x[0] ** 2 - 4.0)
    return -(x[0] ** 2 / 4.0 + bent**2 + x[2] ** 2) / 2


def funnel(x):
    return -(x[0] ** 2) / (2 * WIDE**2) - jnp.sum(x[1:] ** 2) * jnp.exp(-x[0]) / 2 - x[0]


def two_modes(x):
    return jnp.logaddexp(-jnp.sum((x - APART) ** 2), -jnp.sum((x + APART) ** 2)) / 2


TARGETS = (gaussian, student, banana, funnel, two_modes)


def one_of_the_targets(which):
    shape = ()
    x = numpyro.sample("x", dist.ImproperUniform(constraints.real_vector, shape, (3,)))
    numpyro.factor("target", jax.lax.switch(which, TARGETS, x))


@pytest.fixture(scope="module")
def run_target():
    data = {"which": np.array(0)}
    with jax.enable_x64(True):
        runner = Runner(hj.Laplace(), one_of_the_targets, data)
        yield lambda target, seed=0: runner({"which": np.array(TARGETS.index(target))}, seed)


def test_a_gaussian_of_unequal_scales(run_target):
    draws = run_target(gaussian)
    assert draws.status == Status.OK and rounds(draws) == 4
    assert worth(draws) > 2000
    assert draws.trace["k_hat"][0, 3] < 0.5
    assert_moments(draws.sites["x"][0], worth(draws), np.arange(3.0), np.array([0.01, 1.0, 100.0]))


def test_heavier_tails_than_normal(run_target):
    draws = run_target(student)
    assert draws.status == Status.OK
    assert_moments(draws.sites["x"][0], worth(draws), np.ones(3), np.full(3, (8 / 6) ** 0.5), 4.5)


def test_a_curved_target_is_right_where_it_is_said_to_be(run_target):
    draws = run_target(banana)
    assert draws.status == Status.OK
    sd = np.array([2.0, (1 + 2 * (CURVED * 4.0) ** 2) ** 0.5, 1.0])
    assert_moments(draws.sites["x"][0], worth(draws), np.zeros(3), sd, 9.0)


def test_a_funnel_is_not_called_good(run_target):
    statuses = [run_target(funnel, seed).status.item() for seed in range(5)]
    assert statuses == [Status.POOR_WEIGHTS] * 5


def test_two_modes_that_are_found_have_their_shares(run_target):
    """Modes further apart than the first proposal reaches cannot be known to be there."""
    draws = run_target(two_modes)
    assert draws.status == Status.OK
    upper = draws.sites["x"][0, :, 0] > 0
    assert abs(upper.mean() - 0.5) < 4 * 0.5 / np.sqrt(worth(draws))


def test_means_vary_less_than_the_effective_size_says(run_target):
    """It counts points as if they were independent; they are spread evenly."""
    found = [run_target(gaussian, seed) for seed in range(40)]
    means = np.array([draws.sites["x"][0, :, 1].mean() for draws in found])
    scaled = (means - 1.0) * np.sqrt([worth(draws) for draws in found])
    # of independent points chi-squared with 40 degrees of freedom: above 17 but for 1 in 4,000
    assert np.sum(scaled**2) < 17


def test_draws_are_hardly_ever_duplicates_and_in_random_order(run_target):
    draws = run_target(gaussian)
    x = draws.sites["x"][0, :, 1]
    assert len(np.unique(x)) > 0.6 * len(x)
    weight, places = draws.stats["log_weight"][0], np.arange(len(x))
    assert abs(np.corrcoef(weight, places)[0, 1]) < 4 / np.sqrt(len(x))


def test_errors_of_a_part_of_the_draws_differ_between_seeds(run_target):
    """All have to vary as independent draws do, where one order for all would repeat its errors."""
    x = np.stack([run_target(gaussian, seed).sites["x"][0] for seed in range(40)])
    scores = (x - np.arange(3.0)) / np.array([1e-2, 1.0, 1e2])
    for part in (scores[:, :100], scores[:, 20::40]):
        errors = part.mean(axis=1) * np.sqrt(part.shape[1])
        assert np.abs(errors.mean(axis=0)).max() < 4 / np.sqrt(40)
        # of 3 chi-squared with 39 degrees of freedom, 1 in 3,000 is out of these for each
        assert (errors.var(axis=0, ddof=1) * 39 > 15).all()
        assert (errors.var(axis=0, ddof=1) * 39 < 78).all()


def test_a_seed_fixes_the_draws_and_another_changes_them(run_target):
    first, again, other = (run_target(gaussian, seed).sites["x"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_gaussians_of_other_sizes(size):
    scale = np.tril(np.random.default_rng(size).normal(size=(size, size))) + 2.0 * np.eye(size)
    data = {"mean": np.linspace(-9.0, 9.0, size), "scale": scale}

    def model(mean, scale):
        numpyro.sample("x", dist.MultivariateNormal(mean, scale_tril=scale))

    draws = Runner(hj.Laplace(), model, data)(data)
    assert draws.status == Status.OK and worth(draws) > 1500
    sd = np.sqrt(np.diag(scale @ scale.T))
    assert_moments(draws.sites["x"][0], worth(draws), data["mean"], sd)


# -- pieces ----------------------------------------------------------------------------------------


def test_the_search_finds_mode_and_curvature_of_a_quadratic_from_values():
    covariance = np.array([[4.0, 1.9, 0.0], [1.9, 1.0, 0.0], [0.0, 0.0, 1e-6]])
    mean, precision = np.array([50.0, -3.0, 0.3]), np.linalg.inv(covariance)
    noise = jax.random.normal(jax.random.key(0), (256, 3))

    @jax.jit
    def step(search):
        points = search_points(search, noise)
        deviation = points - mean
        return search_on(search, points, -jnp.sum(deviation @ precision * deviation, axis=1) / 2)

    search = begin_search(3)
    while not search.done:
        search = step(search)
    assert search.moves < 15
    scale = scale_tril(search)
    np.testing.assert_allclose(scale @ scale.T, covariance, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_less(np.abs(search.centre - mean) / np.sqrt(np.diag(covariance)), 0.4)


def test_points_of_a_mixture_have_its_density():
    """The mean of 1 / q over its own points, within a box, is the volume of the box."""
    mixture = Mixture(
        jnp.log(jnp.array([0.3, 0.7])),
        jnp.array([[0.0, 0.0], [2.0, 1.0]]),
        jnp.stack([jnp.eye(2), jnp.array([[1.0, 0.0], [0.5, 0.6]])]),
    )
    noise = jax.random.normal(jax.random.key(0), (100_000, noise_columns(2)))
    points = draw(mixture, noise)
    inside = jnp.all(jnp.abs(points - 1.0) < 1.0, axis=1)
    terms = jnp.where(inside, jnp.exp(-log_density(mixture, points)), 0.0)
    np.testing.assert_allclose(terms.mean(), 4.0, atol=4 * terms.std() / np.sqrt(len(terms)))


def test_a_refit_finds_the_components_that_points_come_from():
    generator = np.random.default_rng(0)
    points = np.concatenate(
        [generator.normal(-4, 1, (3000, 2)), generator.normal(4, 0.5, (1000, 2))]
    )
    fitted = refit(jnp.asarray(points), jnp.zeros(4000), 2)
    order = np.argsort(fitted.mean[:2, 0])
    np.testing.assert_allclose(fitted.mean[:2][order], [[-4, -4], [4, 4]], atol=0.1)
    share = np.exp(fitted.log_share[:2][order])
    np.testing.assert_allclose(share / share.sum(), [0.75, 0.25], atol=0.02)


# -- models ----------------------------------------------------------------------------------------


def schools(y=models.SCHOOLS_Y):
    return hj.Model(models.eight_schools, {"y": y, "sigma": models.SCHOOLS_SIGMA})


def exact_schools(y):
    """Posterior means and sds of mu and tau by quadrature over tau, mu in closed form."""
    tau = np.linspace(1e-4, 400.0, 400_001)
    precision = 1 / (models.SCHOOLS_SIGMA[:, None] ** 2 + tau**2)
    total = precision.sum(0) + 1 / 25
    mean = (precision * y[:, None]).sum(0) / total
    log_density = (np.log(precision).sum(0) - np.log(total) + total * mean**2) / 2
    log_density -= (precision * y[:, None] ** 2).sum(0) / 2 + np.log1p((tau / 5) ** 2)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mu, second = weight @ mean, weight @ (mean**2 + 1 / total)
    tau_mean = weight @ tau
    return mu, (second - mu**2) ** 0.5, tau_mean, (weight @ (tau - tau_mean) ** 2) ** 0.5


@pytest.fixture(scope="module")
def fitted():
    return hj.fit(schools(), method="laplace", progress=False)


def test_eight_schools_by_quadrature_and_effects_drawn_back(fitted):
    assert fitted.info.method == "laplace" and fitted.info.effects["theta"] == "integrated"
    size = fitted.info.trace["effective_draws"][-1]
    mu, mu_sd, tau, tau_sd = exact_schools(models.SCHOOLS_Y)
    assert abs(fitted.draws["mu"].mean() - mu) < 4 * mu_sd / np.sqrt(size)
    assert abs(fitted.draws["tau"].mean() - tau) < 4 * tau_sd / np.sqrt(size)
    theta = fitted.draws["theta"]
    assert theta.shape == (1, 4000, 8)
    # Given mu and tau a school's mean is known in closed form: what is drawn must vary around it.
    mu_draws, tau_draws = fitted.draws["mu"][..., None], fitted.draws["tau"][..., None]
    precision = models.SCHOOLS_SIGMA**-2 + tau_draws**-2.0
    mean = (models.SCHOOLS_Y * models.SCHOOLS_SIGMA**-2 + mu_draws * tau_draws**-2.0) / precision
    score = (theta - mean) * np.sqrt(precision)
    np.testing.assert_allclose(score.mean(), 0.0, atol=4 / np.sqrt(score.size))
    np.testing.assert_allclose(score.std(), 1.0, atol=4 / np.sqrt(2 * score.size))


def test_the_verdict_is_of_the_weights_and_not_of_the_draws(fitted):
    found = fitted.diagnostics()
    assert found.ok and found.verdict.startswith("Good: k-hat ")
    assert found.rhat is None and found.ess_bulk is None
    assert found.k_hat == fitted.info.trace["k_hat"][-1]
    assert found.weight_ess == fitted.info.trace["effective_draws"][-1] < 4000
    np.testing.assert_array_equal(fitted.summary()["ess_bulk"], found.weight_ess)


def test_poor_weights_are_in_the_verdict(fitted):
    trace = {**fitted.info.trace, "k_hat": (0.4, 0.9)}
    info = dataclasses.replace(fitted.info, status=(Status.POOR_WEIGHTS,), trace=trace)
    found = dataclasses.replace(fitted, info=info).diagnostics()
    assert not found.ok
    assert 'Use method="nuts"' in found.verdict and found.k_hat == 0.9


def test_single_precision():
    found = hj.fit(schools(), method="laplace", dtype="float32", progress=False)
    assert found.draws["theta"].dtype == np.float32
    assert found.diagnostics().ok
    mu, mu_sd, *_ = exact_schools(models.SCHOOLS_Y)
    size = found.info.trace["effective_draws"][-1]
    assert abs(found.draws["mu"].mean() - mu) < 4 * mu_sd / np.sqrt(size)


@pytest.mark.slow
def test_a_batch_gives_what_each_data_set_gives_alone_and_no_spread_between_groups_is_fine():
    """The middle data set has all groups equal: its posterior of the sd leans on zero."""
    sets = np.stack([models.SCHOOLS_Y, np.full(8, 5.0), 10.0 * models.SCHOOLS_Y])
    run = jax.jit(hj.sampler(schools(), hj.Laplace(draws=2000)))
    batch = jax.jit(jax.vmap(hj.sampler(schools(), hj.Laplace(draws=2000)), in_axes=(None, 0)))
    key = jax.random.key(3)
    together = batch(key, {"y": sets, "sigma": np.tile(models.SCHOOLS_SIGMA, (3, 1))})
    assert (together.status == Status.OK).all()
    for place, y in enumerate(sets):
        alone = run(key, {"y": y, "sigma": models.SCHOOLS_SIGMA})
        np.testing.assert_allclose(together.sites["mu"][place], alone.sites["mu"], rtol=1e-3)
        mu, mu_sd, tau, tau_sd = exact_schools(y)
        size = together.trace["effective_draws"][place].item()
        assert abs(together.sites["mu"][place].mean() - mu) < 4 * mu_sd / np.sqrt(size)
        assert abs(together.sites["tau"][place].mean() - tau) < 4 * tau_sd / np.sqrt(size)


def test_many_parameters_are_refused_with_the_remedy():
    def many():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([51]).to_event(1))
        numpyro.sample("y", dist.StudentT(4.0, x.sum(), 1.0), obs=0.0)

    with pytest.raises(ModelError, match=r"51 parameters are left.*site 'x'.*method=\"nuts\""):
        hj.fit(hj.Model(many, {}), method="laplace", progress=False)


def test_no_finite_start_is_an_error():
    def impossible(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        numpyro.factor("never", -jnp.inf * (1.0 + mu**2))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with pytest.raises(FitError, match="check that the priors"):
        hj.fit(hj.Model(impossible, {"y": np.array(1.0)}), method="laplace", progress=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"draws": 0}, "`draws` must be an integer of at least 1"),
        ({"points": 99}, "`points` must be an integer of at least 100"),
        ({"rounds": 0}, "`rounds` must be an integer of at least 1"),
        ({"components": 0}, "`components` must be an integer of at least 1"),
    ],
)
def test_settings_are_checked(option, message):
    with pytest.raises(SettingsError, match=message):
        hj.Laplace(**option)
