"""Residual variances of families: what is left to rows in shares of variance and R squared.

References
----------
Nakagawa, Johnson and Schielzeth (2017), doi:10.1098/rsif.2017.0213.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Parameters = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Residual:
    """How much a row varies around its predictor.

    Attributes
    ----------
    variance
        `variance(parameters, log_mean)` at every draw; `parameters` holds draws of those of the
        family (as `sigma` the root mean square over the rows), `log_mean` the log of the mean of
        exp(predictor) over rows and groups.
    scale
        The scale of that variance, and how it is meant.
    """

    variance: Callable[[Parameters, np.ndarray], Any]
    scale: str


def _normal(parameters: Parameters, _: np.ndarray) -> np.ndarray:
    return parameters["sigma"] ** 2


def _student(parameters: Parameters, _: np.ndarray) -> np.ndarray:
    """Variance of Student's t, s^2 nu / (nu - 2); infinite at draws with nu of at most 2."""
    freedom = parameters["nu"]
    with np.errstate(divide="ignore"):
        factor = np.where(freedom > 2.0, freedom / np.maximum(freedom - 2.0, 0.0), np.inf)
    return parameters["sigma"] ** 2 * factor


def _logistic(parameters: Parameters, _: np.ndarray) -> float:
    del parameters
    return np.pi**2 / 3.0


def _poisson(parameters: Parameters, log_mean: np.ndarray) -> np.ndarray:
    del parameters
    return np.log1p(np.exp(-log_mean))


def _negative_binomial(parameters: Parameters, log_mean: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-log_mean) + 1.0 / parameters["shape"])


def _gamma(parameters: Parameters, _: np.ndarray) -> np.ndarray:
    """Variance of the logarithm of a gamma variable."""
    from scipy.special import polygamma

    return polygamma(1, parameters["shape"])


LOG = "on the latent (log) scale; residual: log-normal approximation"

NORMAL = Residual(_normal, "on the scale of the response")
STUDENT = Residual(_student, "on the scale of the response")
LOG_NORMAL = Residual(_normal, "on the scale of the logarithm of the response")
GAMMA = Residual(_gamma, "on the latent (log) scale; residual: trigamma(shape)")
LOGISTIC = Residual(_logistic, "on the latent (logit) scale; residual: logistic, pi^2/3")
POISSON = Residual(_poisson, LOG)
NEGATIVE_BINOMIAL = Residual(_negative_binomial, LOG)
