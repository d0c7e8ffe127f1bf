import itertools
import subprocess
import sys

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from matplotlib.text import Text

from hierjax import plots
from hierjax.draws import FitInfo
from hierjax.errors import FileError, ModelError, SettingsError
from hierjax.model import Model
from hierjax.pooling import shrinkage_of
from tests import level_models as models
from tests.level_models import COUNTY, ITEM, X, Y

INFO = FitInfo("nuts", {}, 0, "float64", {}, {}, (0, 0), {})
PNG = b"\x89PNG\r\n\x1a\n"
LABELS = ("Aitkin", "Anoka", "Becker", "Clay", "Cook")


def varying(county, x, y, num_counties):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    tau = models.scale()
    with numpyro.plate("county", num_counties):
        alpha = numpyro.sample("alpha", dist.Normal(mu, tau))
    models.respond(alpha[county] + slope * x, y)


def example(county=COUNTY, num_counties=5, labels=None):
    rng = np.random.default_rng(1)
    data = {
        "county": county,
        "x": rng.normal(size=len(county)),
        "y": rng.normal(size=len(county)),
        "num_counties": num_counties,
    }
    model = Model(varying, data, labels={} if labels is None else {"county": labels})
    draws = {
        "mu": rng.normal(size=(2, 50)),
        "slope": rng.normal(size=(2, 50)),
        "tau": rng.gamma(2.0, size=(2, 50)),
        "sigma": rng.gamma(2.0, size=(2, 50)),
        "alpha": rng.normal(size=(2, 50, num_counties)),
    }
    stats = {"diverging": np.arange(100).reshape(2, 50) == 7}
    return model, draws, stats


def texts(figure):
    """Text of all titles, labels, ticks and remarks."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return [text for text in found if text]


@pytest.mark.parametrize("kind", plots.PLOTS)
def test_every_plot_returns_a_figure_and_writes_a_png(kind, tmp_path):
    model, draws, stats = example(labels=LABELS)
    figure = plots.plot(kind, model, draws, stats, path=tmp_path / "plot.png")
    assert type(figure).__name__ == "Figure"
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_global_state_of_matplotlib_is_left_alone():
    code = """
import sys
import numpy as np
import matplotlib
before = matplotlib.rcParams.copy()
from matplotlib.text import Text

from hierjax import plots
from hierjax.draws import FitInfo
from tests.test_plots import example
for kind in plots.PLOTS:
    plots.plot(kind, *example())
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    model, _, _ = example()
    figure = plots.plot_levels(model.levels())
    target = tmp_path / "plot.png"
    target.write_bytes(b"old")
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(FileError, match=r"plot\.png: cannot be written"):
        plots.canvas.write_png(figure, target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_unknown_plot_is_named():
    with pytest.raises(SettingsError, match="`kind` must be one of 'trace', 'rank', 'pair'"):
        plots.plot("traces", *example())


@pytest.mark.parametrize(
    ("kind", "option", "message"),
    [
        ("forest", "sites", "a plot 'forest' has no option `sites`; its options are site"),
        ("rank", "group", "a plot 'rank' has no option `group`; its options are sites, most"),
        ("levels", "most", "a plot 'levels' has no option `most`; it has no options"),
        ("ppc", "sites", "its options are group, statistic, site, seed"),
    ],
)
def test_unknown_option_is_named(kind, option, message):
    with pytest.raises(SettingsError, match=message):
        plots.plot(kind, *example(), info=INFO, **{option: "county"})


def overlapping(figure):
    """Pairs of texts that cover each other."""
    figure.draw_without_rendering()
    found = figure.findobj(lambda a: isinstance(a, Text) and a.get_visible() and a.get_text())
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if tick.label1 in found and not low <= tick.get_loc() <= high:
                found.remove(tick.label1)  # matplotlib does not draw it
    boxes = [(text.get_text(), text.get_window_extent().padded(-1.0)) for text in found]
    return [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]


LONG = tuple(f"{name} and Lake of the Woods County, $x$ {name}" for name in LABELS)


@pytest.mark.parametrize("kind", ["trace", "rank", "pair", "forest", "shrinkage"])
def test_labels_do_not_overlap(kind):
    model, draws, stats = example(labels=LONG)
    options = {} if kind in ("forest", "shrinkage") else {"sites": ["tau", "mu", "alpha"]}
    assert overlapping(plots.plot(kind, model, draws, stats, **options)) == []


def test_rank_of_chains_that_agree_is_flat_and_of_others_is_not():
    model, draws, stats = example()
    generator = np.random.default_rng(0)
    draws["mu"] = generator.normal(size=(2, 1000))
    draws["slope"] = draws["mu"] + [[0.0], [0.5]]
    for site, is_flat in (("mu", True), ("slope", False)):
        (axes,) = plots.plot("rank", model, draws, stats, sites=[site]).axes
        bars = [patch.get_data() for patch in axes.patches if patch.get_fill()]
        tops = np.array([bar.values - bar.baseline for bar in bars])
        even = 1 / 2.4
        assert (np.abs(tops / even - 1).max() < 0.6) == is_flat
        assert tops.mean() == pytest.approx(even, rel=0.1)


def test_rank_needs_chains():
    model, draws, stats = example()
    one = {name: values[:1] for name, values in draws.items()}
    with pytest.raises(SettingsError, match="compares chains"):
        plots.plot("rank", model, one, stats)
    with pytest.raises(SettingsError, match="compares chains"):
        plots.plot("rank", model, draws, {"log_weight": np.zeros((2, 50))})


def test_pair_shows_levels_on_the_log_scale_and_what_mixes_worst():
    model, draws, stats = example(labels=LABELS)
    draws["alpha"][..., 3] = np.linspace(0.0, 1.0, 100).reshape(2, 50)  # it moves in one direction
    figure = plots.plot("pair", model, draws, stats)
    shown = texts(figure)
    assert {"log tau", "alpha[Clay]"} <= set(shown)
    assert "1 divergent transitions, in orange" in shown
    points = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 1]
    assert len(points) == 6 * 5 / 2
    at = draws["tau"].ravel()[7]
    assert any(line.get_xdata()[0] == pytest.approx(np.log(at)) for line in points)


