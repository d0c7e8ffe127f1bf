"""What the ranks of a quantity say: whether they are uniform, and if not, what is wrong.

Every quantity is one test, a pooled one two: all groups together, which shows what is wrong with
each of them a little, and the group that is furthest off, which shows what is wrong with one. The
level of all tests together is held by Bonferroni's rule, which needs nothing of their dependence.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from hierjax.diagnostics_uniform import (
    Pooled,
    band,
    counts_below,
    p_values,
    places,
    smallest_tail,
)
from hierjax.sbc_quantities import LOG_JOINT, LOG_LIKELIHOOD, Quantity

CALIBRATED = "calibrated"
CLEAR = 3.0  # standard errors from which a shift or a spread is named
FEWEST_RANKED = 10
RAISED = {
    LOG_LIKELIHOOD: (
        "draws fit the data better than what made them",
        "draws fit the data worse than what made them",
    ),
    LOG_JOINT: ("density at the draws too high", "density at the draws too low"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """What one test found.

    Attributes
    ----------
    name, block
        As of its quantity; that of a worst group is the group's.
    groups
        How many groups are pooled; 0 for one parameter, and for a worst group.
    worst_of
        Of how many groups this is the one furthest off; 0 elsewhere.
    p_value
        Probability that ranks of an exact posterior stray as far, for this test alone.
    adjusted
        That of straying as far in any test.
    shift
        About how many posterior sds draws are too high.
    sd_ratio
        About what share of the right posterior sd that of the draws is.
    verdict
        "calibrated", or what is wrong in words.
    ranked
        Simulations with ranks.
    curve, low, high
        Share of ranks below each place less the place, and the band that all curves of an exact
        method stay in with the probability that was asked for.
    """

    name: str
    block: str
    groups: int
    worst_of: int
    p_value: float
    adjusted: float
    shift: float
    sd_ratio: float
    verdict: str
    ranked: int
    curve: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether the curve stays inside its band."""
        return self.verdict == CALIBRATED

    @property
    def title(self) -> str:
        """Name, with what it stands for."""
        if self.groups:
            return f"{self.name}, {self.groups:,} groups pooled"
        return f"{self.name}, furthest of {self.worst_of:,}" if self.worst_of else self.name


@dataclasses.dataclass(frozen=True, eq=False)
class _Test:
    """A test before its level is known."""

    quantity: Quantity
    values: np.ndarray  # (ranked simulations, elements)
    element: int | None = None  # the one that is furthest off, of several

    @property
    def pooled(self) -> bool:
        return self.element is None and self.values.shape[1] > 1

    def finding(self, alone: float, level: float, tests: int) -> Finding:
        """Judge at the level `level` for all of `tests` tests."""
        quantity, width = self.quantity, self.values.shape[1]
        if self.pooled:
            pooled = Pooled.of(self.values)
            curve, size, values = pooled.curve, pooled.size, self.values
            low, high = band(size, 1.0 - level / tests)
        else:
            values = self.values[:, [self.element or 0]]
            size = len(values)
            curve = counts_below(values.T)[0] / size - places()
            low, high = band(size, 1.0 - level / tests / (1 if self.element is None else width))
        shape = _Shape.of(values)
        adjusted = min(1.0, tests * alone)
        wrong = adjusted <= level
        return Finding(
            name=quantity.name if self.element is None else quantity.labels[self.element],
            block=quantity.block,
            groups=width if self.pooled else 0,
            worst_of=0 if self.element is None else width,
            p_value=alone,
            adjusted=adjusted,
            shift=shape.shift,
            sd_ratio=shape.sd_ratio,
            verdict=shape.words(quantity.name) if wrong else CALIBRATED,
            ranked=len(values),
            curve=curve,
            low=low,
            high=high,
        )

    def alone(self) -> float:
        """P-value of this test, not of the others."""
        if self.pooled:
            return Pooled.of(self.values).p_value()
        if self.element is None:
            return float(p_values(self.values)[0])
        own = p_values(self.values[:, [self.element]])[0]
        return float(min(1.0, self.values.shape[1] * own))


def judge(
    quantities: Sequence[Quantity], transforms: Mapping[str, np.ndarray], level: float
) -> list[Finding]:
    """Test every quantity.

    Parameters
    ----------
    quantities
        What is looked at.
    transforms
        Site -> ranks between 0 and 1, (simulation, elements); NaN where there are none.
    level
        Probability that anything is found wrong with an exact method.
    """
    tests: list[_Test] = []
    for quantity in quantities:
        values = transforms[quantity.site][:, quantity.elements]
        values = values[np.isfinite(values).all(axis=1)]
        if len(values) < FEWEST_RANKED:
            continue
        tests.append(_Test(quantity, values))
        if len(quantity.elements) > 1:
            tests.append(_Test(quantity, values, int(np.argmin(smallest_tail(values)))))
    return [test.finding(test.alone(), level, len(tests)) for test in tests]


def visible_errors(simulations: int, level: float, tests: int) -> tuple[float, float]:
    """Return the shift in posterior sds, and the relative error of sds, that leave the band.

    Those at which the expected curve of a normal posterior reaches the band: seen in every other
    run about. Parameters that are not pooled.
    """
    low, high = band(simulations, 1.0 - level / tests)
    width = np.interp((0.5, special.ndtr(1.0)), places(), (high - low) / 2.0)
    densities = np.exp(-0.5 * np.array([0.0, 1.0])) / np.sqrt(2.0 * np.pi)
    return float(width[0] / densities[0]), float(width[1] / densities[1])


@dataclasses.dataclass(frozen=True)
class _Shape:
    """Shift and spread of the normal scores of ranks, and how many standard errors they are off."""

    shift: float
    sd_ratio: float
    raised: float
    narrowed: float

    @classmethod
    def of(cls, values: np.ndarray) -> "_Shape":
        """Look at ranks (simulation, elements); elements of one simulation may be dependent."""
        scores = special.ndtri(np.clip(values, 1e-6, 1.0 - 1e-6))
        means, count = scores.mean(axis=1), len(scores)
        squares = np.mean((scores - means.mean()) ** 2, axis=1)
        variance = squares.mean()
        return cls(
            shift=float(-means.mean()),
            sd_ratio=float(variance**-0.5),
            raised=float(-means.mean() / means.std() * np.sqrt(count)),
            narrowed=float(np.log(variance) * variance / squares.std() * np.sqrt(count)),
        )

    def words(self, name: str) -> str:
        """Say what is wrong with ranks of a quantity that leave their band."""
        found = []
        if abs(self.raised) > CLEAR:
            up, down = RAISED.get(name, ("biased up", "biased down"))
            found.append(up if self.raised > 0 else down)
        if abs(self.narrowed) > CLEAR:
            found.append("too narrow" if self.narrowed > 0 else "too wide")
        found = found[::-1] if abs(self.narrowed) > abs(self.raised) else found
        return " and ".join(found) or "not uniform (see the plot)"
