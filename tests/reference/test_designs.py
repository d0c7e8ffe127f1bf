"""Designs of the library on real data, method by method, against what the posterior should be.

What is allowed is in `benchmarks.designs.complaints`: of exact methods, no diagnostic complains,
and no mean or sd is a tenth of an sd off where that is more than chance; of approximations, a share
of an sd stated for each, but for those that are known to fail; of estimates, 1e-3 of lme4's.
References are quadrature, posteriors of the reference folder, and long chains, see
`benchmarks/designs_problems.py`.
"""

import numpy as np
import pytest

import hierjax as hj
from benchmarks.designs import TOO_SLOW, complaints, measure
from benchmarks.designs_problems import PROBLEMS
from benchmarks.designs_topics import in_order
from tests.helpers import reference, reference_json

pytestmark = pytest.mark.slow
SEED = 4
GRID = [
    (name, method)
    for name, each in PROBLEMS.items()
    for method in each.methods
    if (name, method) not in TOO_SLOW
]


@pytest.mark.parametrize(("name", "method"), GRID)
def test_posterior_is_that_of_the_reference(name, method):
    needs = PROBLEMS[name].needs
    if needs:
        reference(needs)
    assert not complaints(measure(name, method, SEED))


@pytest.mark.parametrize("nested", [False, True])
def test_topics_are_found_again(nested):
    """Words of 60 documents drawn from the model, by SVI and then by chains that start there."""
    generator = np.random.default_rng(17)
    truth = generator.dirichlet([0.5] * 20, size=3)
    collection = np.repeat(np.arange(4), 15)
    wholes = generator.dirichlet([1.0] * 3, size=4)
    weights = 4.0 * wholes[collection] + 0.2 if nested else np.full((60, 3), 0.5)
    shares = np.array([generator.dirichlet(each) for each in weights])
    counts = np.array([generator.multinomial(150, share @ truth) for share in shares])
    assert (counts.sum(0) > 0).all()
    build = hj.library.nested_topics if nested else hj.library.topics
    model = build(counts, *([collection] if nested else []), 3)
    method = hj.SVI(guide="normal", starts=4, max_steps=2000)
    near = hj.fit(model, method=method, seed=SEED, progress=False)
    chains = hj.fit(model, method="nuts", init=near, seed=SEED, progress=False)
    # Chains that start by themselves have different orders: R-hat is 1.7 and 2.4, the words of two
    # chains differ by 0.67.
    assert chains.diagnostics().rhat.value < 1.05
    of_chains = chains.draws["topic_words"].mean(1)
    assert furthest(of_chains, of_chains[:1]) < 0.02
    by_svi, exact = (
        in_order(
            {site: values.mean((0, 1))[None] for site, values in posterior.draws.items()}, truth
        )
        for posterior in (near, chains)
    )
    assert furthest(by_svi["topic_words"], exact["topic_words"]) < 0.02
    assert furthest(exact["topic_words"], truth[None]) < 0.1
    assert np.corrcoef(exact["shares"].ravel(), shares.ravel())[0, 1] > 0.95


def furthest(words, others):
    """Largest total variation distance between two distributions over words, of all topics."""
    return np.abs(words - others).sum(-1).max() / 2


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
