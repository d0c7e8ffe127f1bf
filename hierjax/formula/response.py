"""The left side of a formula: the response, and brms's words about it after `|`."""

from collections.abc import Sequence

from hierjax.errors import FormulaError
from hierjax.formula.terms import Factor, Response, read_factor
from hierjax.formula.tokens import Token

ADDITIONS = {"se": "known_sd", "trials": "trials", "weights": "weights", "cens": "censored"}
"""Words after `y |` and the argument of `hierjax.formula` that each stands for."""


def read_response(text: str, tokens: Sequence[Token], tilde: Token) -> Response:
    """Read the tokens left of `~`.

    Raises
    ------
    FormulaError
        The response is missing, or what follows its `|` cannot be read.
    """
    if not tokens:
        raise FormulaError("The response is missing before `~`.", text, tilde.start, tilde.end)
    bars = [place for place, token in enumerate(tokens) if token.text in ("|", "||")]
    end = tokens[bars[0]].start if bars else tilde.start
    factor = read_factor(text, tokens[0].start, end)
    additions = _read_additions(text, tokens[bars[0] :]) if bars else ()
    return Response(factor, _ratio(text, tokens[: bars[0]] if bars else tokens), additions)


def _ratio(text: str, tokens: Sequence[Token]) -> tuple[Factor, Factor] | None:
    """Return the halves of a response `successes / trials`, or None if it is not one ratio."""
    depth, places = 0, []
    for place, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")") if token.kind == "operator" else 0
        if depth == 0 and token.kind == "operator" and token.text in ("+", "-", "*", "/", "**"):
            places.append(place)
    if len(places) != 1 or tokens[places[0]].text != "/":
        return None
    slash = tokens[places[0]]
    if places[0] in (0, len(tokens) - 1):
        return None
    return (
        read_factor(text, tokens[0].start, slash.start),
        read_factor(text, slash.end, tokens[-1].end),
    )


def _read_additions(text: str, tokens: Sequence[Token]) -> tuple[tuple[str, Factor], ...]:
    """Read `| se(s) + weights(w)` of a response."""
    found: dict[str, Factor] = {}
    expected = f"After `|` stand {', '.join(f'{word}(...)' for word in ADDITIONS)}, joined by `+`."
    for place, token in enumerate(tokens[1:]):
        if place % 2 == 1:
            if token.text != "+":
                raise FormulaError(expected, text, token.start, token.end)
            continue
        word = token.text.partition("(")[0]
        if token.kind != "call" or word not in ADDITIONS or ADDITIONS[word] in found:
            raise FormulaError(expected, text, token.start, token.end)
        inner = read_factor(text, token.start + len(word) + 1, token.end - 1)
        found[ADDITIONS[word]] = inner
    if len(tokens) % 2 == 1:
        raise FormulaError(expected, text, tokens[-1].start, tokens[-1].end)
    return tuple(found.items())
