"""Batch: what became of every data set, as posteriors, as a table and in one line."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.batch.judge import Verdict
from hierjax.draws import FitInfo
from hierjax.errors import FitError, ModelError
from hierjax.model import Model
from hierjax.names import coordinates, scalar_names
from hierjax.posterior import Posterior
from hierjax.versions import installed_versions

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = ("mean", "sd", "q5", "q50", "q95")
NOT_FITTED = "not fitted"


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """Draws of one data set and how they were made.

    Attributes
    ----------
    model
        The model on this data set.
    draws, stats, summaries
        Site or statistic -> array, cut to the true sizes; summaries have mean, sd and the quantiles
        along axis 0.
    status, trace
        As in `Draws`.
    verdict
        Whether to believe them.
    settings, reason
        Method that made them, and why "auto" chose it.
    effects
        How effects were treated.
    retries
        Runs beside the first.
    sizes, padded
        Plate -> size, and the size it was padded to.
    note
        Why the data set has a program of its own, if it has.
    seconds
        Its share of the time of its program.
    """

    model: Model
    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    summaries: Mapping[str, np.ndarray]
    status: tuple[int, ...]
    trace: Mapping[str, tuple[float, ...]]
    verdict: Verdict
    settings: Any
    reason: str
    effects: Mapping[str, str]
    retries: int
    sizes: Mapping[str, int]
    padded: Mapping[str, int]
    note: str
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Posteriors of many data sets of one model; `batch[i]` is that of data set i.

    Attributes
    ----------
    name
        Of the model.
    results
        For each data set its draws, or the message that says why it could not be fitted.
    method
        Name of the method.
    seed, dtype
        As given to `fit_many`.
    """

    name: str
    results: tuple[Fitted | str, ...]
    method: str
    seed: int
    dtype: str

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> Posterior:
        """Posterior of one data set.

        Raises
        ------
        FitError
            The data set was not fitted; the message says why.
        """
        result = self._fitted(place)
        info = FitInfo(
            method=result.settings.name,
            settings=dataclasses.asdict(result.settings),
            seed=self.seed,
            dtype=self.dtype,
            effects=result.effects,
            seconds={"run": result.seconds},
            status=result.status,
            versions=installed_versions(),
            trace=result.trace,
            index=range(len(self))[place],
            reason=result.reason,
        )
        return Posterior(_labelled(result.model), result.draws, result.stats, info)

    def __iter__(self) -> Iterator[Posterior]:
        return (self[place] for place in range(len(self)))

    def effects(self, place: int) -> "pd.DataFrame":
        """Mean, sd, 5%, 50% and 95% quantiles of the sites of which no draws were kept.

        Returns
        -------
        pandas.DataFrame
            Columns `mean, sd, q5, q50, q95`, one row for each element. Empty with `keep="all"`:
            `batch[place].summary(effects=True)` has the effects then.
        """
        import pandas as pd

        result = self._fitted(place)
        model = _labelled(result.model)
        parts = [
            pd.DataFrame(
                np.reshape(values, (len(SUMMARY), -1)).T, scalar_names(model, name), list(SUMMARY)
            )
            for name, values in result.summaries.items()
        ]
        return pd.concat(parts) if parts else pd.DataFrame(columns=list(SUMMARY), dtype=float)

    def report(self) -> "pd.DataFrame":
        """Return one row for each data set, which says whether its draws can be believed.

        Returns
        -------
        pandas.DataFrame
            `status` ("ok", "check", "failed", "not fitted"), `message`, `method`, worst `rhat`,
            smallest `ess_bulk` and `ess_tail`, `divergences`, `k_hat`, `retries`, `sizes` and what
            they were `padded` to, and `note`: why a data set has a program of its own.
        """
        import pandas as pd

        return pd.DataFrame([_row(result) for result in self.results]).rename_axis("data set")

    def __repr__(self) -> str:
        counts = collections.Counter(_status(result) for result in self.results)
        noun = "data set" if len(self) == 1 else "data sets"
        words = ", ".join(
            f"{counts[word]:,} {word}"
            for word in ("ok", "check", "failed", NOT_FITTED)
            if counts[word]
        )
        return f"Batch({self.name}: {len(self):,} {noun}, {self.method}: {words})"

    def _fitted(self, place: int) -> Fitted:
        result = self.results[place]
        if isinstance(result, str):
            raise FitError(f"data set {place} was not fitted: {result}")
        return result


def _status(result: Fitted | str) -> str:
    return NOT_FITTED if isinstance(result, str) else result.verdict.status


def _row(result: Fitted | str) -> dict[str, Any]:
    if isinstance(result, str):
        nothing = dict.fromkeys(("rhat", "ess_bulk", "ess_tail"), np.nan)
        return {
            "status": NOT_FITTED, "message": result, "method": "", **nothing, "divergences": 0,
            "k_hat": np.nan, "retries": 0, "sizes": "", "padded": "", "note": "",
        }  # fmt: skip
    verdict = dataclasses.asdict(result.verdict)
    del verdict["retry"]
    words = {name: verdict.pop(name) for name in ("status", "message")}
    return {
        **words,
        "method": result.settings.name,
        **verdict,
        "retries": result.retries,
        "sizes": _sizes(result.sizes),
        "padded": _sizes(result.padded),
        "note": result.note,
    }


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{plate} {size:,}" for plate, size in sizes.items())


def _labelled(model: Model) -> Model:
    """Drop the labels of plates that have another length in this data set."""
    try:
        coordinates(model)
        return model
    except ModelError:
        bare = dataclasses.replace(model, labels={})
        lengths = {dim: len(labels) for dim, labels in coordinates(bare).items()}
        fitting = {d: v for d, v in model.labels.items() if lengths.get(d, len(v)) == len(v)}
        return dataclasses.replace(model, labels=fitting)
