"""Means, sds and quantiles of draws beside what they should be, in Monte Carlo standard errors.

Allowed is the larger of 4 standard errors of both sides together and 0.1 sd of the reference. Draws
that were resampled by weight are worth no more than their weights are, whatever their order. The
errors are arviz-stats', but for that of an sd: there it takes the effective size of the draws for
that of their squares, which is smaller where successive draws are on opposite sides of the mean.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats

from tests.helpers import MINIMUM_ESS, SHARE_OF_SD, STANDARD_ERRORS, effective_sample_size
from tests.reference.expected import Expected

ONE_SD_BELOW_AND_ABOVE = stats.norm.cdf([-1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Gap:
    """One quantity of one parameter beside its reference."""

    parameter: str
    quantity: str
    found: float
    expected: float
    error: float
    scale: float

    @property
    def size(self) -> float:
        """Distance, in the unit of the parameter."""
        return abs(self.found - self.expected)

    @property
    def share(self) -> float:
        """Distance over what is allowed."""
        return self.size / max(STANDARD_ERRORS * self.error, SHARE_OF_SD * self.scale)

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.parameter}: {self.quantity} {self.found:.6g}, reference {self.expected:.6g}; "
            f"off by {self.size:.3g} = {self.size / max(self.error, 1e-300):.1f} standard errors "
            f"= {self.size / self.scale:.2f} reference sd"
        )


def value_of(draws: np.ndarray, quantity: str) -> float:
    """Mean, sd or quantile ("q5") of draws (chain, draw)."""
    if quantity in ("mean", "sd"):
        return float(np.mean(draws) if quantity == "mean" else np.std(draws, ddof=1))
    return float(np.quantile(draws, probability(quantity)))


def probability(quantity: str) -> float:
    """Probability of a quantile: 0.05 of "q5"."""
    return float(quantity[1:]) / 100.0


def error_of(draws: np.ndarray, quantity: str, worth: float = np.inf) -> float:
    """Monte Carlo standard error of a quantity; draws are worth at most `worth` of them."""
    if quantity == "mean":
        size = min(effective_sample_size(draws, "mean"), worth)
        return float(np.std(draws, ddof=1)) / size**0.5
    if quantity == "sd":
        squares = (draws - np.mean(draws)) ** 2
        size = min(effective_sample_size(squares, "mean"), worth)
        return float(np.std(squares)) / size**0.5 / (2.0 * float(np.std(draws)))
    at = probability(quantity)
    size = min(array_stats.ess(draws, chain_axis=0, draw_axis=1, method="quantile", prob=at), worth)
    around = stats.beta.ppf(ONE_SD_BELOW_AND_ABOVE, size * at + 1.0, size * (1.0 - at) + 1.0)
    low, high = np.quantile(draws, around)
    return float(high - low) / 2.0


def gaps_of(
    parameter: str, draws: np.ndarray, expected: Expected, worth: float = np.inf
) -> list[Gap]:
    """Compare every quantity that the reference has of a parameter.

    Where it has the error of the mean alone, the other errors of its draws are to that one as ours
    are.
    """
    draws = np.asarray(draws, dtype=float)
    errors = {quantity: error_of(draws, quantity, worth) for quantity in expected.values}
    found = []
    for quantity, value in expected.values.items():
        theirs = expected.errors.get(quantity)
        if theirs is None:
            ratio = errors[quantity] / error_of(draws, "mean", worth)
            theirs = expected.errors["mean"] * ratio
        error = float(np.hypot(errors[quantity], theirs))
        ours = value_of(draws, quantity)
        found.append(Gap(parameter, quantity, ours, value, error, expected.scale))
    return found


def complaints_about(parameter: str, draws: np.ndarray, worth: float = np.inf) -> list[str]:
    """Say why draws (chain, draw) cannot be judged: not finite, all equal, or not mixing."""
    if not np.isfinite(draws).all():
        return [f"{parameter}: {np.sum(~np.isfinite(draws))} draws are not finite"]
    if not np.std(draws) > 0:
        return [f"{parameter}: all draws are equal"]
    bulk = min(effective_sample_size(draws), worth)
    if not bulk >= MINIMUM_ESS:
        return [f"{parameter}: not mixing, bulk ESS {bulk:.0f} < {MINIMUM_ESS:.0f}"]
    return []


def compare(
    draws: Mapping[str, np.ndarray], expected: Mapping[str, Expected], worth: float = np.inf
) -> list[Gap]:
    """Assert that draws have all that the reference has, where it has it; return the gaps.

    All failures of all parameters are listed.
    """
    missing = sorted(set(expected) - set(draws))
    assert not missing, f"no draws of {missing}"
    gaps, failures = [], []
    for parameter, each in expected.items():
        unfit = complaints_about(parameter, draws[parameter], worth)
        failures += unfit
        gaps += [] if unfit else gaps_of(parameter, draws[parameter], each, worth)
    failures += [str(gap) for gap in gaps if not gap.share <= 1.0]
    assert not failures, f"{len(failures)} of {len(gaps)} comparisons:\n" + "\n".join(failures)
    return gaps


def largest(gaps: Iterable[Gap]) -> Gap:
    """The gap that is the largest share of what is allowed."""
    return max(gaps, key=lambda gap: gap.share)
