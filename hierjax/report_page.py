"""A fit as one page for a browser: everything that a reader asks of it, in one file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.draws import FitInfo
from hierjax.errors import ModelError, PriorError, SettingsError
from hierjax.files import write_whole
from hierjax.model import Model
from hierjax.plots import available_plots, plot
from hierjax.plots.canvas import RESOLUTION, png_of
from hierjax.report import effects_text, fit_text
from hierjax.report_page_html import Markup, element, joined, page, picture, table
from hierjax.summary import Check, Diagnostics, diagnose, summary_table
from hierjax.summary_text import summary_cells

if TYPE_CHECKING:
    import pandas as pd

Arrays = Mapping[str, np.ndarray]
MOST_EFFECTS = 2000  # rows of a page that a phone still shows at once
NARROW = 8.0  # inches: pictures that are narrower are not blown up to the width of the page
ON_SCREEN = 110  # pixels an inch of those, about as many as of wide ones
PLOTS = {  # kind -> title, caption; in the order of the page
    "trace": (
        "Draws",
        "Density of every parameter; beside it the path of every chain, or the weights of draws.",
    ),
    "forest": ("Effects of groups", "Median and intervals of the effect of every group, sorted."),
    "shrinkage": (
        "Pooling",
        "Arrow from the mean of each group alone to what the model makes of it.",
    ),
    "ppc": ("Data from the model", "The data beside replicated ones, in all and group by group."),
    "levels": ("Levels", "Boxes from the population down to the rows."),
}
COLUMNS = {
    "mcse": "Monte Carlo standard error of the mean",
    "bulk": "effective draws for the centre",
    "tail": "effective draws for the 5% and 95% quantiles",
    "rhat": "R-hat, 1 when the chains agree",
    "se": "standard error",
}


def write_page(
    path: str | Path,
    model: Model,
    draws: Arrays,
    stats: Arrays,
    info: FitInfo,
    images: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a fit as one HTML file that fetches nothing.

    Parameters
    ----------
    path
        File to write; an older one is replaced in one step.
    model, draws, stats, info
        The parts of a posterior.
    images
        Plots as PNG files, kind -> content; by default those of `draw_images`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    FileError
        The file cannot be written; an older one is as it was.
    """
    path = Path(path)
    images = draw_images(model, draws, stats, info) if images is None else images
    write_whole(path, [page_text(model, draws, stats, info, images).encode()])
    return path


def draw_images(model: Model, draws: Arrays, stats: Arrays, info: FitInfo) -> dict[str, bytes]:
    """Draw the plots that a fit has what it takes for: kind -> PNG file."""
    kinds = available_plots(model)
    found = {}
    for kind in PLOTS:
        if kind not in kinds and kind != "ppc":
            continue
        try:
            found[kind] = png_of(plot(kind, model, draws, stats, info=info))
        except (ModelError, SettingsError, NotImplementedError):
            continue  # nothing varies, or the model does not say, or draw, what is asked of it
    return found


