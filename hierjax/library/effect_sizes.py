"""Effect sizes of two-by-two tables: what a meta-analysis of estimates starts from."""

from typing import Any

import numpy as np

from hierjax import checks
from hierjax.errors import DataError
from hierjax.library.columns import counts, rows_text

MEASURES = ("odds_ratio", "risk_ratio", "risk_difference")


def effect_sizes(
    events: Any,
    total: Any,
    control_events: Any,
    control_total: Any,
    *,
    measure: str = "odds_ratio",
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return (estimates, standard errors) of the effect of a treatment in each of several studies.

    With a and b the events and others among the treated, c and d those among the controls:

    - "odds_ratio": :math:`\log(ad / bc)`, variance :math:`1/a + 1/b + 1/c + 1/d`;
    - "risk_ratio": :math:`\log\frac{a}{a + b} - \log\frac{c}{c + d}`, variance
      :math:`1/a - 1/(a + b) + 1/c - 1/(c + d)`;
    - "risk_difference": :math:`p - q`, variance :math:`p(1 - p)/(a + b) + q(1 - q)/(c + d)`, with
      p = a/(a + b) and q = c/(c + d).

    In a study where one of the four counts is zero, 1/2 is added to all four (Haldane 1956,
    Anscombe 1956). With many zeros prefer `meta_arms`, which needs no such correction.

    Parameters
    ----------
    events, total
        Events and people of the treated arm, shape (studies,).
    control_events, control_total
        The same of the control arm.
    measure
        "odds_ratio" and "risk_ratio" are logarithms; "risk_difference" is not.

    Returns
    -------
    tuple
        Estimates and standard errors, each of shape (studies,): the `y` and `sigma` of
        `eight_schools`, or two columns for the formula `y | se(sigma) ~ 1 + (1 | study)`.

    Raises
    ------
    DataError
        A count is missing, negative or not whole, or there are more events than people, or no
        people.
    SettingsError
        There is no such measure.

    References
    ----------
    Viechtbauer (2010), Journal of Statistical Software 36(3), section 3.1.
    """
    checks.one_of("measure", measure, MEASURES)
    treated = _arm("events", events, "total", total, None)
    control = _arm(
        "control_events", control_events, "control_total", control_total, len(treated[0])
    )
    zero = np.any(np.concatenate([treated, control]) == 0, axis=0)
    (a, b), (c, d) = treated + 0.5 * zero, control + 0.5 * zero
    if measure == "odds_ratio":
        return np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    treated_risk, control_risk = a / (a + b), c / (c + d)
    if measure == "risk_ratio":
        variance = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
        return np.log(treated_risk / control_risk), np.sqrt(variance)
    parts = ((treated_risk, a + b), (control_risk, c + d))
    variance = sum(risk * (1 - risk) / people for risk, people in parts)
    return treated_risk - control_risk, np.sqrt(variance)


def _arm(
    events_name: str, events: Any, total_name: str, total: Any, length: int | None
) -> np.ndarray:
    """Return counts of people with and without an event, (2, studies)."""
    people = counts(total_name, total, length)
    if (people == 0).any():
        raise DataError(f"`{total_name}` is zero in {rows_text(people == 0)}.")
    found = counts(events_name, events, len(people), most=people)
    return np.stack([found, people - found]).astype(float)
