"""How a posterior moves when a density is raised to a power, and when a number in a prior changes.

Arrays only. Draws are never made anew: they are weighted.

References
----------
Kallioinen, Paananen, Bürkner and Vehtari (2024), Detecting and diagnosing prior and likelihood
sensitivity with power-scaling, Statistics and Computing 34, 57, doi:10.1007/s11222-023-10366-5.
"""

import dataclasses
from typing import Any

import numpy as np

from hierjax.diagnostics import mcse_mean

ALPHAS = (0.99, 1.01)  # powers on either side of 1, where the distance grows linearly
CHUNK = 32  # parameters at once: bounds memory


@dataclasses.dataclass(frozen=True, eq=False)
class Weighting:
    """What the draws of a posterior are worth.

    Attributes
    ----------
    log_weight
        Shape (chain, draw): log weights up to a constant; zero for draws of the posterior itself.
    worth
        Effective number of draws, where the method has recorded it; else chains tell.
    """

    log_weight: np.ndarray
    worth: float | None = None

    @property
    def weights(self) -> np.ndarray:
        """Weights (chain * draw,) that sum to one."""
        return _normalised(self.log_weight.ravel())

    @property
    def is_even(self) -> bool:
        """Whether every draw counts the same."""
        return bool(np.ptp(self.log_weight) == 0.0)

    def relative_size(self, values: np.ndarray) -> float:
        """Effective draws of the tails of `values` (chain, draw) over draws, as ArviZ has it."""
        from arviz_stats.base.array import array_stats

        if self.worth is not None or not self.is_even:
            return min((self.worth or values.size) / values.size, 1.0)
        size: Any = array_stats.ess(values.reshape(1, -1), method="tail", prob=0.05, relative=True)
        return float(size)


def scaled_weights(
    log_density: np.ndarray, weighting: Weighting, alpha: float
) -> tuple[np.ndarray, float]:
    """Weights of the draws for the posterior in which a density is raised to the power alpha.

    They are proportional to density^(alpha - 1), times those of the draws; their tail is smoothed
    (Pareto smoothed importance sampling).

    Parameters
    ----------
    log_density
        Shape (chain, draw).
    weighting
        Of the draws.
    alpha
        The power.

    Returns
    -------
    weights
        Shape (chain * draw,), summing to one.
    k_hat
        Shape of their tail; NaN for a density that is the same at all draws.
    """
    from arviz_stats.base.array import array_stats

    if np.ptp(log_density) == 0.0:
        return weighting.weights, float("nan")
    log_ratio = ((alpha - 1.0) * log_density + weighting.log_weight).ravel()
    smoothing: Any = array_stats.psislw  # its annotations allow integers only
    smoothed, k_hat = smoothing(-log_ratio, r_eff=weighting.relative_size(log_density))
    return _normalised(np.asarray(smoothed)), float(k_hat)


def power_sensitivity(
    values: np.ndarray, log_densities: list[np.ndarray], weighting: Weighting
) -> tuple[np.ndarray, np.ndarray]:
    """How far the distributions of parameters move when each density is raised to a power.

    That is d CJS / d log2(alpha) at alpha = 1, by differences to both sides. CJS is the cumulative
    Jensen-Shannon distance between the distributions of a parameter before and after, which lies
    between 0 and 1 whatever the parameter's unit.

    Parameters
    ----------
    values
        Parameters, shape (chain, draw, parameter).
    log_densities
        Of each density, shape (chain, draw).
    weighting
        Of the draws.

    Returns
    -------
    sensitivity
        Shape (density, parameter).
    k_hat
        Shape (density,): the larger of both powers.
    """
    flat = values.reshape(-1, values.shape[2])
    before = weighting.weights
    after, k_hat = [], []
    for log_density in log_densities:
        pairs = [scaled_weights(log_density, weighting, alpha) for alpha in ALPHAS]
        after.append(np.stack([weights for weights, _ in pairs]))
        k_hat.append(max(k for _, k in pairs))
    found = np.empty((len(log_densities), flat.shape[1]))
    slope = 1.0 / np.abs(np.log2(ALPHAS)) / len(ALPHAS)
    for start in range(0, flat.shape[1], CHUNK):
        columns = slice(start, start + CHUNK)
        order = np.argsort(flat[:, columns], axis=0)
        steps = np.diff(np.take_along_axis(flat[:, columns], order, axis=0), axis=0)
        for place, pair in enumerate(after):
            found[place, columns] = slope @ _distances(steps, order, before, pair)
    return found, np.array(k_hat)


def _distances(
    steps: np.ndarray, order: np.ndarray, before: np.ndarray, after: np.ndarray
) -> np.ndarray:
    """CJS distance (weighting, parameter) of draws under other weights.

    The larger of those of a parameter and of its negative, whose cumulative distributions differ.
    """
    found = []
    for weights in after:
        up = _distance(steps, before[order], weights[order])
        down = _distance(steps[::-1], before[order[::-1]], weights[order[::-1]])
        found.append(np.maximum(up, down))
    return np.stack(found)


def _distance(steps: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """CJS distance of each column: sorted draws, `steps` apart, under two sets of weights."""
    p, q = np.cumsum(before, axis=0)[:-1], np.cumsum(after, axis=0)[:-1]
    middle = (p + q) / 2.0
    gap = np.sum(steps * (q - p), axis=0) / (2.0 * np.log(2.0))
    forward = np.sum(steps * _times_log_ratio(p, middle), axis=0) + gap
    backward = np.sum(steps * _times_log_ratio(q, middle), axis=0) - gap
    bound = np.sum(steps * (p + q), axis=0)
    return np.sqrt((np.maximum(forward, 0.0) + np.maximum(backward, 0.0)) / bound)


def _times_log_ratio(p: np.ndarray, middle: np.ndarray) -> np.ndarray:
    ratio = np.divide(p, middle, out=np.ones_like(p), where=(p > 0) & (middle > 0))
    return p * np.log2(ratio)


def covariance(
    values: np.ndarray, score: np.ndarray, weighting: Weighting
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior covariance of parameters with a score, and its Monte Carlo standard error.

    With the score d log p(theta; lambda) / d lambda of a prior that is d E[theta] / d lambda,
    the derivative of the posterior mean.

    Parameters
    ----------
    values
        Parameters, shape (chain, draw, parameter).
    score
        Shape (chain, draw).
    weighting
        Of the draws.

    Returns
    -------
    Two arrays (parameter,).
    """
    weights = weighting.weights.reshape(score.shape)[..., None]
    centred = values - np.sum(weights * values, axis=(0, 1))
    products = centred * (score - np.sum(weights[..., 0] * score))[..., None]
    found = np.sum(weights * products, axis=(0, 1))
    if not weighting.is_even:
        return found, np.sqrt(np.sum((weights * (products - found)) ** 2, axis=(0, 1)))
    if weighting.worth is not None:
        return found, np.std(products, axis=(0, 1), ddof=1) / np.sqrt(weighting.worth)
    return found, mcse_mean(products)


def spread(values: np.ndarray, weighting: Weighting) -> np.ndarray:
    """Posterior sd of parameters (chain, draw, parameter)."""
    weights = weighting.weights.reshape(values.shape[:2])[..., None]
    centre = np.sum(weights * values, axis=(0, 1))
    return np.sqrt(np.sum(weights * (values - centre) ** 2, axis=(0, 1)))


def _normalised(log_weight: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weight - np.max(log_weight))
    return weights / weights.sum()
