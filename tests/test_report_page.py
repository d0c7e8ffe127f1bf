"""The page of a fit: complete, escaped, whole in one file; and what a browser makes of it."""

import dataclasses
import html.parser
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import hierjax as hj
from hierjax.draws import FitInfo
from hierjax.errors import FileError
from hierjax.plots.canvas import new_figure
from hierjax.report_page import draw_images, page_text
from hierjax.report_page_html import Markup, element, joined, table

EVIL = "<script>alert(1)</script>"
NAMES = [EVIL, "$x$ & $y", 'a "quoted" one', "Ωmega", "north", "a very long name of one place" * 3]
VOID = {"img", "meta"}
FETCHES = {"script", "link", "iframe", "object", "embed", "video", "audio", "base", "form"}


def example():
    """Made-up draws of a formula whose groups have names that need care."""
    generator = np.random.default_rng(0)
    group = np.repeat(NAMES, 8)
    effects = generator.normal(size=len(NAMES))
    frame = pd.DataFrame({"y": np.repeat(effects, 8) + generator.normal(size=len(group))})
    frame["x"], frame["place"] = generator.normal(size=len(frame)), group
    model = hj.formula("y ~ x + (1 | place)", frame)
    shape = (2, 250)
    order = [NAMES.index(str(name)) for name in model.labels["place"]]
    draws = {
        "b_Intercept": generator.normal(0.0, 0.1, shape), "b_x": generator.normal(0.0, 0.1, shape),
        "sd_place": generator.gamma(20.0, 0.05, shape),
        "r_place": effects[order] + generator.normal(0.0, 0.3, (*shape, len(NAMES))),
        "sigma": generator.gamma(100.0, 0.01, shape),
    }  # fmt: skip
    info = FitInfo(
        "nuts", {"target_accept": 0.8}, 17, "float64", {"r_place": "noncentred"}, {"run": 1.5},
        (0, 0), {"hierjax": "0.1.0", "jax": EVIL},
    )  # fmt: skip
    return hj.Posterior(model, draws, {}, info)


@pytest.fixture(scope="module")
def post():
    return example()


@pytest.fixture(scope="module")
def path(post, tmp_path_factory):
    found = tmp_path_factory.mktemp("page") / "report.html"
    assert post.report(found).endswith(post.diagnostics().verdict)
    return found


