"""Designs of the library on real data, method by method, against what the posterior should be.

Allowed is 4 combined Monte Carlo standard errors, or 0.1 posterior sd where that is larger; of
estimates 1e-3 of lme4's. References are quadrature, posteriors of the reference folder, and long
chains of NumPyro's own sampler, see `benchmarks/designs_problems.py`.
"""

import itertools

import numpy as np
import pytest

import hierjax as hj
from benchmarks.designs import estimate_gaps, scalars
from benchmarks.designs_problems import PROBLEMS
from tests.helpers import Moment, assert_same_posterior, reference, reference_json

pytestmark = pytest.mark.slow
SEED = 4
GRID = [(name, method) for name, each in PROBLEMS.items() for method in each.methods]


@pytest.mark.parametrize(("name", "method"), GRID)
def test_posterior_is_that_of_the_reference(name, method):
    problem = PROBLEMS[name]
    if problem.needs:
        reference(problem.needs)
    expected, model = problem.reference(), problem.model()
    posterior = hj.fit(model, method=method, seed=SEED, progress=False)
    if method == "empirical_bayes":
        gaps = {each: gap for each, (_, gap) in estimate_gaps(posterior, expected).items()}
        assert max(gaps.values()) < 1e-3, gaps
        return
    moments = {each: Moment(row.mean, row.sd, row.error) for each, row in expected.items()}
    if method == "svi":
        assert_roughly_same(scalars(model, posterior.draws), moments)
        return
    assert_same_posterior(scalars(model, posterior.draws), moments)
    if method == "nuts":
        assert posterior.stats["diverging"].sum() == 0
    assert posterior.diagnostics().ok, str(posterior.diagnostics())


def assert_roughly_same(draws, expected):
    """The default guide: means within half a posterior sd, sds not more than twice too large."""
    for name, moment in expected.items():
        assert abs(np.mean(draws[name]) - moment.mean) < 0.5 * moment.sd, name
        assert np.std(draws[name]) < 2.0 * moment.sd, name


@pytest.mark.parametrize("nested", [False, True])
def test_topics_are_found_again(nested):
    """Words of 60 simulated documents; whatever the order of topics, theirs are near the truth."""
    generator = np.random.default_rng(17)
    truth = generator.dirichlet([0.3] * 20, size=3)
    collection = np.repeat(np.arange(4), 15)
    wholes = generator.dirichlet([1.0] * 3, size=4)
    shares = np.array([generator.dirichlet(4.0 * wholes[each] + 0.2) for each in collection])
    counts = np.array([generator.multinomial(150, share @ truth) for share in shares])
    seen = counts.sum(0) > 0
    counts, truth = counts[:, seen], truth[:, seen] / truth[:, seen].sum(1, keepdims=True)
    build = hj.library.nested_topics if nested else hj.library.topics
    model = build(counts, *([collection] if nested else []), 3)
    posterior = hj.fit(model, method=hj.SVI(guide="normal"), seed=SEED, progress=False)
    assert posterior.info.status == (0,)
    found = posterior.draws["topic_words"][0].mean(0)
    gaps = np.abs(found[:, None] - truth[None]).sum(-1) / 2
    order = min(
        itertools.permutations(range(3)), key=lambda p: sum(gaps[i, p[i]] for i in range(3))
    )
    assert max(gaps[i, order[i]] for i in range(3)) < 0.1
    estimated = posterior.draws["shares"][0].mean(0)[:, np.argsort(order)]
    assert np.corrcoef(estimated.ravel(), shares.ravel())[0, 1] > 0.95


def test_maximum_likelihood_of_hospitals_is_lme4s():
    """One node of the quadrature is Laplace's approximation, as `glmer` has it."""
    fit = reference_json("frequentist.json")["surgical"][0]
    point = hj.fit(
        PROBLEMS["surgical_quadrature"].model(),
        method=hj.EmpiricalBayes("ml", order=1),
        progress=False,
    )
    assert point.log_likelihood == pytest.approx(fit["logLik"], abs=1e-4)
    estimates = point.info.estimates
    assert float(estimates["mu"][0]) == pytest.approx(fit["fixed"][0], rel=1e-3)
    assert float(estimates["sigma"][0]) == pytest.approx(fit["random"][0]["sd_or_corr"], rel=1e-3)
