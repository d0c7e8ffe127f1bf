"""Tables as the command line takes them: a file, or the name of a packaged data set."""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierjax.errors import FileError

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 40  # of a table on the terminal


def read_table(source: str, text: Collection[str] = ()) -> "pd.DataFrame":
    """Read a CSV or Parquet file, or the packaged data set of that name, into a data frame.

    A CSV file does not say whether 308 is a number or a label: columns in `text` are read as text.
    """
    import pandas as pd

    import hierjax

    path = Path(source)
    if not path.suffix and not path.is_file():  # a folder of results may have its data set's name
        return hierjax.load_data(source)
    readers = {".csv": pd.read_csv, ".gz": pd.read_csv, ".parquet": pd.read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileError(
            f"{source}: files of type {path.suffix or 'no suffix'!r} cannot be read; use .csv, "
            f".csv.gz or .parquet, or one of the packaged data sets: "
            f"{', '.join(hierjax.datasets()['name'])}."
        )
    if not path.exists():
        raise FileError(f"{source}: there is no such file.")
    options = {} if reader is pd.read_parquet else {"dtype": dict.fromkeys(text, str)}
    try:
        return reader(path, **options)
    except (ValueError, OSError, ImportError, EOFError, zlib.error) as error:
        raise FileError(f"{source}: cannot be read as a table ({error}).") from error


def named_columns(**columns: str | None) -> dict[str, Any]:
    """Return the options of a formula that name a column, where one was given."""
    return {name: column for name, column in columns.items() if column is not None}
