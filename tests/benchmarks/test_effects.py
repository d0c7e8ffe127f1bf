"""The comparison of group effects: every problem is a sound model, and its measures are right."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers

from benchmarks import effects
from benchmarks.effects import ORDER, Row, Run, judge, largest_gap, table
from benchmarks.effects_problems import PROBLEMS, scalar_draws
from benchmarks.rows import keep_row, load_rows
from hierjax.arguments import Arguments
from hierjax.density import make_density
from hierjax.transforms.noncentre import noncentre
from tests.helpers import reference

SEED = 3
UNOPTIMISED = {"xla_backend_optimization_level": 0}  # compiles in half the time


def model_of(name):
    problem = PROBLEMS[name]
    if problem.reference:
        reference(problem.reference)
    return problem.model()


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_stated_priors_and_a_finite_density(name):
    model = model_of(name)
    assert not (model.priors()["source"] == "default").any()
    with jax.enable_x64(True):
        density = make_density(model.fn, Arguments.of(model.data), dict(model.data))
        log_density = jax.jit(density.log_density, compiler_options=UNOPTIMISED)
        arrays = Arguments.of(model.data).arrays(model.data)
        assert np.isfinite(log_density(jnp.zeros(density.size), arrays))


@pytest.mark.parametrize("name", PROBLEMS)
def test_both_ways_of_numpyro_have_the_parameters_of_the_model(name):
    """The non-centred function records each group effect under its own name, in its own shape."""
    model = model_of(name)
    fn, sites = noncentre(model.fn, model.data)
    assert set(sites) == {site for site, block in model.blocks.items() if block == "effect"}

    def shapes(fn):
        arguments = Arguments.of(model.data)
        values = jax.eval_shape(
            lambda arrays: {
                site: message["value"]
                for site, message in handlers.trace(handlers.seed(fn, jax.random.key(SEED)))
                .get_trace(**arguments.rebuild(arrays))
                .items()
                if message["type"] in ("sample", "deterministic")
            },
            arguments.arrays(model.data),
        )
        return {site: values[site].shape for site in model.blocks}

    assert shapes(fn) == shapes(model.fn)


def test_scalars_are_counted_once():
    model = model_of("sleepstudy")
    draws = {
        "b_Intercept": np.zeros((2, 4)),
        "b_Days": np.zeros((2, 4)),
        "sd_Subject": np.zeros((2, 4, 2)),
        "L_Subject": np.zeros((2, 4, 2, 2)),
        "cor_Subject": np.zeros((2, 4, 2, 2)),
        "r_Subject": np.zeros((2, 4, 18, 2)),
        "sigma": np.zeros((2, 4)),
        "r_Subject_decentered": np.zeros((2, 4, 18, 2)),
    }
    found = scalar_draws(model, draws)
    assert len(found) == 2 + 2 + 1 + 36 + 1
    assert "cor_Subject[1, 0]" in found
    assert found["r_Subject[17, 1]"].shape == (2, 4)


def test_row_of_known_draws():
    """Independent draws count in full; a parameter that is stuck is the worst and has none."""
    model = model_of("cbpp")
    generator = np.random.default_rng(0)
    draws = {
        "b_Intercept": generator.normal(5.0, 2.0, (2, 2000)),
        "b_period": generator.normal(size=(2, 2000, 3)),
        "sd_herd": np.repeat(generator.normal(size=(2, 20)), 100, axis=1),
        "r_herd": generator.normal(size=(2, 2000, 15)),
    }
    row = judge("cbpp", "hierjax auto", 2000, model, Run(draws, 20_000, 3, 2.0, 1.0))
    assert row.worst_parameter == "sd_herd"
    assert 15 < row.minimum_ess < 80
    assert row.per_1000_leapfrogs == pytest.approx(row.minimum_ess / 20)
    assert row.per_cpu_second == pytest.approx(row.minimum_ess / 2)
    assert row.divergences == 3
    assert len(row.means) == len(row.errors) == 1 + 3 + 1 + 15
    assert row.means[0] == pytest.approx(draws["b_Intercept"].mean(), rel=1e-5)
    assert row.errors[0] == pytest.approx(2.0 / 4000**0.5, rel=0.15)


@pytest.mark.parametrize("tool", ["NumPyro non-centred", "hierjax noncentred"])
def test_a_tiny_fit_becomes_a_row(tool):
    model = model_of("cbpp")
    found = effects.run(model, tool, draws=40, seed=0)
    row = judge("cbpp", tool, 40, model, found)
    assert {name: values.shape[:2] for name, values in scalar_draws(model, found.draws).items()}
    assert all(values.shape == (2, 40) for values in scalar_draws(model, found.draws).values())
    assert row.leapfrogs >= 2 * 40
    assert row.divergences >= 0
    assert row.minimum_ess > 0
    assert row.cpu_seconds > 0
    assert len(row.means) == 20
    assert Row(**json.loads(json.dumps(dataclasses.asdict(row)))) == row


def row_of(tool, ess, leapfrogs, mean=1.0, **more):
    return Row("cbpp", tool, 500, leapfrogs, ess, "sd", 0, 2.0, 9.0, {}, [mean], [0.3], **more)


def test_the_ratio_is_to_the_better_numpyro_a_leapfrog():
    rows = [
        row_of("NumPyro centred", 400, 40_000, mean=9.0),
        row_of("NumPyro non-centred", 200, 10_000),
        row_of("hierjax auto", 500, 5_000, mean=2.0),
    ]
    assert effects.better_baseline(rows, "cbpp") == rows[1]
    assert effects.better_baseline(rows, "radon") is None
    assert largest_gap(rows[2], rows[1]) == pytest.approx(1 / (0.3 * 2**0.5))
    assert "| 100 | 5.0 (4) | 250 | 2.0 (9.0) | 0 | 2.4 |" in table(rows)


def test_a_gap_from_chains_that_do_not_mix_is_marked():
    rows = [row_of("NumPyro centred", 20, 40_000), row_of("hierjax auto", 500, 5_000)]
    text = table(rows)
    assert "20 (sd, not converged)" in text
    assert "0.0 (not valid)" in text


def test_failures_are_rows_and_new_rows_replace_old_ones(tmp_path):
    path = tmp_path / "rows.jsonl"
    failed = Row("cbpp", "hierjax auto", error="ValueError: no | such")
    for row in (failed, row_of("NumPyro centred", 400, 40_000), Row("sleepstudy", "hierjax auto")):
        keep_row(path, row, ORDER)
    assert [row.problem for row in load_rows(path, Row)] == ["sleepstudy", "cbpp", "cbpp"]
    text = table(load_rows(path, Row))
    assert "| cbpp | hierjax auto | failed: ValueError: no \\| such |" in text
    keep_row(path, row_of("hierjax auto", 500, 5_000), ORDER)
    kept = load_rows(path, Row)
    assert [row.tool for row in kept[1:]] == ["NumPyro centred", "hierjax auto"]
    assert not any(row.error for row in kept)
