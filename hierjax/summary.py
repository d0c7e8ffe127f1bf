"""What draws say and whether to believe them: the table, its text, and the diagnosis of a fit."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.diagnostics import e_bfmi
from hierjax.draws import STATUS_MESSAGE, FitInfo, Status
from hierjax.importance_weights import pareto_k
from hierjax.model import Model
from hierjax.summary_checks import ONE_CHAIN, Check, Diagnostics, Extreme, checks_of
from hierjax.summary_frame import (
    Draws,
    is_approximate,
    judged_table,
    summary_table,
    weight_size,
)
from hierjax.summary_point import is_point, point_checks, point_notes
from hierjax.summary_text import summary_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "Diagnostics", "Extreme", "diagnose", "summary_table", "summary_text"]


def diagnose(model: Model, draws: Draws, stats: Draws, info: FitInfo) -> Diagnostics:
    """Look at everything that can go wrong with draws, and say what to do about it.

    Parameters
    ----------
    model, draws, stats
        The model, its draws, site -> (chain, draw, *shape), and statistics (chain, draw).
    info
        How they were made; `info.settings["max_tree_depth"]` is the limit of the trees.
    """
    approximate = is_approximate(info, stats)
    table = judged_table(model, draws, info, stats)
    num_chains, num_draws = next(iter(draws.values())).shape[:2]
    facts = Diagnostics(
        method=info.method,
        num_chains=num_chains,
        num_draws=num_draws,
        noncentred=bool(info.effects),
        status_codes=tuple(info.status),
        status=tuple(STATUS_MESSAGE[Status(code)] for code in info.status),
        unmoved=() if is_point(info) else _unmoved(table),
        table=table,
        **_of_chains(table, approximate or is_point(info)),
        **_of_trajectories(stats, info),
        **_of_weights(stats, info),
    )
    if is_point(info):
        notes = point_notes(model, info)
        return dataclasses.replace(facts, checks=point_checks(info), notes=notes)
    checks = checks_of(facts, approximate=approximate)
    alone = (ONE_CHAIN,) if num_chains == 1 and not approximate else ()
    return dataclasses.replace(facts, checks=checks, notes=alone)


def _unmoved(table: "pd.DataFrame") -> tuple[str, ...]:
    # sd is 0 for constant draws and NaN for those with a NaN or an infinity.
    names = table.index.get_level_values("parameter")
    return tuple(str(name) for name in names[~(table["sd"].to_numpy() > 0)])


def _of_chains(table: "pd.DataFrame", without: bool) -> dict[str, Any]:
    def worst(column: str, sign: int) -> Extreme | None:
        if without or np.isnan(table[column].to_numpy()).all():
            return None
        values = sign * table[column].to_numpy()
        row = int(np.nanargmax(values))
        return Extreme(float(sign * values[row]), str(table.index[row][1]))

    return {
        "rhat": worst("rhat", 1),
        "ess_bulk": worst("ess_bulk", -1),
        "ess_tail": worst("ess_tail", -1),
    }


def _of_trajectories(stats: Draws, info: FitInfo) -> dict[str, Any]:
    diverging = np.asarray(stats.get("diverging", np.zeros((1, 1), dtype=bool)))
    limit = info.settings.get("max_tree_depth")
    hits = 0
    if limit is not None and "tree_depth" in stats:
        hits = int(np.sum(np.asarray(stats["tree_depth"]) >= limit))
    fractions = e_bfmi(stats["energy"]) if "energy" in stats else ()
    return {
        "divergences": int(diverging.sum()),
        "divergence_fraction": float(diverging.mean()),
        "max_tree_depth": limit,
        "tree_depth_hits": hits,
        "e_bfmi": tuple(float(value) for value in fractions),
    }


def _of_weights(stats: Draws, info: FitInfo) -> dict[str, Any]:
    recorded = info.trace.get("k_hat", ())  # of all weighted points, of which the draws are some
    k_hat = pareto_k(stats["log_weight"]) if "log_weight" in stats else None
    return {"k_hat": recorded[-1] if recorded else k_hat, "weight_ess": weight_size(info, stats)}