def test_pair_needs_two():
    with pytest.raises(SettingsError, match="two scalars"):
        plots.plot("pair", *example(), sites=["mu"])


def test_trace_shows_shared_scalars_and_counts_divergences():
    model, draws, stats = example()
    found = texts(plots.plot_trace(model, draws, stats))
    assert {"mu", "slope", "tau", "sigma"} <= set(found)
    assert not any(text.startswith("alpha") for text in found)
    assert any("1 divergent transitions" in text for text in found)


def test_trace_says_what_it_leaves_out():
    model, draws, stats = example()
    found = texts(plots.plot_trace(model, draws, stats, sites=["alpha"], most=3))
    assert {"alpha[0]", "alpha[1]", "alpha[2]"} <= set(found)
    assert any("2 more scalars are not shown" in text for text in found)


def test_trace_skips_constants_and_the_second_half_of_symmetric_matrices():
    data = {"county": COUNTY, "floor": X, "y": Y, "num_counties": 5}
    model = Model(models.correlated_slopes, data)
    correlation = np.random.default_rng(0).uniform(-1, 1, (2, 20))
    matrix = np.stack([np.ones((2, 20)), correlation, correlation, np.ones((2, 20))], -1)
    draws = {"cor": matrix.reshape(2, 20, 2, 2)}
    figure = plots.plot_trace(model, draws, {}, sites=["cor"])
    assert len(figure.axes) == 2
    assert "cor[0, 1]" in texts(figure)


def test_forest_is_sorted_and_labelled():
    model, draws, _ = example(labels=LABELS)
    draws["alpha"] = np.broadcast_to([0.3, 0.1, 0.5, 0.2, 0.4], (2, 50, 5))
    (axes,) = plots.plot_forest(model, draws).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["Anoka", "Clay", "Aitkin", "Cook", "Becker"]  # from the bottom up
    (line,) = (line for line in axes.lines if len(line.get_xdata()) == 5)
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.2, 0.3, 0.4, 0.5])


def test_forest_of_a_thousand_groups_is_readable():
    model, draws, _ = example(np.arange(3000) % 1000, 1000)
    figure = plots.plot_forest(model, draws)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
    assert 10 < len(boxes) < 100
    ordered = sorted(boxes, key=lambda box: box.y0)
    gaps = [upper.y0 - lower.y1 for lower, upper in itertools.pairwise(ordered)]
    assert min(gaps) > 0
    assert figure.get_figheight() <= 13


def test_forest_has_a_panel_for_each_term():
    data = {"county": COUNTY, "floor": X, "y": Y, "num_counties": 5}
    labels = {"county_term": ("Intercept", "floor")}
    model = Model(models.correlated_slopes, data, labels=labels, dims={"r": ("county_term",)})
    figure = plots.plot_forest(model, {"r": np.random.default_rng(0).normal(size=(2, 9, 5, 2))})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["r [Intercept]", "r [floor]"]


