"""What posteriors of designs should be: quadrature, the reference folder, long chains.

Each function returns one that returns name of a scalar, such as "theta[0]" -> its `Reference`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from benchmarks import designs_models as models
from benchmarks.designs_compare import Reference
from benchmarks.designs_models import FOLDER
from benchmarks.designs_quadrature import (
    NODES,
    Moments,
    arms_likelihood,
    binomial_likelihood,
    population,
    slopes,
    summarise,
)
from benchmarks.designs_words import from_zero

if TYPE_CHECKING:
    import hierjax as hj

SAMPLED = Path(__file__).parent / "results" / "designs_reference.json"
Found = Mapping[str, Reference]


def root_inverse_gamma(shape: float, scale: float) -> Callable[[np.ndarray], np.ndarray]:
    """Log density of an sd whose variance is inverse gamma."""
    return lambda sd: stats.invgamma.logpdf(sd**2, shape, scale=scale) + np.log(2.0 * sd)


def binomial_reference(
    build: Callable[[], "hj.Model"], mu: tuple[float, float], log_sigma_prior: Any, mu_prior: Any
) -> Callable[[], Found]:
    """Quadrature of a binomial population; `mu` is the range of the grid."""

    def reference() -> Found:
        data = build().data
        likelihood = binomial_likelihood(data["y"], data["trials"], data["offset"])
        return _on_grid(likelihood, mu, log_sigma_prior, mu_prior)

    return reference


def _on_grid(
    likelihood: np.ndarray, mu: tuple[float, float], sigma_prior: Any, mu_prior: Any
) -> Found:
    grid, sigma = np.linspace(*mu, 121), np.exp(np.linspace(np.log(2e-4), np.log(8.0), 161))
    found = population(likelihood, mu_prior, sigma_prior, grid, sigma)
    return _exact(summarise(*found, grid, sigma))


def _exact(moments: Mapping[str, Moments]) -> Found:
    return {name: Reference(each.mean, each.sd) for name, each in moments.items()}


def arms_reference(build: Callable[[], "hj.Model"], d: tuple[float, float]) -> Callable[[], Found]:
    """Quadrature of log odds ratios, the default priors of `meta_arms`."""

    def reference() -> Found:
        y, trials = (np.split(build().data[name], 2) for name in ("y", "trials"))
        likelihood = arms_likelihood(y[1], trials[1], y[0], trials[0], 5.0)
        found = _on_grid(
            likelihood, d, stats.halfnorm.logpdf, lambda d: stats.norm.logpdf(d, 0.0, 2.5)
        )
        words = {"mu": "d", "sigma": "tau"}
        return {words.get(name, name.replace("theta", "delta")): v for name, v in found.items()}

    return reference


def schools_reference() -> Found:
    """Quadrature of normal estimates with known errors; half-Cauchy(0.5) and Normal(0, 1)."""
    data = models.bcg().data
    log = stats.norm.logpdf(data["y"], NODES[:, None], data["sigma"])
    found = _on_grid(
        np.exp(log - log.max(0)),
        (-2.5, 1.5),
        lambda sd: stats.halfcauchy.logpdf(sd, scale=0.5),
        stats.norm.logpdf,
    )
    return {"tau" if name == "sigma" else name: each for name, each in found.items()}


def slopes_reference() -> Found:
    """Quadrature of slopes through the origin, the default priors of `hierarchical_linear`."""
    return _exact(slopes(models.sleepstudy_slopes().data))


def folder(path: str, names: Callable[[str], str | None]) -> Callable[[], Found]:
    """Return a posterior of the reference folder; `names` turns its names into ours."""

    def reference() -> Found:
        summary = json.loads((FOLDER / path / "reference_summary.json").read_text())
        found = {
            ours: Reference(row["mean"], row["sd"], row["mcse_mean"])
            for name, row in summary["parameters"].items()
            if (ours := names(name))
        }
        exact = {
            ours: Reference(row["mean"], row["sd"])
            for name, row in summary.get("exact", {}).items()
            if (ours := names(name))
        }
        return found | exact

    return reference


def exact_file(key: str, words: Mapping[str, str]) -> Callable[[], Found]:
    """Quadrature of the reference folder; elements are counted from one there."""

    def reference() -> Found:
        rows = json.loads((FOLDER / "exact.json").read_text())[key]
        return {
            words.get(name, from_zero(name)): Reference(row["mean"], row["sd"])
            for name, row in rows.items()
            if "sd" in row
        }

    return reference


def sampled(problem: str) -> Callable[[], Found]:
    """Long chains of NumPyro, kept in the repository."""

    def reference() -> Found:
        kept = json.loads(SAMPLED.read_text())[problem]["parameters"]
        return {name: Reference(*row) for name, row in kept.items()}

    return reference


def lme4(key: str, words: Mapping[str, str]) -> Callable[[], Found]:
    """Estimates of lme4 by maximum likelihood."""

    def reference() -> Found:
        fit = json.loads((FOLDER / "lme4.json").read_text())[key]["fits"]["ML"]
        values = fit["fixef"] | fit["sdcor"]
        return {
            ours: Reference(values[theirs], abs(values[theirs])) for theirs, ours in words.items()
        }

    return reference
