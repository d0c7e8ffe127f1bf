"""Groups of rows: labels to indexes, effects to rows (`take`), rows to groups (`group_sum`).

`effect[group]` is the inner loop of a multilevel model and its derivative, a scatter-add, is the
costly half: rows that share a group wait for one another. On a CPU they form one chain of dependent
additions; on a GPU they retry compare-and-swap on one address (numpyro#2225, xla#46225: hundreds of
times slower with few groups). Both go away if the sum is first spread over several copies of the
groups, see `_copies`.

The functions of labels run on the host with NumPy; `take` and `group_sum` are JAX functions for any
`jit`, `vmap` and derivative of any order and mode.
"""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from hierjax.errors import ColumnTypeError, EmptyDataError, GroupIndexError, MissingValueError


def encode(values: Any) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    """Turn group labels into indexes 0, 1, ... of the sorted distinct labels.

    Parameters
    ----------
    values
        One label a row, shape (n,): text, numbers, booleans or dates; a list, array or column.

    Returns
    -------
    index
        NumPy int32 array, shape (n,), so that `values[i] == labels[index[i]]`.
    labels
        The J distinct labels in sorted order, as Python values (dates as ISO text).

    Raises
    ------
    EmptyDataError
        There are no rows.
    MissingValueError
        Some rows have no label.
    ColumnTypeError
        `values` is not one-dimensional, or holds labels that cannot be sorted, such as text and
        numbers.

    Examples
    --------
    >>> encode(["b", "a", "b"])
    (array([1, 0, 1], dtype=int32), ('a', 'b'))
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ColumnTypeError(f"Group labels must be one label a row ({error}).") from error
    if array.dtype.kind in "US" and isinstance(values, list | tuple):
        array = np.asarray(values, dtype=object)  # NumPy would turn [1, "a"] and None into text
    if array.ndim != 1:
        raise ColumnTypeError(f"Group labels must be one-dimensional; got shape {array.shape}.")
    if not array.size:
        raise EmptyDataError("Group labels are empty: there are no rows to encode.")
    missing = _missing(array)
    if missing.any():
        rows = np.flatnonzero(missing)
        shown = ", ".join(map(str, rows[:10])) + (", ..." if rows.size > 10 else "")
        raise MissingValueError(
            f"{rows.size} of {array.size} group labels are missing (rows {shown}, counted from 0). "
            "Drop these rows, or give them a label of their own."
        )
    try:
        labels, index = np.unique(array, return_inverse=True)
    except TypeError:
        kinds = sorted({type(value).__name__ for value in array})
        raise ColumnTypeError(
            f"Group labels of types {', '.join(kinds)} cannot be sorted together; make them one "
            "type, for example text with `[str(v) for v in values]`."
        ) from None
    if labels.dtype.kind in "mM":
        labels = labels.astype(str)
    return index.astype(np.int32), tuple(labels.tolist())


def _missing(array: np.ndarray) -> np.ndarray:
    """Mark None, NaN, NaT and pandas' NA: the values that are not equal to themselves."""
    if array.dtype.kind == "O":
        return np.array([_is_missing(value) for value in array], dtype=bool)
    return array != array


def _is_missing(value: Any) -> bool:
    try:
        return value is None or not value == value
    except TypeError:  # pandas' NA has no truth value
        return True


def check_index(index: np.ndarray, num_groups: int, name: str = "index") -> None:
    """Raise `GroupIndexError` unless `index` holds integers in [0, num_groups).

    Parameters
    ----------
    index
        Group of each row, on the host.
    num_groups
        Number of groups J.
    name
        What the message calls it.
    """
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise GroupIndexError(
            f"`{name}` must hold integers; got {index.dtype}. Use `index, labels = encode(values)`."
        )
    wrong = np.flatnonzero((index < 0) | (index >= num_groups))
    if wrong.size:
        row = int(wrong[0])
        raise GroupIndexError(
            f"`{name}` has {wrong.size} entries outside 0..{num_groups - 1}, first in row {row}: "
            f"{index.reshape(-1)[row]}. Groups are counted from 0; use `encode(values)`."
        )


def rows_per_group(index: np.ndarray, num_groups: int) -> np.ndarray:
    """Count the rows of every group, NumPy ints of shape (num_groups,); empty groups count 0."""
    check_index(index, num_groups)
    return np.bincount(index, minlength=num_groups)


def parent_of_group(child: np.ndarray, parent: np.ndarray, num_children: int) -> np.ndarray | None:
    """Return the parent group of every child group if children are nested in parents, else None.

    Parameters
    ----------
    child, parent
        Group of each row in the two factors, shape (n,), on the host.
    num_children
        Number of child groups.

    Returns
    -------
    NumPy int32 array of shape (num_children,); a child without rows, whose parent cannot be known,
    gets parent 0 (no row depends on its effect, so that any parent will do). None if some child has
    rows in two parents.
    """
    of_group = np.zeros(num_children, dtype=np.int32)
    of_group[child] = parent
    return of_group if np.array_equal(of_group[child], parent) else None


