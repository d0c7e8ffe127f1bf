"""Checks of a model against its data: what the plots of replicated data and of transforms show."""

import numpy as np
import pandas as pd
import pytest

import hierjax as hj
from hierjax import errors, plots
from hierjax.draws import FitInfo
from hierjax.plots.checking import left_out_transforms, plot_ppc

CHAINS, DRAWS = 2, 250
INFO = FitInfo("nuts", {}, 0, "float64", {}, {}, (0,) * CHAINS, {})
GROUPS, EACH = 8, 50


def example(spread=1.0, shift=0.0):
    """Data of groups with sd 1 in each, and draws near the truth but for the residual sd."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(GROUPS), EACH)
    effects = generator.normal(size=GROUPS)
    y = effects[group] + generator.normal(size=len(group))
    y[group == 3] += shift
    model = hj.formula("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": group}))
    shape = (CHAINS, DRAWS)
    draws = {
        "b_Intercept": np.zeros(shape),
        "sd_g": np.ones(shape),
        "r_g": effects + generator.normal(size=(*shape, GROUPS)) / np.sqrt(EACH),
        "sigma": spread * np.exp(0.03 * generator.normal(size=shape)),
    }
    return hj.Posterior(model, draws, {}, INFO)


def texts(figure):
    figure.draw_without_rendering()
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " ".join(text.get_text() for text in found)


@pytest.mark.parametrize("kind", ["ppc", "pit"])
def test_pictures_are_written(kind, tmp_path):
    example().plot(kind, path=tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("shift", "outside"), [(0.0, "0 of 8 lie outside"), (3.0, "1 of 8 lie outside")]
)
def test_a_group_that_the_model_misses_is_counted(shift, outside):
    figure = example(shift=shift).plot("ppc")
    assert outside in texts(figure)
    assert "Mean of y in each g" in texts(figure)


def test_statistics_of_groups():
    right, narrow = example().plot("ppc", statistic="sd"), example(0.5).plot("ppc", statistic="sd")
    assert "8 of 8 lie outside" in texts(narrow)
    assert "8 of 8 lie outside" not in texts(right)
    own = example().plot("ppc", statistic=np.median)
    assert "Median of y" in texts(own)


def test_fewer_data_sets_are_replicated_of_many_rows(monkeypatch):
    asked = []

    def predict(*parts, most_draws, **rest):
        asked.append(most_draws)
        return hj.predict_result.Prediction("y", np.zeros((1, 50, 400)), (), {}, "draw", "sample")

    monkeypatch.setattr("hierjax.plots.checking.predict", predict)
    post = example()
    for most in (2**24, 400 * 60, 1):
        monkeypatch.setattr("hierjax.plots.checking.MOST_VALUES", most)
        plot_ppc(post.model, post.draws, post.info)
    assert asked == [1000, 60, 50]


def test_transforms_of_a_right_model_are_uniform_and_of_narrow_ones_extreme():
    def deviation(post):
        found = left_out_transforms(post.model, post.draws, post.stats, post.info, site="y")
        assert found.shape == (GROUPS * EACH,)
        place = np.linspace(0.0, 1.0, 401)
        below = np.searchsorted(np.sort(found), place, side="right") / len(found)
        return np.max(np.abs(below - place)) * np.sqrt(len(found))  # Kolmogorov's statistic

    assert deviation(example()) < 1.63  # 1% in the limit
    assert deviation(example(0.5)) > 2.0
    assert deviation(example(2.0)) > 2.0


def test_transforms_of_counts_are_made_continuous():
    generator = np.random.default_rng(1)
    y = generator.poisson(0.7, size=300)
    frame = pd.DataFrame({"y": y, "g": np.arange(300) % 5})
    model = hj.formula("y ~ 1 + (1 | g)", frame, family="poisson")
    shape = (CHAINS, DRAWS)
    draws = {
        "b_Intercept": np.log(0.7) + 0.07 * generator.normal(size=shape),
        "sd_g": np.full(shape, 0.1),
        "r_g": np.zeros((*shape, 5)),
    }
    found = left_out_transforms(model, draws, {}, INFO, site="y")
    counts, _ = np.histogram(found, bins=10, range=(0, 1))
    assert np.sum((counts - 30.0) ** 2 / 30.0) < 27.9  # chi square, 9 degrees, 0.1%


def test_what_is_asked_for_must_exist():
    post = example()
    with pytest.raises(errors.SettingsError, match="`statistic` must be one of"):
        post.plot("ppc", statistic="mode")
    with pytest.raises(errors.SettingsError, match="`group` must be one of 'g'"):
        plot_ppc(post.model, post.draws, post.info, group="h")
    with pytest.raises(errors.SettingsError, match="give its `info`"):
        plots.plot("ppc", post.model, post.draws, post.stats)
