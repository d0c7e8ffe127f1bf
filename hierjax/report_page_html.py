"""Pieces of an HTML page, escaped by construction: text becomes markup only here.

Labels, formulas and names come from data, and a page is opened by people who did not make them.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from importlib import resources

ALONE = ("img", "meta")  # elements without content
# Whatever stood in the page, a browser would neither run nor fetch it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Markup(str):
    """Text that is HTML already; any other string is escaped when it gets into an element."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Markup:
    """Return an element around its children.

    Parameters
    ----------
    name
        Such as "p".
    *children
        Markup, or text to be escaped.
    **attributes
        Values are escaped; a trailing underscore of a name is dropped (`class_`), others become
        hyphens.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(
        f"<{name}{given}>" if name in ALONE else f"<{name}{given}>{joined(children)}</{name}>"
    )


def joined(children: Iterable[str]) -> Markup:
    """Put pieces one after another."""
    return Markup(
        "".join(child if isinstance(child, Markup) else html.escape(child) for child in children)
    )


def table(
    heading: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False
) -> Markup:
    """Return a table in a box of its own, which scrolls where the page is too narrow.

    Parameters
    ----------
    heading
        Titles of the columns.
    rows
        Cells; the first of each row is its title. A cell may be an element `td`.
    numbers
        Whether all columns but the first are numbers.
    """
    kind = {"class_": "number" if numbers else "text"}
    top = [
        element("th", title, scope="col", **(kind if place else {}))
        for place, title in enumerate(heading)
    ]
    body = []
    for first, *others in rows:
        cells = [each if _is_cell(each) else element("td", each, **kind) for each in others]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    whole = element("table", element("thead", element("tr", *top)), element("tbody", *body))
    return element("div", whole, class_="scroll")


def _is_cell(child: str) -> bool:
    return isinstance(child, Markup) and child.startswith("<td")


def picture(png: bytes, text: str, caption: str, *, narrow: int | None = None) -> Markup:
    """Return a picture that is part of the page.

    Parameters
    ----------
    png
        The file.
    text
        What it shows, for those who cannot see it.
    caption
        Shown below it.
    narrow
        Its width in pixels, if it is not to fill the page.
    """
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    given = {} if narrow is None else {"class_": "narrow", "style": f"--wide: {narrow}px"}
    image = element("img", src=source, alt=text, **given)
    box = element("div", image, class_="scroll")
    return element("figure", box, element("figcaption", caption))


def page(title: str, *body: str) -> str:
    """Return a whole page that needs nothing but itself."""
    style = resources.files("hierjax").joinpath("report_page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n{head}\n{element("body", *body)}\n</html>\n'
