"""How much the answer depends on the priors: power-scaling, and derivatives of posterior means."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hierjax.draws import FitInfo
from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.sensitivity_densities import PriorDraws, PriorSlot, evaluate
from hierjax.sensitivity_scaling import Weighting, covariance, power_sensitivity, spread
from hierjax.sensitivity_text import sensitivity_text
from hierjax.summary_frame import shown_columns

if TYPE_CHECKING:
    import pandas as pd

ALL = "all priors"
NOTICEABLE = 0.05  # Kallioinen et al. (2024), section 2.4
CONFLICT, STRONG = "prior-data conflict", "strong prior"
FEWEST_DRAWS = 100
LOCATION, STEP = "loc", 0.1

Draws = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """How much each parameter depends on each prior and on the data.

    Attributes
    ----------
    table
        Index (prior, parameter); the first prior is "all priors" together if there are several.
        Columns: `prior` and `likelihood`, how far the distribution of the parameter moves when the
        prior, or the likelihood, is raised to a power (0.05 or more is noticeable); `shift`, by how
        many posterior sds its mean would move if the prior counted twice (linearised); `k_hat` of
        the weights; `verdict`: "prior-data conflict" if prior and likelihood are noticeable,
        "strong prior" if the prior alone is, else "".
    derivatives
        Index (prior, number, parameter), for the numbers in each prior. Columns: `value` of the
        number; `derivative` of the posterior mean in it and its Monte Carlo standard error `mcse`;
        `step`, a tenth of the number (of the scale for a location), and `change`, by how many
        posterior sds the mean moves for such a step.
    priors
        The priors, in the order of the table.
    draws
        Number of draws used.
    """

    table: "pd.DataFrame"
    derivatives: "pd.DataFrame"
    priors: tuple[PriorSlot, ...]
    draws: int

    @property
    def largest_good_k(self) -> float:
        """k-hat up to which a row can be trusted, min(1 - 1 / log10(draws), 0.7)."""
        return min(1.0 - 1.0 / np.log10(self.draws), 0.7)

    @property
    def doubtful(self) -> list[str]:
        """Priors whose weights cannot be trusted."""
        priors = self.table.index.get_level_values("prior")
        poor = self.table["k_hat"].to_numpy() > self.largest_good_k
        return [str(name) for name in dict.fromkeys(priors[poor])]

    def __repr__(self) -> str:
        return sensitivity_text(
            self.table, self.derivatives, self.priors, self.doubtful, noticeable=NOTICEABLE
        )


def sensitivity(
    model: Model, draws: Draws, stats: Draws, info: FitInfo, *, effects: bool = False
) -> Sensitivity:
    """Measure how much each parameter depends on each prior, see `Posterior.sensitivity`.

    Parameters
    ----------
    model, draws, stats, info
        The parts of a posterior.
    effects
        Also of the effects of every group.
    """
    import pandas as pd

    if info.estimates:
        raise SettingsError(
            f"{info.method} estimates a point: there is no posterior to weight. Fit with "
            'method="nuts" or "laplace".'
        )
    chains, length = next(iter(draws.values())).shape[:2]
    if chains * length < FEWEST_DRAWS:
        raise SettingsError(
            f"there are {chains * length} draws, too few to weight: fit with {FEWEST_DRAWS} or "
            "more."
        )
    columns = [
        column for column in shown_columns(model, draws, effects=effects)
        if np.ptp(column.values) > 0.0
    ]  # fmt: skip
    values = np.stack([column.values for column in columns], axis=-1).astype(float)
    names = pd.Index([column.name for column in columns], name="parameter")
    priors, likelihood = evaluate(model, draws, info)
    weighting = _weighting(stats, info, (chains, length))
    table = _table(names, values, priors, likelihood, weighting)
    derivatives = _derivatives(names, values, priors, weighting)
    slots = tuple(prior.slot for prior in priors)
    return Sensitivity(table, derivatives, slots, chains * length)


def _weighting(stats: Draws, info: FitInfo, shape: tuple[int, int]) -> Weighting:
    """Draws that were resampled by their weights have them no more."""
    worth = info.trace.get("effective_draws", ())
    if worth or "log_weight" not in stats:
        return Weighting(np.zeros(shape), worth[-1] if worth else None)
    return Weighting(np.asarray(stats["log_weight"], float))


def _table(
    names: "pd.Index",
    values: np.ndarray,
    priors: tuple[PriorDraws, ...],
    likelihood: np.ndarray,
    weighting: Weighting,
) -> "pd.DataFrame":
    import pandas as pd

    densities = {prior.slot.name: prior.log_density for prior in priors}
    if len(densities) > 1:
        densities = {ALL: np.sum([*densities.values()], axis=0), **densities}
    found, k_hat = power_sensitivity(values, [*densities.values(), likelihood], weighting)
    sds = spread(values, weighting)
    parts = {}
    for place, (name, log_density) in enumerate(densities.items()):
        doubled = np.log(2.0) * covariance(values, log_density, weighting)[0] / sds
        columns = {
            "prior": found[place], "likelihood": found[-1], "shift": doubled,
            "k_hat": np.fmax(k_hat[place], k_hat[-1]),
            "verdict": _verdicts(found[place], found[-1]),
        }  # fmt: skip
        parts[name] = pd.DataFrame(columns, index=names)
    return pd.concat(parts, names=["prior"])


def _verdicts(prior: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    counts = np.where(likelihood >= NOTICEABLE, CONFLICT, STRONG)
    return np.where(prior >= NOTICEABLE, counts, "")


def _derivatives(
    names: "pd.Index", values: np.ndarray, priors: tuple[PriorDraws, ...], weighting: Weighting
) -> "pd.DataFrame":
    import pandas as pd

    sds = spread(values, weighting)
    parts = {}
    for prior in priors:
        known = {number.name: number.value for number in prior.hyperparameters}
        for number in prior.hyperparameters:
            found, error = covariance(values, number.score, weighting)
            unit = known.get(f"scale{number.name.removeprefix(LOCATION)}", np.nan)
            step = STEP * (unit if number.name.startswith(LOCATION) else number.value)
            columns = {
                "value": number.value, "derivative": found, "mcse": error, "step": step,
                "change": step * found / sds,
            }  # fmt: skip
            parts[prior.slot.name, number.name] = pd.DataFrame(columns, index=names)
    if not parts:
        levels = [[], [], []]
        empty = pd.MultiIndex.from_arrays(levels, names=["prior", "number", "parameter"])
        wanted = ["value", "derivative", "mcse", "step", "change"]
        return pd.DataFrame(columns=wanted, index=empty, dtype=float)
    return pd.concat(parts, names=["prior", "number"])
