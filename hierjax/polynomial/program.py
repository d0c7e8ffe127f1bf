"""A traced function as one flat list of steps, with calls to jitted functions written out."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.api_util import debug_info
from jax.extend import core

# Calls that compute what their body computes, and whose derivative is that of their body.
TRANSPARENT = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"}
)


@dataclasses.dataclass(frozen=True)
class Variable:
    """One value of the program, by its number."""

    number: int


@dataclasses.dataclass(frozen=True)
class Constant:
    """A number or array written into the program."""

    value: Any


Atom = Variable | Constant


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One primitive operation."""

    equation: Any
    inputs: tuple[Atom, ...]
    outputs: tuple[Variable, ...]

    @property
    def name(self) -> str:
        """Name of the primitive."""
        return self.equation.primitive.name

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Compute the outputs from values of the inputs."""
        given = {
            variable: value
            for variable, value in zip(self.equation.invars, values, strict=True)
            if not hasattr(variable, "val")
        }
        # JAX wants to know what was traced, though only for its error messages.
        about = debug_info(self.name, self.run, (values,), {}).with_unknown_names()
        jaxpr = core.Jaxpr(
            [], list(given), self.equation.outvars, [self.equation], debug_info=about
        )
        return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, []))(*given.values())


@dataclasses.dataclass(frozen=True, eq=False)
class FlatProgram:
    """A function of flat arguments as a list of steps.

    Attributes
    ----------
    inputs
        Per leaf of the arguments.
    steps
        In order of evaluation.
    outputs
        Per leaf of the result.
    """

    inputs: tuple[Variable, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Atom, ...]


def flatten(fn: Callable[..., Any], *arguments: Any) -> tuple[FlatProgram, Any]:
    """Trace `fn(*arguments)` abstractly into a flat program.

    Returns
    -------
    program
        Its inputs are the leaves of `arguments`.
    shape
        Pytree of the result, with shapes and types.
    """
    closed, shape = jax.make_jaxpr(fn, return_shape=True)(*arguments)
    writer = _Writer()
    inputs = tuple(writer.fresh() for _ in closed.jaxpr.invars)
    outputs = writer.write(closed.jaxpr, [Constant(each) for each in closed.consts], inputs)
    steps = needed_steps(writer.steps, outputs, given=())
    return FlatProgram(inputs, steps, tuple(outputs)), shape


def needed_steps(
    steps: Sequence[Step], wanted: Iterable[Atom], given: Iterable[Variable]
) -> tuple[Step, ...]:
    """Select the steps without which `wanted` cannot be computed from the values `given`."""
    known = set(given)
    needed = {each for each in wanted if isinstance(each, Variable)} - known
    found = []
    for step in reversed(steps):
        if needed.intersection(step.outputs):
            found.append(step)
            needed |= {each for each in step.inputs if isinstance(each, Variable)} - known
    return tuple(reversed(found))


@dataclasses.dataclass
class _Writer:
    steps: list[Step] = dataclasses.field(default_factory=list)
    count: int = 0

    def fresh(self) -> Variable:
        self.count += 1
        return Variable(self.count)

    def write(self, jaxpr: Any, consts: Sequence[Atom], inputs: Sequence[Atom]) -> list[Atom]:
        """Append the steps of a jaxpr and return its outputs."""
        known: dict[Any, Atom] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True)
        )

        def read(atom: Any) -> Atom:
            return Constant(atom.val) if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            values = tuple(read(atom) for atom in equation.invars)
            if equation.primitive.name in TRANSPARENT:
                body = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
                inner, held = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, ())
                outputs = self.write(inner, [Constant(each) for each in held], values)
            else:
                fresh = tuple(self.fresh() for _ in equation.outvars)
                self.steps.append(Step(equation, values, fresh))
                outputs = list(fresh)
            known |= dict(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]
