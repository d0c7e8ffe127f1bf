"""Pieces of a model's text: priors as expressions, and code of this package that goes along."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpyro import distributions as dist

from hierjax.errors import PriorError
from hierjax.formula import distributions, likelihoods
from hierjax.formula.distributions import Elementwise, OrderStatistics, parameters_of

IMPORTS = {
    "jax": "import jax",
    "numpyro": "import numpyro",
    "jnp": "from jax import numpy as jnp",
    "dist": "from numpyro import distributions as dist",
    "constraints": "from numpyro.distributions import constraints",
}
"""All that a text may import, by the word for it."""

HOMES = (likelihoods, distributions)
"""Modules whose classes and functions may be copied into a text."""


def prior_text(distribution: dist.Distribution) -> str:
    """Write the expression that makes a distribution.

    Raises
    ------
    PriorError
        It is not one of NumPyro's own.
    """
    if isinstance(distribution, Elementwise):
        parts = ", ".join(prior_text(part) for part in distribution.components)
        return f"Elementwise([{parts}], positive={distribution.positive})"
    if isinstance(distribution, OrderStatistics):
        return f"OrderStatistics({prior_text(distribution.base)}, {distribution.size})"
    if isinstance(distribution, dist.ExpandedDistribution):
        return f"{prior_text(distribution.base_dist)}.expand({tuple(distribution.batch_shape)})"
    kind = type(distribution)
    parameters = parameters_of(distribution)
    if (
        parameters is None
        or any(each is None for each in parameters.values())
        or getattr(dist, kind.__name__, None) is not kind
    ):
        raise PriorError(
            f"The prior {kind.__name__} cannot be written as source text; use one of NumPyro's "
            "own distributions, or copy its class beside the text."
        )
    return f"dist.{kind.__name__}({', '.join(_arguments(kind, parameters))})"


def _arguments(kind: type, parameters: Mapping[str, Any]) -> list[str]:
    """Arguments by position, without choices (last ones, in words) that are the default."""
    signature = inspect.signature(kind).parameters
    return [
        prior_text(value) if isinstance(value, dist.Distribution) else _value(value)
        for name, value in parameters.items()
        if not (isinstance(value, str) and value == signature[name].default)
    ]


def _value(value: Any) -> str:
    if isinstance(value, bool | str | int | tuple):
        return repr(value)
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        return repr(float(array))
    if array.size > 1 and np.all(array == array.flat[0]):
        return f"jnp.full({array.shape}, {float(array.flat[0])!r})"
    return f"jnp.array({array.tolist()!r})"


def expression(function: Callable[..., Any], words: Mapping[str, str]) -> str:
    """Write what a function of one `return` returns, its arguments called by other words."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    last = definition.body[-1]
    assert isinstance(last, ast.Return) and last.value is not None
    return ast.unparse(_Renamed(words).visit(last.value))


def names_in(text: str) -> set[str]:
    """Names that code uses."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def helpers_of(names: Iterable[str]) -> dict[str, str]:
    """Text of the classes and functions of this package that code uses, in order of use."""
    found: dict[str, str] = {}
    own = own_names()
    for name in sorted(names):
        if name not in own or name in found:
            continue
        tree = _Bare().visit(ast.parse(inspect.getsource(getattr(own[name], name))))
        text = ast.unparse(ast.fix_missing_locations(tree))
        for other, code in helpers_of(names_in(text) - {name}).items():
            found.setdefault(other, code)
        found[name] = text
    return found


def own_names() -> dict[str, Any]:
    """Class or function that may be copied into a text -> its module."""
    return {
        name: home
        for home in HOMES
        for name, value in vars(home).items()
        if getattr(value, "__module__", "") == home.__name__
    }


class _Renamed(ast.NodeTransformer):
    def __init__(self, words: Mapping[str, str]) -> None:
        self.words = words

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.words.get(node.id, node.id), node.ctx)


class _Bare(ast.NodeTransformer):
    """Takes annotations away, whose names a text would have to import."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.Assign([node.target], node.value)
