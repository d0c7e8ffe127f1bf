"""The benchmark compares like with like: all tools are given one model, and its answer is known."""

import jax
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

from hierjax.bench.problems import PROBLEMS, Schools
from hierjax.bench.references import exact_schools, origin, reference
from hierjax.bench.scalars import scalar_draws
from hierjax.bench.tools.stan_program import mixed_program
from hierjax.bench.tools.with_stan import named_draws
from tests.helpers import reference_moments

UNOPTIMISED = {"xla_backend_optimization_level": 0}  # compiles in half the time


def compiled(function, *arguments):
    """Call a function once, as a program: eager densities are slow."""
    return jax.jit(function, compiler_options=UNOPTIMISED)(*arguments)


def prior_draw(function, arguments, seed):
    """Values of all sites that are not observed, drawn from the prior."""

    def draw(key):
        trace = handlers.trace(handlers.seed(function, key)).get_trace(**arguments)
        return {
            name: site["value"]
            for name, site in trace.items()
            if site["type"] in ("sample", "deterministic") and not site.get("is_observed")
        }

    return compiled(draw, jax.random.key(seed))


def densities(problem, table, centred, values):
    """Log density of the response, and of everything, at these values."""
    function, arguments = problem.function(table, centred), problem.arguments(table)

    def density(values):
        total, trace = log_density(function, (), arguments, values)
        return trace["y"]["fn"].log_prob(trace["y"]["value"]).sum(), total

    return compiled(density, values)


def log_jacobian(problem, table, values):
    """Of effects in their standardised deviations."""
    if isinstance(problem, Schools):
        return len(table) * float(np.log(values["tau"]))
    total = 0.0
    for factor, size in zip(problem.factors, problem.sizes(table), strict=True):
        total += size * float(np.sum(np.log(values[f"sd_{factor.name}"])))
        if factor.slope:
            total += size * float(np.log(values[f"L_{factor.name}"][1, 1]))
    return total


@pytest.mark.parametrize("name", PROBLEMS)
def test_hierjax_and_both_functions_by_hand_are_one_model(name):
    """One density, hierjax's and both by hand, up to the change from effects to deviations."""
    problem = PROBLEMS[name]
    table = problem.table()
    with jax.enable_x64(True):
        values = prior_draw(problem.function(table, False), problem.arguments(table), 0)
        assert set(problem.parameters) <= set(values)
        likelihood, total = densities(problem, table, True, values)
        other, standardised = densities(problem, table, False, values)
        np.testing.assert_allclose(float(likelihood), float(other), rtol=1e-10)
        change = log_jacobian(problem, table, values)
        np.testing.assert_allclose(float(standardised - total), change, rtol=1e-8)
        model = problem.model(table)
        found = compiled(lambda v: log_density(model.fn, (), dict(model.data), v)[0], values)
        np.testing.assert_allclose(float(found), float(total), rtol=1e-10)
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda: prior_draw_shapes(model))
    for site in problem.parameters:
        assert shapes[site].shape == values[site].shape, site


def prior_draw_shapes(model):
    trace = handlers.trace(handlers.seed(model.fn, jax.random.key(0))).get_trace(**model.data)
    return {name: site["value"] for name, site in trace.items() if "value" in site}


@pytest.mark.parametrize("name", PROBLEMS)
def test_new_data_have_the_shape_of_the_old(name):
    problem = PROBLEMS[name]
    old, new = problem.table(), problem.table(new=True)
    assert new.shape == old.shape
    assert (new[problem.response] != old[problem.response]).all()
    assert new.drop(columns=problem.response).equals(old.drop(columns=problem.response))


def test_coefficients_are_divided_among_their_sites():
    problem = PROBLEMS["broods"]
    table = problem.table()
    found = problem.named_coefficients(table, np.arange(8.0).reshape(1, 2, 4))
    assert list(found) == ["b_Intercept", "b_YEAR", "b_height"]
    np.testing.assert_equal(found["b_YEAR"], [[[1.0, 2.0], [5.0, 6.0]]])
    means, sds = problem.coefficient_priors(table)
    np.testing.assert_equal((means, sds), (np.zeros(4), np.full(4, 2.5)))


