"""The formula language: terms, interactions and bar terms, read by our own small parser.

Design-matrix libraries cannot read `(x | g)`, cannot tell it from `(1 | g) + (0 + x | g)`, and do
not know `||`; so the whole formula is read here, with the place of every part kept for messages,
and only checked names and calls are handed on. Nothing here looks at data.
"""

import dataclasses
from collections.abc import Sequence

from hierjax.errors import FormulaError
from hierjax.formula.response import read_response
from hierjax.formula.terms import (
    Bar,
    Factor,
    Formula,
    Side,
    Term,
    cross,
    merge,
    read_factor,
    unique_effects,
)
from hierjax.formula.tokens import Token, tokenize


def parse(text: str) -> Formula:
    """Read a formula.

    Raises
    ------
    FormulaError
        The text is not a formula; the message shows it with the place marked.
    """
    if not isinstance(text, str):
        raise FormulaError(
            "A formula, the first argument, is a text such as 'y ~ x + (1 | g)'; got "
            f"{type(text).__name__}."
        )
    text = "".join(" " if character.isspace() else character for character in text).rstrip()
    if not text.strip():
        raise FormulaError("The formula is empty; write for example 'y ~ x + (1 | g)'.")
    tokens = tokenize(text)
    tildes = [place for place, token in enumerate(tokens) if token.text == "~"]
    if len(tildes) != 1:
        place = tokens[tildes[1]] if tildes else Token("operator", "", 0, len(text))
        raise FormulaError(
            "A formula has one `~` between the response and the terms.",
            text,
            place.start,
            place.end,
        )
    response = read_response(text, tokens[: tildes[0]], tokens[tildes[0]])
    value = _Parser(text, tokens[tildes[0] + 1 :], tokens[tildes[0]].end).read()
    intercept = value.intercept is not False
    return Formula(
        text,
        response,
        Side(intercept, value.terms),
        unique_effects(text, value.bars),
        value.offsets,
    )


@dataclasses.dataclass(frozen=True)
class _Value:
    """What a part of the right-hand side stands for; `intercept` is None where it says nothing."""

    terms: tuple[Term, ...] = ()
    intercept: bool | None = None
    bars: tuple[Bar, ...] = ()
    offsets: tuple[Factor, ...] = ()
    start: int = 0
    end: int = 0
    written: frozenset[frozenset[Factor]] = frozenset()

    @property
    def plain(self) -> bool:
        return self.intercept is None and not self.bars and not self.offsets


