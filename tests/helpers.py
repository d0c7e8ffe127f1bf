"""Helpers shared by the tests: the reference folder, and assertions that judge draws fairly.

A statistical assertion first asks whether the chains mix (bulk effective sample size) and only then
whether they are in the right place, in standard errors. The effective sample size comes from
arviz-stats, so that a mistake in hierjax's own diagnostics cannot hide one in its draws.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arviz_stats.base import array_stats

REFERENCE_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "reference"

# Allowed gap between two means: this many combined Monte Carlo standard errors, or this share of
# the reference sd where that is larger. Four standard errors: false alarm 6e-5 a parameter.
STANDARD_ERRORS = 4.0
SHARE_OF_SD = 0.1
MINIMUM_ESS = 200.0


def reference(path: str) -> Path:
    """Path of a file of the reference folder; without the folder, skip (or fail, in CI)."""
    found = REFERENCE_FOLDER / path
    if found.exists():
        return found
    message = f"the reference folder has no {path} ({REFERENCE_FOLDER} is not there or is older)"
    if os.environ.get("HIERJAX_REQUIRE_REFERENCE") == "1":
        pytest.fail(message)
    pytest.skip(message)


def reference_json(path: str) -> Any:
    """Contents of a JSON file of the reference folder."""
    return json.loads(reference(path).read_text())


@dataclasses.dataclass(frozen=True)
class Moment:
    """Mean and sd of one scalar parameter, with the Monte Carlo standard error of the mean."""

    mean: float
    sd: float
    mcse: float


def reference_moments(name: str) -> dict[str, Moment]:
    """Reference posterior `name` (e.g. "bayes/sleepstudy"); quadrature replaces sampled values."""
    summary = reference_json(f"{name}/reference_summary.json")
    moments = {
        parameter: Moment(row["mean"], row["sd"], row["mcse_mean"])
        for parameter, row in summary["parameters"].items()
    }
    exact = summary.get("exact", {})
    return moments | {
        parameter: Moment(row["mean"], row["sd"], 0.0) for parameter, row in exact.items()
    }


def effective_sample_size(draws: np.ndarray, method: str = "bulk") -> float:
    """Effective sample size of `draws` (chain, draw), by arviz-stats."""
    return float(array_stats.ess(np.asarray(draws), chain_axis=0, draw_axis=1, method=method))


def assert_mean_within_error(
    draws: np.ndarray, expected: Moment, *, name: str = "", minimum_ess: float = MINIMUM_ESS
) -> None:
    """Assert that `draws` (chain, draw) mix and that their mean is the reference's.

    Allowed is max(4 combined Monte Carlo standard errors, 0.1 reference sd).
    """
    draws = np.asarray(draws, dtype=float)
    assert np.isfinite(draws).all(), f"{name}: {np.sum(~np.isfinite(draws))} draws are not finite"
    assert np.std(draws) > 0, f"{name}: all draws are equal"
    bulk = effective_sample_size(draws)
    assert bulk >= minimum_ess, f"{name}: not mixing, bulk ESS {bulk:.0f} < {minimum_ess:.0f}"
    error = np.std(draws, ddof=1) / effective_sample_size(draws, "mean") ** 0.5
    combined = float(np.hypot(error, expected.mcse))
    gap = abs(float(np.mean(draws)) - expected.mean)
    allowed = max(STANDARD_ERRORS * combined, SHARE_OF_SD * expected.sd)
    assert gap <= allowed, (
        f"{name}: mean {np.mean(draws):.6g}, reference {expected.mean:.6g}; off by {gap:.3g} = "
        f"{gap / combined:.1f} standard errors = {gap / expected.sd:.2f} reference sd "
        f"(allowed {allowed:.3g}, bulk ESS {bulk:.0f})"
    )


def assert_same_posterior(
    draws: dict[str, np.ndarray],
    expected: dict[str, Moment],
    *,
    minimum_ess: float = MINIMUM_ESS,
) -> None:
    """Assert that every scalar parameter of the reference is in `draws` and has its mean.

    `draws` maps the reference's parameter names to arrays (chain, draw). All failures are listed.
    """
    missing = sorted(set(expected) - set(draws))
    assert not missing, f"no draws of {missing}"
    failures = []
    for name, moment in expected.items():
        try:
            assert_mean_within_error(draws[name], moment, name=name, minimum_ess=minimum_ess)
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, f"{len(failures)} of {len(expected)} parameters:\n" + "\n".join(failures)