def test_scalars_of_a_correlation_matrix():
    draws = {"cor_g": np.zeros((4, 5, 2, 2)), "b": np.zeros((4, 5)), "r_g": np.zeros((4, 5, 3))}
    assert list(scalar_draws(draws)) == ["cor_g[1, 0]", "b", "r_g[0]", "r_g[1]", "r_g[2]"]


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_a_reference_of_all_its_scalars(name):
    problem, expected = PROBLEMS[name], reference(name)
    table = problem.table()
    groups = {} if isinstance(problem, Schools) else dict(
        zip((f"r_{each.name}" for each in problem.factors), problem.sizes(table), strict=True)
    )  # fmt: skip
    for site in problem.parameters:
        count = sum(scalar.partition("[")[0] == site for scalar in expected)
        assert count >= 1, site
        if site in groups:
            assert count % groups[site] == 0
    assert all(moment.sd > 0 and moment.mcse < 0.05 * moment.sd for moment in expected.values())
    assert origin(name)
    assert reference("no such problem") == {}


def test_the_reference_of_eight_schools_is_that_of_another_quadrature():
    found = exact_schools(PROBLEMS["eight_schools"])
    expected = reference_moments("posteriordb/eight_schools-eight_schools_noncentered")
    for name, moment in expected.items():
        site, bracket, place = name.partition("[")
        ours = found[f"{site}[{int(place[:-1]) - 1}]" if bracket else site]
        np.testing.assert_allclose((ours.mean, ours.sd), (moment.mean, moment.sd), rtol=1e-5)
        kept = reference("eight_schools")[f"{site}[{int(place[:-1]) - 1}]" if bracket else site]
        np.testing.assert_allclose((kept.mean, kept.sd), (ours.mean, ours.sd), rtol=1e-8)


RENAMED = {
    "sleepstudy": {
        "b_Intercept": "b_Intercept", "b_Days": "b_Days", "sigma": "sigma",
        "sd_Subject[0]": "sd_Subject__Intercept", "sd_Subject[1]": "sd_Subject__Days",
        "cor_Subject[1, 0]": "cor_Subject__Intercept__Days",
        "r_Subject[0, 0]": "r_Subject[308,Intercept]", "r_Subject[17, 1]": "r_Subject[372,Days]",
    },
    "cbpp": {
        "b_Intercept": "b_Intercept", "b_period[0]": "b_period2", "b_period[2]": "b_period4",
        "sd_herd": "sd_herd__Intercept", "r_herd[0]": "r_herd[1,Intercept]",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RENAMED)
def test_references_agree_with_those_that_stan_made(name):
    found, expected = reference(name), reference_moments(f"bayes/{name}")
    for ours, theirs in RENAMED[name].items():
        error = np.hypot(found[ours].mcse, expected[theirs].mcse)
        assert abs(found[ours].mean - expected[theirs].mean) < 4 * error, ours
        np.testing.assert_allclose(found[ours].sd, expected[theirs].sd, rtol=0.06)


def test_draws_of_stan_are_told_apart_by_chain():
    """PyStan hands out (*shape, draw), where chains alternate."""
    chains, length = 3, 5
    chain, draw = np.meshgrid(np.arange(chains), np.arange(length), indexing="ij")

    def flat(*shape):
        value = 100.0 * np.arange(np.prod(shape)).reshape(*shape, 1, 1) + 10.0 * chain + draw
        return np.swapaxes(value, -1, -2).reshape(*shape, -1)

    fit = {"mu": flat(1), "tau": flat(1), "theta": flat(8)}
    problem = PROBLEMS["eight_schools"]
    found = named_draws(problem, problem.table(), fit, chains)
    np.testing.assert_equal(found["mu"], 10.0 * chain + draw)
    np.testing.assert_equal(found["theta"][..., 7], 700.0 + 10.0 * chain + draw)


def test_a_program_of_stan_states_the_priors():
    problem = PROBLEMS["sleepstudy"]
    text = mixed_program(problem, False)
    for line in ("sd_0 ~ normal(0, 50.0);", "L_0 ~ lkj_corr_cholesky(2.0);", "to_vector(z_0)"):
        assert line in text
    assert "multi_normal_cholesky" in mixed_program(problem, True)
