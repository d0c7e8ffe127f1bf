"""The parts of a formula as read, before any data are seen."""

import dataclasses
from collections.abc import Sequence

from hierjax.errors import FormulaError
from hierjax.formula.calls import Expression, read_expression
from hierjax.formula.tokens import column_alone


@dataclasses.dataclass(frozen=True)
class Factor:
    """A column or a call; `text` names it, and decides whether two factors are the same."""

    text: str
    expression: Expression | None = None
    start: int = dataclasses.field(default=0, compare=False)
    end: int = dataclasses.field(default=0, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the factor reads."""
        return (self.text,) if self.expression is None else self.expression.columns


@dataclasses.dataclass(frozen=True)
class Term:
    """An interaction of factors (of one factor: a main effect; of none: the intercept)."""

    factors: tuple[Factor, ...]

    @property
    def name(self) -> str:
        """Name in the formula language, such as `x:z`."""
        return ":".join(factor.text for factor in self.factors) or "Intercept"

    @property
    def key(self) -> frozenset[Factor]:
        """What two spellings of one term share (`x:z` and `z:x`)."""
        return frozenset(self.factors)


@dataclasses.dataclass(frozen=True)
class Side:
    """Terms of one design matrix."""

    intercept: bool
    terms: tuple[Term, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the terms read."""
        return tuple(c for term in self.terms for factor in term.factors for c in factor.columns)


@dataclasses.dataclass(frozen=True)
class Bar:
    """A group term `(side | group)`; `group` holds one column, or several that are crossed."""

    side: Side
    group: tuple[str, ...]
    correlated: bool
    start: int = dataclasses.field(default=0, compare=False)
    end: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(frozen=True)
class Response:
    """Left of `~`: an expression, its two halves if it is a ratio, and the words after `|`."""

    factor: Factor
    ratio: tuple[Factor, Factor] | None
    additions: tuple[tuple[str, Factor], ...]


@dataclasses.dataclass(frozen=True)
class Formula:
    """A formula as read, before any data are seen."""

    text: str
    response: Response
    common: Side
    bars: tuple[Bar, ...]
    offsets: tuple[Factor, ...]


def merge(*parts: Sequence[Term]) -> tuple[Term, ...]:
    """Join terms, keeping the first spelling of each."""
    found: dict[frozenset[Factor], Term] = {}
    for part in parts:
        for term in part:
            found.setdefault(term.key, term)
    return tuple(found.values())


def cross(left: Sequence[Term], right: Sequence[Term]) -> tuple[Term, ...]:
    """Interact every term of `left` with every term of `right`."""
    pairs = ((a, b) for a in left for b in right)
    return merge([Term(tuple(dict.fromkeys(a.factors + b.factors))) for a, b in pairs])


def read_factor(text: str, start: int, end: int) -> Factor:
    """Read `text[start:end]` as a column (bare or in backticks) or as an allowed expression."""
    while start < end and text[start] == " ":
        start += 1
    while end > start and text[end - 1] == " ":
        end -= 1
    if start >= end:
        raise FormulaError("Something is missing here.", text, start, start + 1)
    if (column := column_alone(text[start:end])) is not None:
        return Factor(column, None, start, end)
    expression = read_expression(text, start, end)
    return Factor(expression.text, expression, start, end)


def unique_effects(text: str, bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
    """Refuse an effect that two group terms of one factor both hold.

    Raises
    ------
    FormulaError
        Marks the second of them.
    """
    seen: set[tuple[frozenset[str], frozenset[Factor]]] = set()
    for bar in bars:
        names = [term.key for term in bar.side.terms]
        for name in names + ([frozenset()] if bar.side.intercept else []):
            effect = (frozenset(bar.group), name)
            if effect in seen:
                shown = ":".join(sorted(f.text for f in name)) or "intercept"
                raise FormulaError(
                    f"The {shown} already varies by `{':'.join(bar.group)}` in another group "
                    "term (write `0 + x` left of a bar to leave the intercept out).",
                    text,
                    bar.start,
                    bar.end,
                )
            seen.add(effect)
    return bars
