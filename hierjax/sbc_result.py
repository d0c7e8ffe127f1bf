"""Calibration: what became of every simulation, as a report, as tables and as a picture."""

import collections
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hierjax.diagnostics_uniform import places
from hierjax.plots.calibration import Panel, plot_calibration
from hierjax.plots.canvas import write_png
from hierjax.sbc_quantities import WITH_DATA, Quantity
from hierjax.sbc_verdict import Finding, judge, visible_errors
from hierjax.summary_frame import BLOCK_TITLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RANKED = ("ok", "check")
MOST_FAILED = 0.05  # share of the simulations
MOST_PANELS = 24
TITLES = {WITH_DATA: "parameters and data", **BLOCK_TITLES}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one simulation.

    Attributes
    ----------
    status
        "ok" or "check" as in `Batch.report`; without ranks "failed" (its fit failed), "not fitted"
        or "not simulated".
    message
        What is wrong.
    method
        What fitted it.
    retries
        Fits beside the first.
    """

    status: str
    message: str = ""
    method: str = ""
    retries: int = 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Ranks of simulated parameters among the draws of their posteriors, and what they say.

    Print it for a report.

    Attributes
    ----------
    name, method
        Of the model, and of the method that fitted it.
    coverage
        Probability with which all curves of an exact method stay in their bands.
    draws
        Most draws that a true value was ranked among.
    seed, dtype
        As given to `sbc`.
    quantities
        What was ranked.
    transforms
        Site -> (rank + U) / (draws + 1), U uniform: uniform between 0 and 1 if the posterior is
        exact; (simulation, elements), NaN where there is none. Key "log density" has the log
        likelihood and the log joint density.
    sizes
        Site -> among how many draws the true values were ranked, of the same shape.
    truth
        Site -> the true values themselves, (simulation, *site shape).
    outcomes
        What became of every simulation.
    """

    name: str
    method: str
    coverage: float
    draws: int
    seed: int
    dtype: str
    quantities: tuple[Quantity, ...]
    transforms: Mapping[str, np.ndarray]
    sizes: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray]
    outcomes: tuple[Outcome, ...]

    @functools.cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What every test found."""
        return tuple(judge(self.quantities, self.transforms, 1.0 - self.coverage))

    @property
    def ok(self) -> bool:
        """Whether all curves stay in their bands, and nearly all simulations were ranked."""
        few = self.not_ranked <= MOST_FAILED * len(self.outcomes)
        return bool(self.findings) and few and all(finding.ok for finding in self.findings)

    @property
    def not_ranked(self) -> int:
        """Number of simulations without ranks."""
        return sum(outcome.status not in RANKED for outcome in self.outcomes)

    def table(self) -> "pd.DataFrame":
        """Return one row for each test.

        Returns
        -------
        pandas.DataFrame
            Index (block, quantity). Columns: `verdict`; `p_value` of the test alone and `adjusted`
            for the number of tests; `shift`, about how many posterior sds the draws are too high;
            `sd_ratio`, about what share of the right posterior sd theirs is; number of simulations
            `ranked`; `groups` pooled, and `worst_of` how many groups this is the one furthest off.
        """
        import pandas as pd

        names = ("verdict", "p_value", "adjusted", "shift", "sd_ratio")
        names = (*names, "ranked", "groups", "worst_of")
        index = pd.MultiIndex.from_tuples(
            [(TITLES[finding.block], finding.title) for finding in self.findings],
            names=("block", "quantity"),
        )
        rows = [[getattr(finding, name) for name in names] for finding in self.findings]
        return pd.DataFrame(rows, index=index, columns=list(names))

    def report(self) -> "pd.DataFrame":
        """Return one row for each simulation: `status, message, method, retries, fewest_draws`.

        `fewest_draws` is the smallest number of draws that any of its true values was ranked among.
        """
        import pandas as pd

        frame = pd.DataFrame([dataclasses.asdict(outcome) for outcome in self.outcomes])
        frame["fewest_draws"] = self._fewest_draws()
        return frame.rename_axis("simulation")

    def plot(self, path: str | Path | None = None, *, most: int = MOST_PANELS) -> "Figure":
        """Draw the distribution of the ranks less the uniform one, with bands; a panel a test.

        If there are more than `most`, those with the smallest p-values are shown.
        """
        order = np.argsort([finding.p_value for finding in self.findings], kind="stable")[:most]
        shown = [self.findings[place] for place in sorted(order.tolist())]
        panels = [
            Panel(each.title, each.verdict, not each.ok, places(), each.curve, each.low, each.high)
            for each in shown
        ]
        left = len(self.findings) - len(shown)
        remark = f"Exact methods stay in all bands with probability {self.coverage:.0%}."
        remark += f" {left} calmer panels are not shown." if left else ""
        title = f"{self.name}: {self.method}, {self._ranked_words()}"
        return write_png(plot_calibration(panels, title, remark), path)

    def __repr__(self) -> str:
        return "\n".join([self._heading(), "", *self._lines(), "", *self._conclusions()])

    def _ranked_words(self) -> str:
        total = len(self.outcomes)
        return f"{total - self.not_ranked:,} of {total:,} simulations ranked"

    def _heading(self) -> str:
        return (
            f"Simulation-based calibration of {self.name} by {self._methods()}\n"
            f"{self._ranked_words()}, among {self.draws} draws{self._fewer_draws()}"
        )

    def _methods(self) -> str:
        """Name the method, and what it stood for where it chose among several."""
        counts = collections.Counter(each.method for each in self.outcomes if each.method)
        if set(counts) <= {self.method}:
            return self.method
        return f"{self.method} ({', '.join(f'{name} {n:,}' for name, n in counts.items())})"

    def _fewest_draws(self) -> np.ndarray:
        sizes = [np.where(size > 0, size, self.draws).min(axis=1) for size in self.sizes.values()]
        fewest = np.min(np.stack(sizes), axis=0)
        ranked = [outcome.status in RANKED for outcome in self.outcomes]
        return np.where(ranked, fewest, 0)

    def _fewer_draws(self) -> str:
        fewest = self._fewest_draws()
        fewer = fewest[(fewest > 0) & (fewest < self.draws)]
        if not len(fewer):
            return ""
        noun = "simulation" if len(fewer) == 1 else "simulations"
        return (
            f" (fewer in {len(fewer):,} {noun} whose draws are worth less, {fewer.min()} at least)"
        )

    def _lines(self) -> list[str]:
        """Return a line for each test, under the titles of blocks."""
        if not self.findings:
            return ["Too few simulations were ranked."]
        width = max(len(finding.title) for finding in self.findings) + 2
        lines = [f"{'':{width + 2}}{'p-value':>8}{'shift':>8}{'sd ratio':>10}  verdict"]
        block = ""
        for finding in self.findings:
            if finding.block != block:
                block = finding.block
                lines.append(TITLES[block])
            lines.append(
                f"  {finding.title:{width}}{_probability(finding.p_value):>8}"
                f"{finding.shift:>8.2f}{finding.sd_ratio:>10.2f}  {finding.verdict}"
            )
        return lines

    def _conclusions(self) -> list[str]:
        wrong = [finding for finding in self.findings if not finding.ok]
        count, total = len(self.findings), len(self.outcomes)
        lines = self._failures()
        if wrong:
            named = "; ".join(f"{each.title} ({each.verdict})" for each in wrong[:3])
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            lines.append(
                f"Check: {len(wrong)} of {count} curves leave their bands, which with an exact "
                f"method any do in {1 - self.coverage:.0%} of runs: {named}{more}."
            )
        elif self.ok:
            lines.append(
                f"Good: all {count} curves stay in their bands, as those of an exact method do in "
                f"{self.coverage:.0%} of runs."
            )
        elif count:
            lines.append(
                f"Check: all {count} curves stay in their bands, but {self.not_ranked / total:.0%} "
                "of the simulations have no ranks."
            )
        if count and not wrong:
            shift, spread = visible_errors(total - self.not_ranked, 1.0 - self.coverage, count)
            lines.append(
                f"So many simulations show a shift of {shift:.2f} posterior sds, or sds that are "
                f"{spread:.0%} off; smaller errors may go unseen."
            )
        return lines

    def _failures(self) -> list[str]:
        """Say how many simulations have no ranks, and why."""
        missing = [outcome for outcome in self.outcomes if outcome.status not in RANKED]
        if not missing:
            return []
        counts = collections.Counter(outcome.status for outcome in missing)
        words = ", ".join(f"{number:,} {status}" for status, number in counts.items())
        common = collections.Counter(outcome.message for outcome in missing).most_common(1)[0][0]
        return [
            f"Without ranks: {words}; most often: {common}",
            "What is said here does not hold for data sets like those.",
        ]


def _probability(value: float) -> str:
    return "<1e-9" if value < 1e-9 else f"{value:.1g}" if value < 0.001 else f"{value:.3f}"
