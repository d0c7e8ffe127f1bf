"""The same model by several methods, side by side: whether they agree, and what each cost."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import HierjaxError, SettingsError
from hierjax.fit import fit
from hierjax.infer.program import Method
from hierjax.methods import as_method
from hierjax.model import Model
from hierjax.posterior import Posterior
from hierjax.transforms.coordinates import Effects

if TYPE_CHECKING:
    import pandas as pd

ALL = ("nuts", "laplace", "gibbs", "svi", "deterministic_advi", "empirical_bayes")
SAMPLED = ("auto", "nuts", "laplace", "svi", "deterministic_advi")  # take any treatment of effects


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MethodComparison:
    """Posteriors of one model by several methods.

    Attributes
    ----------
    posteriors
        Name of the method -> its posterior; those that failed are left out.
    failures
        Name of the method -> why it could not be run.
    reference
        The method that the others are held against: the first that ran.
    """

    posteriors: Mapping[str, Posterior]
    failures: Mapping[str, str]
    reference: str

    @property
    def table(self) -> "pd.DataFrame":
        """Mean and sd of every parameter by every method; columns (statistic, method)."""
        import pandas as pd

        found = {name: post.summary()[["mean", "sd"]] for name, post in self.posteriors.items()}
        together = pd.concat(found, axis=1).swaplevel(axis=1)
        columns = [(statistic, name) for statistic in ("mean", "sd") for name in found]
        return together.reindex(columns=pd.MultiIndex.from_tuples(columns))

    @property
    def methods(self) -> "pd.DataFrame":
        """One row a method, also of those that failed.

        Columns: `seconds` in all and of them `compile`; `effective`, the least effective number of
        draws (of chains bulk ESS, else by weight); `gap`, the largest difference of a mean to the
        reference, in the reference's sds; `sd_ratio_low` and `sd_ratio_high`, the least and largest
        sd relative to the reference's; `verdict`, or why the method failed.
        """
        import pandas as pd

        rows = {name: self._row(name) for name in self.posteriors}
        for name, reason in self.failures.items():
            rows[name] = {"verdict": f"not run: {reason}"}
        columns = ["seconds", "compile", "effective", "gap", "sd_ratio_low", "sd_ratio_high"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=[*columns, "verdict"])
        return frame.rename_axis("method")

    def __repr__(self) -> str:
        numbers = self.methods.drop(columns="verdict").dropna(how="all")
        verdicts = [f"{name}: {text}" for name, text in self.methods["verdict"].items()]
        parts = [
            self.table.to_string(float_format=lambda value: f"{value:.4g}"),
            numbers.to_string(float_format=lambda value: f"{value:.3g}", na_rep="-"),
            f"Gaps and ratios are to {self.reference}.",
            *verdicts,
        ]
        return "\n\n".join(parts[:2]) + "\n\n" + "\n".join(parts[2:])

    def _row(self, name: str) -> dict[str, Any]:
        post, table = self.posteriors[name], self.table
        means, sds = (
            {each: table[statistic, each].to_numpy() for each in (name, self.reference)}
            for statistic in ("mean", "sd")
        )
        spread = np.where(sds[self.reference] > 0.0, sds[self.reference], np.nan)
        ratios = sds[name] / spread
        found = post.diagnostics()
        bulk = found.ess_bulk.value if found.ess_bulk is not None else math.nan
        return {
            "seconds": sum(post.info.seconds.values()),
            "compile": post.info.seconds["compile"],
            "effective": bulk if found.weight_ess is None else found.weight_ess,
            "gap": _largest(np.abs(means[name] - means[self.reference]) / spread),
            "sd_ratio_low": -_largest(-ratios),
            "sd_ratio_high": _largest(ratios),
            "verdict": found.verdict,
        }


def compare_methods(
    model: Model,
    methods: Sequence[str | Method] = ALL,
    *,
    seed: int = 0,
    effects: Effects = "auto",
    progress: bool = True,
    dtype: str = "float64",
) -> MethodComparison:
    """Fit one model by several methods, and show means, sds and times side by side.

    Parameters
    ----------
    model
        The model, on its data.
    methods
        Names or settings objects; the first is what the others are held against. A method that
        does not serve the model is listed with the reason.
    seed, effects, progress, dtype
        As for `fit`; methods that treat effects in one way only are left to it.

    Returns
    -------
    MethodComparison
        Prints as two tables and a line a method; `posteriors` has the fits.

    Raises
    ------
    SettingsError
        No method is given, or none could be run.
    """
    if not methods:
        raise SettingsError("`methods` is empty: give at least one, such as ('nuts', 'laplace').")
    chosen = [as_method(each) for each in methods]
    names = _names(chosen)
    posteriors, failures = {}, {}
    for name, method in zip(names, chosen, strict=True):
        own = effects if method.name in SAMPLED else "auto"
        options = {"seed": seed, "effects": own, "progress": progress, "dtype": dtype}
        try:
            posteriors[name] = fit(model, method=method, **options)
        except HierjaxError as error:
            failures[name] = str(error)
    if not posteriors:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise SettingsError(f"none of the methods could be run. {reasons}")
    return MethodComparison(posteriors, failures, next(iter(posteriors)))


def _largest(values: np.ndarray) -> float:
    """Largest number; parameters that do not vary have none."""
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else math.nan


def _names(methods: Sequence[Method]) -> list[str]:
    """Names of methods; settings of the same method are told apart by number."""
    words = [method.name for method in methods]
    return [
        word if words.count(word) == 1 else f"{word} {words[: place + 1].count(word)}"
        for place, word in enumerate(words)
    ]
