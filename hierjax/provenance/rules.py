"""What each primitive does to axes and indices; one row a primitive.

A rule gets the equation, the values that enter and a blank (dependencies of everything that
enters, nothing known of the axes) and returns the value that leaves.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

from hierjax.provenance.values import Axes, Index, Lookup, Value, num_axes

Rule = Callable[[Any, list[Value], Value], Value]
NOTHING: frozenset[Any] = frozenset()

ELEMENTWISE = frozenset(
    """
    abs acos acosh add and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp
    convert_element_type copy copy_p cos cosh cumlogsumexp cummax cummin cumprod cumsum digamma div
    eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac imag integer_pow is_finite le
    lgamma log log1p logistic lt max min mul ne neg nextafter not or polygamma pow real
    reduce_precision regularized_incomplete_beta rem round rsqrt select_n sign sin sinh sqrt square
    stop_gradient sub tan tanh xor zeta
    """.split()
)


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(getattr(atom.aval, "shape", ()))


def _is_whole(number: float | None) -> bool:
    return number is not None and float(number).is_integer()


def elementwise(equation: Any, values: list[Value], blank: Value) -> Value:
    """Positions stay what they are along axes that an operand has at full length."""
    shape = _shape(equation.outvars[0])
    operands = [
        (value.axes, own)
        for value, own in zip(values, map(_shape, equation.invars), strict=True)
        if len(own) == len(shape) and value.axes
    ]
    found = tuple(
        NOTHING.union(*(axes[axis] for axes, own in operands if own[axis] == size))
        for axis, size in enumerate(shape)
    )
    return dataclasses.replace(blank, axes=found if operands else blank.axes)


def _same_numbers(equation: Any, values: list[Value], blank: Value) -> Value:
    """Keep the numbers through copies and changes of type, unless they become truth values."""
    source, result = values[0], elementwise(equation, values, blank)
    if str(equation.outvars[0].aval.dtype) == "bool":
        return dataclasses.replace(result, number=source.number)
    return dataclasses.replace(
        result, index=source.index, columns=source.columns, number=source.number
    )


def _add(equation: Any, values: list[Value], blank: Value) -> Value:
    result = elementwise(equation, values, blank)
    for moved, by in (values, reversed(values)):
        if moved.index is not None and _is_whole(by.number):
            return dataclasses.replace(result, index=moved.index.shifted(int(by.number or 0)))
    return result


def _subtract(equation: Any, values: list[Value], blank: Value) -> Value:
    result, (moved, by) = elementwise(equation, values, blank), values
    if moved.index is not None and _is_whole(by.number):
        return dataclasses.replace(result, index=moved.index.shifted(-int(by.number or 0)))
    return result


def _less(equation: Any, values: list[Value], blank: Value) -> Value:
    result, (left, right) = elementwise(equation, values, blank), values
    return dataclasses.replace(result, negative=left.index if right.number == 0 else None)


def _bound(equation: Any, values: list[Value], blank: Value) -> Value:
    """Clipping an index to a constant range: out of range is an error of the data anyway."""
    result = elementwise(equation, values, blank)
    indices = [value.index for value in values if value.index is not None]
    if len(indices) == 1 and all(v.index or v.number is not None for v in values):
        return dataclasses.replace(result, index=indices[0])
    return result


def _select(equation: Any, values: list[Value], blank: Value) -> Value:
    """Recognise how jax.numpy wraps negative indices: where(i < 0, i + size, i)."""
    which, cases = values[0], values[1:]
    if which.number is not None:
        return cases[int(which.number)]
    result = elementwise(equation, values, blank)
    first = cases[0].index
    if first is None or len(cases) != 2 or cases[1].index is None:
        return result
    same = dataclasses.replace(cases[1].index, offset=first.offset) == first
    wraps = which.negative == first and cases[1].index.offset > first.offset
    if same and (wraps or cases[1].index == first):
        return dataclasses.replace(result, index=first)
    return result


def _broadcast(equation: Any, values: list[Value], blank: Value) -> Value:
    source, before, after = values[0], _shape(equation.invars[0]), _shape(equation.outvars[0])
    axes = list(blank.axes)
    for axis, target in enumerate(equation.params["broadcast_dimensions"]):
        if before[axis] == after[target]:
            axes[target] = source.axes[axis]
    return dataclasses.replace(blank, axes=tuple(axes), index=source.index, number=source.number)


def _reshape(equation: Any, values: list[Value], blank: Value) -> Value:
    """Axes that neither merge nor split keep their meaning; so do the numbers."""
    source, before, after = values[0], _shape(equation.invars[0]), _shape(equation.outvars[0])
    starts = {
        (math.prod(before[:axis]), size): source.axes[axis]
        for axis, size in enumerate(before)
        if size > 1
    }
    axes = tuple(
        starts.get((math.prod(after[:axis]), size), NOTHING) for axis, size in enumerate(after)
    )
    return dataclasses.replace(blank, axes=axes, index=source.index, number=source.number)


def _keep(equation: Any, values: list[Value], blank: Value, kept: Iterator[int]) -> Value:
    axes = tuple(values[0].axes[axis] for axis in kept)
    return dataclasses.replace(blank, axes=axes)


def _squeeze(equation: Any, values: list[Value], blank: Value) -> Value:
    dropped = equation.params["dimensions"]
    kept = (axis for axis in range(num_axes(equation.invars[0])) if axis not in dropped)
    result = _keep(equation, values, blank, kept)
    return dataclasses.replace(result, index=values[0].index, number=values[0].number)


def _transpose(equation: Any, values: list[Value], blank: Value) -> Value:
    result = _keep(equation, values, blank, iter(equation.params["permutation"]))
    return dataclasses.replace(result, index=values[0].index, number=values[0].number)


def _reduce(equation: Any, values: list[Value], blank: Value) -> Value:
    reduced = equation.params["axes"]
    kept = (axis for axis in range(num_axes(equation.invars[0])) if axis not in reduced)
    return _keep(equation, values, blank, kept)


def _slice(equation: Any, values: list[Value], blank: Value) -> Value:
    """Axes taken whole keep their meaning."""
    before, after = _shape(equation.invars[0]), _shape(equation.outvars[0])
    source = values[0]
    pairs = zip(source.axes, before, after, strict=True)
    axes = tuple(labels if old == new else NOTHING for labels, old, new in pairs)
    number = source.number
    index = source.index if before == after else None
    return dataclasses.replace(blank, axes=axes, number=number, index=index)


def _concatenate(equation: Any, values: list[Value], blank: Value) -> Value:
    if len(values) == 1:
        return values[0]
    joined, shape = equation.params["dimension"], _shape(equation.outvars[0])
    axes = tuple(
        NOTHING if axis == joined else NOTHING.union(*(value.axes[axis] for value in values))
        for axis in range(len(shape))
    )
    single = all(_shape(atom)[joined] == 1 for atom in equation.invars)
    columns = tuple(values) if single and joined == len(shape) - 1 else ()
    return dataclasses.replace(blank, axes=axes, columns=columns)


def _stack(equation: Any, values: list[Value], blank: Value) -> Value:
    axes = [NOTHING.union(*each) for each in zip(*(value.axes for value in values), strict=True)]
    axes.insert(equation.params["axis"], NOTHING)
    return dataclasses.replace(blank, axes=tuple(axes))


def _dot_general(equation: Any, values: list[Value], blank: Value) -> Value:
    (contracted, batched) = equation.params["dimension_numbers"]
    left, right = values
    batch = [left.axes[i] | right.axes[j] for i, j in zip(*batched, strict=True)]
    free = [
        value.axes[axis]
        for value, used, shared in zip(values, contracted, batched, strict=True)
        for axis in range(len(value.axes))
        if axis not in used and axis not in shared
    ]
    axes = (*batch, *free)
    return dataclasses.replace(blank, axes=axes) if len(axes) == len(blank.axes) else blank


def _found(operand: Value, axis: int, column: Value, rows: Axes) -> set[Lookup]:
    """Return one lookup for each array whose own axis is indexed; static positions are none."""
    if not column.data and not column.sites and column.index is None:
        return set()
    return {
        Lookup(label, column.index, rows, column.data)
        for label in operand.axes[axis]
        if label[0] != "plate"
    }


def _looked_up(operand: Value, column: Value) -> Index | None:
    """Return the index array that results from indexing an index array."""
    outer = operand.index
    if outer is None or column.index is None or len(operand.axes) != 1:
        return None
    first = outer.first
    if (first.kind, first.name, 0) not in operand.axes[0]:
        return None
    return outer.at(column.index)


def _gather(equation: Any, values: list[Value], blank: Value) -> Value:
    operand, indices = values[:2]
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape, indexed = _shape(equation.invars[0]), numbers.start_index_map
    batching = tuple(getattr(numbers, "operand_batching_dims", ()))
    rows = list(indices.axes[:-1])
    shared = getattr(numbers, "start_indices_batching_dims", ())
    for axis, position in zip(batching, shared, strict=True):
        rows[position] |= operand.axes[axis]
    gone = {*numbers.collapsed_slice_dims, *batching}
    kept = iter([axis for axis in range(len(shape)) if axis not in gone])
    remaining, axes = iter(rows), []
    for position in range(len(blank.axes)):
        if position in numbers.offset_dims:
            axis = next(kept)
            axes.append(operand.axes[axis] if sizes[axis] == shape[axis] > 1 else NOTHING)
        else:
            axes.append(next(remaining))
    columns = indices.columns
    if len(columns) != len(indexed):
        columns = (indices,) if len(indexed) == 1 else (indices.forget(0),) * len(indexed)
    lookups = set(blank.lookups)
    for axis, column in zip(indexed, columns, strict=True):
        if sizes[axis] == 1:
            lookups |= _found(operand, axis, column, tuple(rows))
    index = _looked_up(operand, columns[0]) if len(columns) == 1 else None
    return dataclasses.replace(blank, axes=tuple(axes), lookups=frozenset(lookups), index=index)


def _dynamic_slice(equation: Any, values: list[Value], blank: Value) -> Value:
    operand, starts = values[0], values[1:]
    before, sizes = _shape(equation.invars[0]), equation.params["slice_sizes"]
    result = _slice(equation, [dataclasses.replace(operand, index=None)], blank)
    lookups = set(blank.lookups)
    for axis, start in enumerate(starts[: len(before)]):
        if sizes[axis] == 1:
            lookups |= _found(operand, axis, start, ())
    return dataclasses.replace(result, lookups=frozenset(lookups))


RULES: dict[str, Rule] = {
    "add": _add,
    "sub": _subtract,
    "lt": _less,
    "select_n": _select,
    "max": _bound,
    "min": _bound,
    "clamp": _bound,
    "copy": _same_numbers,
    "copy_p": _same_numbers,
    "convert_element_type": _same_numbers,
    "reduce_precision": _same_numbers,
    "stop_gradient": _same_numbers,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "slice": _slice,
    "concatenate": _concatenate,
    "stack": _stack,
    "dot_general": _dot_general,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_prod": _reduce,
    "reduce_and": _reduce,
    "reduce_or": _reduce,
    "argmax": _reduce,
    "argmin": _reduce,
}
