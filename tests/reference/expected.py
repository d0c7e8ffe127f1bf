"""What the reference folder says of a posterior: means, sds and quantiles, and their own errors.

Tables differ in what they have: Stan's runs have the Monte Carlo error of every quantity, published
tables that of the mean alone, and quadrature has none.
"""

import dataclasses
from collections.abc import Mapping

from tests.helpers import reference_json

QUANTITIES = ("mean", "sd", "q5", "q50", "q95")
# Sds between the 5 % and the 95 % quantile of a normal distribution, and the 2.5 % and the 97.5 %.
SPANS = {("q5", "q95"): 3.29, ("q2.5", "q97.5"): 3.92}


@dataclasses.dataclass(frozen=True)
class Expected:
    """Quantity of one scalar parameter -> what it should be, and its Monte Carlo error if known."""

    values: Mapping[str, float]
    errors: Mapping[str, float]

    def without(self, quantities: tuple[str, ...]) -> "Expected":
        """Leave out some quantities; an sd that is left out is no scale of the others either."""
        kept = {name: value for name, value in self.values.items() if name not in quantities}
        return Expected(kept, self.errors)

    @property
    def scale(self) -> float:
        """The sd, or what the quantiles say of it where there is none."""
        if "sd" in self.values:
            return self.values["sd"]
        for (low, high), span in SPANS.items():
            if high in self.values:
                return (self.values[high] - self.values[low]) / span
        raise KeyError("neither an sd nor two quantiles")


@dataclasses.dataclass(frozen=True)
class Source:
    """One posterior of the reference folder: a file or folder, and the place in it.

    `left_out` are quantities of parameters that are not compared, for the reason in `because`.
    """

    path: str
    entry: str = ""
    place: int = 0
    left_out: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    because: str = ""

    def expected(self) -> dict[str, Expected]:
        """Return parameter -> what it should be, but for what is left out."""
        found = self.everything()
        for name, quantities in self.left_out.items():
            found[name] = found[name].without(quantities)
        return found

    def everything(self) -> dict[str, Expected]:
        """Return parameter -> what the reference says of it."""
        if self.path.startswith(("bayes/", "posteriordb/")):
            return sampled(self.path)
        if self.path.startswith("tfp_inference_gym/"):
            return inference_gym(self.path)
        entry = reference_json(self.path)[self.entry]
        return published(entry[self.place]) if self.path == PUBLISHED else exact(entry)

    def __str__(self) -> str:
        """Name it in one word."""
        place = f"[{self.place}]" if self.path == PUBLISHED else ""
        return f"{self.path}:{self.entry}{place}" if self.entry else self.path


PUBLISHED, EXACT = "published_bugs.json", "exact.json"


def exact(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Expected]:
    """Read answers of quadrature, which have no error."""
    found = {}
    for name, row in rows.items():
        values = {quantity: row[quantity] for quantity in QUANTITIES if quantity in row}
        found[name] = Expected(values, dict.fromkeys(values, 0.0))
    return found


def sampled(path: str) -> dict[str, Expected]:
    """Read draws of a reference sampler; quadrature replaces them where there is one."""
    summary = reference_json(f"{path}/reference_summary.json")
    found = {}
    for name, row in summary["parameters"].items():
        errors = {quantity: row[f"mcse_{quantity}"] for quantity in QUANTITIES}
        found[name] = Expected({quantity: row[quantity] for quantity in QUANTITIES}, errors)
    return found | exact(summary.get("exact", {}))


def published(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Expected]:
    """Read a table of the BUGS books, whose errors are those of the means."""
    words = {"mean": "mean", "median": "q50", "sd": "sd", "q2.5": "q2.5", "q97.5": "q97.5"}
    return {
        name: Expected({ours: row[theirs] for theirs, ours in words.items()}, {"mean": row["mcse"]})
        for name, row in rows.items()
    }


def inference_gym(path: str) -> dict[str, Expected]:
    """Read ground truths of the Inference Gym, which counts elements from zero."""
    found = {}
    for site, row in reference_json(path).items():
        for place, (mean, sd, error) in enumerate(
            zip(row["mean"], row["sd"], row["mcse_mean"], strict=True)
        ):
            name = f"{site}[{place}]" if len(row["mean"]) > 1 else site
            found[name] = Expected({"mean": mean, "sd": sd}, {"mean": error})
    return found
