"""The formula language: what is read, what is refused (with the place), and that nothing runs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierjax.errors import FormulaError, HierjaxError
from hierjax.formula.parse import parse


def shown(formula):
    def terms(part):
        return " + ".join(["1" if part.intercept else "0", *(t.name for t in part.terms)])

    bars = [
        f"({terms(bar.side)} {'|' if bar.correlated else '||'} {':'.join(bar.group)})"
        for bar in formula.bars
    ]
    return terms(formula.common), bars


@pytest.mark.parametrize(
    ("text", "common", "bars"),
    [
        ("y ~ 1", "1", []),
        ("y ~ x", "1 + x", []),
        ("y ~ 0 + x", "0 + x", []),
        ("y ~ x - 1", "0 + x", []),
        ("y ~ -1 + x", "0 + x", []),
        ("y ~ x + 0 + 1", "1 + x", []),
        ("y ~ x - 0", "1 + x", []),
        ("y ~ x*z", "1 + x + z + x:z", []),
        ("y ~ x:z", "1 + x:z", []),
        ("y ~ x*z - z", "1 + x + x:z", []),
        ("y ~ z:x - x:z", "1", []),
        ("y ~ a*b + a*c", "1 + a + b + a:b + c + a:c", []),
        ("y ~ a/b/c", "1 + a + a:b + a:b:c", []),
        ("y ~ (a + b)/c", "1 + a + b + a:b:c", []),
        ("y ~ (a + b + c)^2", "1 + a + b + c + a:b + a:c + b:c", []),
        ("y ~ (a + b)**2 - a:b", "1 + a + b", []),
        ("y ~ a:(b + c)", "1 + a:b + a:c", []),
        ("y ~ (a)", "1 + a", []),
        ("y ~ x:x", "1 + x", []),
        ("y ~ log( x )+I(x **2)", "1 + log(x) + I(x ** 2)", []),
        ("y ~ bs(x,df=4):z", "1 + bs(x, df=4):z", []),
        ("y ~ `a b` + log(`a b`)", "1 + a b + log(`a b`)", []),
        ("y ~ log.x", "1 + log.x", []),
        ("y\n~ x\n  + (1 | g)", "1 + x", ["(1 | g)"]),
        ("y ~ (1 | g)", "1", ["(1 | g)"]),
        ("y ~ (x | g)", "1", ["(1 + x | g)"]),
        ("y ~ (1 + x | g)", "1", ["(1 + x | g)"]),
        ("y ~ (0 + x | g)", "1", ["(0 + x | g)"]),
        ("y ~ (x - 1 | g)", "1", ["(0 + x | g)"]),
        ("y ~ (x || g)", "1", ["(1 + x || g)"]),
        ("y ~ (x*z | g)", "1", ["(1 + x + z + x:z | g)"]),
        ("y ~ (1 | a/b)", "1", ["(1 | a)", "(1 | a:b)"]),
        ("y ~ (x | a/b/c)", "1", ["(1 + x | a)", "(1 + x | a:b)", "(1 + x | a:b:c)"]),
        ("y ~ (1 | a:b)", "1", ["(1 | a:b)"]),
        ("y ~ (1 | a) + x + (1 | b)", "1 + x", ["(1 | a)", "(1 | b)"]),
        ("y ~ ((1 | a) + x)", "1 + x", ["(1 | a)"]),
        ("y ~ 0 + (1 | `g h`)", "0", ["(1 | g h)"]),
        ("y ~ (1 | g) + (0 + x | g)", "1", ["(1 | g)", "(0 + x | g)"]),
    ],
)
def test_formula_is_read(text, common, bars):
    assert shown(parse(text)) == (common, bars)


def test_nesting_is_two_terms():
    assert parse("y ~ (x || a/b)").bars == parse("y ~ (x || a) + (x || a:b)").bars


@pytest.mark.parametrize(
    ("text", "response", "ratio", "additions"),
    [
        ("y ~ x", "y", None, []),
        ("log(y) ~ x", "log(y)", None, []),
        ("`a b` ~ x", "a b", None, []),
        ("s / n ~ x", "s / n", ("s", "n"), []),
        ("s/(s + f) ~ x", "s / (s + f)", ("s", "s + f"), []),
        ("y / 10 ~ x", "y / 10", ("y", "10"), []),
        ("a / b / c ~ x", "a / b / c", None, []),
        ("y | se(s) ~ x", "y", None, ["known_sd"]),
        ("y | trials(n + m) + weights(w) ~ x", "y", None, ["trials", "weights"]),
    ],
)
def test_response_is_read(text, response, ratio, additions):
    found = parse(text).response
    assert found.factor.text == response
    assert (found.ratio and tuple(f.text for f in found.ratio)) == ratio
    assert [word for word, _ in found.additions] == additions


def test_offsets_are_no_terms():
    formula = parse("y ~ offset(log(t)) + x + offset(`a b`)")
    assert [factor.text for factor in formula.offsets] == ["log(t)", "a b"]
    assert shown(formula)[0] == "1 + x"


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("", "empty", None),
        ("  ", "empty", None),
        ("y", "one `~`", "y"),
        ("y ~ x ~ z", "one `~`", "~"),
        ("~ x", "response is missing", "~"),
        ("y ~ ", "missing at the end", None),
        ("y ~ x +", "missing at the end", None),
        ("y ~ + ", "missing at the end", None),
        ("y ~ x + * z", "term is missing", "*"),
        ("y ~ ((x)", "never closed", "("),
        ("y ~ x)", "never opened", ")"),
        ("y ~ log(x", "never closed", "("),
        ("y ~ `x", "never closed", "`"),
        ("y ~ ``", "no name", "``"),
        ("y ~ C(x, 'a)", "quote is never closed", "'"),
        ("y ~ x z", "operator such as", "z"),
        ("y ~ x (1 | g)", "operator such as", "("),
        ("y ~ log (x)", "no space before its bracket", "("),
        ("y ~ 1 | g", "in brackets", "|"),
        ("y ~ x || g", "in brackets", "||"),
        ("y ~ (1 | g | h)", "one bar", "|"),
        ("y ~ (1 |ID| g)", "one bar", "|"),
        ("y ~ ( | g)", "Left of the bar", "|"),
        ("y ~ (1 | )", "Right of the bar", ")"),
        ("y ~ (1 | 3)", "Right of the bar", "3"),
        ("y ~ (1 | a + b)", "one grouping factor", "+"),
        ("y ~ (1 | a * b)", "one grouping factor", "*"),
        ("y ~ (1 | factor(g))", "Right of the bar", "factor(g)"),
        ("y ~ (0 | g)", "no effects", "(0 |"),
        ("y ~ ((1 | h) | g)", "inside a group term", "(1 | h)"),
        ("y ~ (offset(x) | g)", "inside a group term", "offset(x)"),
        ("y ~ ()", "nothing in these brackets", "()"),
        ("y ~ x * (1 | g)", "takes terms", "(1 | g)"),
        ("y ~ x - (1 | g)", "cannot be taken away", "(1 | g)"),
        ("y ~ x + x", "written twice", "x"),
        ("y ~ x:z + z:x", "written twice", "z:x"),
        ("y ~ (1 | g) + (1 | g)", "intercept already varies by `g`", "(1 | g)"),
        ("y ~ (x | g) + (0 + x | g)", "x already varies by `g`", "(0 + x | g)"),
        ("y ~ (1 | a/b) + (1 | b:a)", "already varies by `b:a`", "(1 | b:a)"),
        ("y ~ 2*x", "Only 0 and 1", "2"),
        ("y ~ 2", "Only 0 and 1", "2"),
        ("y ~ x:1", "takes terms", "1"),
        ("y ~ x^z", "power means interactions", "z"),
        ("y ~ x^99", "power means interactions", "99"),
        ("y ~ .", "`.` is not supported", "."),
        ("y ~ x + $z", "has no meaning", "$"),
        ("y ~ x[0]", "has no meaning", "["),
        ("y ~ {x}", "has no meaning", "{"),
        ("y ~ x == 3", "has no meaning", "="),
        ("y ~ foo(x)", "`foo` is not a function of formulas", "foo"),
        ("y ~ factor(x)", r"write C\(x\)", "factor"),
        ("cbind(s, f) ~ x", r"successes / \(successes \+ failures\)", "cbind"),
        ("y ~ I(3)", "names no column", "I(3)"),
        ("y ~ offset()", "Something is missing", ")"),
        ("y | ~ x", "After `|` stand", "|"),
        ("y | foo(x) ~ x", "After `|` stand", "foo(x)"),
        ("y | se(x) ~ | ", "A term is missing", "|"),
        ("y | se(s) + se(s) ~ x", "After `|` stand", "se(s)"),
        ("y | se(s) weights(w) ~ x", "After `|` stand", "weights(w)"),
        ("y | se(s, sigma=True) ~ x", "expression", "s, sigma=True"),
        ("y ~ log(x.y)", "put a column whose name has a dot in backticks", "x.y"),
        ("y ~ I(x ** z)", "A power needs", "x ** z"),
        ("y ~ I(9 ** 9 ** 9)", "A power needs", "9 ** 9 ** 9"),
        ("y ~ I(x + 'a')", "Arithmetic needs", "'a'"),
        ("y ~ I([1] * 999999999 + x)", "Arithmetic needs", "[1]"),
        ("y ~ bs(x, df=1000000000)", "At most 1000 columns", "1000000000"),
        ("y ~ bs(x, _state=1)", "argument is not allowed", "_state=1"),
        ("y ~ bs(x, **z)", "argument is not allowed", "**z"),
        ("y ~ I(x if z else x)", "not allowed in a formula", "x if z else x"),
    ],
)
def test_error_shows_the_place(text, message, marked):
    with pytest.raises(FormulaError, match=message) as caught:
        parse(text)
    error = caught.value
    if marked is not None:
        assert error.text[error.start : error.end] == marked
        lines = str(error).splitlines()
        assert lines[-2].strip() == error.text.strip()
        place = lines[-1].index("^") - 4
        assert lines[-2][4:][place : place + len(marked)] == marked


ATTACKS = [
    "__import__('os').system('touch {file}')",
    "I(__import__('os').system('touch {file}'))",
    "log.__class__(x)",
    "np.load(x)",
    "np.log.__globals__(x)",
    "I(x.__class__)",
    "I(().__class__.__bases__[0].__subclasses__())",
    "I((lambda: 1)())",
    "I([y for y in x])",
    "I({{1: 2}})",
    "I(f'{{x}}')",
    "I((z := x))",
    "I(eval('1'))",
    'eval(\'open("{file}", "w")\')',
    "exec('import os')",
    "getattr(x, 'a')",
    "open('{file}', 'w')",
    "Q('x')",
    "hashed(x)",
    "log(x)(x)",
    "I(log)(x)",
    "C(x, contr.custom)",
    "I(b'x')",
    "I(...)",
    "I(x @ x)",
    "I(await x)",
    "I(x and x)",
    "I(not x)",
    "I(*x)",
    "I(__FORMULAIC_SPEC__)",
]


@pytest.mark.faults
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "frame", ["y ~ {}", "{} ~ x", "y ~ ({} | g)", "y ~ offset({})", "y | se({}) ~ x"]
)
def test_nothing_unlisted_is_accepted(attack, frame, tmp_path):
    file = tmp_path / "made"
    with pytest.raises(FormulaError):
        parse(frame.format(attack.format(file=file)))
    assert not file.exists()


PIECES = st.sampled_from(
    ["y", "x", "g", "`a b`", "~", "+", "-", "*", "/", ":", "^", "**", "|", "||", "(", ")", "0", "1",
     "2", "log(", "C(", "I(", "bs(", "offset(", "'", '"', ",", ".", "np.", "=", "[", "]", "{", "}",
     " ", "se(", "lambda", "__", "\\", "\n", "é", "\uff11", "\x00", "#", ";", "@", "<", "not "]
)  # fmt: skip


@pytest.mark.faults
@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except HierjaxError:
        pass


@pytest.mark.faults
@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_right_hand_side_is_read_or_refused(text):
    try:
        parse("y ~ x + " + text)
    except HierjaxError:
        pass


@pytest.mark.faults
@pytest.mark.parametrize(
    "text",
    [
        "y ~ " + "(" * 500 + "x" + ")" * 500,
        "y ~ I(" + "(" * 500 + "x" + ")" * 500 + ")",
        "y ~ I(" + "-" * 1500 + "x)",
        "y ~ I(x" + " + x" * 400 + ")",
        "y ~ " + "x" * 30_000,
        "y ~ (a+b+c+d+e+f+g+h)^9",
    ],
)
def test_outsized_formulas_do_no_harm(text):
    try:
        parse(text)
    except HierjaxError:
        pass
