"""The table of designs: its quadrature is right, and gaps are measured as they are said to be."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import signal, stats

from benchmarks.designs import (
    ALLOWED,
    ORDER,
    RESULTS,
    TOO_SLOW,
    Row,
    _verdict,
    complaints,
    table,
)
from benchmarks.designs_compare import Reference, beyond_chance, chance, gaps
from benchmarks.designs_problems import PROBLEMS, SAMPLED
from benchmarks.designs_quadrature import NODES, arms_likelihood, population, slopes, summarise
from benchmarks.rows import keep_row, load_rows
from hierjax import library
from hierjax.datasets import load_data
from hierjax.summary_checks import Check
from tests.helpers import reference_json


def test_every_design_has_real_data():
    packaged = [each for name, each in PROBLEMS.items() if name not in ("rats", "exam_ml")]
    assert set(library.MODELS) == {each.design for each in packaged}


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


@pytest.mark.slow
def test_quadrature_of_slopes_agrees_with_a_sum_over_everything():
    """Two groups: the density of gamma, tau, sigma and both slopes on a grid of five dimensions."""
    generator = np.random.default_rng(4)
    group, x = np.repeat([0, 1], 6), generator.normal(size=12)
    y = np.array([4.0, 9.0])[group] * x + 3.0 * generator.normal(size=12)
    data = library.hierarchical_linear(y, x, group, gamma_sd=6.0, tau_sd=4.0, sigma_sd=3.0).data
    grids = [np.linspace(-20, 32, 61), np.linspace(0.1, 16, 81), np.linspace(1.0, 9, 33)]
    gamma, tau, sigma = np.meshgrid(*grids, indexing="ij")
    base = stats.norm.logpdf(gamma, 0.0, 6.0)
    base += stats.halfnorm.logpdf(tau, scale=4.0) + stats.halfnorm.logpdf(sigma, scale=3.0)
    beta = np.linspace(-15, 25, 401)
    parts = []
    for each in range(2):
        of_rows = stats.norm.logpdf(y[group == each], np.outer(beta, x[group == each])[None],
                                    grids[2][:, None, None]).sum(-1)  # fmt: skip
        prior = stats.norm.pdf(beta, grids[0][:, None, None], grids[1][:, None])
        parts.append([np.einsum("gtb,sb->gts", prior, np.exp(of_rows) * beta**k) for k in (0, 1)])
    weight = np.exp(base) * parts[0][0] * parts[1][0]
    total = weight.sum()
    weight /= total
    moments = slopes(data)
    for name, values in (("gamma", gamma), ("tau", tau), ("sigma", sigma)):
        mean = np.sum(weight * values)
        assert moments[name].mean == pytest.approx(mean, rel=0.01), name
        sd = np.sum(weight * (values - mean) ** 2) ** 0.5
        assert moments[name].sd == pytest.approx(sd, rel=0.01), name
    for each in range(2):
        firsts = np.exp(base) * parts[each][1] * parts[1 - each][0]
        mean = np.sum(firsts) / total
        assert moments[f"beta[{each}]"].mean == pytest.approx(mean, rel=0.01)


def test_gaps_are_in_standard_errors_and_in_sds():
    draws = np.random.default_rng(1).normal(size=(4, 1000))
    draws = (draws - draws.mean()) / draws.std(ddof=1)
    (gap,) = gaps({"a": draws + 0.5}, {"a": Reference(0.0, 2.0, 0.0)}).values()
    assert gap.sds == pytest.approx(0.25)
    assert gap.errors == pytest.approx(0.5 * 4000**0.5, rel=0.1)
    assert gap.ratio == pytest.approx(0.5, rel=1e-3)
    assert gap.spread_errors == pytest.approx(3.0 / (2.0 / 4000) ** 0.5, rel=0.2)
    (gap,) = gaps({"a": draws + 0.5}, {"a": Reference(0.0, 2.0, 0.5)}).values()
    assert gap.errors == pytest.approx(1.0, rel=0.01)
    (gap,) = gaps({"a": draws}, {"a": Reference(0.1, 1.0)}, most=100.0).values()
    assert gap.errors == pytest.approx(1.0, rel=0.01)


def test_sds_of_antithetic_chains_are_known_less_well_than_means():
    """The reference is worth 16,000 draws for its mean, and 1,880 for its sd, as these are."""
    noise = np.random.default_rng(2).normal(size=(4, 1000))
    draws = signal.lfilter([1.0], [1.0, 0.6], noise)
    draws = (draws - draws.mean()) / draws.std()
    for_mean, for_sd = 4000 * 1.6 / 0.4, 4000 * (1 - 0.36) / (1 + 0.36)
    (gap,) = gaps({"a": draws}, {"a": Reference(0.0, 1.1, 1.1 / for_mean**0.5)}).values()
    error = (2.0 / for_sd) ** 0.5 * np.hypot(1.0, 1.1**2)
    assert gap.spread_errors == pytest.approx((1.1**2 - 1.0) / error, rel=0.15)


def test_gaps_of_many_parameters_are_chance_up_to_a_larger_limit():
    assert chance(1) == pytest.approx(3.89, abs=0.01)
    assert chance(1000) == pytest.approx(5.33, abs=0.01)
    draws = np.random.default_rng(2).normal(size=(300, 4, 1000))
    expected = {str(place): Reference(0.0, 1.0) for place in range(300)}
    found = {str(place): each for place, each in enumerate(draws)}
    assert beyond_chance(gaps(found, expected)) == (0.0, 0.0)
    found["7"] = 1.5 * found["7"] + 0.2
    mean, sd = beyond_chance(gaps(found, expected))
    assert mean == pytest.approx(0.2, abs=0.05)
    assert sd == pytest.approx(0.5, abs=0.05)


GOOD = Row("pumps", "nuts", gap_sds=0.3, mean_beyond=0.0, sd_beyond=0.0, sd_least=0.9, sd_most=1.1)


@pytest.mark.parametrize(
    ("changed", "right"),
    [
        ({}, True),
        ({"error": "failed"}, False),
        ({"verdict": "Check: R-hat"}, False),
        ({"mean_beyond": 0.2}, False),
        ({"sd_beyond": float("nan")}, False),
        ({"method": "svi"}, True),
        ({"method": "svi", "gap_sds": 0.7}, False),
        ({"method": "svi", "sd_least": 0.3}, False),
        ({"method": "svi", "sd_most": 1.7}, False),
        ({"method": "deterministic_advi", "sd_most": 1.7}, True),
        ({"method": "deterministic_advi", "sd_most": 2.1}, False),
        ({"method": "empirical_bayes", "gap_sds": 1e-4}, True),
        ({"method": "empirical_bayes", "gap_sds": 2e-3}, False),
    ],
)
def test_a_row_is_judged_by_its_method(changed, right):
    assert (not complaints(dataclasses.replace(GOOD, **changed))) == right


@pytest.mark.parametrize(
    ("check", "divergence_fraction", "rhat", "compared", "verdict"),
    [
        ("R-hat", 0.0, 1.015, 343, ""),
        ("R-hat", 0.0, 1.015, 10, "bad"),
        ("R-hat", 0.0, 1.03, 343, "bad"),
        ("R-hat", 0.0, np.nan, 343, "bad"),
        ("divergences", 0.0005, 1.0, 10, ""),
        ("divergences", 0.002, 1.0, 10, "bad"),
        ("bulk ESS", 0.0, 1.0, 343, "bad"),
    ],
)
def test_what_chance_does_is_no_complaint(check, divergence_fraction, rhat, compared, verdict):
    diagnostics = SimpleNamespace(
        divergence_fraction=divergence_fraction,
        rhat=SimpleNamespace(value=rhat),
        checks=[Check(check, "", False, "bad"), Check("run", "", True)],
    )
    assert _verdict(diagnostics, compared) == verdict


def test_rows_are_kept_and_replaced(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = Row(
        "pumps", "nuts", "gamma_poisson", 10, "10 group", compared=12, minimum_ess=900.0, rhat=1.001
    )
    keep_row(path, row, ORDER)
    keep_row(path, Row("bcg", "laplace", error="no | way"), ORDER)
    keep_row(path, dataclasses.replace(row, minimum_ess=950.0), ORDER)
    assert [(each.problem, each.method) for each in load_rows(path, Row)] == [
        ("bcg", "laplace"),
        ("pumps", "nuts"),
    ]
    text = table(load_rows(path, Row))
    assert "| 950 | 1.001 |" in text and "failed: no \\| way" in text


def test_rows_that_are_kept_are_right():
    """Each design has a row whose method is exact, but topics and what waits for a long run."""
    rows = load_rows(RESULTS, Row)
    failed = {(row.problem, row.method) for row in rows if complaints(row)}
    assert failed == set(TOO_SLOW)
    assert {method for _, method in TOO_SLOW} <= set(ALLOWED)
    exact = {row.design for row in rows if row.method in ("nuts", "laplace", "gibbs")}
    assert set(library.MODELS) - exact == {"topics", "nested_topics"}


def test_references_that_were_sampled_mixed():
    kept = json.loads(SAMPLED.read_text())
    sampled = {name for name, each in PROBLEMS.items() if each.source[:5] == "NumPy"}
    assert set(kept) == sampled
    for name, row in kept.items():
        assert row["minimum_ess"] > 200, name
        assert row["divergences"] < 80, name
