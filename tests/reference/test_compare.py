"""The comparison with reference posteriors accepts the right one and rejects each kind of wrong."""

import dataclasses

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

from tests.reference.compare import compare, error_of, gaps_of, largest, value_of
from tests.reference.expected import QUANTITIES, Expected

CHAINS, DRAWS = 4, 1000


def normal(mean=3.0, sd=2.0, error=0.0):
    """What quadrature, or long chains, say of a normal distribution."""
    quantiles = {f"q{p}": mean + sd * stats.norm.ppf(p / 100) for p in (5, 50, 95)}
    values = {"mean": mean, "sd": sd, **quantiles}
    return Expected(values, dict.fromkeys(values, error))


def draws(seed=0, correlation=0.0, sd=2.0):
    """Draw four autoregressive chains of N(3, sd^2)."""
    noise = np.random.default_rng(seed).normal(size=(CHAINS, DRAWS))
    chain = noise.copy()
    for t in range(1, DRAWS):
        chain[:, t] = correlation * chain[:, t - 1] + (1 - correlation**2) ** 0.5 * noise[:, t]
    return 3.0 + sd * chain


def planted(quantity, by):
    """The right reference with one quantity moved."""
    right = normal()
    return dataclasses.replace(
        right, values={**right.values, quantity: right.values[quantity] + by}
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.7])
def test_right_draws_pass(seed, correlation):
    assert len(compare({"mu": draws(seed, correlation)}, {"mu": normal()})) == len(QUANTITIES)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_one_quantity_that_is_wrong_is_the_one_that_is_named(quantity, sign):
    with pytest.raises(AssertionError, match=rf"^1 of 5 comparisons:\nmu: {quantity} "):
        compare({"mu": draws()}, {"mu": planted(quantity, sign * 0.5 * 2.0)})


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_tenth_of_an_sd_is_allowed_whatever_the_error(quantity):
    many = np.random.default_rng(3).normal(3.0, 2.0, size=(4, 20_000))
    compare({"mu": many}, {"mu": planted(quantity, 0.07 * 2.0)})
    with pytest.raises(AssertionError, match=f"mu: {quantity} "):
        compare({"mu": many}, {"mu": planted(quantity, 0.13 * 2.0)})


def test_quantiles_see_a_wrong_shape_with_the_right_mean_and_sd():
    generator = np.random.default_rng(1)
    humps = generator.choice([-1.0, 1.0], size=(CHAINS, DRAWS))
    wrong = 3.0 + 2.0 * (0.995 * humps + 0.1 * generator.normal(size=humps.shape))
    with pytest.raises(AssertionError, match=r"mu: q5 .*\nmu: q95 "):
        compare({"mu": wrong}, {"mu": normal()})


def test_errors_of_the_reference_count():
    compare({"mu": draws()}, {"mu": dataclasses.replace(planted("mean", 1.0), errors=far())})


def far():
    return dict.fromkeys(QUANTITIES, 0.3)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_draws_resampled_by_weight_are_worth_what_the_weights_are(quantity):
    """The error of 4,000 draws that are worth 1,000 is twice as large."""
    alone, weighted = (
        next(gap for gap in gaps_of("mu", draws(), normal(), worth) if gap.quantity == quantity)
        for worth in (np.inf, 1000.0)
    )
    assert weighted.error == pytest.approx(2.0 * alone.error, rel=0.2)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_errors_are_those_of_arviz(quantity):
    kinds = {"q5": 0.05, "q50": 0.5, "q95": 0.95}
    word = "quantile" if quantity in kinds else quantity
    there = array_stats.mcse(
        draws(), chain_axis=0, draw_axis=1, method=word, prob=kinds.get(quantity)
    )
    assert error_of(draws(), quantity) == pytest.approx(float(there), rel=0.1)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_errors_are_the_spread_of_many_runs(quantity):
    runs = [draws(seed, 0.6) for seed in range(30)]
    spread = np.std([value_of(run, quantity) for run in runs], ddof=1)
    typical = np.mean([error_of(run, quantity) for run in runs])
    assert typical == pytest.approx(spread, rel=0.4)


def test_an_error_of_the_mean_alone_stands_for_the_others():
    """The other errors of their draws are to it as ours are."""
    table = dataclasses.replace(normal(), errors={"mean": 2.0 / 4000**0.5})
    for gap in gaps_of("mu", draws(), table):
        assert gap.error == pytest.approx(2**0.5 * error_of(draws(), gap.quantity), rel=0.1)


def test_weights_of_few_draws_are_refused():
    with pytest.raises(AssertionError, match=r"mu: not mixing, bulk ESS 150 < 200"):
        compare({"mu": draws()}, {"mu": normal()}, worth=150.0)


def test_slow_chains_and_what_is_no_number_are_refused():
    broken = draws()
    broken[1, 7] = np.nan
    found = {"slow": draws(correlation=0.99), "broken": broken, "still": np.ones((4, 1000))}
    with pytest.raises(AssertionError, match=r"slow: not mixing.*\nbroken: 1 .*\nstill: all draws"):
        compare(found, dict.fromkeys(found, normal()))


def test_a_parameter_without_draws_is_named():
    with pytest.raises(AssertionError, match=r"no draws of \['tau'\]"):
        compare({"mu": draws()}, {"mu": normal(), "tau": normal()})


def test_what_is_left_out_is_no_scale_either():
    """An sd that is not compared, because it may be anything, would make quantiles pass."""
    heavy = dataclasses.replace(normal(), values={**normal().values, "sd": 1000.0})
    rest = heavy.without(("mean", "sd"))
    assert set(rest.values) == {"q5", "q50", "q95"}
    assert rest.scale == pytest.approx(2.0, rel=1e-3)
    wrong = dataclasses.replace(rest, values={**rest.values, "q50": 4.0})
    with pytest.raises(AssertionError, match="1 of 3 comparisons:\nmu: q50"):
        compare({"mu": draws()}, {"mu": wrong})


def test_the_largest_gap_is_in_what_is_allowed():
    gaps = compare({"a": draws(1), "b": draws(2)}, {"a": normal(), "b": normal()})
    assert largest(gaps).share == max(gap.share for gap in gaps) <= 1.0
