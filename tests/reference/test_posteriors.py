"""Posteriors of the cases that are fitted in the fast suite, parameter by parameter.

Their effects are treated as the case says, not as hierjax would choose. What is allowed is in
`compare`: the larger of 4 combined Monte Carlo standard errors and 0.1 reference sd, of means, sds
and quantiles; quadrature stands in for the sampled reference where there is one.
"""

import numpy as np

from tests.reference.compare import compare
from tests.reference.expected import Source


def test_means_sds_and_quantiles_agree_with_the_reference(fitted):
    case, posterior = fitted
    compare(case.names(posterior), Source(case.folder).expected())


def test_hardly_any_divergence(fitted):
    """A biased posterior can still have the right means where the reference is wide."""
    _, posterior = fitted
    assert np.mean(posterior.stats["diverging"]) < 0.005
