"""What a sensitivity analysis says, in sentences, with what to do about it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.sensitivity_densities import PriorSlot

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 30
MOST_NAMED = 4
CONFLICT_REMEDY = (
    "Look whether the prior says what you know, in the unit of the data. If not, move or widen it",
    "and fit again; if so, the data are surprising: look at them, and report both.",
)
STRONG_REMEDY = (
    "The data cannot tell here, so choose this prior by what you know, say so in the report, and",
    "show the answer under another one.",
)


def sensitivity_text(
    table: "pd.DataFrame",
    derivatives: "pd.DataFrame",
    priors: Sequence[PriorSlot],
    doubtful: Sequence[str],
    *,
    noticeable: float,
) -> str:
    """Return a line for each parameter, then a sentence for each prior that matters.

    Parameters
    ----------
    table, derivatives, priors, doubtful
        As in a `Sensitivity`.
    noticeable
        Sensitivity from which on a prior matters.
    """
    texts = {slot.name: f"{slot.name} ~ {slot.text}" for slot in priors}
    alone = table.loc[[name in texts for name in table.index.get_level_values("prior")]]
    lines = [_overview(table, alone, noticeable), ""]
    flagged = alone[alone["verdict"] != ""]
    for (name, verdict), rows in flagged.groupby(
        [flagged.index.get_level_values("prior"), "verdict"], sort=False
    ):
        lines.append(_sentence(str(name), str(verdict), rows, texts, derivatives))
    if flagged.empty:
        lines.append(_good(table, alone, texts, noticeable))
    if doubtful:
        lines.append(
            f"Check: the weights for {', '.join(doubtful)} cannot be trusted (k-hat up to "
            f"{table['k_hat'].max():.2f}). Fit again with another prior to see what it changes."
        )
    return "\n".join(lines)


def _overview(table: "pd.DataFrame", alone: "pd.DataFrame", noticeable: float) -> str:
    """Parameters as rows, those that depend on a prior most first where there are many."""
    together = table.loc[table.index.get_level_values("prior")[0]]
    most: Any = alone["prior"].unstack("parameter")
    rows = together.index
    if len(rows) > MOST_ROWS:
        rows = together["prior"].sort_values(ascending=False).index[:MOST_ROWS]
    width = max(len(str(row)) for row in rows)
    lines = [
        f"Sensitivity to priors and data, by power-scaling ({noticeable} or more is noticeable)",
        "",
        f"  {'':<{width}}  priors   data  most by",
    ]
    for row in rows:
        column = most[row]
        numbers = f"{together.loc[row, 'prior']:6.2f} {together.loc[row, 'likelihood']:6.2f}"
        lines.append(f"  {row!s:<{width}}  {numbers}  {column.idxmax()} {column.max():.2f}")
    if len(rows) < len(together):
        lines.append(f"  and {len(together) - len(rows)} more that depend on priors less")
    return "\n".join(lines)


def _sentence(
    name: str,
    verdict: str,
    rows: "pd.DataFrame",
    texts: dict[str, str],
    derivatives: "pd.DataFrame",
) -> str:
    rows = rows.droplevel("prior").sort_values("prior", ascending=False)
    listed = _listed([str(row) for row in rows.index])
    first, parameter = rows.iloc[0], str(rows.index[0])
    if verdict == "strong prior":
        what, remedy = f"decides about {listed} more than the data do", STRONG_REMEDY
    else:
        what, remedy = f"and the data disagree about {listed}", CONFLICT_REMEDY
    numbers = f"{parameter}: prior {first['prior']:.2f}, data {first['likelihood']:.2f}."
    change = _change(name, parameter, derivatives)
    return "\n  ".join([f"Check: {verdict}. {texts[name]} {what}.", numbers, *change, *remedy])


def _change(name: str, parameter: str, derivatives: "pd.DataFrame") -> list[str]:
    """Say in a line what the number in the prior that matters most would do to the mean."""
    if name not in derivatives.index.get_level_values("prior"):
        return []
    rows = derivatives.loc[name].xs(parameter, level="parameter")
    if rows["change"].isna().all():
        return []
    number = rows["change"].abs().idxmax()
    row = rows.loc[number]
    move = row["derivative"] * row["step"]
    return [
        f"With {number} {row['value'] + row['step']:.4g} instead of {row['value']:.4g} its mean "
        f"would move by {move:+.2g} ({row['change']:+.2f} posterior sds)."
    ]


def _good(
    table: "pd.DataFrame", alone: "pd.DataFrame", texts: dict[str, str], noticeable: float
) -> str:
    largest_at: Any = alone["prior"].idxmax()
    name, parameter = largest_at
    largest = (
        f"at most {alone['prior'].max():.2f}, by {texts[str(name)]} on {parameter}"
        if np.isfinite(alone["prior"].max())
        else "they are flat"
    )
    together = table.index.get_level_values("prior")[0]
    if together not in texts and (table.loc[together, "prior"] >= noticeable).any():
        rows = table.loc[together]
        named = _listed([str(row) for row in rows[rows["prior"] >= noticeable].index])
        return (
            f"Good: no single prior decides ({largest}), but all together they matter to {named}. "
            "Widen the priors that you cannot defend."
        )
    return f"Good: no prior decides ({largest})."


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
