"""Degree of every value of a program as a polynomial in some of its inputs.

0 is a constant, 1 an affine function, 2 a quadratic one; `NOT_POLYNOMIAL` is everything else. A
primitive without a rule is not polynomial in what it touches, so that a degree is never too low.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jax import numpy as jnp

from hierjax.polynomial.program import Atom, Step, Variable

NOT_POLYNOMIAL = math.inf


class Degree(NamedTuple):
    """Degree of a step's outputs, and whether the step itself is linear in its variable inputs."""

    degree: float
    linear: bool


Rule = Callable[[Any, Sequence[float]], Degree]

_NOT = Degree(NOT_POLYNOMIAL, False)


def _linear_in(positions: int) -> Rule:
    """Rule of primitives that are linear in their first inputs when the others are constant."""

    def rule(_: Any, degrees: Sequence[float]) -> Degree:
        if any(degrees[positions:]):
            return _NOT
        return Degree(max(degrees[:positions]), True)

    return rule


def _sum(_: Any, degrees: Sequence[float]) -> Degree:
    return Degree(max(degrees), True)


def _product(_: Any, degrees: Sequence[float]) -> Degree:
    return Degree(sum(degrees), min(degrees) == 0)


def _quotient(_: Any, degrees: Sequence[float]) -> Degree:
    return _NOT if degrees[1] else Degree(degrees[0], True)


def _power(equation: Any, degrees: Sequence[float]) -> Degree:
    exponent = equation.params["y"]
    return Degree(exponent * degrees[0], exponent == 1) if exponent >= 1 else _NOT


def _square(_: Any, degrees: Sequence[float]) -> Degree:
    return Degree(2 * degrees[0], False)


def _select(_: Any, degrees: Sequence[float]) -> Degree:
    return _NOT if degrees[0] else Degree(max(degrees[1:]), True)


def _convert(equation: Any, degrees: Sequence[float]) -> Degree:
    floating = jnp.issubdtype(equation.params["new_dtype"], jnp.floating)
    return Degree(degrees[0], True) if floating else _NOT


def _triangular_solve(_: Any, degrees: Sequence[float]) -> Degree:
    return _NOT if degrees[0] else Degree(degrees[1], True)


def _scatter_add(_: Any, degrees: Sequence[float]) -> Degree:
    return _NOT if degrees[1] else Degree(max(degrees[0], degrees[2]), True)


def _cond(equation: Any, degrees: Sequence[float]) -> Degree:
    if degrees[0]:
        return _NOT
    branches = [_body(branch, degrees[1:]) for branch in equation.params["branches"]]
    return Degree(max(each.degree for each in branches), all(each.linear for each in branches))


def _scan(equation: Any, degrees: Sequence[float]) -> Degree:
    """Degrees that stay what they are from step to step; a growing one is not polynomial."""
    closed, params = equation.params["jaxpr"], equation.params
    num_consts, num_carry = params["num_consts"], params["num_carry"]
    consts, carry = list(degrees[:num_consts]), list(degrees[num_consts : num_consts + num_carry])
    rest = list(degrees[num_consts + num_carry :])
    for _ in range(num_carry + 1):
        found = [each.degree for each in _outputs(closed, [*consts, *carry, *rest])]
        grown = [max(pair) for pair in zip(carry, found[:num_carry], strict=True)]
        if grown == carry:
            degree = max(found, default=0)
            return Degree(degree, degree <= 1)
        carry = grown
    return _NOT


def _custom(equation: Any, degrees: Sequence[float]) -> Degree:
    """Rule of a function with a derivative of its own, which computes what its body computes."""
    return _body(equation.params["call_jaxpr"], degrees)


def _body(closed: Any, degrees: Sequence[float]) -> Degree:
    outputs = _outputs(closed, degrees)
    return Degree(max(each.degree for each in outputs), all(each.linear for each in outputs))


def _outputs(closed: Any, degrees: Sequence[float]) -> list[Degree]:
    """Degrees of the outputs of a jaxpr; linear if nothing on the way to any of them is not."""
    jaxpr = closed.jaxpr
    known: dict[Any, float] = dict.fromkeys(jaxpr.constvars, 0.0)
    known |= dict(zip(jaxpr.invars, degrees, strict=True))

    def read(atom: Any) -> float:
        return 0.0 if hasattr(atom, "val") else known[atom]

    linear = True
    for equation in jaxpr.eqns:
        found = degree_of(equation, [read(atom) for atom in equation.invars])
        linear &= found.linear
        known |= dict.fromkeys(equation.outvars, found.degree)
    return [Degree(read(atom), linear) for atom in jaxpr.outvars]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        """
        broadcast_in_dim copy copy_p cumsum dynamic_slice gather name neg reduce_precision
        reduce_sum reshape rev slice squeeze transpose
        """.split(),
        _linear_in(1),
    ),
    **dict.fromkeys(("add", "sub", "add_any", "concatenate", "pad"), _sum),
    **dict.fromkeys(("mul", "dot_general"), _product),
    "dynamic_update_slice": _linear_in(2),
    "div": _quotient,
    "integer_pow": _power,
    "square": _square,
    "select_n": _select,
    "convert_element_type": _convert,
    "triangular_solve": _triangular_solve,
    "scatter-add": _scatter_add,
    "cond": _cond,
    "scan": _scan,
    "jit": lambda equation, degrees: _body(equation.params["jaxpr"], degrees),
    "custom_jvp_call": _custom,
    "custom_vjp_call": _custom,
}


def degree_of(equation: Any, degrees: Sequence[float]) -> Degree:
    """Degree of what a primitive gives, from the degrees of what it takes."""
    if not any(degrees):
        return Degree(0.0, True)
    rule = RULES.get(equation.primitive.name)
    return _NOT if rule is None else rule(equation, degrees)


def degrees_of(
    steps: Sequence[Step], given: Mapping[Variable, float]
) -> tuple[dict[Variable, float], list[Degree]]:
    """Degree of every variable of a program, and of every step; inputs not `given` are constant."""
    known = dict(given)

    def read(atom: Atom) -> float:
        return known.get(atom, 0.0) if isinstance(atom, Variable) else 0.0

    found = []
    for step in steps:
        degree = degree_of(step.equation, [read(atom) for atom in step.inputs])
        known |= dict.fromkeys(step.outputs, degree.degree)
        found.append(degree)
    return known, found
