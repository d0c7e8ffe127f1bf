"""Several starts: a mixture of two normals far apart, of which a guide can describe only one.

The bound of a guide that is one of the components is the log of its weight, and that is known.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax import SVI, Model, sampler
from hierjax.draws import Status
from hierjax.infer.svi_starts import CHUNKS_PER_START
from tests.infer.runner import Runner

WEIGHTS = np.array([0.1, 0.9])
MEANS, SD = np.array([-1.2, 1.2]), 0.15
STARTS = 8


def two_modes(weights, means):
    """A density that is normalised: the prior is taken out again."""
    prior = dist.Normal(0.0, 1.0)
    x = numpyro.sample("x", prior)
    mixture = dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(means, SD))
    numpyro.factor("mixture", mixture.log_prob(x) - prior.log_prob(x))


DATA = {"weights": WEIGHTS, "means": MEANS}


def nearest(x):
    return np.abs(np.asarray(x).mean() - MEANS).argmin()


@pytest.fixture(scope="module")
def alone():
    """Fits from one start, at several seeds."""
    runner = Runner(SVI(guide="normal", draws=200), two_modes, DATA)
    return [runner(DATA, seed) for seed in range(8)]


@pytest.fixture(scope="module")
def runner():
    return Runner(SVI(guide="normal", draws=2000, starts=STARTS), two_modes, DATA)


def test_one_start_ends_in_either_mode(alone):
    assert all(draws.status == Status.OK for draws in alone)
    assert {nearest(draws.sites["x"]) for draws in alone} == {0, 1}
    assert "starts_elbo" not in alone[0].trace


def test_the_best_of_several_starts_goes_on(runner):
    for seed in range(4):
        draws = runner(DATA, seed)
        assert draws.status == Status.OK and nearest(draws.sites["x"]) == 1
        bounds = draws.trace["starts_elbo"]
        assert bounds.shape == (1, STARTS)
        gaps = np.abs(bounds[0][:, None] - np.log(WEIGHTS)).min(axis=1)
        assert (gaps < 0.05).all() and len(np.unique(bounds)) == STARTS
        assert np.ptp(bounds) > 2.0  # both modes were seen
        assert abs(draws.sites["x"].std() / SD - 1) < 0.06


def test_the_record_of_the_fit_begins_after_the_starts(runner):
    elbo = runner(DATA).trace["elbo"][0]
    assert len(elbo) == SVI().max_steps // 100
    # The best start has arrived: its fit is good from the first hundred steps on.
    assert np.isfinite(elbo[0]) and abs(elbo[0] - np.log(WEIGHTS[1])) < 0.2


def test_the_position_of_the_best_does_not_matter():
    """Mirrored, the better mode is found by other starts."""
    mirrored = DATA | {"weights": WEIGHTS[::-1].copy()}
    draws = Runner(SVI(guide="normal", draws=200, starts=STARTS), two_modes, DATA)(mirrored)
    assert nearest(draws.sites["x"]) == 0


def test_the_report_says_which_start_it_is_about(runner):
    arrays = tuple(map(jnp.asarray, runner.arguments.arrays(DATA)))
    state = runner.start(jax.random.key(0), arrays)
    shown = [int(runner.program.report(state)["start"])]
    for _ in range(STARTS * CHUNKS_PER_START + 2):
        state, _ = runner.advance(state, arrays)
        shown.append(int(runner.program.report(state)["start"]))
    assert shown[1 : STARTS * CHUNKS_PER_START + 1] == [
        1 + chunk // CHUNKS_PER_START for chunk in range(STARTS * CHUNKS_PER_START)
    ]
    assert shown[0] == 1 and shown[-1] == shown[-2] == 1 + np.argmax(state.starts.elbo)


def test_starts_under_vmap_over_keys():
    run = sampler(Model(two_modes, DATA), SVI(guide="normal", max_steps=3000, starts=STARTS))
    draws = jax.device_get(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(5), 3)))
    assert [nearest(x) for x in draws.sites["x"]] == [1, 1, 1]
    assert draws.trace["starts_elbo"].shape == (3, 1, STARTS)


def test_a_fit_that_is_given_a_start_tries_no_others(alone):
    model = Model(two_modes, DATA)
    seed = next(seed for seed, draws in enumerate(alone) if nearest(draws.sites["x"]) == 0)
    wrong = hj.fit(model, method=SVI(guide="normal"), seed=seed, progress=False)
    assert nearest(wrong.draws["x"]) == 0
    again = hj.fit(model, method=SVI(guide="normal", starts=STARTS), init=wrong, progress=False)
    assert nearest(again.draws["x"]) == 0 and again.info.trace["starts_elbo"] == ()
    afresh = hj.fit(model, method=SVI(guide="normal", starts=STARTS), progress=False)
    assert nearest(afresh.draws["x"]) == 1 and len(afresh.info.trace["starts_elbo"]) == STARTS


def test_no_finite_start_is_a_status():
    def impossible():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("never", -jnp.inf + 0.0 * x)

    program = SVI(starts=3).program(impossible, {})
    report = program.report(program.start(jax.random.key(0), ()))
    assert bool(report["failed"]) and bool(report["done"])
