"""The table of designs: its quadrature is right, and gaps are measured as they are said to be."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from benchmarks import designs
from benchmarks.designs import Row, gaps, keep_row, load_rows, table
from benchmarks.designs_problems import PROBLEMS, Reference
from benchmarks.designs_quadrature import NODES, arms_likelihood, population, summarise
from hierjax import library
from hierjax.datasets import load_data
from tests.helpers import reference_json


def test_every_design_has_real_data():
    """Topics are in the documentation; the hierarchical linear model is one of varying slopes."""
    packaged = [each for name, each in PROBLEMS.items() if name not in ("rats", "exam_ml")]
    left = set(library.MODELS) - {each.design for each in packaged}
    assert left == {"hierarchical_linear", "topics", "nested_topics"}


@pytest.mark.slow
def test_quadrature_agrees_with_that_of_the_reference_folder():
    frame = load_data("bcg")
    log = stats.norm.logpdf(frame.yi.to_numpy(), NODES[:, None], frame.sei.to_numpy())
    mu, sigma = np.linspace(-2.2, 0.9, 121), np.exp(np.linspace(-5.0, 1.4, 121))
    found = population(
        np.exp(log - log.max(0)), stats.norm.logpdf, stats.halfnorm.logpdf, mu, sigma
    )
    moments = summarise(*found, mu, sigma)
    expected = reference_json("exact.json")["meta_bcg (mu~N(0,1), tau~half-Normal(0,1))"]
    for name, row in expected.items():
        site, _, place = name.partition("[")
        ours = {"tau": "sigma", "mu": "mu"}.get(name, f"{site}[{place[:-1]}]")
        ours = f"theta[{int(place[:-1]) - 1}]" if place else ours
        np.testing.assert_allclose(moments[ours].mean, row["mean"], rtol=2e-3, atol=5e-4)
        np.testing.assert_allclose(moments[ours].sd, row["sd"], rtol=2e-3)


@pytest.mark.slow
def test_baselines_are_integrated_out():
    """Against a fine grid of the baseline, at one log odds ratio."""
    counts = (np.array([3]), np.array([38]), np.array([5]), np.array([39]))
    likelihood = arms_likelihood(*counts, 5.0)[:, 0]
    base = np.linspace(-40.0, 40.0, 80_001)
    direct = [
        np.sum(
            stats.norm.pdf(base, 0.0, 5.0)
            * stats.binom.pmf(5, 39, 1 / (1 + np.exp(-base)))
            * stats.binom.pmf(3, 38, 1 / (1 + np.exp(-base - NODES[place])))
        )
        for place in (5000, 5500)
    ]
    np.testing.assert_allclose(
        likelihood[5000] / likelihood[5500], direct[0] / direct[1], rtol=1e-6
    )


def test_gaps_are_in_standard_errors_and_in_sds():
    draws = np.random.default_rng(1).normal(size=(4, 1000))
    draws = (draws - draws.mean()) / draws.std(ddof=1)
    ((errors, sds),) = gaps({"a": draws + 0.5}, {"a": Reference(0.0, 2.0, 0.0)}).values()
    assert sds == pytest.approx(0.25)
    assert errors == pytest.approx(0.5 * 4000**0.5, rel=0.1)
    ((errors, _),) = gaps({"a": draws + 0.5}, {"a": Reference(0.0, 2.0, 0.5)}).values()
    assert errors == pytest.approx(1.0, rel=0.01)


def test_rows_are_kept_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(designs, "RESULTS", tmp_path / "rows.jsonl")
    row = Row("pumps", "nuts", "gamma_poisson", 10, "10 group", minimum_ess=900.0, rhat=1.001)
    keep_row(row)
    keep_row(Row("bcg", "laplace", error="no | way"))
    keep_row(dataclasses.replace(row, minimum_ess=950.0))
    assert [(each.problem, each.method) for each in load_rows()] == [
        ("bcg", "laplace"),
        ("pumps", "nuts"),
    ]
    text = table(load_rows())
    assert "| 950 | 1.001 |" in text and "failed: no \\| way" in text


@pytest.mark.skipif(
    not designs.SAMPLED.exists(), reason="made by python -m benchmarks.designs --reference"
)
def test_references_that_were_sampled_mixed():
    kept = json.loads(designs.SAMPLED.read_text())
    assert set(kept) == {name for name, each in PROBLEMS.items() if each.source == "NumPyro"}
    for name, row in kept.items():
        assert row["minimum_ess"] > 200, name
        assert row["divergences"] < 80, name
