"""Posteriors of populations of normal effects by quadrature in NumPy: no sampling, no hierjax.

The effects of J groups are theta_j ~ N(mu, sigma^2), and each has a likelihood of its own. Given mu
and sigma the groups are independent, so all integrals are over one variable; mu and sigma are on a
grid. Counts of two arms are brought to this form by integrating each study's baseline first.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

NODES = np.linspace(-11.0, 8.0, 9501)
SMALLEST = 0.02  # below this sd, ten steps of the nodes, an effect is at the mean itself


class Moments(NamedTuple):
    """Mean and sd of one parameter."""

    mean: float
    sd: float


def population(
    likelihood: np.ndarray,
    log_mu_prior: Callable[[np.ndarray], np.ndarray],
    log_sigma_prior: Callable[[np.ndarray], np.ndarray],
    mu: np.ndarray,
    sigma: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of a grid and moments of the effects.

    Parameters
    ----------
    likelihood
        Likelihood of each group at `NODES`, up to a factor, (nodes, groups).
    log_mu_prior, log_sigma_prior
        Log densities of the priors.
    mu, sigma
        Evenly spaced values of mu, and values of sigma evenly spaced on the log scale.

    Returns
    -------
    weights
        Posterior weights, (sigma, mu).
    mean, square
        Posterior mean of theta and of theta^2 of each group.
    """
    step = NODES[1] - NODES[0]
    groups = likelihood.shape[1]
    moments = np.concatenate([likelihood * NODES[:, None] ** k for k in range(3)], axis=1)
    log_weights, firsts, seconds = [], [], []
    for sd in sigma:
        if sd < SMALLEST:
            parts = [np.interp(mu, NODES, column) for column in moments.T]
            values = np.stack(parts, axis=1)
        else:
            values = step * stats.norm.pdf(NODES, mu[:, None], sd) @ moments
        zero, one, two = np.split(values, 3, axis=1)
        assert zero.shape == (len(mu), groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_weights.append(np.log(zero).sum(1) + log_mu_prior(mu))
            firsts.append(np.nan_to_num(one / zero))
            seconds.append(np.nan_to_num(two / zero))
    total = np.array(log_weights) + (log_sigma_prior(sigma) + np.log(sigma))[:, None]
    weights = np.exp(total - total.max())
    weights /= weights.sum()
    mean = np.einsum("sm,smj->j", weights, np.array(firsts))
    square = np.einsum("sm,smj->j", weights, np.array(seconds))
    return weights, mean, square


def summarise(
    weights: np.ndarray, mean: np.ndarray, square: np.ndarray, mu: np.ndarray, sigma: np.ndarray
) -> dict[str, Moments]:
    """Moments of mu, sigma and theta[0], theta[1], ... ."""

    def moments(values: np.ndarray, probabilities: np.ndarray) -> Moments:
        first = float(probabilities @ values)
        return Moments(first, float(probabilities @ (values - first) ** 2) ** 0.5)

    found = {"mu": moments(mu, weights.sum(0)), "sigma": moments(sigma, weights.sum(1))}
    for j, (first, second) in enumerate(zip(mean, square, strict=True)):
        found[f"theta[{j}]"] = Moments(float(first), float(second - first**2) ** 0.5)
    return found


def binomial_likelihood(y: np.ndarray, trials: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Likelihood of events in trials at log odds offset + `NODES`, (nodes, groups)."""
    log = stats.binom.logpmf(y, trials, special.expit(NODES[:, None] + offset))
    return np.exp(log - log.max(0))


def arms_likelihood(
    events: np.ndarray,
    total: np.ndarray,
    control_events: np.ndarray,
    control_total: np.ndarray,
    baseline_sd: float,
) -> np.ndarray:
    """Likelihood of two arms at log odds ratio `NODES`, the baseline N(0, sd) integrated out."""
    columns = []
    for y, n, c, m in zip(events, total, control_events, control_total, strict=True):
        centre = special.logit((c + 0.5) / (m + 1.0))
        spread = (1 / (c + 0.5) + 1 / (m - c + 0.5)) ** 0.5
        base = centre + spread * np.linspace(-9.0, 9.0, 401)
        log = stats.binom.logpmf(c, m, special.expit(base)) + stats.norm.logpdf(
            base, 0.0, baseline_sd
        )
        log = log[:, None] + stats.binom.logpmf(y, n, special.expit(base[:, None] + NODES))
        columns.append(special.logsumexp(log, axis=0))
    table = np.stack(columns, axis=1)
    return np.exp(table - table.max(0))


def slopes(data: Mapping[str, Any]) -> dict[str, Moments]:
    """Moments of gamma, tau, sigma and beta[0], ... of a slope for every group, none intercepts.

    Given tau and sigma all is normal: a group's least squares slope is N(beta_i, sigma^2 / S_i),
    S_i its sum of squares of x, so N(gamma, tau^2 + sigma^2 / S_i) with beta_i integrated out, and
    gamma is integrated out of that. The two sds are on a grid.
    """
    y, x, group, number = (data[name] for name in ("y", "x", "group", "num_groups"))
    squares = np.bincount(group, x**2, number)
    fitted = np.bincount(group, x * y, number) / squares
    left = float(np.sum((y - fitted[group] * x) ** 2))
    tau = 5.0 * data["tau_sd"] * (np.arange(600) + 0.5)[:, None, None] / 600
    middle = (left / (len(y) - number)) ** 0.5
    sigma = middle * np.linspace(0.4, 2.5, 301)[:, None]
    noise = sigma**2 / squares
    variance = tau**2 + noise
    prior = 1.0 / data["gamma_sd"] ** 2
    precision = prior + np.sum(1.0 / variance, -1)
    gamma = (prior * data["gamma_mean"] + np.sum(fitted / variance, -1)) / precision
    log_weight = (
        -0.5 * np.sum(np.log(variance) + fitted**2 / variance, -1)
        + 0.5 * precision * gamma**2
        - 0.5 * np.log(precision)
        - (len(y) - number) * np.log(sigma[:, 0])
        - 0.5 * left / sigma[:, 0] ** 2
        + stats.halfnorm.logpdf(tau[..., 0], scale=data["tau_sd"])
        + stats.halfnorm.logpdf(sigma[:, 0], scale=data["sigma_sd"])
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()

    def moments(mean: np.ndarray, spread: Any = 0.0) -> Moments:
        first = float(np.sum(weight * mean))
        return Moments(first, float(np.sum(weight * (spread + (mean - first) ** 2))) ** 0.5)

    found = {
        "gamma": moments(gamma, 1.0 / precision),
        "tau": moments(np.broadcast_to(tau[..., 0], weight.shape)),
        "sigma": moments(np.broadcast_to(sigma[:, 0], weight.shape)),
    }
    share = noise / variance  # of gamma in a slope
    for j in range(number):
        part = share[..., j]
        mean = part * gamma + (1.0 - part) * fitted[j]
        found[f"beta[{j}]"] = moments(mean, part * tau[..., 0] ** 2 + part**2 / precision)
    return found
