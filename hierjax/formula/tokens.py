"""Cut a formula into tokens that know their place; calls are one token each."""

import dataclasses
import re

from hierjax.errors import FormulaError

MOST_CHARACTERS = 20_000
DEEPEST = 40

_OPERATORS = ("||", "**", "~", "|", "+", "-", "*", "/", ":", "^", "(", ")", ".")
_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+")
_NAME = re.compile(r"[^\W\d][\w.]*")


@dataclasses.dataclass(frozen=True)
class Token:
    """A piece of a formula: kind "column", "call", "number" or "operator", and its place."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """Cut a formula into tokens.

    Raises
    ------
    FormulaError
        A character has no meaning here, or a bracket, quote or backtick is left open.
    """
    if len(text) > MOST_CHARACTERS:
        raise FormulaError(f"A formula has at most {MOST_CHARACTERS} characters.")
    tokens: list[Token] = []
    place = 0
    depth = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        token = _next(text, place)
        if token.kind == "operator":
            depth += (token.text == "(") - (token.text == ")")
            if depth > DEEPEST:
                raise FormulaError("Brackets are nested too deeply.", text, place, place + 1)
        tokens.append(token)
        place = token.end
    return tokens


def _next(text: str, place: int) -> Token:
    if text[place] == "`":
        end = text.find("`", place + 1)
        if end < 0:
            raise FormulaError("This backtick is never closed.", text, place, place + 1)
        if end == place + 1:
            raise FormulaError("There is no name in these backticks.", text, place, end + 1)
        return Token("column", text[place + 1 : end], place, end + 1)
    if number := _NUMBER.match(text, place):
        return Token("number", number.group(), place, number.end())
    if name := _NAME.match(text, place):
        end = name.end()
        if text[end : end + 1] == "(":
            end = _closing(text, end) + 1
            return Token("call", text[place:end], place, end)
        return Token("column", name.group(), place, end)
    for operator in _OPERATORS:
        if text.startswith(operator, place):
            return Token("operator", operator, place, place + len(operator))
    raise FormulaError(
        f"{text[place]!r} has no meaning in a formula (a column with such a name goes in "
        "backticks; arithmetic goes in I(...)).",
        text,
        place,
        place + 1,
    )


def _closing(text: str, opening: int) -> int:
    """Place of the bracket that closes the one at `opening`, past quotes and backticks."""
    depth = 0
    place = opening
    while place < len(text):
        character = text[place]
        if character in "'\"`":
            end = place + 1
            while end < len(text) and text[end] != character:
                end += 2 if text[end] == "\\" and character != "`" else 1
            if end >= len(text):
                raise FormulaError("This quote is never closed.", text, place, place + 1)
            place = end
        depth += (character in "([{") - (character in ")]}")
        if depth > DEEPEST:
            raise FormulaError("Brackets are nested too deeply.", text, place, place + 1)
        if depth == 0:
            return place
        place += 1
    raise FormulaError("This bracket is never closed.", text, opening, opening + 1)


def column_alone(text: str) -> str | None:
    """Return the column that `text` names, bare or in backticks, or None if it is anything else."""
    quoted = len(text) > 2 and text[0] == text[-1] == "`" and "`" not in text[1:-1]
    if quoted:
        return text[1:-1]
    return text if _NAME.fullmatch(text) else None
