"""What is said of a fit that estimates a point: estimates, standard errors, and how it ended.

Draws of such a fit hold sds and correlations at their estimates, so that none of what judges the
draws of a sampler applies to them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.draws import FitInfo, Status
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of, scalar_names
from hierjax.summary_checks import Check

if TYPE_CHECKING:
    import pandas as pd

POINT_COLUMNS = ("estimate", "se", "q5", "q50", "q95")
KINDS = {"ml": "maximum likelihood", "reml": "REML", "map": "maximum a posteriori"}
MOST_NAMED = 3
CONDITIONAL = (
    "Intervals and draws are given the parameters that have no interval here: the uncertainty of "
    "sds and correlations is not in them. With few groups they are too short."
)


def is_point(info: FitInfo | None) -> bool:
    """Whether a fit estimated a point."""
    return info is not None and bool(info.estimates)


def log_likelihood(info: FitInfo) -> float:
    """Return the log-likelihood at the estimates, group effects integrated out.

    Raises
    ------
    SettingsError
        The method sampled, and has no estimates.
    """
    if not is_point(info):
        raise SettingsError(
            f'method "{info.method}" samples a posterior, which has no one log-likelihood. Fit '
            'with method="empirical_bayes" for the maximum, or use hierjax.log_marginal.'
        )
    return _last(info, "log_likelihood")


def point_frame(
    index: "pd.MultiIndex", places: list[tuple[str, int]], draws: np.ndarray, info: FitInfo
) -> "pd.DataFrame":
    """Return estimates, standard errors and conditional quantiles, one row a parameter.

    Parameters
    ----------
    index
        Rows.
    places
        Site of each row, and its element in C order.
    draws
        Their draws (chain, draw, row). What is constant has no quantiles.
    info
        How they were made.
    """
    import pandas as pd

    flat = {site: np.reshape(values, (2, -1)) for site, values in info.estimates.items()}
    pairs = np.array([flat[site][:, element] for site, element in places]).reshape(-1, 2)
    rows = draws.reshape(-1, len(places))
    quantiles = np.quantile(rows, (0.05, 0.5, 0.95), axis=0)
    quantiles[:, rows.min(axis=0) == rows.max(axis=0)] = np.nan
    numbers = np.column_stack([pairs, quantiles.T])
    return pd.DataFrame(numbers, index=index, columns=list(POINT_COLUMNS))


def point_checks(info: FitInfo) -> tuple[Check, ...]:
    """Say how the search for the maximum ended, and what it found."""
    kind = KINDS[info.settings["kind"]]
    size = f"{_last(info, 'parameters'):.0f}"
    found = Check("log-likelihood", f"{_last(info, 'log_likelihood'):,.3f} ({kind})", True)
    return (_end(info), found, Check("parameters", f"{size} estimated", True))


def point_notes(model: Model, info: FitInfo) -> tuple[str, ...]:
    """Say in sentences what is special about estimates: zero variances, missing errors."""
    zero, edge = [], []
    blocks = blocks_of(model)
    for site, values in info.estimates.items():
        pair = np.reshape(values, (2, -1))
        if blocks.get(site, "hidden") in ("hidden", "effect") or not pair.size:
            continue
        for name, (value, error) in zip(scalar_names(model, site), pair.T, strict=True):
            if np.isnan(error):
                (zero if value == 0 else edge).append(name)
    notes = [f"{name} is estimated as zero: {_ZERO}" for name in zero]
    if edge:
        notes.append(f"No standard error of {_listed(edge)}: {_EDGE}")
    return (*notes, CONDITIONAL)


_ZERO = (
    "the groups differ no more than they would by chance. That is an answer, not an error; "
    'method="nuts" shows which larger values are possible too.'
)
_EDGE = "at the edge of the possible values, or not determined by the data."


def _end(info: FitInfo) -> Check:
    taken = int(_last(info, "steps"))
    steps = "1 step" if taken == 1 else f"{taken} steps"
    if Status(info.status[0]) == Status.OK:
        return Check("run", f"converged in {steps}", True)
    distance = _last(info, "distance")
    far = f"{distance:.2g} standard errors"
    return Check(
        "run",
        f"not converged after {steps}",
        False,
        f"the search stopped after {steps} before it converged: the next step would have been "
        f"{far} long and raised the log-likelihood by {distance**2 / 2:.2g}",
        "Allow more, EmpiricalBayes(steps=200); if it does not converge then, the data do not "
        'determine all parameters: leave terms out, or use kind="map" or method="nuts".',
    )


def _last(info: FitInfo, name: str) -> float:
    recorded: Mapping[str, Any] = info.trace
    return recorded[name][-1] if recorded.get(name) else float("nan")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