@pytest.mark.parametrize(
    ("site", "message"), [("mu", "'mu' is a scalar"), ("nu", "no draws of 'nu'")]
)
def test_forest_needs_groups(site, message):
    model, draws, _ = example()
    with pytest.raises(SettingsError, match=message):
        plots.plot_forest(model, draws, site=site)


def test_shrinkage_compares_like_with_like():
    model, draws, _ = example()
    found = shrinkage_of(model, draws)
    x, y = model.data["x"], model.data["y"]
    mean = {name: values.mean() for name, values in draws.items()}
    for group in range(5):
        rows = COUNTY == group
        assert found.rows[group] == rows.sum()
        np.testing.assert_allclose(found.raw[group], y[rows].mean(), rtol=1e-5)
        fixed = mean["slope"] * x[rows].mean()
        own = draws["alpha"][..., group].mean()
        np.testing.assert_allclose(found.fitted[group], own + fixed, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            found.population[group], mean["mu"] + fixed, rtol=1e-4, atol=1e-5
        )


def test_shrinkage_names_the_grouping_that_is_asked_for():
    data = {"first": COUNTY, "second": ITEM, "y": Y, "num_first": 5, "num_second": 3}
    model, rng = Model(models.two_factors, data), np.random.default_rng(0)
    draws = {name: rng.gamma(2.0, size=(1, 9)) for name in ("tau_a", "tau_b", "sigma")}
    draws |= {"effect_a": rng.normal(size=(1, 9, 5)), "effect_b": rng.normal(size=(1, 9, 3))}
    assert shrinkage_of(model, draws).level == "a"
    found = shrinkage_of(model, draws, "b")
    np.testing.assert_allclose(found.raw, [Y[ITEM == item].mean() for item in range(3)], rtol=1e-6)
    assert "b" in texts(plots.plot_shrinkage(model, draws, group="b"))
    with pytest.raises(SettingsError, match="`group` must be one of 'a', 'b'"):
        plots.plot_shrinkage(model, draws, group="c")


def test_shrinkage_skips_groups_without_rows():
    model, draws, _ = example(np.array([0, 0, 3, 3, 3]), 5)
    assert list(shrinkage_of(model, draws).groups) == [0, 3]


def test_shrinkage_of_eight_schools_uses_the_plate_itself():
    data = {"y": np.arange(8.0), "sigma": np.ones(8)}
    model, rng = Model(models.eight_schools, data), np.random.default_rng(0)
    draws = {"mu": rng.normal(size=(1, 9)), "tau": np.ones((1, 9)), "theta": np.ones((1, 9, 8))}
    found = shrinkage_of(model, draws)
    np.testing.assert_allclose(found.raw, np.arange(8.0))
    np.testing.assert_allclose(found.fitted, 1.0)
    np.testing.assert_allclose(found.population, draws["mu"].mean(), rtol=1e-5)


def test_shrinkage_needs_known_groups():
    model = Model(models.one_hot, {"membership": np.eye(5)[COUNTY], "y": Y})
    assert plots.available_plots(model) == ("trace", "rank", "pair", "forest", "levels")
    with pytest.raises(ModelError, match="index array"):
        plots.plot_shrinkage(model, {})


LEVEL_MODELS = [
    (models.radon, {"county": COUNTY, "floor": X, "uranium": X[:5], "y": Y, "num_counties": 5}),
    (
        models.two_factors,
        {"first": COUNTY, "second": ITEM, "y": Y, "num_first": 5, "num_second": 3},
    ),
    (models.chain, {"district_of_school": np.array([0, 0, 1, 1, 1]), "school": COUNTY, "y": Y}),
    (models.nested_axes, {"y": np.zeros((2, 3, 4))}),
]


@pytest.mark.parametrize(("fn", "data"), LEVEL_MODELS, ids=lambda v: getattr(v, "__name__", ""))
def test_boxes_of_levels_hold_their_text_and_do_not_overlap(fn, data):
    from matplotlib.patches import FancyBboxPatch

    graph = Model(fn, data).levels()
    figure = plots.plot_levels(graph)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [p.get_window_extent() for p in axes.patches if isinstance(p, FancyBboxPatch)]
    assert len(boxes) == 1 + len(graph.parents)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
    page = figure.bbox
    for text in (text for text in axes.texts if text.get_text()):
        extent = text.get_window_extent()
        inside = [
            b
            for b in boxes
            if b.contains(extent.x0, extent.y0) and b.contains(extent.x1, extent.y1)
        ]
        assert len(inside) == 1 or not any(b.overlaps(extent) for b in boxes), text.get_text()
        assert page.contains(extent.x0, extent.y0)
        assert page.contains(extent.x1, extent.y1)
