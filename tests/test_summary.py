"""The table, its text, and a diagnosis that names each problem and its remedy."""

import dataclasses
import re

import numpy as np
import pytest

from hierjax import diagnostics, importance_weights, summary
from hierjax.draws import FitInfo, Status
from hierjax.model import Model
from tests import models
from tests.test_names import radon, radon_model

CHAINS, DRAWS = 4, 500
INFO = FitInfo(
    "nuts", {"max_tree_depth": 10}, 0, "float64", {}, {"run": 1.0}, (0,) * CHAINS, {"jax": "1"}
)
SVI_INFO = dataclasses.replace(INFO, method="svi", settings={}, status=(0,))


def good_draws(seed=0):
    """Independent draws of the radon model of `test_names`."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=(CHAINS, DRAWS, *shape))

    correlation = np.tanh(normal() / 3)
    matrix = np.ones((CHAINS, DRAWS, 2, 2))
    matrix[..., 0, 1] = matrix[..., 1, 0] = correlation
    return {
        "b_Intercept": 251 + 7 * normal(),
        "sd_county": np.exp(normal(2) / 4) * [0.3, 20.0],
        "L_county": np.linalg.cholesky(matrix),
        "cor_county": matrix,
        "r_county": normal(3, 2),
        "mean": normal(5),
        "sigma": 1 + 0.01 * normal(),
    }


def good_stats(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "diverging": np.zeros((CHAINS, DRAWS), dtype=bool),
        "tree_depth": np.full((CHAINS, DRAWS), 4),
        "energy": rng.normal(size=(CHAINS, DRAWS)),
    }


# -- table -----------------------------------------------------------------------------------------


def test_blocks_and_parameters():
    table = summary.summary_table(radon_model(), good_draws())
    assert list(table.index) == [
        ("level sds and correlations", "sd_county[Intercept]"),
        ("level sds and correlations", "sd_county[floor]"),
        ("level sds and correlations", "cor_county[Intercept, floor]"),
        ("coefficients", "b_Intercept"),
        ("other", "sigma"),
    ]
    assert list(table.columns) == [
        *("mean", "sd", "q5", "q50", "q95", "mcse", "ess_bulk", "ess_tail", "rhat")
    ]


def test_order_is_that_of_the_model_and_not_of_the_draws():
    draws = good_draws()
    table = summary.summary_table(radon_model(), dict(sorted(draws.items())), effects=True)
    assert list(table.index) == list(
        summary.summary_table(radon_model(), draws, effects=True).index
    )
    assert table.index[0][1] == "sd_county[Intercept]"


def test_effects_are_a_block_of_their_own():
    table = summary.summary_table(radon_model(), good_draws(), effects=True)
    effects = table.loc["effects"]
    assert list(effects.index[:2]) == ["r_county[AITKIN, Intercept]", "r_county[AITKIN, floor]"]
    assert len(effects) == 3 * 2 + 5
    assert not table.index.get_level_values("parameter").str.startswith("L_county").any()


def test_numbers_are_those_of_the_parameter():
    draws = good_draws()
    table = summary.summary_table(radon_model(), draws, effects=True)
    for block, name, values in (
        (
            "level sds and correlations",
            "cor_county[Intercept, floor]",
            draws["cor_county"][..., 1, 0],
        ),
        ("effects", "r_county[ANOKA, floor]", draws["r_county"][..., 1, 1]),
        ("other", "sigma", draws["sigma"]),
    ):
        row = table.loc[(block, name)]
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)
        assert row["q95"] == pytest.approx(np.quantile(values, 0.95), rel=1e-12)
        assert row["ess_bulk"] == diagnostics.ess_bulk(values)
        assert row["ess_tail"] == diagnostics.ess_tail(values)
        assert row["rhat"] == diagnostics.rhat(values)
        assert row["mcse"] == pytest.approx(float(diagnostics.mcse_mean(values)), rel=1e-12)


def test_a_cholesky_factor_is_shown_without_its_fixed_elements():
    model = Model(models.correlated_slopes, models.correlated_slopes_data())
    draws = {"cholesky": good_draws()["L_county"]}
    table = summary.summary_table(model, draws)
    assert [name for _, name in table.index] == ["cholesky[1, 0]", "cholesky[1, 1]"]


def test_an_approximation_reports_the_effective_size_of_its_weights():
    log_weight = np.random.default_rng(2).normal(size=(1, DRAWS))
    draws = {name: values[:1] for name, values in good_draws().items()}
    stats = {"log_weight": log_weight}
    table = summary.summary_table(radon_model(), draws, info=SVI_INFO, stats=stats)
    size = importance_weights.weight_ess(log_weight)
    assert table["rhat"].isna().all()
    np.testing.assert_allclose(table["ess_bulk"], size)
    np.testing.assert_allclose(table["mcse"], table["sd"] / np.sqrt(size))


def test_no_parameters():
    table = summary.summary_table(radon_model(), {"r_county": good_draws()["r_county"]})
    assert table.empty
    assert summary.summary_text(table) == "(no parameters)"


# -- text ------------------------------------------------------------------------------------------


def test_text_has_blocks_as_headings_and_aligned_decimal_points():
    text = summary.summary_text(summary.summary_table(radon_model(), good_draws()), width=110)
    lines = text.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "coefficients",
        "other",
    ]
    assert lines[0].startswith("level sds and correlations ")
    assert lines[0].split()[4:] == [
        "mean",
        "sd",
        "5%",
        "50%",
        "95%",
        "mcse",
        "bulk",
        "tail",
        "rhat",
    ]
    rows = [line for line in lines if line.startswith("  ")]
    # Every row has a decimal point in every column but the effective sizes.
    points = [[place for place, letter in enumerate(row) if letter == "."] for row in rows]
    assert len(points) == 5 and all(len(places) == 7 for places in points)
    assert all(places == points[0] for places in points)


@pytest.mark.parametrize(
    ("sd", "mean", "shown"),
    [
        (7.0, 251.234, "251.2"),
        (0.3, 0.51234, "0.51"),
        (0.01, 1.23456, "1.235"),
        (40.0, 512.6, "513"),
        (1e-9, 1.5e-9, "1.50e-09"),
        (1e9, 2.5e9, "2.50e+09"),
        (1.0, -0.001, "0.0"),
    ],
)
def test_digits_follow_the_sd(sd, mean, shown):
    draws = good_draws()
    table = summary.summary_table(radon_model(), draws)
    table[["mean", "q5", "q50", "q95"]] = mean
    table["sd"] = sd
    row = summary.summary_text(table).splitlines()[1]
    assert row.split()[1] == shown


def test_unknown_numbers_are_dashes_and_unknown_columns_are_left_out():
    draws = good_draws()
    draws["sigma"][:] = 2.0
    table = summary.summary_table(radon_model(), draws)
    assert summary.summary_text(table).splitlines()[-1].split() == [
        *("sigma", "2.00", "0.00", "2.00", "2.00", "2.00", "-", "-", "-", "-")
    ]
    table["rhat"] = np.nan
    assert "rhat" not in summary.summary_text(table)


@pytest.mark.parametrize("width", [80, 100])
def test_lines_fit_the_terminal(width):
    model = radon_model(labels={"county": ["A" * 60, "LAC QUI PARLE", "B"]})
    text = summary.summary_text(summary.summary_table(model, good_draws(), effects=True), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" in text


# -- diagnosis -------------------------------------------------------------------------------------


def test_good_draws_have_a_good_verdict():
    found = summary.diagnose(radon_model(), good_draws(), good_stats(), INFO)
    assert found.ok
    assert found.verdict.startswith("Good: divergences none, R-hat 1.00")
    assert "\n" not in found.verdict
    assert (found.num_chains, found.num_draws, found.divergences) == (CHAINS, DRAWS, 0)
    assert found.rhat is not None and found.rhat.value < 1.01
    assert found.ess_bulk is not None and found.ess_bulk.value == found.table["ess_bulk"].min()
    assert len(found.e_bfmi) == CHAINS and found.e_bfmi_min > 1.5
    assert found.k_hat is None
    assert str(found).splitlines()[0] == found.verdict
    assert "CHECK" not in str(found)


def diverge(draws, stats):
    stats["diverging"][1, :37] = True


def shift_a_chain(draws, stats):
    draws["r_county"][2, :, 1, 0] += 1.0


def walk(draws, stats):
    steps = np.random.default_rng(5).normal(size=(CHAINS, DRAWS))
    path = np.zeros_like(steps)
    for t in range(1, DRAWS):
        path[:, t] = 0.8 * path[:, t - 1] + steps[:, t]
    draws["sigma"] = path


def deepen(draws, stats):
    stats["tree_depth"][0, :3] = 10


def slow_energy(draws, stats):
    stats["energy"][3] = np.cumsum(stats["energy"][3])


def freeze(draws, stats):
    draws["sigma"][:] = 2.0


def break_one(draws, stats):
    draws["b_Intercept"][0, 3] = np.nan


PROBLEMS = {
    diverge: ("divergences", r"37 divergent transitions \(1\.8% .*noncentred.*target_accept=0\.95"),
    shift_a_chain: ("R-hat", r"R-hat of r_county\[ANOKA, Intercept\] is 1\.\d+: .*Run longer"),
    walk: ("bulk ESS", r"sigma has only 1\d\d effective draws .*Run more draws, .*draws=\d000"),
    deepen: ("tree depth", r"3 trajectories were cut off at max_tree_depth=10.*max_tree_depth=12"),
    slow_energy: ("E-BFMI", r"E-BFMI is 0\.\d\d: .*tighter priors on the levels' sds"),
    freeze: ("constant draws", r"draws of sigma are constant or not finite"),
    break_one: ("constant draws", r"draws of b_Intercept are constant or not finite"),
}


@pytest.mark.parametrize("spoil", PROBLEMS, ids=lambda spoil: spoil.__name__)
def test_each_problem_is_named_with_its_remedy(spoil):
    draws, stats = good_draws(), good_stats()
    spoil(draws, stats)
    found = summary.diagnose(radon_model(), draws, stats, INFO)
    name, text = PROBLEMS[spoil]
    bad = {check.name: check for check in found.checks if not check.ok}
    assert next(iter(bad)) == name
    assert not found.ok
    assert found.verdict.startswith("Check: ")
    assert re.search(text, found.verdict)
    assert bad[name].remedy in str(found)


@pytest.mark.parametrize("spoil", [diverge, walk, slow_energy])
def test_a_remedy_that_was_taken_is_not_offered_again(spoil):
    draws, stats = good_draws(), good_stats()
    spoil(draws, stats)
    before = summary.diagnose(radon_model(), draws, stats, INFO)
    done = dataclasses.replace(INFO, effects={"r_county": "noncentred"})
    after = summary.diagnose(radon_model(), draws, stats, done)
    assert "noncentred" in before.verdict
    assert "noncentred" not in str(after)
    assert "tighter priors on the levels' sds" in after.verdict


def test_a_verdict_lists_the_other_problems():
    draws, stats = good_draws(), good_stats()
    diverge(draws, stats)
    deepen(draws, stats)
    verdict = summary.diagnose(radon_model(), draws, stats, INFO).verdict
    assert verdict.startswith("Check: 37 divergent")
    assert verdict.endswith("(Also: tree depth.)")


def test_a_failed_chain_comes_first():
    info = dataclasses.replace(INFO, status=(0, 0, int(Status.NOT_FINITE), 0))
    found = summary.diagnose(radon_model(), good_draws(), good_stats(), info)
    assert found.verdict.startswith("Check: chain 2 (of 0 to 3): the log density became non-finite")
    assert found.status[2] in found.verdict


def test_thresholds_count_chains():
    draws = {name: values[:1] for name, values in good_draws().items()}
    stats = {name: values[:1] for name, values in good_stats().items()}
    info = dataclasses.replace(INFO, status=(0,))
    found = summary.diagnose(radon_model(), draws, stats, info)
    assert all(check.ok for check in found.checks if "ESS" in check.name)
    assert "There is one chain: " in found.verdict.splitlines()[-1]
    draws = {name: values[:, :20] for name, values in draws.items()}
    found = summary.diagnose(radon_model(), draws, {}, info)
    assert [check.name for check in found.checks if not check.ok][-2:] == ["bulk ESS", "tail ESS"]


def test_too_few_draws_are_not_called_good():
    draws = {name: values[:, :3] for name, values in good_draws().items()}
    found = summary.diagnose(radon_model(), draws, {}, INFO)
    assert found.rhat is None
    assert "R-hat cannot be computed: fewer than 4 draws" in found.verdict


@pytest.mark.parametrize(
    ("spread", "ok", "text"),
    [
        (0.0, True, "Good: k-hat weights are equal"),
        (0.3, True, "Good: k-hat "),
        (5.0, False, r"k-hat is \d\.\d\d: the approximation misses .*method=\"nuts\""),
        (None, False, "nothing says how close the approximation is"),
    ],
)
def test_approximations_are_judged_by_their_weights(spread, ok, text):
    draws = {name: values[:1] for name, values in good_draws().items()}
    noise = np.random.default_rng(6).normal(size=(1, DRAWS))
    stats = {} if spread is None else {"log_weight": spread * noise - 1e3}
    found = summary.diagnose(radon_model(), draws, stats, SVI_INFO)
    assert found.ok is ok
    assert re.search(text, found.verdict)
    assert found.rhat is None and found.ess_bulk is None
    if spread:
        assert found.k_hat == importance_weights.pareto_k(stats["log_weight"])


def test_predictions_of_every_row_are_not_judged():
    rows = 1200
    model = Model(radon, {"county": np.arange(rows) % 3, "y": np.zeros(rows)})
    rng = np.random.default_rng(0)
    draws = {"sigma": rng.normal(size=(2, 50)), "mean": rng.normal(size=(2, 50, rows))}
    names = summary.diagnose(model, draws, {}, INFO).table.index.get_level_values("parameter")
    assert list(names) == ["sigma"]
