"""Whether the draws of many data sets can be trusted, for all of them in one vectorised pass."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hierjax.batch.chunks import Chunk
from hierjax.diagnostics import chain_summary
from hierjax.draws import STATUS_MESSAGE, Status
from hierjax.importance_weights import pareto_k, weight_ess
from hierjax.summary_checks import (
    LARGEST_K_HAT,
    LARGEST_RHAT,
    SMALLEST_ESS_PER_CHAIN,
    SMALLEST_WEIGHT_ESS,
)

# What is worth another run; smaller excesses are common by chance among many data sets.
RETRIED_RHAT = 1.05
RETRIED_DIVERGENCES = 0.01  # share of the draws


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is said of the draws of one data set.

    Attributes
    ----------
    status
        "ok", "check" (believe the draws only after a look at `message`) or "failed" (a chain did
        not finish).
    message
        What is wrong; empty if nothing is.
    rhat, ess_bulk, ess_tail
        The worst over all parameters. Approximations have no R-hat, and the effective size of their
        importance weights.
    divergences
        Divergent transitions after warm-up.
    k_hat
        Of the importance weights; NaN without.
    retry
        Whether another run with more careful settings is worth it.
    """

    status: str
    message: str
    rhat: float
    ess_bulk: float
    ess_tail: float
    divergences: int
    k_hat: float
    retry: bool

    @property
    def badness(self) -> tuple[bool, bool, float]:
        """Order of two runs of one data set: the smaller the better."""
        rhat = 1e6 if np.isnan(self.rhat) else self.rhat
        return self.status == "failed", self.retry, rhat + self.divergences


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What is known of the draws of one data set."""

    codes: np.ndarray
    diverging: np.ndarray
    rhat: float = np.nan
    ess_bulk: float = np.nan
    ess_tail: float = np.nan
    k_hat: float = np.nan
    unmoved: int = 0
    approximate: bool = False


def judge(chunk: Chunk, judged: Mapping[str, np.ndarray]) -> list[Verdict]:
    """Judge every data set of a chunk.

    Parameters
    ----------
    chunk
        Draws.
    judged
        Site -> which elements count in which data set, shape (data set, elements).
    """
    count = len(chunk.status)
    diverging = np.asarray(chunk.stats.get("diverging", np.zeros((count, 1, 1), bool)))
    facts = _of_weights(chunk) if "log_weight" in chunk.stats else _of_chains(chunk, judged)
    return [
        _verdict(_Facts(chunk.status[place], diverging[place], **each))
        for place, each in enumerate(facts)
    ]


def _verdict(facts: _Facts) -> Verdict:
    wrong = [Status(int(code)) for code in facts.codes if code != Status.OK]
    problems = [STATUS_MESSAGE[wrong[0]]] if wrong else []
    divergences = int(facts.diverging.sum())
    if divergences:
        noun = "transition" if divergences == 1 else "transitions"
        problems.append(f"{divergences:,} divergent {noun}")
    problems += _weight_problems(facts) if facts.approximate else _chain_problems(facts)
    retry = bool(wrong) or facts.diverging.mean() > RETRIED_DIVERGENCES
    if not facts.approximate:
        retry = retry or bool(facts.unmoved) or facts.rhat > RETRIED_RHAT
    return Verdict(
        status="failed" if wrong else "check" if problems else "ok",
        message="; ".join(problems),
        rhat=facts.rhat,
        ess_bulk=facts.ess_bulk,
        ess_tail=facts.ess_tail,
        divergences=divergences,
        k_hat=facts.k_hat,
        retry=bool(retry),
    )


def _chain_problems(facts: _Facts) -> list[str]:
    problems = []
    if facts.unmoved:
        noun = "parameter" if facts.unmoved == 1 else "parameters"
        problems.append(f"draws of {facts.unmoved} {noun} are constant or not finite")
    if not facts.rhat <= LARGEST_RHAT:
        problems.append(f"R-hat {facts.rhat:.3f} (wanted: {LARGEST_RHAT} at most)")
    wanted = SMALLEST_ESS_PER_CHAIN * len(facts.codes)
    for name, size in (("bulk ESS", facts.ess_bulk), ("tail ESS", facts.ess_tail)):
        if not size >= wanted:
            problems.append(f"{name} {size:,.0f} (wanted: {wanted})")
    return problems


def _weight_problems(facts: _Facts) -> list[str]:
    problems = []
    if facts.k_hat > LARGEST_K_HAT:
        problems.append(f"k-hat {facts.k_hat:.2f} (wanted: {LARGEST_K_HAT} at most)")
    if not facts.ess_bulk >= SMALLEST_WEIGHT_ESS:
        problems.append(f"worth {facts.ess_bulk:,.0f} draws by weight")
    return problems


def _of_weights(chunk: Chunk) -> list[dict[str, Any]]:
    """Judge the weights: as the method recorded them, else those of the draws."""
    recorded = {
        name: np.asarray(chunk.trace.get(name, ())) for name in ("effective_draws", "k_hat")
    }
    found = []
    for place, weights in enumerate(np.asarray(chunk.stats["log_weight"])):
        last = {name: _last(values[place]) for name, values in recorded.items() if values.size}
        size = last.get("effective_draws", np.nan)
        size = weight_ess(weights) if np.isnan(size) else size
        k_hat = last.get("k_hat", np.nan)
        k_hat = pareto_k(weights) if np.isnan(k_hat) else k_hat
        found.append({"ess_bulk": size, "ess_tail": size, "k_hat": k_hat, "approximate": True})
    return found


def _last(values: np.ndarray) -> float:
    """Last number of a record; NaN if nothing was recorded."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else float("nan")


def _of_chains(chunk: Chunk, judged: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Worst R-hat and effective sizes over the judged elements of each data set."""
    columns, counted = [], []
    for name, counts in judged.items():
        values, used = np.asarray(chunk.sites[name]), counts.any(axis=0)
        flat = np.reshape(values, (*values.shape[:3], -1))[..., used]
        columns.append(np.moveaxis(flat, 0, 2))  # (chain, draw, data set, element)
        counted.append(counts[:, used])
    if not columns:
        return [{} for _ in chunk.status]
    table = chain_summary(np.concatenate(columns, axis=-1))
    counts = np.concatenate(counted, axis=-1)
    rhat = _largest(table.rhat, counts)
    bulk, tail = -_largest(-table.ess_bulk, counts), -_largest(-table.ess_tail, counts)
    unmoved = np.sum(~(table.sd > 0) & counts, axis=1)
    rows = zip(rhat, bulk, tail, unmoved, strict=True)
    names = ("rhat", "ess_bulk", "ess_tail", "unmoved")
    return [dict(zip(names, (*map(float, row[:3]), int(row[3])), strict=True)) for row in rows]


def _largest(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Largest of the values that count and are known; NaN where there is none."""
    known = counts & ~np.isnan(values)
    largest = np.max(np.where(known, values, -np.inf), axis=1, initial=-np.inf)
    return np.where(known.any(axis=1), largest, np.nan)
