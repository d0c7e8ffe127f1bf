"""A whole fit as text for a terminal: the summary, how it was made, and the verdict."""

from collections.abc import Mapping

import numpy as np

from hierjax.draws import FitInfo
from hierjax.model import Model
from hierjax.summary import diagnose, summary_table, summary_text

Arrays = Mapping[str, np.ndarray]


def report_text(model: Model, draws: Arrays, stats: Arrays, info: FitInfo) -> str:
    """Return summary, how the model was fitted, and the verdict, ready to print."""
    table = summary_table(model, draws, info=info, stats=stats)
    verdict = diagnose(model, draws, stats, info).verdict
    return "\n".join([summary_text(table), "", fit_text(draws, info), verdict])


def fit_text(draws: Arrays, info: FitInfo) -> str:
    """Say in one or two lines how draws were made: method, size, precision, time, effects."""
    chains, length = next(iter(draws.values())).shape[:2]
    noun = "chain" if chains == 1 else "chains"
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in info.seconds.items())
    lines = [
        f"{info.method}, {chains} {noun} x {length:,} draws, {info.dtype}, seed {info.seed} "
        f"({seconds})"
    ]
    if info.effects:
        how = ", ".join(f"{site} {choice}" for site, choice in info.effects.items())
        lines.append(f"group effects sampled: {how}")
    return "\n".join(lines)
