"""Leave-one-out cross-validation by Pareto smoothed importance sampling."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax import checks
from hierjax.draws import FitInfo
from hierjax.errors import SettingsError
from hierjax.loo_pointwise import by_group, by_row
from hierjax.model import Model
from hierjax.names import blocks_of, coordinates, latent_sites
from hierjax.predict import response_of
from hierjax.trace import abstract_trace

if TYPE_CHECKING:
    import pandas as pd

Draws = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Loo:
    """Expected log predictive density of left-out observations or groups.

    Attributes
    ----------
    kind
        What is left out, and what is known of it when it is predicted.
    by
        The grouping whose groups are left out; "" for single observations.
    labels
        Of what is left out, in order.
    pointwise
        Log predictive density of each.
    k_hat
        Shape of the tail of the importance weights of each.
    p_loo
        Effective number of parameters.
    draws
        Number of draws used.
    observed
        The observations, to tell whether two models were fitted to the same.
    """

    kind: str
    by: str
    labels: Sequence[Any]
    pointwise: np.ndarray
    k_hat: np.ndarray
    p_loo: float
    draws: int
    observed: np.ndarray

    @property
    def elpd(self) -> float:
        """Sum of the log predictive densities."""
        return float(self.pointwise.sum())

    @property
    def se(self) -> float:
        """Standard error of `elpd`, sqrt(n Var)."""
        return float(np.sqrt(len(self.pointwise) * self.pointwise.var()))

    @property
    def largest_good_k(self) -> float:
        """k-hat up to which an estimate can be trusted, min(1 - 1 / log10(draws), 0.7)."""
        return min(1.0 - 1.0 / np.log10(self.draws), 0.7)

    @property
    def doubtful(self) -> list[Any]:
        """Labels of those whose estimate cannot be trusted."""
        places = np.flatnonzero(~(self.k_hat <= self.largest_good_k))
        return [self.labels[int(place)] for place in places]

    def table(self) -> "pd.DataFrame":
        """Log predictive density and k-hat of everything that is left out."""
        import pandas as pd

        index = pd.Index(list(self.labels), name=self.by or "observation")
        return pd.DataFrame({"elpd": self.pointwise, "k_hat": self.k_hat}, index=index)

    def __repr__(self) -> str:
        doubtful = self.doubtful
        verdict = f"Good: every k-hat is {self.largest_good_k:.2f} or less."
        if doubtful:
            more = f" and {len(doubtful) - 5} more" if len(doubtful) > 5 else ""
            verdict = (
                f"Check: k-hat above {self.largest_good_k:.2f} for {len(doubtful)} of "
                f"{len(self.pointwise)} ({', '.join(map(str, doubtful[:5]))}{more}); fit again "
                "without them to be sure."
            )
        return (
            f"{self.kind}\n"
            f"elpd {self.elpd:.1f} (se {self.se:.1f}), effective parameters {self.p_loo:.1f}, "
            f"{self.draws:,} draws\n{verdict}"
        )


def loo(
    model: Model,
    draws: Draws,
    stats: Draws,
    info: FitInfo,
    by: str | None = None,
    *,
    site: str | None = None,
    most_draws: int | None = None,
) -> Loo:
    """Leave-one-out cross-validation, see `Posterior.loo`.

    Parameters
    ----------
    model, draws, stats, info
        The parts of a posterior.
    by, site, most_draws
        As in `Posterior.loo`.
    """
    if info.estimates:
        raise SettingsError(
            f"{info.method} estimates a point: there is no posterior to leave anything out of. Fit "
            'with method="nuts" or "laplace".'
        )
    if most_draws is not None:
        checks.positive_int("most_draws", most_draws)
    if by is None:
        site = response_of(abstract_trace(model.fn, model.data), site)
        values = by_row(model, draws, info, site, most_draws)
        kind = _kind_of_rows(model, site)
        labels: Sequence[Any] = range(values.shape[2])
    else:
        values, what = by_group(model, draws, info, by, most_draws)
        site = what.site
        integrated = ", ".join(name for name, _ in what.sites)
        kind = (
            f"leave one group of {by} out: all its observations together, predicted as those of a "
            f"new group ({integrated} integrated out)"
        )
        labels = coordinates(model).get(by) or range(values.shape[2])
    weights, k_hat = smoothed_weights(model, draws, stats, info, values)
    joint = weights + values
    pointwise = _log_sum(joint)
    lppd = _log_sum(values - np.log(values.shape[0] * values.shape[1]))
    argument = model.levels().response.get(site)
    observed = np.asarray(model.data[argument] if argument else np.zeros(0)).ravel()
    count = values.shape[0] * values.shape[1]
    return Loo(
        kind, by or "", labels, pointwise, k_hat, float((lppd - pointwise).sum()), count, observed
    )


def _kind_of_rows(model: Model, site: str) -> str:
    effects = [name for name, block in blocks_of(model).items() if block == "effect"]
    given = ", given the effects of its groups (known groups)" if effects else ""
    return f"leave one observation of {site} out{given}"


def smoothed_weights(
    model: Model, draws: Draws, stats: Draws, info: FitInfo, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log weights (chain, draw, unit), summing to one over the draws, and k-hat of each unit.

    The ratios are 1 / p(y_i | draw), times those of the posterior to an approximation that the
    draws come from (Magnusson, Andersen, Jonasson and Vehtari 2019). Draws that were resampled by
    those have them no more.
    """
    from arviz_stats.base.array import array_stats

    log_ratio = -values
    worth = info.trace.get("effective_draws", ())  # of resampled draws
    if "log_weight" in stats and not worth:
        kept = np.linspace(0, stats["log_weight"].shape[1] - 1, values.shape[1]).astype(int)
        log_ratio = log_ratio + np.asarray(stats["log_weight"], dtype=float)[:, kept, None]
    length = next(iter(draws.values())).shape[1]
    relative = worth[-1] / length if worth else _relative_size(model, draws)
    smoothing: Any = array_stats.psislw  # its annotations allow integers only
    weights, k_hat = smoothing(-log_ratio, r_eff=relative, axis=(0, 1))
    return np.moveaxis(np.asarray(weights), 0, -1), np.asarray(k_hat)


def _relative_size(model: Model, draws: Draws) -> float:
    """Effective draws of the shared parameters over draws, at most 1; as ArviZ has it."""
    from arviz_stats.base.array import array_stats

    blocks = blocks_of(model)
    names = [name for name in latent_sites(model) if name in draws and blocks[name] != "effect"]
    columns = [np.asarray(draws[name]).reshape(*draws[name].shape[:2], -1) for name in names]
    varying = [
        values[..., place] for values in columns for place in range(values.shape[2])
        if np.ptp(values[..., place]) > 0
    ]  # fmt: skip
    if not varying or varying[0].shape[0] == 1:
        return 1.0
    sizes = [array_stats.ess(each, chain_axis=0, draw_axis=1, method="mean") for each in varying]
    return float(np.clip(np.mean(sizes) / varying[0].size, 0.0, 1.0))


def _log_sum(values: np.ndarray) -> np.ndarray:
    top = values.max(axis=(0, 1))
    return top + np.log(np.exp(values - top).sum(axis=(0, 1)))
