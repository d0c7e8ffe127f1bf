"""Walk through a traced program, equation by equation and into every call."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hierjax.provenance.rules import ELEMENTWISE, RULES, elementwise
from hierjax.provenance.values import (
    COMPUTED_MARK,
    PLATE_MARK,
    SITE_MARK,
    Index,
    Value,
    merge,
    num_axes,
    site_value,
)


@dataclasses.dataclass
class Walk:
    """One walk through a program.

    Attributes
    ----------
    constant
        What is known of a constant of the program.
    marked
        Site name -> the value that flowed into its mark, filled during the walk.
    """

    constant: Callable[[Any], Value]
    marked: dict[str, Value] = dataclasses.field(default_factory=dict)

    def run(
        self,
        jaxpr: Any,
        consts: Sequence[Value],
        inputs: Sequence[Value],
        sampled: Mapping[Any, str] | None = None,
    ) -> list[Value]:
        """Follow `inputs` through `jaxpr`; `sampled` names variables that are values of sites."""
        known: dict[Any, Value] = {}
        sampled = sampled or {}

        def write(variable: Any, value: Value) -> None:
            if variable in sampled:
                value = site_value(sampled[variable], len(variable.aval.shape))
            known[variable] = value

        def read(atom: Any) -> Value:
            return self.constant(atom.val) if hasattr(atom, "val") else known[atom]

        variables = (*jaxpr.constvars, *jaxpr.invars)
        for variable, value in zip(variables, (*consts, *inputs), strict=True):
            write(variable, value)
        marks = _marked_variables(jaxpr)
        for equation in jaxpr.eqns:
            outputs = self._equation(equation, [read(atom) for atom in equation.invars], marks)
            for variable, value in zip(equation.outvars, outputs, strict=True):
                write(variable, value)
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, values: list[Value], marks: dict[Any, str]) -> list[Value]:
        name = equation.primitive.name
        if name == "name":
            return [self._mark(equation.params["name"], values[0])]
        if name == "scan":
            return self._scan(equation, values, marks)
        if name == "cond":
            return self._cond(equation, values)
        inner = _inner_jaxpr(equation)
        if inner is not None:
            jaxpr, consts = inner
            return self.run(jaxpr, [self.constant(const) for const in consts], values)
        rule = RULES.get(name, elementwise if name in ELEMENTWISE else None)
        blanks = [merge(values).forget(num_axes(atom)) for atom in equation.outvars]
        return blanks if rule is None else [rule(equation, values, blank) for blank in blanks]

    def _mark(self, mark: str, value: Value) -> Value:
        if mark.startswith((SITE_MARK, COMPUTED_MARK)):
            site = mark.removeprefix(SITE_MARK).removeprefix(COMPUTED_MARK)
            self.marked[site] = value
            return site_value(site, len(value.axes))
        if mark.startswith(PLATE_MARK):
            plate = mark.removeprefix(PLATE_MARK)
            return Value(axes=(frozenset({("plate", plate, 0)}),), index=Index("plate", plate))
        return value

    def _cond(self, equation: Any, values: list[Value]) -> list[Value]:
        """Keep of an axis what holds in every branch."""
        chosen, operands = values[0], values[1:]
        branches = [
            self.run(branch.jaxpr, [self.constant(const) for const in branch.consts], operands)
            for branch in equation.params["branches"]
        ]
        results = []
        for outcomes in zip(*branches, strict=True):
            labels = zip(*(outcome.axes for outcome in outcomes), strict=True)
            axes = tuple(frozenset.intersection(*each) for each in labels)
            results.append(dataclasses.replace(merge([chosen, *outcomes]), axes=axes))
        return results

    def _scan(self, equation: Any, values: list[Value], marks: dict[Any, str]) -> list[Value]:
        """Follow the body until what its carry depends on no longer grows."""
        closed, params = equation.params["jaxpr"], equation.params
        body, num_consts, num_carry = closed.jaxpr, params["num_consts"], params["num_carry"]
        variables = body.invars[num_consts:]
        rolled = [
            value.forget(num_axes(variable))
            for value, variable in zip(values[num_consts:], variables, strict=True)
        ]
        carry, slices = rolled[:num_carry], rolled[num_carry:]
        consts = [self.constant(const) for const in closed.consts]
        # A site sampled inside the body is marked only after the scan, on the stacked output.
        sampled = {
            body.outvars[position]: marks[variable]
            for position, variable in enumerate(equation.outvars)
            if position >= num_carry
            and variable in marks
            and not hasattr(body.outvars[position], "val")
        }
        while True:
            outputs = self.run(body, consts, [*values[:num_consts], *carry, *slices], sampled)
            grown = [
                merge(pair).forget(len(pair[0].axes))
                for pair in zip(carry, outputs[:num_carry], strict=True)
            ]
            if grown == carry:
                break
            carry = grown
        pairs = zip(outputs, equation.outvars, strict=True)
        return [value.forget(num_axes(variable)) for value, variable in pairs]


def _marked_variables(jaxpr: Any) -> dict[Any, str]:
    """Return the variables that are marked as the value of a sampled site, with its name."""
    return {
        equation.invars[0]: equation.params["name"].removeprefix(SITE_MARK)
        for equation in jaxpr.eqns
        if equation.primitive.name == "name"
        and equation.params["name"].startswith(SITE_MARK)
        and not hasattr(equation.invars[0], "val")
    }


def _inner_jaxpr(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """Return the body of a call (jit, remat, a custom derivative), which computes the same."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        body = equation.params.get(key)
        if body is None:
            continue
        jaxpr, consts = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, ())
        if len(jaxpr.invars) == len(equation.invars):
            return jaxpr, consts
    return None