class Reader(html.parser.HTMLParser):
    """Checks that elements are closed in order, and collects what they hold."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags, self.links, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} would run {value}"
            if name in ("src", "href"):
                self.links.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_page_is_whole_and_fetches_nothing(path):
    text = path.read_text(encoding="utf-8")
    found = read(text)
    assert not FETCHES & set(found.tags)
    targets = [link[1:] for link in found.links if link.startswith("#")]
    assert targets and set(targets) <= set(found.ids)
    others = [link for link in found.links if not link.startswith("#")]
    assert others and all(link.startswith("data:image/png;base64,") for link in others)
    assert "url(" not in text and "@import" not in text
    assert "default-src &#x27;none&#x27;" in text
    assert found.tags.count("img") == len(re.findall(r'<img [^>]*alt="[^"]+"', text)) == 5


def test_names_from_data_are_escaped(path):
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    shown = "".join(read(text).text)
    for name in NAMES:
        assert f"r_place[{name}]" in shown
    assert shown.count(EVIL) >= 2  # the group and the version


def test_page_has_everything(path, post):
    shown = " ".join(read(path.read_text(encoding="utf-8")).text)
    verdict = post.diagnostics()
    parts = [
        post.model.name, *post.model.priors()["slot"], "HalfNormal(", "nuts, 2 chains x 250 draws",
        "float64, seed 17", "sampled as standardised deviations: r_place", "target_accept",
        "level sds and correlations".capitalize(), "Coefficients", "b_Intercept", "sigma", "rhat",
        "numpyro.sample(", "Effects of groups (6)", "place: 6 groups of 8 rows",
        *(check.name for check in verdict.checks), verdict.verdict.partition(":")[2],
    ]  # fmt: skip
    for part in parts:
        assert part in shown, part


def test_numbers_are_those_of_the_summary(path, post):
    row = re.search(
        r'<th scope="row">b_x</th>(.*?)</tr>', path.read_text(encoding="utf-8"), re.DOTALL
    )
    assert row is not None
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row[1])
    expected = post.summary().droplevel("block").loc["b_x"]
    assert float(cells[0]) == pytest.approx(expected["mean"], abs=0.01)
    assert float(cells[1]) == pytest.approx(expected["sd"], abs=0.01)


def test_a_problem_stands_out(post):
    stats = {"diverging": np.ones((2, 250), dtype=bool)}
    text = page_text(post.model, post.draws, stats, post.info, {})
    assert 'class="verdict check"' in text
    assert "500 divergent transitions" in "".join(read(text).text)
    assert '<h2 id="plots">' not in text


def test_many_effects_are_cut(post, monkeypatch):
    monkeypatch.setattr("hierjax.report_page.MOST_EFFECTS", 2)
    text = page_text(post.model, post.draws, {}, post.info, {})
    assert "Effects of groups (the first 2 of 6)" in text
    assert text.count('scope="row">r_place[') == 2


def test_estimates_have_a_page(post):
    estimates = {n: np.ones((2, *values.shape[2:])) for n, values in post.draws.items()}
    info = dataclasses.replace(
        post.info, method="empirical_bayes", settings={"kind": "ml"}, estimates=estimates,
        trace={"parameters": (4.0,), "log_likelihood": (-10.0,), "steps": (3.0,)},
    )  # fmt: skip
    text = page_text(post.model, post.draws, post.stats, info, {})
    shown = " ".join(read(text).text)
    assert "estimate" in shown
    assert "converged in 3 steps" in shown
    assert "rhat" not in shown


def test_a_page_that_cannot_be_written(post, tmp_path, monkeypatch):
    monkeypatch.setattr("hierjax.report_page.draw_images", lambda *parts: {})
    with pytest.raises(FileError, match="cannot be written"):
        post.report(tmp_path / "nowhere" / "report.html")


def test_pictures_that_a_fit_does_not_have_are_left_out(monkeypatch):
    monkeypatch.setattr("hierjax.report_page.plot", lambda kind, *parts, **rest: new_figure(1, 1))
    frame = pd.DataFrame({"y": np.arange(9.0), "x": np.arange(9.0) ** 2})
    model = hj.formula("y ~ x", frame)
    assert list(draw_images(model, {}, {}, example().info)) == ["trace", "ppc", "levels"]


def test_a_likelihood_that_cannot_be_drawn_from_has_a_page(post, monkeypatch):
    def plot(kind, *parts, **rest):
        if kind == "ppc":
            raise NotImplementedError
        return new_figure(1, 1)

    monkeypatch.setattr("hierjax.report_page.plot", plot)
    found = draw_images(post.model, post.draws, post.stats, post.info)
    assert list(found) == ["trace", "forest", "shrinkage", "levels"]


def test_elements_escape_what_they_are_given():
    assert element("p", EVIL) == f"<p>{EVIL.replace('<', '&lt;').replace('>', '&gt;')}</p>"
    assert element("p", element("b", "a"), "<") == "<p><b>a</b>&lt;</p>"
    assert element("a", "b", href='" onclick="x') == '<a href="&quot; onclick=&quot;x">b</a>'
    assert isinstance(joined(["<"]), Markup)
    text = table(("", EVIL), [(EVIL, EVIL)])
    assert "<script" not in text
    read(text)


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MEASURE = """<!DOCTYPE html><body style="margin:0">
<iframe src="report.html" width="{width}" height="900" style="border:0"></iframe>
<pre id="found">not measured</pre>
<script>
document.querySelector("iframe").onload = (event) => {{
  const view = event.target.contentWindow, page = view.document;
  const wide = [...page.querySelectorAll("body *")].filter((each) =>
    each.getBoundingClientRect().right > {width} + 1 && !each.closest(".scroll"));
  const small = [...page.querySelectorAll("p, td, th, pre, figcaption, a")].filter((each) =>
    parseFloat(view.getComputedStyle(each).fontSize) < 12);
  const images = [...page.images].filter((each) => each.complete && each.naturalWidth > 0);
  document.getElementById("found").textContent = [
    page.documentElement.scrollWidth, wide.length, small.length, images.length,
    view.performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).length,
    page.scripts.length,
  ].join(" ");
}};
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_the_screen_in_a_browser(path, tmp_path, width):
    shutil.copy(path, tmp_path / "report.html")
    outer = tmp_path / "outer.html"
    outer.write_text(MEASURE.format(width=width))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000",
        "--window-size=1400,1000", "--dump-dom", outer.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="found">([^<]*)</pre>', done.stdout)
    assert found is not None, done.stderr
    wide, beyond, small, images, fetched, scripts = map(int, found[1].split())
    assert wide <= width
    assert (beyond, small, fetched, scripts) == (0, 0, 0, 0)
    assert images == 5
