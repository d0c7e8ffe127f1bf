"""NUTS against posteriors known exactly, and the promises of its program."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from hierjax.arguments import Arguments
from hierjax.draws import Status
from hierjax.errors import SettingsError
from hierjax.infer import nuts
from hierjax.infer.nuts import NUTS
from tests import models
from tests.helpers import Moment, assert_mean_within_error


def run(method, fn, data, seed=0):
    """Drive a program by hand, chunk by chunk."""
    program = method.program(fn, data)
    arrays = tuple(map(jnp.asarray, Arguments.of(data).arrays(data)))
    advance = jax.jit(program.advance)
    state = jax.jit(program.start)(jax.random.key(seed), arrays)
    records = []
    for chunk in range(program.num_chunks):
        state, record = advance(state, arrays)
        if chunk >= program.num_discarded:
            records.append(record)
    stacked = jax.tree_util.tree_map(lambda *chunks: jnp.stack(chunks), *records)
    return jax.device_get(program.finish(state, stacked, arrays))


@pytest.fixture(scope="module")
def exact_fit():
    data = models.known_variances_data()
    with jax.enable_x64(True):
        return data, run(NUTS(chains=4, warmup=500, draws=1000), models.known_variances, data)


def test_means_and_sds_of_a_gaussian_posterior(exact_fit):
    data, draws = exact_fit
    mean, covariance = models.known_variances_posterior(**data)
    flat = np.concatenate([draws.sites["mu"][..., None], draws.sites["effect"]], axis=-1)
    for i in range(len(mean)):
        sd = covariance[i, i] ** 0.5
        # 4 standard errors of this chain: false alarm 6e-5 a check
        expected = Moment(mean[i], 1e-9, 0.0)
        assert_mean_within_error(flat[..., i], expected, name=f"mean {i}")
        squared = (flat[..., i] - mean[i]) ** 2
        assert_mean_within_error(squared, Moment(sd**2, 1e-9, 0.0), name=f"variance {i}")


def test_statistics_have_their_shapes_and_meaning(exact_fit):
    _, draws = exact_fit
    for name in ("diverging", "num_steps", "accept_prob", "energy", "tree_depth", "step_size"):
        assert draws.stats[name].shape == (4, 1000)
    assert not draws.stats["diverging"].any()
    assert (draws.stats["num_steps"] < 2 ** (draws.stats["tree_depth"] + 1)).all()
    # Few parameters are sampled a little more carefully than the aim of 0.8.
    assert 0.7 < draws.stats["accept_prob"].mean() < 0.95
    assert np.ptp(draws.stats["step_size"], axis=1).max() == 0.0
    assert (draws.status == Status.OK).all()


def test_draws_do_not_depend_on_the_length_of_a_chunk(monkeypatch):
    data = models.known_variances_data()
    method = NUTS(chains=2, warmup=60, draws=37)
    with jax.enable_x64(True):
        first = run(method, models.known_variances, data)
        monkeypatch.setattr(nuts, "MAX_CHUNK", 17)
        second = run(method, models.known_variances, data)
    assert first.sites["effect"].shape == (2, 37, 6)
    np.testing.assert_array_equal(first.sites["effect"], second.sites["effect"])


@pytest.mark.slow
def test_dense_mass_learns_a_correlation():
    def correlated(y):
        cholesky = jnp.array([[1.0, 0.0], [0.99, 0.141]])
        numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(2), scale_tril=cholesky))

    with jax.enable_x64(True):
        steps = {
            dense: run(
                NUTS(chains=2, warmup=400, draws=200, dense_mass=dense), correlated, {"y": 0.0}
            ).stats["num_steps"]
            for dense in (False, True)
        }
    assert steps[True].mean() < steps[False].mean() / 2


def test_no_finite_start_is_a_status():
    data = {"y": models.SCHOOLS_Y, "sigma": -models.SCHOOLS_SIGMA}
    with jax.enable_x64(True):
        program = NUTS(chains=2).program(models.eight_schools, data)
        arrays = tuple(map(jnp.asarray, Arguments.of(data).arrays(data)))
        state = jax.jit(program.start)(jax.random.key(0), arrays)
        assert bool(program.report(state)["failed"])
    assert (np.asarray(state.chains.status) == Status.NO_FINITE_START).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"chains": 0}, "`chains` must be an integer of at least 1; got 0"),
        ({"draws": 2.5}, "`draws` must be an integer"),
        ({"warmup": 5}, "`warmup` must be an integer of at least 20"),
        ({"target_accept": 1.0}, "`target_accept` must lie strictly between 0 and 1"),
        ({"max_tree_depth": True}, "`max_tree_depth` must be an integer"),
    ],
)
def test_settings_are_checked(option, message):
    with pytest.raises(SettingsError, match=message):
        NUTS(**option)
