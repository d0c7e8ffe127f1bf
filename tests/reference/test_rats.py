"""The slope of rats whose last weights were taken away, by a Gibbs sampler in NumPy.

The published table is at odds with all methods of hierjax there, by 0.2 sd. So is this sampler,
which has nothing in common with hierjax, and which finds what hierjax finds.
"""

import numpy as np
import pytest

from tests.reference.expected import PUBLISHED, Source
from tests.reference.rows_normal import bugs_sd, rats

SWEEPS, WARMUP = 20_000, 1000
PRIOR = 1e-3  # shape and rate of the gamma priors of the precisions


def slope_by_gibbs(data, seed):
    """Draw the mean slope of all rats, with the priors of the BUGS book."""
    generator = np.random.default_rng(seed)
    rat, day, weight, number = (data[name] for name in ("rat", "day", "weight", "num_rats"))

    def over(values):
        return np.bincount(rat, values, number)

    rows, days, squares = over(np.ones(len(rat))), over(day), over(day**2)
    weights, products = over(weight), over(weight * day)
    mean, slope, precisions = 240.0, 6.0, np.array([1 / 200, 4.0, 1 / 36])
    found = []
    for _ in range(SWEEPS):
        of_mean, of_slope, of_rows = precisions
        # Intercept and slope of each rat at once: their precision has the corners a, b and edge c.
        a, b, c = rows * of_rows + of_mean, squares * of_rows + of_slope, days * of_rows
        left = weights * of_rows + of_mean * mean
        right = products * of_rows + of_slope * slope
        determinant = a * b - c**2
        middle = (a * right - c * left) / determinant
        slopes = middle + generator.normal(size=number) * np.sqrt(a / determinant)
        means = (left - c * slopes) / a + generator.normal(size=number) / np.sqrt(a)
        mean = _centre(generator, means, of_mean)
        slope = _centre(generator, slopes, of_slope)
        rest = weight - means[rat] - slopes[rat] * day
        sums = [np.sum((means - mean) ** 2), np.sum((slopes - slope) ** 2), np.sum(rest**2)]
        sizes = np.array([number, number, len(rat)])
        precisions = generator.gamma(PRIOR + sizes / 2, 1 / (PRIOR + np.array(sums) / 2))
        found.append(slope)
    return np.array(found[WARMUP:])


def _centre(generator, values, precision):
    """Draw a mean given its values and their precision; its prior has an sd of 1,000."""
    total = len(values) * precision + 1e-6
    return generator.normal(precision * np.sum(values) / total, total**-0.5)


@pytest.mark.slow
def test_the_published_slope_is_not_that_of_its_model():
    model = rats(1000.0, bugs_sd(), missing=True)
    draws = slope_by_gibbs(model.data, seed=1)
    parts = draws.reshape(20, -1).mean(1)
    error = np.std(parts, ddof=1) / len(parts) ** 0.5
    assert np.mean(draws) == pytest.approx(6.546, abs=4 * np.hypot(error, 0.001))
    table = Source(PUBLISHED, "rats", 1).expected()["beta.c"]
    assert table.values["mean"] - np.mean(draws) > 8 * np.hypot(error, table.errors["mean"])
    assert np.std(draws) == pytest.approx(table.values["sd"], rel=0.05)