def take(effect: ArrayLike, index: ArrayLike) -> Array:
    """Give every row the effect of its group, `effect[index]`, with a fast derivative.

    Parameters
    ----------
    effect
        One effect per group, shape (J, ...).
    index
        Group of each row, integers in [0, J), shape (n,) or any other. A NumPy array is checked;
        values known only when the compiled program runs cannot be.

    Returns
    -------
    Array of shape (*index.shape, ...).

    Raises
    ------
    GroupIndexError
        `index` is a NumPy array with values outside [0, J), or not of integers.
    """
    effect = jnp.asarray(effect)
    if isinstance(index, np.ndarray):
        check_index(index, effect.shape[0])
    return _take(effect, _device_index(index))


@jax.custom_jvp
def _take(effect: Array, index: Array) -> Array:
    return _gather(effect, index)


@_take.defjvp
def _take_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # The tangent is the same gather, from a table with several copies of the groups; it is linear,
    # and JAX's transpose of it is the spread scatter-add that we want, in any mode and order.
    effect, index = primals
    num_groups, copies = effect.shape[0], _copies(index.size, effect.shape[0])
    table = jnp.broadcast_to(tangents[0], (copies, *effect.shape))
    table = table.reshape(copies * num_groups, *effect.shape[1:])
    return _take(effect, index), _gather(table, _spread(index, num_groups, copies))


def group_sum(values: ArrayLike, index: ArrayLike, num_groups: int) -> Array:
    """Sum the rows of every group: the adjoint of `take`.

    Parameters
    ----------
    values
        One value per row, shape (*index.shape, ...).
    index
        Group of each row, integers in [0, num_groups), shape (n,) or any other; checked if a NumPy
        array.
    num_groups
        Number of groups J.

    Returns
    -------
    Array of shape (J, ...); empty groups get 0.

    Raises
    ------
    GroupIndexError
        `index` is a NumPy array with values outside [0, num_groups), or not of integers.
    """
    if isinstance(index, np.ndarray):
        check_index(index, num_groups)
    values, index = jnp.asarray(values), _device_index(index)
    copies, trailing = _copies(index.size, num_groups), values.shape[index.ndim :]
    table = jnp.zeros((copies * num_groups, *trailing), values.dtype)
    spread = _spread(index, num_groups, copies)
    table = table.at[spread].add(values, mode="promise_in_bounds")
    return table.reshape(copies, num_groups, *trailing).sum(0)


def _device_index(index: ArrayLike) -> Array:
    index = jnp.asarray(index)
    return index if index.dtype.itemsize >= 4 else index.astype(jnp.int32)


def _gather(table: Array, index: Array) -> Array:
    return table.at[index].get(mode="promise_in_bounds")


def _spread(index: Array, num_groups: int, copies: int) -> Array:
    """Send neighbouring rows to different copies of their group."""
    if copies == 1:
        return index
    copy = jax.lax.iota(index.dtype, index.size) % copies
    return index + num_groups * copy.reshape(index.shape)


def _copies(rows: int, num_groups: int) -> int:
    """Choose how many copies of the groups a sum over rows is spread over.

    Measured on one core of a 2-core x86 CPU (jax 0.10.2, float64, sorted index, microseconds for
    the gradient of the sum of squares of y - effect[index]):

        rows     groups   plain scatter   spread   one-hot product
        1,000         8              23       22                25
        10,000        8              53       31                75
        10,000       85              53       36               708
        100,000       8             480      290             1,100
        100,000   1,000             460      310           590,000
        100,000  10,000             253      304                 -
        1,000,000    85           4,400    2,350           580,000

    Fewer than about 32 rows per entry of the table gain nothing. A one-hot product or masked sums
    were at best a third faster than the plain scatter (up to 4 groups) and often a hundred times
    slower. Few groups get up to 4,096 entries in all, because jax#38806 reports no contention on
    GPUs from about 1,000 (not measured there by us).
    """
    num_groups = max(num_groups, 1)
    return max(1, min(rows // (32 * num_groups), max(8, 4096 // num_groups)))


def take_groups(values: Array, index: Array) -> Array:
    """`take` along the last axis: (..., J) and index (n,) give (..., n)."""
    return jnp.moveaxis(take(jnp.moveaxis(values, -1, 0), index), 0, -1)


def sum_groups(values: Array, index: Array, num_groups: int) -> Array:
    """`group_sum` along the last axis: (..., n) gives (..., num_groups)."""
    return jnp.moveaxis(group_sum(jnp.moveaxis(values, -1, 0), index, num_groups), 0, -1)
