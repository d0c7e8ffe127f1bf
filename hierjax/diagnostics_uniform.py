"""Whether numbers that should be uniform are: empirical distributions and the bands they stay in.

The empirical distribution of a sample is looked at on a grid of places. Single samples are of
independent values, and everything about them is exact: the probability that the whole curve stays
between pointwise binomial limits follows from a recursion along the grid. Pooled samples have
several values from each unit, which depend on each other; they count for as many independent ones
as the spread between units says, and that is approximate.

References
----------
Säilynoja, Bürkner, Vehtari (2022), Graphical test for discrete uniformity and its applications in
goodness-of-fit evaluation and multiple sample comparison, doi:10.1007/s11222-022-10090-6.
Rao, Scott (1984), On chi-squared tests for multiway contingency tables with cell proportions
estimated from survey data, Annals of Statistics 12(1) (design effects).
"""

import dataclasses
import functools

import numpy as np
from scipy import special

STEPS = 100  # of the grid
MOST_INDEPENDENT = 5_000  # that pooled values count for


def places() -> np.ndarray:
    """Grid on which distributions are looked at: 0.01, 0.02, ..., 0.99."""
    return np.arange(1, STEPS) / STEPS


def counts_below(values: np.ndarray) -> np.ndarray:
    """How many values of each row are at or below each place, (rows, places)."""
    rows = len(values)
    cells = np.searchsorted(places(), values, side="left") + STEPS * np.arange(rows)[:, None]
    counts = np.bincount(cells.ravel(), minlength=rows * STEPS).reshape(rows, STEPS)
    return np.cumsum(counts, axis=1)[:, : STEPS - 1]


def smallest_tail(values: np.ndarray) -> np.ndarray:
    """Smallest of the binomial tail probabilities of the counts below each place.

    Parameters
    ----------
    values
        A sample in each column, (count, samples).
    """
    below = counts_below(values.T)
    lower, upper = _tails(below, len(values))
    return np.minimum(lower, upper).min(axis=1)


def limits(count: int, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest count below each place whose tails both exceed `tail`."""
    zero, all_of_them = np.full(STEPS - 1, -1), np.full(STEPS - 1, count + 1)
    outside, inside = zero, all_of_them - 1
    while np.any(inside - outside > 1):  # the least count that is not too small
        middle = (outside + inside) // 2
        good = _tails(middle, count)[0] > tail
        outside, inside = np.where(good, outside, middle), np.where(good, middle, inside)
    low = inside
    inside, outside = zero + 1, all_of_them
    while np.any(outside - inside > 1):  # the largest that is not too large
        middle = (outside + inside) // 2
        good = _tails(middle, count)[1] > tail
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return low, inside


def _tails(below: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of as few as `below`, and of as many, at each place; (..., places)."""
    lower = special.bdtr(below, count, places())
    upper = special.bdtrc(np.maximum(below - 1, 0), count, places())
    return lower, np.where(below > 0, upper, 1.0)


def stays_inside(count: int, tail: float) -> float:
    """Probability that a uniform sample stays within `limits` at every place: exact.

    Counts between places are those of a Poisson process, given that there are `count` in all, so
    that the probability is a chain of convolutions.
    """
    low, high = limits(count, tail)
    if np.any(low > high):
        return 0.0
    rate, many = count / STEPS, np.arange(count + 1)
    step = np.exp(special.xlogy(many, rate) - rate - special.gammaln(many + 1.0))
    state, start = np.ones(1), 0
    for lowest, highest in zip(low, high, strict=True):
        moved = np.convolve(state, step[: highest - start + 1])
        state, start = moved[lowest - start : highest - start + 1], lowest
    left = count - start - np.arange(len(state))
    total = np.exp(special.xlogy(count, count) - count - special.gammaln(count + 1.0))
    return float(np.clip(np.sum(state * step[left]) / total, 0.0, 1.0))


def p_values(values: np.ndarray) -> np.ndarray:
    """Probability of a uniform sample that strays as far at some place; of each column.

    Exact for independent values, whatever the number of places; down to rounding, about 1e-13.
    """
    tails = smallest_tail(values)
    found = {tail: 1.0 - stays_inside(len(values), tail) for tail in np.unique(tails)}
    return np.array([found[tail] for tail in tails])


@functools.lru_cache(maxsize=64)
def band(count: int, probability: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares below each place, less the place, within which the whole curve of a sample stays.

    Parameters
    ----------
    count
        Size of the sample.
    probability
        Least probability that a uniform sample stays inside.
    """
    small, large = np.log(1e-18), np.log(0.5)  # inside the band of the first, not of the second
    while large - small > 1e-4:
        middle = 0.5 * (small + large)
        good = stays_inside(count, float(np.exp(middle))) >= probability
        small, large = (middle, large) if good else (small, middle)
    low, high = limits(count, float(np.exp(small)))
    return low / count - places(), high / count - places()


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """Uniform values of several parameters in each simulation, looked at together.

    Attributes
    ----------
    curve
        Mean share below each place, less the place.
    size
        What the values are worth as independent ones.
    """

    curve: np.ndarray
    size: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Pooled":
        """Pool values (units, values of a unit); units are independent, values of one need not be.

        The variance between units of their shares below a place, in units of z (1 - z), is averaged
        over the places: the design effect of Rao and Scott (1984), between 1 / width and 1. Errors
        smaller than those that 5,000 values show are below the accuracy of ranks.
        """
        units, width = values.shape
        deviations = counts_below(values) / width - places()
        effect = np.mean(deviations**2) / np.mean(places() * (1.0 - places()))
        size = int(units / np.clip(effect, 1.0 / width, 1.0))
        return cls(deviations.mean(axis=0), min(size, MOST_INDEPENDENT))

    def p_value(self) -> float:
        """Probability of a uniform sample of that size that strays as far; approximate."""
        below = np.rint((self.curve + places()) * self.size).astype(int)
        tail = np.minimum(*_tails(below, self.size)).min()
        return 1.0 - stays_inside(self.size, float(tail))
