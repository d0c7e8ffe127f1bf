"""How far importance weights can be trusted: Pareto k-hat and the effective sample size.

Plain NumPy in double precision, like `hierjax.diagnostics`.

References
----------
Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72).
Zhang and Stephens (2009), A new and efficient estimation method for the generalized Pareto
distribution, Technometrics 51(3).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def pareto_k(log_weight: ArrayLike) -> float:
    """Shape k-hat of the generalised Pareto tail of importance weights.

    The largest min(n / 5, 3 sqrt(n)) weights are fitted by the empirical Bayes estimator of Zhang
    & Stephens (2009) with the prior of PSIS. Below 0.7 weighted means converge at a useful rate.

    Parameters
    ----------
    log_weight
        Log importance ratios of independent draws, any shape, up to a constant.

    Returns
    -------
    NaN when the weights are all equal, not finite, or fewer than 25.
    """
    ordered = np.sort(np.asarray(log_weight, dtype=np.float64).ravel())
    num_tail = int(min(len(ordered) / 5, 3 * np.sqrt(len(ordered))))
    if num_tail < 5 or not np.isfinite(ordered[-1]) or np.isnan(ordered).any():
        return float("nan")
    weight = np.exp(ordered[-num_tail - 1 :] - ordered[-1])
    excess = weight[1:] - weight[0]
    if excess[-1] <= 0 or excess[int(num_tail / 4 + 0.5) - 1] <= 0:
        return float("nan")
    return _pareto_shape(excess)


def weight_ess(log_weight: ArrayLike) -> float:
    """Kish's effective sample size of importance weights, (sum w)^2 / sum w^2."""
    log_weight = np.asarray(log_weight, dtype=np.float64).ravel()
    total = np.logaddexp.reduce(log_weight)
    return float(np.exp(2 * total - np.logaddexp.reduce(2 * log_weight)))


def _pareto_shape(excess: np.ndarray) -> float:
    """Shape of a generalised Pareto distribution of sorted positive excesses, shrunk to 0.5."""
    n = len(excess)
    grid = 30 + int(np.sqrt(n))
    theta = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    theta = theta / (3 * excess[int(n / 4 + 0.5) - 1]) + 1 / excess[-1]
    shape = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    log_likelihood = n * (np.log(-theta / shape) - shape - 1)
    mean_theta = np.sum(theta * special.softmax(log_likelihood))
    return float((n * np.mean(np.log1p(-mean_theta * excess)) + 10 * 0.5) / (n + 10))
