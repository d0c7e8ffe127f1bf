"""Draws of sites as scalars, and what is said of each: by arviz-stats, not by our own code."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def scalar_draws(draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Split sites into scalars (chain, draw); of a correlation matrix keep what is below 1."""
    scalars = {}
    for name, values in draws.items():
        for index in np.ndindex(values.shape[2:]):
            if name.startswith("cor_") and index[0] <= index[1]:
                continue
            label = ", ".join(str(i) for i in index)
            scalars[f"{name}[{label}]" if index else name] = values[(..., *index)]
    return scalars


def statistic(name: str, draws: np.ndarray, method: str) -> float:
    """Return "ess" or "rhat" of draws (chain, draw); those that never move are worth nothing."""
    from arviz_stats.base.array import array_stats

    if np.ptp(draws) == 0.0:
        return {"ess": 0.0, "rhat": float("nan")}[name]
    of_draws: Any = getattr(array_stats, name)
    return float(of_draws(draws, chain_axis=0, draw_axis=1, method=method))
