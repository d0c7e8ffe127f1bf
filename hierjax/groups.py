"""Groups of rows: labels to indexes, and the gather from groups to rows, owned in one place."""

from typing import Any

import numpy as np
from jax import Array
from jax import numpy as jnp
from jax.typing import ArrayLike

from hierjax.errors import ColumnTypeError, MissingValueError


def encode(values: Any) -> tuple[np.ndarray, list[Any]]:
    """Turn group labels into an index of 0 to J - 1 and the J labels in sorted order.

    Parameters
    ----------
    values
        Label of each row (text or whole numbers), shape (rows,): a list, an array or a column of a
        data frame.

    Returns
    -------
    index : numpy.ndarray
        Position in `labels` of each row's label, shape (rows,), 32-bit integers.
    labels : list
        The distinct labels, sorted; text sorts alphabetically.

    Raises
    ------
    MissingValueError
        A label is missing; the rows are named.
    ColumnTypeError
        Text and numbers are mixed, so there is no order.
    """
    array = np.asarray(values)
    missing = [row for row, value in enumerate(array.tolist()) if _is_missing(value)]
    if missing:
        shown = ", ".join(str(row) for row in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise MissingValueError(
            f"group labels are missing in {len(missing)} rows: {shown}{more}. Drop those rows, or "
            "give them a label of their own."
        )
    try:
        labels, index = np.unique(array, return_inverse=True)
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in array.tolist()}))
        raise ColumnTypeError(
            f"group labels of several types ({kinds}) cannot be sorted; make them all text."
        ) from None
    return index.astype(np.int32), labels.tolist()


def _is_missing(value: Any) -> bool:
    """Whether a label is None, NaN or a missing-value marker that refuses to be compared."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def take(effect: ArrayLike, index: ArrayLike) -> Array:
    """Return `effect[index]`: the effect of each row's group."""
    return jnp.asarray(effect)[jnp.asarray(index)]
