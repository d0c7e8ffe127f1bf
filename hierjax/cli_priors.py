"""Priors as text, `sd_county=HalfNormal(1)`: numbers and names of distributions, nothing else.

The text is read as a syntax tree and never run, so that no command line and no script that builds
one can execute code by it.
"""

import ast
import inspect
from collections.abc import Sequence
from typing import Any

from hierjax.errors import PriorError
from hierjax.formula import Variance
from hierjax.formula.frame import nearest

EXAMPLES = '--prior "b=Normal(0, 2)", --prior "sd=Variance(InverseGamma(2, 1))", --prior "cor=4"'


def read_priors(texts: Sequence[str]) -> dict[str, Any]:
    """Return slot -> prior, a NumPyro distribution or a number, from texts "slot=prior".

    Raises
    ------
    PriorError
        A text has another form, names no distribution, or names its slot a second time.
    """
    found: dict[str, Any] = {}
    for text in texts:
        slot, equals, prior = (part.strip() for part in text.partition("="))
        if not (slot and equals and prior):
            raise PriorError(f"--prior {text!r} is not of the form SLOT=PRIOR: {EXAMPLES}.")
        if slot in found:
            raise PriorError(f"--prior names the slot {slot!r} twice. Leave one out.")
        found[slot] = _prior(text, prior)
    return found


def _prior(text: str, prior: str) -> Any:
    try:
        tree = ast.parse(prior, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PriorError(
            f"--prior {text!r}: {prior!r} cannot be read as a distribution. Examples: {EXAMPLES}."
        ) from error
    try:
        return _value(tree)
    except (PriorError, TypeError, ValueError) as error:
        raise PriorError(f"--prior {text!r}: {error}") from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if not isinstance(node, ast.Call):
        return _number(node)
    kind = _kind(node.func)
    positional = [_value(argument) for argument in node.args]
    named: dict[Any, Any] = {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    return kind(*positional, **named, **({} if kind is Variance else {"validate_args": True}))


def _number(node: ast.expr) -> float:
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise PriorError(f"{ast.unparse(node)!r} is not a number. Examples: {EXAMPLES}.")


def _kind(node: ast.expr) -> type[Any]:
    from numpyro import distributions

    known: dict[str, type[Any]] = {
        name: kind
        for name in distributions.__all__
        if inspect.isclass(kind := getattr(distributions, name))
        and issubclass(kind, distributions.Distribution)
    }
    known["Variance"] = Variance
    name = ast.unparse(node)
    if name not in known:
        raise PriorError(f"NumPyro has no distribution {name!r}.{nearest(name, known)}")
    return known[name]
