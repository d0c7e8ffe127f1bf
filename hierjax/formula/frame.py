"""Take the columns a formula uses out of whatever frame the user has, checked and in plain types.

After this module a column is one of three things: float64 numbers, whole numbers, or a pandas
categorical with its levels fixed. Missing values and unusable types end here, with their rows.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import (
    ColumnTypeError,
    DataError,
    EmptyDataError,
    LengthError,
    MissingValueError,
    NonFiniteError,
    UnknownColumnError,
)

if TYPE_CHECKING:
    import pandas as pd


def used_columns(data: Any, names: Iterable[str], may_miss: Collection[str] = ()) -> "pd.DataFrame":
    """Return the columns `names` of `data` as a data frame with rows 0 to n - 1.

    Parameters
    ----------
    data
        A pandas frame, a mapping of columns, or any frame with `columns` and `frame[name]` (polars,
        pyarrow, structured arrays).
    names
        Columns that the model uses.
    may_miss
        Those of them in which values may be missing.

    Raises
    ------
    UnknownColumnError, EmptyDataError, LengthError, ColumnTypeError, MissingValueError, \
    NonFiniteError
        The columns cannot be used; the message names them and the rows.
    """
    import pandas as pd

    names = list(dict.fromkeys(names))
    available = column_names(data)
    unknown = [name for name in names if name not in available]
    if unknown:
        raise UnknownColumnError(_unknown(unknown, available))
    columns = {name: _one_dimensional(name, _get(data, name)) for name in names}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise LengthError(f"Columns must have one length; got {listed}.")
    if 0 in lengths.values() or (not names and _num_rows(data) == 0):
        raise EmptyDataError("The data have no rows.")
    _check_missing({name: each for name, each in columns.items() if name not in may_miss})
    plain = {name: _plain_or_missing(name, column) for name, column in columns.items()}
    _check_finite(plain)
    rows = next(iter(lengths.values()), _num_rows(data))
    return pd.DataFrame(plain, index=pd.RangeIndex(rows))


def column_names(data: Any) -> list[Any]:
    """Names of the columns of a frame of any kind.

    Raises
    ------
    ColumnTypeError
        `data` is nothing that has columns.
    """
    if isinstance(data, Mapping):
        return list(data)
    if isinstance(data, np.ndarray) and data.dtype.names:
        return list(data.dtype.names)
    for attribute in ("columns", "column_names"):
        columns = getattr(data, attribute, None)
        if columns is not None and not callable(columns):
            names = getattr(data, "column_names", columns)
            return list(names)
    raise ColumnTypeError(
        "`data`, the second argument, must be a data frame or a mapping of columns; got "
        f"{type(data).__name__}."
    )


def listed_rows(bad: np.ndarray) -> str:
    """Say which rows a mask marks, at most ten of them: `rows 3, 7 (counted from 0)`."""
    rows = np.flatnonzero(bad)
    shown = ", ".join(str(row) for row in rows[:10])
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more} (counted from 0)"


def nearest(name: str, choices: Iterable[Any]) -> str:
    """Return ` Did you mean ...?`, or nothing if no choice is near."""
    by_folded = {str(choice).casefold(): str(choice) for choice in choices}
    close = difflib.get_close_matches(str(name).casefold(), by_folded, n=1)
    return f" Did you mean `{by_folded[close[0]]}`?" if close else ""


def _unknown(unknown: Sequence[str], available: Sequence[Any]) -> str:
    described = " ".join(
        f"The data have no column `{name}`.{nearest(name, available)}" for name in unknown
    )
    shown = ", ".join(f"`{name}`" for name in available[:30])
    return f"{described} Columns: {shown}{' and more' if len(available) > 30 else ''}."


def _get(data: Any, name: str) -> Any:
    column = data[name]
    # Two columns of one name make pandas return a frame.
    if getattr(column, "ndim", 1) == 2 and hasattr(column, "columns"):
        raise DataError(f"The data have two columns called `{name}`; rename one.")
    return column


def _num_rows(data: Any) -> int:
    if isinstance(data, Mapping):
        return len(next(iter(data.values()))) if data else 0
    return len(data)


def _one_dimensional(name: str, column: Any) -> "pd.Series":
    import pandas as pd

    if isinstance(column, pd.Series | pd.Categorical | pd.Index):
        return pd.Series(column).reset_index(drop=True)
    values = column.to_numpy() if hasattr(column, "to_numpy") else column
    array = np.asarray(values)
    if array.ndim != 1:
        raise LengthError(
            f"`{name}` must have one value a row; got an array of shape {array.shape}."
        )
    return pd.Series(array)


def _check_missing(columns: Mapping[str, "pd.Series"]) -> None:
    masks = {name: np.asarray(column.isna()) for name, column in columns.items()}
    bad = {name: mask for name, mask in masks.items() if mask.any()}
    if bad:
        listed = "; ".join(f"`{name}` in {listed_rows(mask)}" for name, mask in bad.items())
        names = ", ".join(repr(name) for name in bad)
        raise MissingValueError(
            f"Values are missing: {listed}. Fill them in, or drop those rows with "
            f"data.dropna(subset=[{names}])."
        )


def _check_finite(columns: Mapping[str, Any]) -> None:
    for name, column in columns.items():
        if isinstance(column, np.ndarray) and np.isinf(column).any():
            raise NonFiniteError(
                f"Column `{name}` has infinite values in {listed_rows(np.isinf(column))}. "
                "Correct or drop those rows."
            )


def _plain_or_missing(name: str, column: "pd.Series") -> Any:
    """Turn a column into numbers, NaN where they are missing, or a categorical."""
    import pandas as pd

    missing = np.asarray(column.isna())
    if not missing.any():
        return _plain(name, column)
    present = _plain(name, column.loc[~missing])
    if isinstance(present, pd.Categorical):
        codes = np.full(len(column), -1)
        codes[~missing] = present.codes
        return pd.Categorical.from_codes(codes, categories=present.categories)
    numbers = np.full(len(column), np.nan)
    numbers[~missing] = present
    return numbers


def _plain(name: str, column: "pd.Series") -> Any:
    """Turn a column without missing values into numbers or a categorical."""
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return pd.Categorical(column).remove_unused_categories()
    if pd.api.types.is_bool_dtype(dtype):
        return column.to_numpy(dtype=bool).astype(np.int64)
    if pd.api.types.is_integer_dtype(dtype):
        return column.to_numpy(dtype=np.int64)
    if pd.api.types.is_float_dtype(dtype):
        return column.to_numpy(dtype=np.float64)
    if pd.api.types.is_object_dtype(dtype):
        return _from_objects(name, column)
    if pd.api.types.is_string_dtype(dtype):
        return pd.Categorical(column.astype(object))
    raise ColumnTypeError(
        f"Column `{name}` holds {dtype} values; turn them into numbers or text first (for dates, "
        "for example, days since the first one)."
    )


def _from_objects(name: str, column: "pd.Series") -> Any:
    import pandas as pd

    values = column.tolist()
    if all(isinstance(value, str) for value in values):
        return pd.Categorical(column)
    if all(isinstance(value, bool | int | np.integer | np.bool_) for value in values):
        return np.array(values, dtype=np.int64)
    try:
        if not any(isinstance(value, str) for value in values):
            return np.array([float(value) for value in values])
    except (TypeError, ValueError):
        pass
    kinds = ", ".join(sorted({type(value).__name__ for value in values}))
    raise ColumnTypeError(
        f"Column `{name}` mixes values of several types ({kinds}); make them all numbers or all "
        "text."
    )
