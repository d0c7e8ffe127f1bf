"""Empirical Bayes against every fit of lme4 in the reference folder.

Exceptions, which are lme4's:

- its errors of generalised models are those of the joint normal approximation of coefficients and
  effects at the estimated sds (`vcov(use.hessian = FALSE)`), ours those of the observed
  information; they differ by up to 4%;
- log-likelihoods with nAGQ > 1 lack that of the saturated model;
- the maximum that it found for grouseticks is 2e-5 below ours.
"""

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree

import hierjax as hj
from tests.infer.lme4_fits import FITS, answer, coefficients, deviations

SLOW = pytest.mark.slow
TABLE = [
    pytest.param("sleepstudy", "REML"),
    pytest.param("cbpp", "nAGQ1"),
    *(
        pytest.param(name, kind, marks=SLOW)
        for name, fit in FITS.items()
        for kind in ("ML", "REML")
        if fit.family == "gaussian" and (name, kind) != ("sleepstudy", "REML")
    ),
    *(pytest.param("cbpp", f"nAGQ{order}", marks=SLOW) for order in (5, 9, 25)),
    pytest.param("grouseticks", "nAGQ1", marks=SLOW),
    pytest.param("verbagg", "nAGQ1", marks=SLOW),
]
HIGHER = {"grouseticks": 5e-5}  # than the maximum that lme4 found


def fitted(name, kind):
    row = FITS[name]
    if kind in ("ML", "REML"):
        method = hj.EmpiricalBayes(kind.lower(), draws=2)
    else:
        method = hj.EmpiricalBayes(order=int(kind.removeprefix("nAGQ")), draws=2)
    return hj.fit(row.formula, row.frame, family=row.family, method=method, progress=False)


def saturated(frame):
    """Log-likelihood of binomial counts whose chances are the shares observed."""
    trials, events = frame["size"], frame["incidence"]
    return scipy.stats.binom.logpmf(events, trials, events / trials).sum()


@pytest.mark.parametrize(("name", "kind"), TABLE)
def test_log_likelihood_estimates_and_errors_are_those_of_lme4(name, kind):
    expected = answer(name, kind)
    post = fitted(name, kind)
    assert post.diagnostics().ok
    assert post.info.trace["parameters"] == (expected["df"],)
    far = deviations(post, expected)
    if kind in ("nAGQ5", "nAGQ9", "nAGQ25"):
        far["log_likelihood"] -= saturated(FITS[name].frame)
    assert -1e-5 < far["log_likelihood"] < HIGHER.get(name, 1e-5)
    assert far["fixef"] < 2e-4  # of a standard error
    assert far["sdcor"] < 1e-4  # relative
    assert far["se"] < (1e-5 if FITS[name].family == "gaussian" else 0.04)
    if kind == "nAGQ1" and name == "cbpp":
        assert_errors_of_both_kinds(post, expected)


def errors_by_differences(post):
    """Standard errors of coefficients from second differences of the marginal log-likelihood."""
    with jax.enable_x64(True):
        logp = hj.log_marginal(post.model, method="laplace")
        estimates = {name: post.info.estimates[name][0] for name in logp.latents}
        flat, rebuild = ravel_pytree(estimates)
        steps = 1e-3 * np.eye(len(flat))
        corners = [
            flat + sign * (a + other * b) for a in steps for b in steps
            for sign in (1, -1) for other in (1, -1)
        ]  # fmt: skip
        values = np.asarray(jax.jit(jax.vmap(lambda at: logp(rebuild(at))))(np.array(corners)))
        order = rebuild(jax.numpy.arange(float(len(flat))))
    up, across, down, back = values.reshape(len(flat), len(flat), 4).transpose(2, 0, 1)
    errors = np.sqrt(np.diag(np.linalg.inv((across + back - up - down) / 4e-6)))
    places = [np.ravel(np.asarray(order[name])) for name in ("b_Intercept", "b_period")]
    return errors[np.concatenate(places).astype(int)]


def assert_errors_of_both_kinds(post, expected):
    """Check ours against differences of values, and lme4.json's against what they stand for."""
    ours = [coefficients(post)[name][1] for name in ("Intercept", "period2", "period3", "period4")]
    np.testing.assert_allclose(ours, errors_by_differences(post), rtol=1e-5)
    frame = FITS["cbpp"].frame
    draws = {name: values[0] for name, values in post.info.estimates.items()}
    x = pd.get_dummies(frame["period"], drop_first=True).to_numpy(float)
    x = np.column_stack([np.ones(len(frame)), x])
    labels = list(post.model.labels["herd"])
    z = np.array([[float(herd == label) for label in labels] for herd in frame["herd"]])
    b = np.array([coefficients(post)[name][0] for name in
                  ("Intercept", "period2", "period3", "period4")])  # fmt: skip
    chance = 1 / (1 + np.exp(-(x @ b + z @ draws["r_herd"])))
    weight = frame["size"].to_numpy() * chance * (1 - chance)
    columns = np.hstack([z, x])
    precision = columns.T @ (weight[:, None] * columns)
    effects = np.arange(len(labels))
    precision[effects, effects] += draws["sd_herd"].item() ** -2
    errors = np.sqrt(np.diag(np.linalg.inv(precision)))[len(labels) :]
    np.testing.assert_allclose(errors, list(expected["se"].values()), rtol=1e-4)
