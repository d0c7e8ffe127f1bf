"""Variational inference against exact posteriors and evidence, and its verdict on itself."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from hierjax.density import Slot
from hierjax.draws import Status
from hierjax.errors import SettingsError
from hierjax.infer.svi import CHUNK, SVI
from hierjax.infer.svi_families import GUIDES, make_guide
from hierjax.infer.svi_guides import divergence
from hierjax.infer.svi_structured import LARGEST_BLOCK, StructuredGuide, shared_elements
from hierjax.model import Model
from hierjax.sampler import sampler
from tests import models
from tests.infer.runner import Runner

NAMES = tuple(GUIDES)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def gaussian_fits():
    """Every guide on a hierarchy with known variances: its covariance is diagonal plus rank one."""
    data = models.known_variances_data() | {"sd_group": 0.4}
    with jax.enable_x64(True):
        runners = {
            name: Runner(
                SVI(guide=name, draws=4000, tolerance=0.02, rank=1), models.known_variances, data
            )
            for name in NAMES
        }
        return data, runners, {name: runner(data) for name, runner in runners.items()}


def flat_draws(draws):
    return np.concatenate([draws.sites["mu"][0, :, None], draws.sites["effect"][0]], axis=1)


def assert_moments(flat, mean, sd, tolerance):
    """Draws are independent: 4 standard errors on top of what the optimiser may be off by."""
    allowed = tolerance + 4 / np.sqrt(len(flat))
    np.testing.assert_array_less(np.abs(flat.mean(0) - mean) / sd, allowed)
    np.testing.assert_array_less(np.abs(flat.std(0) / sd - 1), allowed)


@pytest.mark.parametrize("guide", ["structured", "lowrank", "multivariate"])
def test_a_guide_that_can_match_the_posterior_does(gaussian_fits, guide):
    data, _, fits = gaussian_fits
    mean, covariance = models.known_variances_posterior(**data)
    assert fits[guide].status == Status.OK
    assert_moments(flat_draws(fits[guide]), mean, np.sqrt(np.diag(covariance)), 0.02)
    measured = np.corrcoef(flat_draws(fits[guide]).T)
    exact = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(measured, exact, atol=4 / np.sqrt(4000))


def test_mean_field_sds_are_those_of_theory(gaussian_fits):
    data, _, fits = gaussian_fits
    mean, covariance = models.known_variances_posterior(**data)
    conditional = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    assert fits["normal"].status == Status.OK
    assert conditional[0] < 0.97 * covariance[0, 0] ** 0.5  # there is something to see
    assert_moments(flat_draws(fits["normal"]), mean, conditional, 0.02)


def test_log_weights_are_the_evidence_where_the_guide_is_exact(gaussian_fits):
    data, _, fits = gaussian_fits
    same_group = data["group"][:, None] == data["group"]
    covariance = (
        100.0 + data["sd_group"] ** 2 * same_group + data["sd_rows"] ** 2 * np.eye(len(data["y"]))
    )
    evidence = stats.multivariate_normal(np.zeros(len(data["y"])), covariance).logpdf(data["y"])
    weights = {name: draws.stats["log_weight"] for name, draws in fits.items()}
    np.testing.assert_allclose(weights["multivariate"], evidence, atol=1e-3)
    np.testing.assert_allclose(weights["structured"], evidence, atol=1e-3)
    np.testing.assert_allclose(weights["lowrank"].mean(), evidence, atol=0.01)
    assert evidence - weights["normal"].mean() > 0.01  # the gap is a Kullback-Leibler divergence


def test_statistics_and_trace_have_their_shapes(gaussian_fits):
    _, runners, fits = gaussian_fits
    draws = fits["normal"]
    assert draws.sites["effect"].shape == (1, 4000, 6)
    assert draws.stats["log_density"].shape == draws.stats["log_weight"].shape == (1, 4000)
    elbo, rates = draws.trace["elbo"], draws.trace["learning_rate"]
    assert elbo.shape == rates.shape == (1, runners["normal"].program.num_chunks)
    reached = np.isfinite(elbo[0])
    assert reached[: reached.sum()].all() and reached.sum() < len(reached)
    assert rates[0, 0] == 0.1 and rates[0, reached.sum() - 1] < 0.1
    # an average over steps that are nearly at the end, and the mean over fresh draws
    last = elbo[0, reached.sum() - 10 : reached.sum()].mean()
    assert abs(last - draws.stats["log_weight"].mean()) < 0.1


def test_the_answer_is_an_average_of_iterates(gaussian_fits):
    data, runners, _ = gaussian_fits
    runner = runners["normal"]
    arrays = tuple(map(jnp.asarray, runner.arguments.arrays(data)))
    _, covariance = models.known_variances_posterior(**data)
    exact = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    state = runner.start(jax.random.key(0), arrays)
    errors = []
    for _ in range(14):  # rounds of 2, 4 and 8 chunks at the first rate
        state, _ = runner.advance(state, arrays)
        errors.append(np.log(state.parameters["auto_scale"] / exact))
    of_answer = np.log(state.answer["auto_scale"] / exact)
    assert np.sqrt(np.mean(of_answer**2)) < 0.4 * np.sqrt(np.mean(np.square(errors[6:-1])))


def test_a_seed_fixes_the_draws_and_another_changes_them(gaussian_fits):
    data, runners, fits = gaussian_fits
    again, other = runners["normal"](data), runners["normal"](data, seed=1)
    np.testing.assert_array_equal(again.sites["mu"], fits["normal"].sites["mu"])
    assert not np.array_equal(other.sites["mu"], fits["normal"].sites["mu"])


def test_other_data_reuse_the_compiled_program(gaussian_fits):
    data, runners, _ = gaussian_fits
    other = models.known_variances_data(seed=5)
    other = data | {"y": 2 * other["y"] - 10, "group": other["group"], "sd_group": 0.7}
    assert runners["multivariate"].traces == 1
    draws = runners["multivariate"](other)
    assert runners["multivariate"].traces == 1
    mean, covariance = models.known_variances_posterior(**other)
    assert draws.status == Status.OK
    assert_moments(flat_draws(draws), mean, np.sqrt(np.diag(covariance)), 0.02)


def spread_scales(mean, scale_tril):
    numpyro.sample("x", dist.MultivariateNormal(mean, scale_tril=scale_tril))


def test_scales_a_thousandfold_apart_and_a_start_far_out_do_not_fool_the_verdict():
    # correlations of 0.9 make mean-field optimisation slow: a hasty verdict is far from the answer
    sd = np.geomspace(0.01, 10.0, 8)
    covariance = np.outer(sd, sd) * (0.9 + 0.1 * np.eye(8))
    mean = np.linspace(-5.0, 5.0, 8)
    data = {"mean": mean, "scale_tril": np.linalg.cholesky(covariance)}
    draws = Runner(SVI(guide="normal", draws=4000), spread_scales, data)(data)
    assert draws.status == Status.OK
    conditional = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    assert_moments(draws.sites["x"][0], mean, conditional, 0.05)


def structured(y, group, num_groups):
    """Constrained sites of several kinds."""
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    cholesky = numpyro.sample("cholesky", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample(
            "effect", dist.MultivariateNormal(jnp.zeros(2), scale_tril=rate * cholesky)
        )
    numpyro.deterministic("total", effect.sum(-1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group, 0] + effect[group, 1], 1.0), obs=y)


def test_constrained_and_structured_sites():
    data = models.correlated_slopes_data()
    data = {name: data[name] for name in ("y", "group", "num_groups")}
    draws = Runner(SVI(draws=50, max_steps=1000), structured, data)(data)
    shapes = {name: value.shape for name, value in draws.sites.items()}
    assert shapes == {
        "rate": (1, 50),
        "cholesky": (1, 50, 2, 2),
        "effect": (1, 50, 5, 2),
        "total": (1, 50, 5),
    }
    assert (draws.sites["rate"] > 0).all()
    rows = np.linalg.norm(draws.sites["cholesky"], axis=-1)
    np.testing.assert_allclose(rows, 1.0, atol=1e-12)
    np.testing.assert_allclose(draws.sites["total"], draws.sites["effect"].sum(-1))
    assert np.isfinite(draws.stats["log_weight"]).all()


def simple(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([len(y)]).to_event(1), obs=y)


def test_the_limit_of_steps_is_a_status():
    data = {"y": np.array([20.0, 30.0, 40.0])}
    draws = Runner(SVI(max_steps=60, draws=10), simple, data)(data)
    assert draws.status == Status.NOT_CONVERGED
    assert draws.trace["elbo"].shape == (1, 1)
    # the answer is the average so far and not the start, which lies within 2 of the origin
    assert draws.sites["mu"].mean() > 4.0


def test_the_sampler_runs_under_vmap_over_keys():
    model = Model(simple, {"y": np.array([2.0, 3.0, 4.0])})
    run = sampler(model, SVI(max_steps=50 * CHUNK, draws=2000))
    draws = jax.device_get(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3)))
    assert draws.status.shape == (3, 1) and (draws.status == Status.OK).all()
    for flat in draws.sites["mu"]:
        assert_moments(flat.T, np.array([2.25]), np.array([0.5]), 0.05)
    assert len(np.unique(draws.sites["mu"][:, 0, 0])) == 3


def test_no_finite_start_is_a_status():
    data = {"y": models.SCHOOLS_Y, "sigma": -models.SCHOOLS_SIGMA}
    runner = Runner(SVI(), models.eight_schools, data)
    arrays = tuple(map(jnp.asarray, runner.arguments.arrays(data)))
    report = runner.program.report(runner.start(jax.random.key(0), arrays))
    assert bool(report["failed"]) and bool(report["done"])


def guide_of(name, size=4, rank=2):
    """A guide over a vector of which two elements are shared, the second and the fourth."""
    if name == "structured":
        return StructuredGuide(size, (1, 3))
    return make_guide(name, [Slot("x", (size,), 0, size)], (), rank)


def some_parameters(guide, seed=0):
    """Parameters of no special form, and noise of six particles."""
    generator = np.random.default_rng(seed)

    def some(name, shape):
        values = generator.normal(size=shape)
        if name == "auto_scale":
            return 0.5 + np.abs(values)
        if name == "auto_scale_tril":
            return np.tril(values) + np.diag(1.0 + np.abs(values).sum(1))
        return values

    shapes = jax.eval_shape(guide.start, jnp.zeros(guide.size))
    parameters = {name: some(name, leaf.shape) for name, leaf in sorted(shapes.items())}
    return parameters, generator.normal(size=(6, guide.num_noise))


@pytest.mark.parametrize("name", NAMES)
def test_places_have_the_covariance_of_numpyros_guide(name):
    guide = guide_of(name)
    parameters, noise = some_parameters(guide)
    jacobian = jax.jit(jax.jacobian(lambda e: guide.place(parameters, e[None])[0]))
    matrix = np.asarray(jacobian(noise[0]))
    mean, sd = guide.marginals(parameters)
    np.testing.assert_allclose(sd**2, np.diag(matrix @ matrix.T))
    expected = stats.multivariate_normal(mean, matrix @ matrix.T).logpdf(np.ones(4))
    log_prob = jax.jit(lambda p: guide.distribution(p).log_prob(jnp.ones(4)))
    np.testing.assert_allclose(log_prob(parameters), expected)


LOWER = {"multivariate": "spread", "structured": "turn"}  # parts that are lower triangular


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_starts_with_the_moments_that_it_can_have(name):
    guide = guide_of(name)
    matrix = np.random.default_rng(2).normal(size=(4, 4))
    covariance, mean = matrix @ matrix.T + np.eye(4), np.arange(4.0)
    parameters = jax.jit(guide.start_like)(mean, covariance)
    found_mean, found_sd = guide.marginals(parameters)
    np.testing.assert_allclose(found_mean, mean)
    np.testing.assert_allclose(found_sd, np.sqrt(np.diag(covariance)))


def test_entropy_and_density_of_the_structured_guide_are_those_of_its_covariance():
    guide = guide_of("structured")
    parameters, _ = some_parameters(guide)
    matrix = np.asarray(guide.place(parameters, np.eye(4)) - parameters["auto_loc"]).T
    normal = stats.multivariate_normal(parameters["auto_loc"], matrix @ matrix.T)
    distribution = guide.distribution(parameters)
    np.testing.assert_allclose(distribution.entropy(), normal.entropy())
    points = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(distribution.log_prob(points), normal.logpdf(points))


def test_shared_elements_are_those_of_no_group_and_not_too_many():
    slots = (Slot("z", (5,), 0, 5), Slot("b", (2,), 5, 2), Slot("s", (), 7, 1))
    assert shared_elements(slots, ("z", "other")) == (5, 6, 7)
    wide = (Slot("w", (LARGEST_BLOCK,), 0, LARGEST_BLOCK), Slot("s", (), LARGEST_BLOCK, 1))
    assert shared_elements(wide, ()) == (LARGEST_BLOCK,)
    assert make_guide("structured", slots, ("z",)) == StructuredGuide(8, (5, 6, 7))


@pytest.mark.parametrize("name", NAMES)
def test_ascent_is_the_path_gradient_of_the_bound(name):
    guide = guide_of(name)
    parameters, noise = some_parameters(guide)

    def log_density(x):
        return jnp.sum(jnp.sin(x) - 0.1 * x**4)

    def bound(step):
        places = guide.place(guide.moved(parameters, step), noise)
        log_guide = guide.distribution(parameters).log_prob(places)
        return jnp.mean(jax.vmap(log_density)(places) - log_guide)

    @jax.jit
    def both():
        slopes = jax.vmap(jax.grad(log_density))(guide.place(parameters, noise))
        ascent = guide.ascent(parameters, noise, slopes)
        # at no step at all the limit on the length of a step has no derivative
        still = {part: jnp.full_like(value, 1e-12) for part, value in ascent.items()}
        if name in LOWER:
            still[LOWER[name]] = jnp.tril(still[LOWER[name]])
        return ascent, jax.grad(bound)(still)

    ascent, expected = both()
    for part, value in ascent.items():
        lower = np.tril if LOWER.get(name) == part else np.asarray
        np.testing.assert_allclose(value, lower(expected[part]), rtol=1e-6)


def test_divergence_is_a_shift_in_sds():
    guide = guide_of("normal", 3)
    one = {"auto_loc": jnp.zeros(3), "auto_scale": jnp.array([1.0, 2.0, 3.0])}
    other = one | {"auto_loc": jnp.array([0.0, 0.5, 0.0])}
    np.testing.assert_allclose(divergence(guide, one, other), 0.25)
    wider = one | {"auto_scale": jnp.array([1.0, 2.0, 3.06])}
    np.testing.assert_allclose(divergence(guide, one, wider), 0.02 * 2**0.5, rtol=0.02)


def test_alignment_undoes_a_rotation():
    guide = guide_of("lowrank", 5)
    parameters, _ = some_parameters(guide)
    rotation = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    turned = parameters | {"factor": parameters["factor"] @ rotation}
    aligned = guide.aligned(turned, parameters)
    np.testing.assert_allclose(aligned["factor"], parameters["factor"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"guide": "full"},
            "`guide` must be one of 'structured', 'normal', 'lowrank', 'multivariate'",
        ),
        ({"learning_rate": 0.0}, "`learning_rate` must lie strictly between 0 and 1; got 0.0"),
        ({"max_steps": 0}, "`max_steps` must be an integer of at least 1"),
        ({"particles": 7}, "`particles` come in pairs, so must be even; got 7"),
        ({"draws": 0}, "`draws` must be an integer of at least 1"),
        ({"tolerance": 1}, "`tolerance` must lie strictly between 0 and 1"),
        ({"rank": 0}, "`rank` must be an integer of at least 1"),
        ({"starts": 0}, "`starts` must be an integer of at least 1"),
        ({"minibatch": 0}, "`minibatch` must be an integer of at least 1"),
    ],
)
def test_settings_are_checked(option, message):
    with pytest.raises(SettingsError, match=message):
        SVI(**option)
