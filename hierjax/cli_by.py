"""`hierjax fit --by COLUMN`: one fit for each value of a column, as one batch."""

from pathlib import Path
from typing import TYPE_CHECKING

from hierjax.batch.result import Batch
from hierjax.errors import MissingValueError, UnknownColumnError
from hierjax.files import write_whole
from hierjax.fit_many import fit_many
from hierjax.formula.frame import nearest
from hierjax.infer.program import Method
from hierjax.model import Model

if TYPE_CHECKING:
    import pandas as pd

CHUNKS = "chunks"


def parts_of(table: "pd.DataFrame", column: str) -> "dict[str, pd.DataFrame]":
    """Cut a table by the values of a column, in their order.

    Raises
    ------
    UnknownColumnError
        There is no such column.
    MissingValueError
        Rows have no value in it.
    """
    if column not in table.columns:
        raise UnknownColumnError(
            f"--by: there is no column {column!r} in the data.{nearest(column, table.columns)}"
        )
    missing = int(table[column].isna().to_numpy().sum())
    if missing:
        raise MissingValueError(
            f"--by: column {column!r} has no value in {missing:,} rows. Leave those rows out."
        )
    return {str(value): part for value, part in table.groupby(column, sort=True)}


def fit_parts(
    model: Model,
    parts: "dict[str, pd.DataFrame]",
    method: Method,
    folder: Path,
    *,
    seed: int,
    effects: str,
) -> Batch:
    """Fit the model to every part; finished chunks are kept in `folder`, for a later start.

    Coding of categories and default priors are those of the model's own data, the whole table.
    """
    return fit_many(
        model,
        list(parts.values()),
        method=method,
        seed=seed,
        effects=effects,
        keep="hyper",
        checkpoint=folder / CHUNKS,
    )


def write_parts(batch: Batch, values: list[str], column: str, folder: Path) -> list[Path]:
    """Write report.csv, summary.csv and effects.csv, whose rows begin with the value; the paths."""
    import pandas as pd

    report = batch.report().set_axis(pd.Index(values, name=column))
    fitted = [n for n, status in enumerate(report["status"]) if status != "not fitted"]
    tables = {"report": report}
    for name, table_of in (("summary", lambda n: batch[n].summary()), ("effects", batch.effects)):
        found = {values[n]: table_of(n) for n in fitted}
        if any(len(table) for table in found.values()):
            tables[name] = pd.concat(found, names=[column])
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.csv")
        write_whole(written[-1], [table.to_csv().encode()])
    return written


def report_of(batch: Batch, values: list[str], most: int) -> str:
    """Say how many fits are good, and what is wrong with the others."""
    report = batch.report()
    lines = [repr(batch)]
    wrong = [n for n, status in enumerate(report["status"]) if status != "ok"]
    lines += [f"  {values[n]}: {report['status'][n]}: {report['message'][n]}" for n in wrong[:most]]
    if len(wrong) > most:
        lines.append(f"  and {len(wrong) - most:,} more, in report.csv")
    return "\n".join(lines)
