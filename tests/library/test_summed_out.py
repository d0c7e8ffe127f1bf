"""Discrete unknowns that designs sum out, against the sum over every one of their values."""

import itertools
import math

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import logit

from hierjax import library


def test_numbers_of_animals():
    """The sum over the numbers, with N of each unit enumerated in a loop."""
    generator = np.random.default_rng(2)
    rate, chance = generator.gamma(2.0, 2.0, size=4), generator.uniform(0.1, 0.9, size=(4, 3))
    surveyed = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]], dtype=bool)
    counted = np.array([[0, 0, 0], [2, 0, 1], [3, 3, 2], [0, 0, 1]])
    with jax.enable_x64(True):
        counts = library.RepeatedCounts(rate, logit(chance), surveyed, 40)
        found = jax.jit(counts.log_prob)(counted)
    for unit in range(4):
        there = surveyed[unit]
        total = sum(
            stats.poisson.pmf(number, rate[unit])
            * np.prod(stats.binom.pmf(counted[unit, there], number, chance[unit, there]))
            for number in range(41)
        )
        np.testing.assert_allclose(found[unit], np.log(total), rtol=1e-10)


def test_derivatives_stay_finite_where_nothing_was_seen():
    """At detection near 0 or 1, and for numbers below the count, whose probability is zero."""
    surveyed = np.ones((2, 2), dtype=bool)

    def density(rate, logits):
        counted = np.array([[0, 0], [3, 5]])
        return library.RepeatedCounts(rate, logits, surveyed, 30).log_prob(counted).sum()

    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(density, argnums=(0, 1)))
        for logits in (-60.0, 0.0, 60.0):
            slopes = gradient(np.full(2, 4.0), np.full((2, 2), logits))
            assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.slow
def test_sampled_counts_have_the_moments_of_thinned_poisson_counts():
    """Counts of one visit are Poisson(lambda p); two visits have covariance lambda p q."""
    chance = np.tile(logit([0.3, 0.6]), (20_000, 1))
    counts = library.RepeatedCounts(np.full(20_000, 4.0), chance, np.ones((20_000, 2), bool), 50)
    counted = counts.sample(jax.random.key(0))
    np.testing.assert_allclose(np.mean(counted, axis=0), [1.2, 2.4], atol=4 * (2.4 / 20_000) ** 0.5)
    np.testing.assert_allclose(np.cov(np.asarray(counted).T)[0, 1], 4 * 0.3 * 0.6, atol=0.08)


def test_topics_of_words():
    """The sum over the topic of every word of a document, in every order of its words."""
    generator = np.random.default_rng(3)
    topic_words, share = generator.dirichlet([1.0] * 4, size=3), generator.dirichlet([1.0] * 3)
    counted = np.array([2, 0, 1, 1])
    words = np.repeat(np.arange(4), counted)
    one_order = sum(
        math.prod(share[k] * topic_words[k, word] for k, word in zip(topics, words, strict=True))
        for topics in itertools.product(range(3), repeat=len(words))
    )
    orders = math.factorial(4) / math.prod(math.factorial(n) for n in counted)
    with jax.enable_x64(True):
        found = dist.Multinomial(4, share @ topic_words).log_prob(counted)
    np.testing.assert_allclose(float(found), np.log(orders * one_order), rtol=1e-12)
