"""The benchmark compares like with like: hierjax and the hand-written functions are one model."""

import jax
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

from benchmarks.first_fit import Row, largest_gap, scalar_draws, table
from benchmarks.problems import PROBLEMS, Schools, frame


def prior_draw(problem, rows, seed):
    """Values of the latent sites of the centred function, drawn from the prior."""
    function = problem.function(rows, True)
    seeded = handlers.seed(function, jax.random.key(seed))
    trace = handlers.trace(seeded).get_trace(**problem.arguments(rows))
    return {
        name: site["value"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hierjax_and_the_centred_function_have_one_density(name, seed):
    problem = PROBLEMS[name]
    rows = frame(problem.data, problem.response)
    with jax.enable_x64(True):
        values = prior_draw(problem, rows, seed)
        model = problem.model(rows)
        ours = dict(values)
        if not isinstance(problem, Schools):
            ours[f"L_{problem.group}"] = ours.pop("cholesky")
        by_hand, _ = log_density(
            problem.function(rows, True), (), problem.arguments(rows), dict(values)
        )
        found, _ = log_density(model.fn, (), dict(model.data), ours)
        np.testing.assert_allclose(float(found), float(by_hand), rtol=1e-10)


@pytest.mark.parametrize("name", PROBLEMS)
def test_centred_and_non_centred_functions_have_one_likelihood(name):
    """At the same effects, the two functions differ only by the density of the effects."""
    problem = PROBLEMS[name]
    rows = frame(problem.data, problem.response)
    with jax.enable_x64(True):
        seeded = handlers.seed(problem.function(rows, False), jax.random.key(0))
        trace = handlers.trace(seeded).get_trace(**problem.arguments(rows))
        values = {
            site: message["value"]
            for site, message in trace.items()
            if message["type"] in ("sample", "deterministic") and not message.get("is_observed")
        }
        centred = handlers.substitute(problem.function(rows, True), data=values)
        other = handlers.trace(handlers.seed(centred, jax.random.key(1))).get_trace(
            **problem.arguments(rows)
        )
        likelihood = [t["y"]["fn"].log_prob(t["y"]["value"]).sum() for t in (trace, other)]
        np.testing.assert_allclose(float(likelihood[0]), float(likelihood[1]), rtol=1e-10)


@pytest.mark.parametrize("name", PROBLEMS)
def test_new_data_have_the_shape_of_the_old(name):
    problem = PROBLEMS[name]
    old = frame(problem.data, problem.response)
    new = frame(problem.data, problem.response, new=True)
    assert new.shape == old.shape
    assert (new[problem.response] != old[problem.response]).all()
    assert new.drop(columns=problem.response).equals(old.drop(columns=problem.response))


def test_scalars_of_a_correlation_matrix():
    draws = {"cor_g": np.zeros((4, 5, 2, 2)), "b": np.zeros((4, 5)), "r_g": np.zeros((4, 5, 3))}
    assert list(scalar_draws(draws)) == ["cor_g[1, 0]", "b", "r_g[0]", "r_g[1]", "r_g[2]"]


def test_failure_is_a_row_and_the_gap_is_from_the_better_fit_by_hand():
    def row(tool, mean, ess):
        return Row("p", tool, 3, 5, 3, 2, 2, ess, (7, 4, 4), "b", 0, {"b": mean}, {"b": 2.0})

    rows = [
        row("hierjax", 1.5, 900),
        row("NumPyro centred", 9.0, 50),
        row("NumPyro non-centred", 1.0, 800),
        Row("p", "other", error="ValueError: no"),
    ]
    assert [largest_gap(r, rows) for r in rows[:3]] == [0.25, 4.0, 0.0]
    text = table(rows)
    assert (
        "| p | hierjax | 5.0 (7.0) | 3.0 | 2.0 (4.0) | 2.0 (4.0) | 900 (b) | 225 | 0 | 0.25 |"
        in text
    )
    assert "| p | other | failed: ValueError: no |" in text
