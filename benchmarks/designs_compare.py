"""What is compared of a fit and its reference, and how far apart they may be by chance."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchmarks.effects import effective_sample_size

if TYPE_CHECKING:
    import hierjax as hj

FALSE_ALARM = 1e-4  # a fit, all its parameters together
NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Reference:
    """Mean and sd of one parameter, and the Monte Carlo error of the mean (0 if exact)."""

    mean: float
    sd: float
    error: float = 0.0


@dataclasses.dataclass(frozen=True)
class Gap:
    """One parameter beside its reference.

    Attributes
    ----------
    errors, sds
        Gap of the mean, in Monte Carlo standard errors of both sides and in the reference's sds.
    ratio
        The sd over the reference's.
    spread_errors
        Gap of the variance, in Monte Carlo standard errors of both sides.
    """

    errors: float
    sds: float
    ratio: float = NAN
    spread_errors: float = NAN


def chance(compared: int) -> float:
    """Return the errors that the largest of so many gaps exceeds in one of 10,000 fits."""
    return float(stats.norm.isf(FALSE_ALARM / 2.0 / compared))


def scalars(model: "hj.Model", draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every scalar of the sites that are not hidden, (chain, draw), by site and place."""
    found = {}
    for site, values in draws.items():
        if model.blocks.get(site) == "hidden":
            continue
        for place in np.ndindex(values.shape[2:]):
            label = ", ".join(map(str, place))
            found[f"{site}[{label}]" if place else site] = values[(..., *place)]
    return found


def gap_of(draws: np.ndarray, reference: Reference, most: float = np.inf) -> Gap:
    """Compare draws (chain, draw) of one parameter; they are worth `most` independent ones."""
    squares = (draws - np.mean(draws)) ** 2
    variance = float(np.mean(squares))
    sizes = [min(effective_sample_size(each, "mean"), most) for each in (draws, squares)]
    error, square_error = (
        float(np.std(each, ddof=1)) / size**0.5
        for each, size in zip((draws, squares), sizes, strict=True)
    )
    # The reference has sds and no errors of them: those of draws that are as long-tailed as these.
    # Means of antithetic chains are known better than sds, and the reference is from such chains.
    tail = float(np.std(squares)) / variance
    slower = max(1.0, sizes[0] / sizes[1]) ** 0.5
    expected_error = tail * slower * reference.sd**2 * reference.error / reference.sd
    gap = abs(float(np.mean(draws)) - reference.mean)
    return Gap(
        gap / float(np.hypot(error, reference.error)),
        gap / reference.sd,
        variance**0.5 / reference.sd,
        abs(variance - reference.sd**2) / float(np.hypot(square_error, expected_error)),
    )


def gaps(
    found: Mapping[str, np.ndarray], expected: Mapping[str, Reference], most: float = np.inf
) -> dict[str, Gap]:
    """Compare every parameter that the reference has."""
    return {name: gap_of(found[name], reference, most) for name, reference in expected.items()}


def estimate_gaps(posterior: "hj.Posterior", expected: Mapping[str, Reference]) -> dict[str, Gap]:
    """Relative gap of every estimate; there are no standard errors of it."""
    estimates = {name: values[0][None, None] for name, values in posterior.info.estimates.items()}
    found = scalars(posterior.model, estimates)
    return {
        name: Gap(NAN, abs(float(found[name].item()) - each.mean) / each.sd)
        for name, each in expected.items()
    }


def beyond_chance(compared: Mapping[str, Gap]) -> tuple[float, float]:
    """Largest gaps that chance does not explain: of a mean in sds, of an sd in relative terms."""
    limit = chance(len(compared))
    means = [gap.sds for gap in compared.values() if not gap.errors <= limit]
    spreads = [abs(gap.ratio - 1.0) for gap in compared.values() if not gap.spread_errors <= limit]
    return max(means, default=0.0), max(spreads, default=0.0)
