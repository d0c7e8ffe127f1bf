"""The assertions about draws accept the right posterior and reject each kind of wrong one."""

import numpy as np
import pytest

from tests.helpers import (
    Moment,
    assert_mean_within_error,
    assert_same_posterior,
    effective_sample_size,
    reference,
)

EXPECTED = Moment(mean=3.0, sd=2.0, mcse=0.02)


def draws(shift=0.0, seed=0, correlation=0.0):
    """Four autoregressive chains of N(3 + shift, 2^2)."""
    noise = np.random.default_rng(seed).normal(size=(4, 1000))
    chain = noise.copy()
    for t in range(1, 1000):
        chain[:, t] = correlation * chain[:, t - 1] + (1 - correlation**2) ** 0.5 * noise[:, t]
    return EXPECTED.mean + shift + EXPECTED.sd * chain


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_right_draws_pass(seed, correlation):
    assert_mean_within_error(draws(seed=seed, correlation=correlation), EXPECTED)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sign", [-1, 1])
def test_draws_shifted_by_0_3_sd_are_rejected(seed, sign):
    with pytest.raises(AssertionError, match=r"off by .* standard errors"):
        assert_mean_within_error(draws(sign * 0.3 * EXPECTED.sd, seed), EXPECTED)


def test_precise_draws_are_held_to_a_tenth_of_the_sd():
    exact = Moment(EXPECTED.mean, EXPECTED.sd, 0.0)
    centred = draws() - np.mean(draws()) + EXPECTED.mean
    assert_mean_within_error(centred + 0.09 * EXPECTED.sd, exact)
    with pytest.raises(AssertionError, match=r"0\.15 reference sd"):
        assert_mean_within_error(centred + 0.15 * EXPECTED.sd, exact)


def test_slow_chains_are_rejected_before_their_mean_is_judged():
    with pytest.raises(AssertionError, match=r"tau: not mixing, bulk ESS \d+ < 200"):
        assert_mean_within_error(draws(correlation=0.99), EXPECTED, name="tau")


def test_chains_that_disagree_are_rejected():
    apart = draws() + 3.0 * EXPECTED.sd * np.array([[-1.0], [1.0], [-1.0], [1.0]])
    with pytest.raises(AssertionError, match="not mixing"):
        assert_mean_within_error(apart, EXPECTED)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_draws_that_are_not_finite_are_rejected(wrong):
    broken = draws()
    broken[2, 5] = wrong
    with pytest.raises(AssertionError, match="1 draws are not finite"):
        assert_mean_within_error(broken, EXPECTED)


def test_constant_draws_are_rejected():
    with pytest.raises(AssertionError, match="all draws are equal"):
        assert_mean_within_error(np.full((4, 1000), EXPECTED.mean), EXPECTED)


def test_every_parameter_of_the_reference_is_asked_for():
    with pytest.raises(AssertionError, match=r"no draws of \['tau'\]"):
        assert_same_posterior({"mu": draws()}, {"mu": EXPECTED, "tau": EXPECTED})


def test_one_wrong_parameter_among_many_is_named():
    found = {f"theta[{i}]": draws(seed=i) for i in range(10)} | {"mu": draws(0.6)}
    with pytest.raises(AssertionError, match=r"1 of 11 parameters:\nmu: mean"):
        assert_same_posterior(found, dict.fromkeys(found, EXPECTED))


def test_effective_sample_size_of_an_autoregression():
    """Exactly N (1 - r) / (1 + r) for the mean of a first-order autoregression."""
    found = effective_sample_size(draws(correlation=0.7), "mean")
    assert found == pytest.approx(4000 * 0.3 / 1.7, rel=0.25)


def test_without_the_reference_folder_tests_skip_with_the_reason(monkeypatch):
    monkeypatch.delenv("HIERJAX_REQUIRE_REFERENCE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"reference folder has no nosuch\.json"):
        reference("nosuch.json")


def test_continuous_integration_fails_without_the_reference_folder(monkeypatch):
    monkeypatch.setenv("HIERJAX_REQUIRE_REFERENCE", "1")
    with pytest.raises(pytest.fail.Exception, match=r"reference folder has no nosuch\.json"):
        reference("nosuch.json")