class _Parser:
    """Recursive descent over the tokens of the right-hand side.

    From loose to tight: `+ -`, then `* /`, then `:`, then `^ **`, as in R.
    """

    def __init__(self, text: str, tokens: Sequence[Token], start: int) -> None:
        self.text, self.tokens, self.start, self.place = text, tokens, start, 0

    def fail(self, message: str, start: int, end: int) -> FormulaError:
        return FormulaError(message, self.text, start, end)

    def peek(self) -> str:
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        return token.text if token and token.kind == "operator" else ""

    def take(self) -> Token:
        if self.place >= len(self.tokens):
            end = max(len(self.text), self.start)
            raise self.fail("Something is missing at the end of the formula.", end, end + 1)
        self.place += 1
        return self.tokens[self.place - 1]

    def read(self) -> _Value:
        value = self.additive()
        if self.place < len(self.tokens):
            token = self.tokens[self.place]
            message = {
                ")": "This bracket was never opened.",
                "|": "Put a group term in brackets: (1 | g).",
                "||": "Put a group term in brackets: (1 || g).",
            }.get(
                token.text,
                "An operator such as `+` is missing before this (a function call "
                "has no space before its bracket).",
            )
            raise self.fail(message, token.start, token.end)
        return value

    def additive(self) -> _Value:
        if self.peek() in ("+", "-"):
            value = _Value()
        else:
            value = self.product()
        while self.peek() in ("+", "-"):
            sign = self.take()
            other = self.product()
            value = self.add(value, other) if sign.text == "+" else self.remove(value, other)
        return value

    def add(self, left: _Value, right: _Value) -> _Value:
        again = left.written & right.written
        if again:
            name = next(term.name for term in right.terms if term.key in again)
            raise self.fail(f"The term `{name}` is written twice.", right.start, right.end)
        return _Value(
            merge(left.terms, right.terms),
            left.intercept if right.intercept is None else right.intercept,
            left.bars + right.bars,
            left.offsets + right.offsets,
            left.start,
            right.end,
            left.written | right.written,
        )

    def remove(self, left: _Value, right: _Value) -> _Value:
        if right.bars or right.offsets:
            raise self.fail("This kind of term cannot be taken away.", right.start, right.end)
        gone = {term.key for term in right.terms}
        intercept = left.intercept if right.intercept is None else not right.intercept
        return dataclasses.replace(
            left,
            terms=tuple(term for term in left.terms if term.key not in gone),
            intercept=intercept,
            end=right.end,
            written=left.written - gone,
        )

    def product(self) -> _Value:
        value = self.interaction()
        while self.peek() in ("*", "/"):
            operator = self.take()
            other = self.interaction()
            self.need_plain(operator, value, other)
            if operator.text == "*":
                terms = merge(value.terms, other.terms, cross(value.terms, other.terms))
            else:
                whole = Term(tuple(dict.fromkeys(f for t in value.terms for f in t.factors)))
                terms = merge(value.terms, cross((whole,), other.terms))
            value = _Value(terms, start=value.start, end=other.end)
        return value

    def interaction(self) -> _Value:
        value = self.power()
        while self.peek() == ":":
            operator = self.take()
            other = self.power()
            self.need_plain(operator, value, other)
            terms = cross(value.terms, other.terms)
            written = frozenset(t.key for t in terms) if len(terms) == 1 else frozenset()
            value = _Value(terms, start=value.start, end=other.end, written=written)
        return value

    def power(self) -> _Value:
        value = self.atom()
        while self.peek() in ("^", "**"):
            operator = self.take()
            token = self.take()
            if token.kind != "number" or not token.text.isdigit() or not 1 <= int(token.text) <= 9:
                raise self.fail(
                    "Here a power means interactions and needs a whole number from 1 to 9; "
                    "for arithmetic write I(x ** 2).",
                    token.start,
                    token.end,
                )
            self.need_plain(operator, value, value)
            terms = value.terms
            for _ in range(int(token.text) - 1):
                terms = merge(terms, cross(terms, value.terms))
            value = _Value(merge(terms), start=value.start, end=token.end)
        return value

    def need_plain(self, operator: Token, *values: _Value) -> None:
        for value in values:
            if not value.plain or not value.terms:
                raise self.fail(
                    f"`{operator.text}` takes terms, not numbers, offsets or group terms "
                    "(for arithmetic write I(...)).",
                    value.start,
                    max(value.end, value.start + 1),
                )

    def atom(self) -> _Value:
        token = self.take()
        if token.kind == "number":
            if token.text not in ("0", "1"):
                raise self.fail(
                    "Only 0 and 1 (the intercept) can stand as a number; for arithmetic write "
                    "I(...).",
                    token.start,
                    token.end,
                )
            return _Value(intercept=token.text == "1", start=token.start, end=token.end)
        if token.kind == "call":
            return self.call(token)
        if token.kind == "column":
            return self.main_effect(Factor(token.text, None, token.start, token.end))
        if token.text == "(":
            return self.bracket(token)
        message = (
            "A term is missing before this."
            if token.text != "."
            else ("`.` is not supported; write the columns.")
        )
        raise self.fail(message, token.start, token.end)

    def main_effect(self, factor: Factor) -> _Value:
        term = Term((factor,))
        return _Value((term,), start=factor.start, end=factor.end, written=frozenset((term.key,)))

    def call(self, token: Token) -> _Value:
        name = token.text.partition("(")[0]
        if name == "offset":
            inner = read_factor(self.text, token.start + len("offset("), token.end - 1)
            return _Value(offsets=(inner,), start=token.start, end=token.end)
        factor = read_factor(self.text, token.start, token.end)
        if not factor.columns:
            raise self.fail("This term names no column.", token.start, token.end)
        return self.main_effect(factor)

    def bracket(self, opening: Token) -> _Value:
        start = self.place
        value = self.additive() if self.peek() not in ("|", "||", ")") else None
        if self.peek() in ("|", "||"):
            return self.bar(opening, value)
        if value is None:
            raise self.fail("There is nothing in these brackets.", opening.start, opening.end + 1)
        self.close(opening)
        assert self.place > start
        written = value.written if len(value.terms) == 1 else frozenset()
        return dataclasses.replace(value, start=opening.start, written=written)

    def close(self, opening: Token) -> Token:
        if self.place >= len(self.tokens):
            raise self.fail("This bracket is never closed.", opening.start, opening.end)
        token = self.take()
        if token.text == ")" and token.kind == "operator":
            return token
        message = "An operator such as `+` is missing before this."
        if token.text in ("|", "||"):
            message = "A group term has one bar: (1 | g) or (x || g)."
        raise self.fail(message, token.start, token.end)

    def bar(self, opening: Token, value: _Value | None) -> _Value:
        operator = self.take()
        if value is None:
            raise self.fail(
                "Left of the bar stand the effects that vary: (1 | g).",
                operator.start,
                operator.end,
            )
        if value.bars or value.offsets:
            raise self.fail(
                "Group terms and offsets cannot stand inside a group term.", value.start, value.end
            )
        side = Side(value.intercept is not False, value.terms)
        if not side.intercept and not side.terms:
            raise self.fail("This group term has no effects.", opening.start, operator.end)
        groups = self.groups()
        end = self.close(opening).end
        correlated = operator.text == "|"
        bars = tuple(Bar(side, group, correlated, opening.start, end) for group in groups)
        return _Value(bars=bars, start=opening.start, end=end)

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Read `g`, `a:b` (one factor) or `a/b` (`a` and `a:b`)."""
        groups = [self.group()]
        while self.peek() == "/":
            self.take()
            inner = self.group()
            groups.append(tuple(dict.fromkeys(groups[-1] + inner)))
        return tuple(groups)

    def group(self) -> tuple[str, ...]:
        columns = [self.group_column()]
        while self.peek() == ":":
            self.take()
            columns.append(self.group_column())
        return tuple(dict.fromkeys(columns))

    def group_column(self) -> str:
        token = self.take()
        if token.kind == "column":
            if self.peek() in ("+", "*", "-", "^", "**"):
                other = self.take()
                raise self.fail(
                    "Right of the bar stands one grouping factor (g, a:b or a/b); write one "
                    "group term for each factor: (1 | a) + (1 | b).",
                    other.start,
                    other.end,
                )
            return token.text
        raise self.fail("Right of the bar stands a column (g, a:b or a/b).", token.start, token.end)
