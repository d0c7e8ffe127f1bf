"""Posterior means agree with reference posteriors, parameter by parameter.

Tolerance (tests/helpers.py): the larger of 4 combined Monte Carlo standard errors and 0.1 reference
sd; quadrature stands in for the sampled reference where there is one.
"""

import numpy as np

from tests.helpers import assert_same_posterior, reference_moments


def test_means_agree_with_the_reference(fitted):
    case, posterior = fitted
    assert_same_posterior(case.names(posterior), reference_moments(case.folder))


def test_hardly_any_divergence(fitted):
    """A biased posterior can still have the right means where the reference is wide."""
    _, posterior = fitted
    assert np.mean(posterior.stats["diverging"]) < 0.005
