"""Each design's log density is that of its formula, written out here with SciPy."""

import jax
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats

from hierjax import library


def _hierarchical_linear(data, values):
    mean = values["beta"][data["group"]] * data["x"]
    return (
        stats.norm.logpdf(values["gamma"], data["gamma_mean"], data["gamma_sd"])
        + stats.halfnorm.logpdf(values["tau"], scale=data["tau_sd"])
        + stats.halfnorm.logpdf(values["sigma"], scale=data["sigma_sd"])
        + stats.norm.logpdf(values["beta"], values["gamma"], values["tau"]).sum()
        + stats.norm.logpdf(data["y"], mean, values["sigma"]).sum()
    )


def _test_scores(data, values):
    return (
        stats.norm.logpdf(values["mu"], data["mu_mean"], data["mu_sd"])
        + stats.invgamma.logpdf(values["sigma2"], data["sigma2_shape"], scale=data["sigma2_scale"])
        + stats.invgamma.logpdf(values["tau2"], data["tau2_shape"], scale=data["tau2_scale"])
        + stats.norm.logpdf(values["theta"], values["mu"], values["tau2"] ** 0.5).sum()
        + stats.norm.logpdf(
            data["y"], values["theta"][data["group"]], values["sigma2"] ** 0.5
        ).sum()
    )


def _eight_schools(data, values):
    return (
        stats.norm.logpdf(values["mu"], 0.0, data["mu_sd"])
        + stats.halfcauchy.logpdf(values["tau"], scale=data["tau_scale"])
        + stats.norm.logpdf(values["theta"], values["mu"], values["tau"]).sum()
        + stats.norm.logpdf(data["y"], values["theta"], data["sigma"]).sum()
    )


# Design -> (log density by hand, values of the latent sites that are not one per group).
CASES = {
    "hierarchical_linear": (
        _hierarchical_linear,
        "beta",
        {"gamma": 0.7, "tau": 0.31, "sigma": 1.9},
    ),
    "test_scores": (_test_scores, "theta", {"mu": 48.5, "sigma2": 71.0, "tau2": 13.5}),
    "eight_schools": (_eight_schools, "theta", {"mu": 4.4, "tau": 3.6}),
}


def test_every_design_has_a_case():
    assert set(CASES) == set(library.MODELS)


@pytest.mark.parametrize("name", library.MODELS)
def test_log_density_is_the_formula(name):
    by_hand, effect, values = CASES[name]
    model = library.MODELS[name].example()
    groups = len(next(iter(model.labels.values())))
    values = values | {effect: np.random.default_rng(1).normal(2.0, 3.0, size=groups)}
    with jax.enable_x64(True):
        found, _ = log_density(model.fn, (), dict(model.data), values)
        assert found.dtype == np.float64
        np.testing.assert_allclose(float(found), by_hand(model.data, values), rtol=1e-10)
