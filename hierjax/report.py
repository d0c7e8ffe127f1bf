"""A whole fit as text for a terminal: the summary, how it was made, and the verdict."""

from collections.abc import Mapping

import numpy as np

from hierjax.draws import FitInfo
from hierjax.model import Model
from hierjax.summary import diagnose, summary_table, summary_text
from hierjax.summary_point import is_point

Arrays = Mapping[str, np.ndarray]
TREATMENTS = {
    "integrated": "integrated out, exactly (all that depends on them is Gaussian in them)",
    "profiled": "at their maximum given the sds, exactly (their priors do not count)",
    "flat": "integrated out, exactly (over a flat prior)",
    "laplace": "integrated out by Laplace's approximation (not exact: least so for binary data in "
    "small groups)",
    "recentred": "recentred on the data, exactly (whatever the likelihood)",
    "centred": "sampled as the model writes them",
    "noncentred": "sampled as standardised deviations",
    "drawn together": "drawn all at once from their normal distribution given the rest",
    "drawn by factor": "drawn factor by factor from their normal distribution given the rest",
    "sliced": "sampled by slices, with effects integrated out",
    "drawn exactly": "drawn from their distribution given the rest",
}


def report_text(model: Model, draws: Arrays, stats: Arrays, info: FitInfo) -> str:
    """Return summary, how the model was fitted, and the verdict, ready to print."""
    table = summary_table(model, draws, info=info, stats=stats)
    verdict = diagnose(model, draws, stats, info).verdict
    how = [fit_text(draws, info), *effects_text(info)]
    return "\n".join([summary_text(table), "", *how, verdict])


def fit_text(draws: Arrays, info: FitInfo) -> str:
    """Say how draws were made: method, size, precision, time, and why so."""
    chains, length = next(iter(draws.values())).shape[:2]
    noun = "chain" if chains == 1 else "chains"
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in info.seconds.items())
    kind = f" ({info.settings['kind']})" if is_point(info) else ""
    line = (
        f"{info.method}{kind}, {chains} {noun} x {length:,} draws, {info.dtype}, seed {info.seed} "
        f"({seconds})"
    )
    started = f"\nstarted from another fit: {info.init}" if info.init else ""
    chosen = f"\nchosen automatically: {info.reason}" if info.reason else ""
    return line + started + chosen


def effects_text(info: FitInfo) -> list[str]:
    """Say how effects were treated, and why, one line for each treatment."""
    sites: dict[str, list[str]] = {}
    for site, choice in info.effects.items():
        sites.setdefault(choice, []).append(site)
    return [f"{_in_words(word)}: {', '.join(names)}" for word, names in sites.items()]


def _in_words(treatment: str) -> str:
    """Write a treatment out; what stands in brackets stays."""
    word, bracket, detail = treatment.partition(" (")
    return f"{TREATMENTS.get(word, word)}{bracket}{detail}"
