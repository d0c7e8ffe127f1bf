"""compare_methods: one model by several methods, with what each says and costs."""

import numpy as np
import pytest

import hierjax as hj
from hierjax.errors import SettingsError
from tests import models

MODEL = hj.Model(models.known_variances, models.known_variances_data(0), name="known")
SHORT = hj.NUTS(chains=2, warmup=200, draws=200)
WIDE = hj.Laplace(draws=500, points=500)


@pytest.fixture(scope="module")
def found():
    return hj.compare_methods(MODEL, [WIDE, SHORT, SHORT, "gibbs"], progress=False)


def test_each_method_that_ran_has_a_row_and_a_posterior(found):
    assert list(found.methods.index) == ["laplace", "nuts 1", "nuts 2", "gibbs"]
    assert found.reference == "laplace"
    assert list(found.posteriors) == ["laplace", "nuts 1", "nuts 2", "gibbs"]
    assert (found.methods["seconds"] > 0).all()
    assert found.methods["verdict"].str.startswith(("Good", "Check")).all()


def test_gaps_and_ratios_are_those_of_the_table(found):
    mean, sd = found.table["mean"], found.table["sd"]
    row = found.methods.loc["nuts 1"]
    gaps = np.abs(mean["nuts 1"] - mean["laplace"]) / sd["laplace"]
    ratios = sd["nuts 1"] / sd["laplace"]
    np.testing.assert_allclose(row["gap"], gaps.max())
    np.testing.assert_allclose([row["sd_ratio_low"], row["sd_ratio_high"]],
                               [ratios.min(), ratios.max()])  # fmt: skip
    assert found.methods.loc["laplace", "gap"] == 0.0
    assert mean["nuts 1"].equals(mean["nuts 2"])
    assert 0.0 < row["gap"] < 5 / np.sqrt(row["effective"])


def test_it_prints_both_tables_and_a_line_a_method(found):
    text = repr(found)
    assert "Gaps and ratios are to laplace." in text
    assert "gibbs: Good" in text or "gibbs: Check" in text
    for name, post in found.posteriors.items():
        assert post.info.method == name.split()[0]


def test_a_method_that_does_not_serve_the_model_is_listed_with_the_reason():
    counts = hj.formula(
        "y ~ 1 + (1 | g)",
        {"y": [0, 3, 1, 2, 5, 0, 1, 2], "g": list("aabbccdd")},
        family="poisson",
    )
    tiny = hj.NUTS(chains=1, warmup=50, draws=50)
    found = hj.compare_methods(counts, ["gibbs", tiny], progress=False)
    assert found.reference == "nuts"
    assert "not run" in found.methods.loc["gibbs", "verdict"]
    assert "normal distribution given all else" in found.failures["gibbs"]
    assert "gibbs: not run" in repr(found)


def test_no_method_is_an_error():
    with pytest.raises(SettingsError, match="`methods` is empty"):
        hj.compare_methods(MODEL, [])
    with pytest.raises(SettingsError, match="none of the methods could be run"):
        hj.compare_methods(MODEL, [hj.EmpiricalBayes("ml")], effects="centred", dtype="float16")
