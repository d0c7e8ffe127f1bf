"""Packaged real data, each with its source, licence, units and citation; checked on every load.

A data set is one csv file in `hierjax/data` and one row of `MIXED` or `DESIGNS`; nothing else knows
its name.
"""

import difflib
import hashlib
import importlib.resources
import io
from typing import TYPE_CHECKING

from hierjax.datasets_designs import DESIGNS
from hierjax.datasets_mixed import MIXED
from hierjax.datasets_row import Dataset
from hierjax.errors import FileError, UnknownDatasetError

if TYPE_CHECKING:
    import pandas as pd

DATASETS: dict[str, Dataset] = MIXED | DESIGNS


def load_data(name: str | None = None) -> "pd.DataFrame":
    """Load a packaged data set as a data frame, with where it comes from in `.attrs`.

    Parameters
    ----------
    name
        Name of the data set; `hierjax.datasets()` lists them.

    Returns
    -------
    pandas.DataFrame
        Group labels are text. `.attrs` holds "description", "source", "licence", "citation" and
        "columns" (column -> meaning with unit).

    Raises
    ------
    UnknownDatasetError
        There is no such data set, or no name was given; the message lists the names.
    FileError
        The file is missing or is not the one that was released.
    """
    import pandas as pd

    row = _row(name)
    compression = "gzip" if row.file.endswith(".gz") else None
    frame = pd.read_csv(
        io.BytesIO(_checked_bytes(row)),
        dtype={column: kind for column, (kind, _) in row.columns.items()},
        compression=compression,
        keep_default_na=False,
    )
    frame.attrs = {
        "description": row.description,
        "source": row.source,
        "licence": row.licence,
        "citation": row.citation,
        "columns": {column: meaning for column, (_, meaning) in row.columns.items()},
    }
    return frame


def datasets() -> "pd.DataFrame":
    """Table of the packaged data sets: name, rows, structure, source and licence."""
    import pandas as pd

    fields = ("rows", "structure", "source", "licence")
    return pd.DataFrame(
        [
            {"name": name} | {field: getattr(row, field) for field in fields}
            for name, row in DATASETS.items()
        ]
    )


def _row(name: str | None) -> Dataset:
    """Return the table's row of `name`."""
    if name in DATASETS:
        return DATASETS[name]
    listed = ", ".join(DATASETS)
    if name is None:
        raise UnknownDatasetError(f"Which data set? load_data(name) knows {listed}.")
    near = difflib.get_close_matches(str(name).lower(), DATASETS, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Packaged are {listed}."
    raise UnknownDatasetError(f"There is no data set {name!r}. {hint}")


def _checked_bytes(row: Dataset) -> bytes:
    """Read the file of a data set and compare its checksum with the table."""
    path = importlib.resources.files("hierjax") / "data" / row.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"Packaged data file {path} cannot be read; reinstall hierjax.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != row.sha256:
        raise FileError(
            f"Packaged data file {path} is damaged or was changed: its SHA-256 is {found}, "
            f"expected {row.sha256}. Reinstall hierjax."
        )
    return content