def page_text(
    model: Model, draws: Arrays, stats: Arrays, info: FitInfo, images: Mapping[str, bytes]
) -> str:
    """Return the page as HTML; see `write_page`."""
    found = diagnose(model, draws, stats, info)
    summary = summary_table(model, draws, effects=True, info=info, stats=stats)
    sections = {
        "Verdict": _verdict(found),
        "Summary": _summary(summary),
        "Plots": _plots(images),
        "Model": _model(model, images),
        "How it was fitted": _fit(draws, info),
    }
    sections = {title: content for title, content in sections.items() if content}
    links = [element("a", title, href=f"#{_anchor(title)}") for title in sections]
    body = [
        joined([element("h2", title, id=_anchor(title)), content])
        for title, content in sections.items()
    ]
    about = element("p", fit_text(draws, info).splitlines()[0], class_="faint")
    return page(
        f"{model.name} (hierjax)",
        element("header", element("h1", model.name), about, element("nav", *links)),
        element("main", *body),
        element("footer", f"Made by hierjax {info.versions.get('hierjax', '')}."),
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _verdict(found: Diagnostics) -> Markup:
    first, *notes = found.verdict.splitlines()
    word, _, rest = first.partition(":")
    kind = "verdict" if found.ok else "verdict check"
    lines = [element("p", element("strong", f"{word}:"), rest), *(element("p", n) for n in notes)]
    shown = table(("looked at", "", "found"), [(c.name, _mark(c), c.found) for c in found.checks])
    others = [check for check in found.checks if not check.ok][1:]  # the first is in the box
    advice = [element("p", element("b", f"{c.name}: "), f"{c.problem}. {c.remedy}") for c in others]
    return joined([element("div", *lines, class_=kind), shown, *advice])


def _mark(check: Check) -> Markup:
    if check.ok:
        return element("td", "ok", class_="good")
    return element("td", "check", class_="check")


def _summary(summary: "pd.DataFrame") -> Markup:
    """Tables of the blocks of parameters; that of the effects of groups is folded up."""
    parts = []
    headings: set[str] = set()
    for block in dict.fromkeys(summary.index.get_level_values("block")):
        rows = summary.loc[[block]]
        if block != "effects":
            parts += [element("h3", block.capitalize()), _numbers(rows)]
            headings |= set(summary_cells(rows))
            continue
        count = len(rows)
        title = f"Effects of groups ({count:,})"
        if count > MOST_EFFECTS:
            title = f"Effects of groups (the first {MOST_EFFECTS:,} of {count:,})"
        folded = _numbers(rows.iloc[:MOST_EFFECTS])
        parts.append(element("details", element("summary", title), folded))
    meanings = "; ".join(f"{name}: {text}" for name, text in COLUMNS.items() if name in headings)
    legend = f"Mean, sd and quantiles of the posterior. {meanings}." if meanings else ""
    return joined([element("p", legend, class_="faint"), *parts]) if parts else Markup()


def _numbers(rows: "pd.DataFrame") -> Markup:
    cells = summary_cells(rows)
    names = [str(name) for name in rows.index.get_level_values("parameter")]
    lines = zip(names, *cells.values(), strict=True)
    return table(("", *cells), lines, numbers=True)


def _plots(images: Mapping[str, bytes]) -> Markup:
    found = []
    for kind, (title, caption) in PLOTS.items():
        if kind in images and kind != "levels":
            found += [element("h3", title), _picture(images[kind], title, caption)]
    return joined(found)


def _picture(png: bytes, title: str, caption: str) -> Markup:
    width = int.from_bytes(png[16:20], "big")  # of the header of a PNG file
    narrow = int(ON_SCREEN * width / RESOLUTION) if width < NARROW * RESOLUTION else None
    return picture(png, title, caption, narrow=narrow)


def _model(model: Model, images: Mapping[str, bytes]) -> Markup:
    priors = model.priors()
    columns = [c for c in ("slot", "distribution", "source", "applies_to", "shape") if c in priors]
    rows = [[str(cell) for cell in row] for row in priors[columns].itertuples(index=False)]
    tree = element("div", element("pre", str(model.levels())), class_="scroll")
    drawn = _picture(images["levels"], *PLOTS["levels"]) if "levels" in images else Markup()
    return joined(
        [
            element("h3", "Levels"), tree, drawn,
            element("h3", "Priors"), table([c.replace("_", " ") for c in columns], rows),
            _source(model),
        ]
    )  # fmt: skip


def _source(model: Model) -> Markup:
    if model.origin is None:
        return Markup()
    try:
        text = element("pre", model.source())
    except PriorError:
        return Markup()  # a prior of the user's own class
    return element(
        "details",
        element("summary", "The same as a NumPyro function"),
        element("div", text, class_="scroll"),
    )


def _fit(draws: Arrays, info: FitInfo) -> Markup:
    lines = [*fit_text(draws, info).splitlines(), *effects_text(info)]
    text = [element("p", line) for line in lines]
    settings = _pairs("Settings", info.settings.items())
    return joined([*text, settings, _pairs("Versions", info.versions.items())])


def _pairs(title: str, pairs: Iterable[tuple[str, Any]]) -> Markup:
    rows = [(name, str(value)) for name, value in pairs]
    if not rows:
        return Markup()
    return joined([element("h3", title), table(("", ""), rows)])
