"""Write a value of a program as an array of its constants times one number of its variables."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.polynomial.program import Atom, Constant, FlatProgram, Step, Variable, flatten


class Product(NamedTuple):
    """The value known * number.

    Attributes
    ----------
    known
        Array that does not depend on the variables.
    number
        One number that does, shape ().
    """

    known: Array
    number: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Separable:
    """A function f(variables, others) = known(others) * number(variables, others)."""

    _program: FlatProgram
    _num_variables: int

    def product(self, variables: Any, others: Any) -> Product:
        """Evaluate both parts; the number costs no operation on arrays."""
        leaves = [*jax.tree.leaves(variables), *jax.tree.leaves(others)]
        # In the precision in force, as they were when the program was traced.
        values: dict[Variable, Any] = dict(
            zip(self._program.inputs, map(jnp.asarray, leaves), strict=True)
        )
        varying = set(self._program.inputs[: self._num_variables])
        for step in self._program.steps:
            moves = [isinstance(each, Variable) and each in varying for each in step.inputs]
            outputs = _run(step, [_read(values, each) for each in step.inputs], moves)
            values |= dict(zip(step.outputs, outputs, strict=True))
            if any(moves):
                varying |= set(step.outputs)
        (output,) = self._program.outputs
        moves = isinstance(output, Variable) and output in varying
        return _as_product(_read(values, output), moves)


def separable(fn: Callable[[Any, Any], Any], variables: Any, others: Any) -> Separable | None:
    """Trace `fn(variables, others)`, which returns one array; None if it is no such product.

    An operation without a rule is taken not to keep the form, so that a product is never wrong.
    """
    program, _ = flatten(fn, variables, others)
    found = Separable(program, len(jax.tree.leaves(variables)))
    try:
        jax.eval_shape(found.product, variables, others)
    except _NotSeparableError:
        return None
    return found


class _NotSeparableError(Exception):
    """An array of the program is no product of the form looked for."""


def _run(step: Step, values: Sequence[Any], moves: Sequence[bool]) -> Sequence[Any]:
    """Run a step on plain values and products; `moves` says which depend on the variables."""
    products = any(isinstance(each, Product) for each in values)
    sizes = [each.aval.size for each in step.equation.outvars]
    if not any(moves) or (not products and max(sizes) == 1):
        return step.run(values)
    rule = RULES.get(step.name)
    if rule is None:
        raise _NotSeparableError
    return [rule(step, values, moves)]


def _read(values: Mapping[Variable, Any], atom: Atom) -> Any:
    return atom.value if isinstance(atom, Constant) else values[atom]


def _as_product(value: Any, moves: bool) -> Product:
    if isinstance(value, Product):
        return value
    if not moves:
        return Product(value, jnp.ones((), jnp.result_type(value)))
    if value.size != 1:
        raise _NotSeparableError
    return Product(jnp.ones_like(value), jnp.reshape(value, ()))


def _on_known(step: Step, values: Sequence[Any], moves: Sequence[bool]) -> Product:
    """Rule of what moves the elements of its first input about, or changes all of their signs."""
    if any(moves[1:]):
        raise _NotSeparableError
    known, number = _as_product(values[0], moves[0])
    (moved,) = step.run([known, *values[1:]])
    return Product(moved, number.astype(moved.dtype))


def _on_both(step: Step, values: Sequence[Any], moves: Sequence[bool]) -> Product:
    """Rule of products and quotients."""
    first, second = (_as_product(*pair) for pair in zip(values, moves, strict=True))
    combine = jnp.multiply if step.name == "mul" else jnp.divide
    return Product(combine(first.known, second.known), combine(first.number, second.number))


def _power(step: Step, values: Sequence[Any], moves: Sequence[bool]) -> Product:
    """Rule of powers: of the sizes, since both signs may be negative where the product is not."""
    known, number = _as_product(values[0], moves[0])
    parameters = step.equation.params
    power = {
        "sqrt": jnp.sqrt,
        "rsqrt": jax.lax.rsqrt,
        "square": jnp.square,
        "integer_pow": lambda value: jax.lax.integer_pow(value, parameters["y"]),
    }[step.name]
    if step.name == "integer_pow" and parameters["y"] % 2:
        return Product(power(known), power(number))
    return Product(power(jnp.abs(known)), power(jnp.abs(number)))


RULES: dict[str, Callable[[Step, Sequence[Any], Sequence[bool]], Product]] = {
    **dict.fromkeys(
        """
        broadcast_in_dim convert_element_type copy dynamic_slice gather neg reshape rev slice
        squeeze transpose
        """.split(),
        _on_known,
    ),
    **dict.fromkeys(("mul", "div"), _on_both),
    **dict.fromkeys(("sqrt", "rsqrt", "square", "integer_pow"), _power),
}
