"""Read the expressions inside formulas without ever running what has not been allowed.

A formula may come from a web form or a file, so an expression such as `log(x)` is parsed with `ast`
and every node must be on a short list: columns, numbers, arithmetic, comparisons and calls of the
functions named here. Attributes, subscripts, lambdas, comprehensions, keywords that start with an
underscore, and anything else are refused before the design-matrix library sees the text.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from hierjax.errors import FormulaError

NUMERIC_FUNCTIONS = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
"""Elementwise functions; also understood with the prefix `np.`."""

DESIGN_FUNCTIONS = (
    "C",
    "Diff",
    "Helmert",
    "I",
    "Poly",
    "Sum",
    "Treatment",
    "bs",
    "cc",
    "center",
    "cr",
    "cs",
    "poly",
    "scale",
    "standardize",
)
"""Codings, splines and transforms of the design-matrix library (they remember their state)."""

CONTRASTS = ("treatment", "sum", "helmert", "diff", "poly", "sas")
_CODINGS = tuple(f"contr.{name}" for name in CONTRASTS)
MOST_COLUMNS = 1000
MOST_CHARACTERS = 2000

_HINTS = {
    "factor": "write C(x)",
    "as.factor": "write C(x)",
    "ns": "write cr(x, df=4, constraints='center'), a natural cubic spline",
    "s": "write bs(x, df=6), or cr(x, df=6, constraints='center') for a natural cubic spline",
    "cbind": "write `successes / (successes + failures)` for a binomial response",
    "mm": "multiple membership is not supported",
    "gr": "write the grouping factor alone",
    "mo": "monotonic effects are not supported",
}
_NODES = (
    ast.Expression,
    ast.Call,
    ast.keyword,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.List,
    ast.Tuple,
)
_OPERATORS = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
    ast.BitAnd,
    ast.BitOr,
    ast.USub,
    ast.UAdd,
    ast.Invert,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
)


@dataclasses.dataclass(frozen=True)
class Expression:
    """An expression that may be evaluated: canonical text, columns it reads, functions it calls."""

    text: str
    columns: tuple[str, ...]
    functions: tuple[str, ...]


def read_expression(formula: str, start: int, end: int) -> Expression:
    """Check `formula[start:end]` against the list of what is allowed.

    Raises
    ------
    FormulaError
        The text is not an expression, or uses something that is not allowed (place marked).
    """
    if end - start > MOST_CHARACTERS:
        raise FormulaError("This expression is too long; put it in a column.", formula, start, end)
    source, quoted = _hide_backticks(formula, start, end)
    try:
        tree = ast.parse(source, mode="eval")
        return _Reader(formula, start, end, source, quoted).read(tree)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError("This cannot be read as an expression.", formula, start, end) from None


def _hide_backticks(formula: str, start: int, end: int) -> tuple[str, dict[str, str]]:
    """Replace each backticked column by an identifier of the same length, so that places stay."""
    quoted: dict[str, str] = {}
    text = formula[start:end]

    def stand_in(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()
        for number in range(10 ** min(len(match.group()) - 1, 6)):
            name = "q" + str(number).zfill(len(match.group()) - 1)
            if name not in text and name not in quoted:
                quoted[name] = match.group(1)
                return name
        raise FormulaError("Too many backticked names in one expression.", formula, start, end)

    pattern = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`([^`]+)`"
    return re.sub(pattern, stand_in, text), quoted


class _Reader:
    """One walk over the tree of an expression, with what is needed to mark a place."""

    def __init__(
        self, formula: str, start: int, end: int, source: str, quoted: dict[str, str]
    ) -> None:
        self.formula, self.start, self.end = formula, start, end
        self.source, self.quoted = source, quoted

    def read(self, tree: ast.Expression) -> Expression:
        functions: list[str] = []
        heads: set[int] = set()
        columns: dict[str, None] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                functions.append(self.function(node))
                heads.update(id(child) for child in ast.walk(node.func))
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in _CODINGS:
                functions.append(ast.unparse(node))
                heads.update(id(child) for child in ast.walk(node))
        for node in ast.walk(tree):
            if id(node) in heads:
                continue
            self.check(node)
            if isinstance(node, ast.Name):
                columns[self.quoted.get(node.id, node.id)] = None
        # Versions of Python differ in the brackets around a negative exponent.
        text = re.sub(r"\*\* \((-[\d.e+-]+)\)", r"** \1", ast.unparse(tree))
        for name, column in self.quoted.items():
            text = text.replace(name, f"`{column}`")
        return Expression(text, tuple(columns), tuple(functions))

    def refuse(self, message: str, node: ast.AST) -> FormulaError:
        first = getattr(node, "col_offset", None)
        last = getattr(node, "end_col_offset", None)
        if first is None or last is None:
            return FormulaError(message, self.formula, self.start, self.end)
        encoded = self.source.encode()
        first, last = (len(encoded[:place].decode()) for place in (first, last))
        return FormulaError(message, self.formula, self.start + first, self.start + last)

    def function(self, node: ast.Call) -> str:
        name = ast.unparse(node.func)
        prefix, _, last = name.rpartition(".")
        allowed = {
            "": (*NUMERIC_FUNCTIONS, *DESIGN_FUNCTIONS),
            "np": tuple(NUMERIC_FUNCTIONS),
            "contr": CONTRASTS,
        }
        if last in allowed.get(prefix, ()):
            self.check_arguments(node, last)
            return name
        if not isinstance(node.func, ast.Name | ast.Attribute) or len(name) > 40:
            raise self.refuse("Only a function called by its name is allowed.", node.func)
        hint = _HINTS.get(name)
        remedy = (
            hint
            if hint
            else "allowed are "
            + ", ".join((*DESIGN_FUNCTIONS, *NUMERIC_FUNCTIONS))
            + "; put anything else in a column of the data"
        )
        raise self.refuse(f"`{name}` is not a function of formulas: {remedy}.", node.func)

    def check_arguments(self, node: ast.Call, name: str) -> None:
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg.startswith("_"):
                raise self.refuse("This argument is not allowed.", keyword)
        if name not in ("bs", "cc", "cr", "cs", "poly"):
            return
        for value in [*node.args[1:], *(keyword.value for keyword in node.keywords)]:
            if isinstance(value, ast.Constant) and isinstance(value.value, int):
                if value.value > MOST_COLUMNS:
                    raise self.refuse(f"At most {MOST_COLUMNS} columns are allowed here.", value)

    def check(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            raise self.refuse(
                "A dot is not allowed here; put a column whose name has a dot in backticks.", node
            )
        if not isinstance(node, _NODES + _OPERATORS):
            raise self.refuse(
                "This is not allowed in a formula (columns, numbers, arithmetic and the listed "
                "functions are).",
                node,
            )
        if isinstance(node, ast.Name) and node.id.startswith("__"):
            raise self.refuse("A name that starts with two underscores is not allowed.", node)
        if isinstance(node, ast.Constant):
            self.check_constant(node)
        if isinstance(node, ast.BinOp):
            self.check_arithmetic(node)
        if isinstance(node, ast.UnaryOp) and not self.has_number(node.operand):
            raise self.refuse("Arithmetic needs columns or numbers.", node)

    def check_constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, int | float | str | bool | type(None)):
            raise self.refuse("This kind of constant is not allowed.", node)

    def check_arithmetic(self, node: ast.BinOp) -> None:
        for operand in (node.left, node.right):
            if not self.has_number(operand):
                raise self.refuse("Arithmetic needs columns or numbers.", operand)
        if not isinstance(node.op, ast.Pow):
            return
        # A power of constants could take for ever to work out (9**9**9), so it is refused.
        exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
        small = isinstance(exponent, ast.Constant) and abs(float(exponent.value)) <= 100  # type: ignore[arg-type]
        if not small or not any(isinstance(part, ast.Name) for part in ast.walk(node.left)):
            raise self.refuse(
                "A power needs a column as its base and a number up to 100 as its exponent.", node
            )

    @staticmethod
    def has_number(node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, int | float) and not isinstance(node.value, bool)
        return not isinstance(node, ast.List | ast.Tuple)


def calls_in(expression: Expression) -> Iterator[str]:
    """Names of the functions that would be looked up beside the columns."""
    for name in expression.functions:
        yield name.partition(".")[0]
