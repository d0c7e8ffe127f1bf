"""The reference of Gaussian designs: density and draws are those of dense matrices."""

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from benchmarks.designs_gaussian import CHAINS, GaussianDesign
from hierjax.library import MODELS


def dense(design, parts, chain):
    """Matrices of the mean of rows: of the population's, markets' and units' coefficients."""
    data, size = design.data, design.size
    units = np.eye(data["num_groups"])[data["group"]]
    of_units = np.einsum("ng,ni->ngi", units, data["x"])
    scale = parts["tau"][chain][:, None] * parts["L"][chain]
    above = np.kron(np.eye(data["num_groups"]), scale @ scale.T)
    if design.nested:
        markets = design.members.T
        above += np.kron(markets @ markets.T, np.diag(parts["omega"][chain] ** 2))
        top = np.tile(np.eye(size), (data["num_groups"], 1))
    else:
        top = design.design.reshape(-1, design.design.shape[-1])
    above += top @ np.diag(data["gamma_sd"].ravel() ** 2) @ top.T
    return of_units.reshape(len(data["y"]), -1), above, top @ data["gamma_mean"].ravel()


@pytest.fixture(params=["varying_slopes", "nested_slopes"])
def prepared(request):
    design = GaussianDesign(MODELS[request.param].example().data)
    position = design.start(np.random.default_rng(2))
    return design, position, design.parts(position)


def test_density_is_that_of_one_normal_vector(prepared):
    design, position, parts = prepared
    expected = []
    for chain in range(CHAINS):
        rows, above, mean = dense(design, parts, chain)
        covariance = rows @ above @ rows.T
        covariance += parts["sigma"][chain] ** 2 * np.eye(len(rows))
        expected.append(stats.multivariate_normal.logpdf(design.data["y"], rows @ mean, covariance))
    expected += design.cholesky(position)[1]
    for name in ("tau", "omega") if design.nested else ("tau",):
        expected += stats.halfnorm.logpdf(parts[name], scale=design.data[f"{name}_sd"]).sum(-1)
    expected += stats.halfnorm.logpdf(parts["sigma"], scale=design.sd_scales[-1])
    found = design.log_density(position)
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-8)


def test_coefficients_are_drawn_from_what_they_are_given_the_rest(prepared):
    design, position, parts = prepared
    generator = np.random.default_rng(5)
    draws = [design.draw(position, generator)["beta"][0].ravel() for _ in range(4000)]
    rows, above, mean = dense(design, parts, 0)
    gain = above @ rows.T
    covariance = rows @ gain + parts["sigma"][0] ** 2 * np.eye(len(rows))
    centre = mean + gain @ np.linalg.solve(covariance, design.data["y"] - rows @ mean)
    left = above - gain @ np.linalg.solve(covariance, gain.T)
    sds = np.diag(left) ** 0.5
    assert np.abs((np.mean(draws, 0) - centre) / sds).max() < 5.0 / 4000**0.5
    np.testing.assert_allclose(np.std(draws, 0), sds, rtol=5.0 / 8000**0.5)
    difference = np.cov(np.transpose(draws)) - left
    assert np.abs(difference / np.outer(sds, sds)).max() < 6.0 / 4000**0.5


def test_partial_correlations_have_the_density_of_lkj():
    """The log prior is that of the Cholesky factor and a Jacobian determinant, by differences."""
    design = GaussianDesign(MODELS["nested_slopes"].example().data)
    design.size = 3
    generator = np.random.default_rng(8)
    sds = np.ones(len(design.sd_scales))
    below = np.tril_indices(3, -1)

    def lower(partial):
        return design.cholesky(np.concatenate([sds, partial])[None])[0][0]

    gaps = []
    for partial in generator.normal(size=(4, 3)):
        steps = 1e-6 * np.eye(3)
        moved = [(lower(partial + each) - lower(partial - each))[below] / 2e-6 for each in steps]
        prior = dist.LKJCholesky(3, float(design.data["correlation"]))
        expected = float(prior.log_prob(lower(partial))) + np.linalg.slogdet(np.array(moved))[1]
        gaps.append(design.cholesky(np.concatenate([sds, partial])[None])[1][0] - expected)
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-4)
