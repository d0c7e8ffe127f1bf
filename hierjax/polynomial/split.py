"""Cut a program at its linear predictors: an affine map, and what is computed from its values."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from hierjax.polynomial.degree import Degree, degrees_of
from hierjax.polynomial.program import (
    Atom,
    Constant,
    FlatProgram,
    Step,
    Variable,
    flatten,
    needed_steps,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The function f(variables, others) = rest(predictors(variables, others), others).

    Attributes
    ----------
    degrees
        Per leaf of f's result: its degree in the variables.
    shapes
        Per predictor, its shape.
    identity
        What identifies each predictor in the program; equal for splits of one program.
    """

    degrees: tuple[float, ...]
    shapes: tuple[tuple[int, ...], ...]
    identity: tuple[int, ...]
    _program: FlatProgram
    _cut: "_Cut"
    _tree: Any

    def predictors(self, variables: Any, others: Any) -> list[Any]:
        """Values of the predictors; affine in `variables`."""
        given = self._given((variables, others))
        known = _evaluate(self._program, given, self._cut.predictors)
        return [known[each] for each in self._cut.predictors]

    def rest(self, predictors: Sequence[Any], others: Any) -> Any:
        """Compute the result from values of the predictors; `others` as in `predictors`."""
        given = self._given((None, others))
        given |= dict(zip(self._cut.predictors, predictors, strict=True))
        known = _evaluate(self._program, given, self._program.outputs)
        leaves = [_read(known, each) for each in self._program.outputs]
        return jax.tree.unflatten(self._tree, leaves)

    def _given(self, arguments: tuple[Any, Any]) -> dict[Variable, Any]:
        """Values of the program's inputs; leaves of the variables may be left out."""
        inputs, cut = self._program.inputs, self._cut.num_variables
        # In the precision in force, as they were when the program was traced.
        variables, others = (list(map(jnp.asarray, jax.tree.leaves(each))) for each in arguments)
        given = dict(zip(inputs[cut:], others, strict=True))
        return given | dict(zip(inputs[:cut], variables, strict=False))


@dataclasses.dataclass(frozen=True, eq=False)
class _Cut:
    predictors: tuple[Variable, ...]
    num_variables: int


def split(
    fn: Callable[[Any, Any], Any],
    variables: Any,
    others: Any,
    chosen: Callable[[Any], bool] | None = None,
) -> Split:
    """Trace `fn(variables, others)` and cut it at its linear predictors.

    A predictor is a value, affine in the variables, that something other than a linear operation is
    applied to. Parts of the result that are linear in the variables but do not pass through such a
    value count as predictors too.

    Parameters
    ----------
    fn
        Function of two pytrees.
    variables, others
        Arguments (or their shapes).
    chosen
        Selects, by their key path, the leaves of `variables` that degrees count; the other leaves
        then count as constants. All by default.
    """
    program, shape = flatten(fn, variables, others)
    paths = jax.tree_util.tree_leaves_with_path(variables)
    count = len(paths)
    given = {
        variable: 1.0
        for variable, (path, _) in zip(program.inputs, paths, strict=False)
        if chosen is None or chosen(path)
    }
    degrees, found = degrees_of(program.steps, given)
    cut = _Cut(_predictors(program, degrees, found), count)
    sizes = _shapes_of(program, variables, others)
    return Split(
        degrees=tuple(
            degrees.get(each, 0.0) if isinstance(each, Variable) else 0.0
            for each in program.outputs
        ),
        shapes=tuple(sizes[each] for each in cut.predictors),
        identity=tuple(each.number for each in cut.predictors),
        _program=program,
        _cut=cut,
        _tree=jax.tree.structure(shape),
    )


def _predictors(
    program: FlatProgram, degrees: Mapping[Variable, float], found: Sequence[Degree]
) -> tuple[Variable, ...]:
    """Affine values that something not linear is applied to, in the order of the program."""
    entries: list[Atom] = []
    sides: list[Atom] = list(program.outputs)
    for step, degree in zip(program.steps, found, strict=True):
        if degree.degree <= 1:
            continue
        affine = [each for each in step.inputs if _is_affine(each, degrees)]
        (sides if degree.linear else entries).extend(affine)
    computable = _computable(program.steps, degrees, set(entries))
    extra = [
        each
        for each in sides
        if isinstance(each, Variable) and _is_affine(each, degrees) and each not in computable
    ]
    together = dict.fromkeys((*entries, *extra))
    return tuple(each for each in together if isinstance(each, Variable))


def _is_affine(atom: Atom, degrees: Mapping[Variable, float]) -> bool:
    return isinstance(atom, Variable) and degrees.get(atom, 0.0) == 1


def _computable(
    steps: Iterable[Step], degrees: Mapping[Variable, float], known: set[Any]
) -> set[Any]:
    """Affine values that follow from the predictors alone."""
    known = set(known)
    for step in steps:
        affine = [each for each in step.inputs if _is_affine(each, degrees)]
        if affine and known.issuperset(affine) and degrees[step.outputs[0]] == 1:
            known |= set(step.outputs)
    return known


def _evaluate(
    program: FlatProgram, given: Mapping[Variable, Any], wanted: Iterable[Atom]
) -> dict[Variable, Any]:
    """Run the steps that `wanted` needs, given some values."""
    known = dict(given)
    for step in needed_steps(program.steps, wanted, given):
        outputs = step.run([_read(known, each) for each in step.inputs])
        for variable, value in zip(step.outputs, outputs, strict=True):
            known.setdefault(variable, value)
    return known


def _read(known: Mapping[Variable, Any], atom: Atom) -> Any:
    return atom.value if isinstance(atom, Constant) else known[atom]


def _shapes_of(program: FlatProgram, variables: Any, others: Any) -> dict[Variable, tuple]:
    leaves = [*jax.tree.leaves(variables), *jax.tree.leaves(others)]
    shapes = {
        variable: tuple(jax.numpy.shape(leaf))
        for variable, leaf in zip(program.inputs, leaves, strict=True)
    }
    for step in program.steps:
        for variable, produced in zip(step.outputs, step.equation.outvars, strict=True):
            shapes[variable] = tuple(getattr(produced.aval, "shape", ()))
    return shapes
