"""A fit that starts from another: the same answer, sooner, and refused where it cannot be."""

import dataclasses

import jax
import numpy as np
import pytest

import hierjax as hj
from hierjax import programs
from hierjax.draws import FitInfo
from hierjax.errors import FileError, SettingsError
from hierjax.fit_init import positions_of
from hierjax.methods import Problem
from hierjax.posterior import Posterior

NUTS = hj.NUTS(chains=2, warmup=100, draws=200)


@pytest.fixture(scope="module")
def model():
    table = hj.load_data("sleepstudy")
    return hj.formula("Reaction ~ Days + (1 | Subject)", table)


@pytest.fixture(scope="module")
def quick(model):
    """A posterior as another method could have found it: roughly that of sleepstudy."""
    generator = np.random.default_rng(0)

    def normal(mean, sd, *shape):
        return mean + sd * generator.normal(size=(1, 1500, *shape))

    draws = {
        "b_Intercept": normal(251.0, 10.0),
        "b_Days": normal(10.5, 0.8),
        "sigma": np.exp(normal(np.log(31.0), 0.06)),
        "sd_Subject": np.exp(normal(np.log(37.0), 0.2)),
        "r_Subject": normal(0.0, 35.0, 18),
    }
    info = FitInfo("laplace", {}, 0, "float64", {}, {}, (0,), {})
    return Posterior(model, draws, {}, info)


@pytest.fixture(scope="module")
def warm(model, quick):
    return hj.fit(model, method=NUTS, init=quick, progress=False)


def test_nuts_starts_where_the_draws_are_and_says_so(model, quick, warm):
    assert warm.info.init == "laplace, seed 0"
    assert "started from another fit: laplace, seed 0" in warm.report()
    assert warm.diagnostics().divergences == 0
    for name in ("sigma", "b_Days"):
        error = warm.draws[name].mean() - {"sigma": 31.0, "b_Days": 10.5}[name]
        assert abs(error) < 0.5 * warm.draws[name].std(), name


def test_a_second_start_compiles_nothing(model, quick, warm, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("compiled again")

    monkeypatch.setattr(programs, "start_compiling", refuse)
    monkeypatch.setattr("hierjax.fit_init.compile_for", refuse)
    again = hj.fit(model, method=NUTS, init=quick, progress=False)
    np.testing.assert_array_equal(again.draws["sigma"], warm.draws["sigma"])


def test_positions_have_the_moments_of_the_draws_and_fewer_sites_do(model, quick):
    with jax.enable_x64(True):
        problem = Problem(model.fn, model.data, "noncentred")
        few = {name: quick.draws[name] for name in ("b_Intercept", "b_Days", "sigma", "sd_Subject")}
        short = dataclasses.replace(quick, draws=few)
        near = np.asarray(positions_of(short, model, problem.coordinates, model.data))
        whole = np.asarray(positions_of(quick, model, problem.coordinates, model.data))
    assert near.shape == whole.shape == (1000, 22)
    assert np.isfinite(near).all()
    # effects that are missing are standard normal as their stand-ins; others are what they are
    assert np.sum(np.abs(np.std(near, axis=0) - 1.0) < 0.1) >= 18
    matches = np.isclose(near, whole).all(axis=0)
    assert matches.sum() == 4


OTHER = {"y": [0.0, 1.0, 2.0, 3.0], "g": ["a", "a", "b", "b"]}


def test_a_posterior_that_does_not_fit_is_refused(model, quick):
    with pytest.raises(SettingsError, match=r"posterior as hierjax.fit returns it; got str"):
        hj.fit(model, init="laplace", progress=False)
    schools = hj.load_data("eight_schools")
    other = hj.library.eight_schools(schools["y"], schools["sigma"])
    with pytest.raises(SettingsError, match="posterior of another model"):
        hj.fit(other, method=NUTS, init=quick, progress=False)
    longer = dataclasses.replace(quick, draws={**quick.draws, "sigma": quick.draws["r_Subject"]})
    with pytest.raises(SettingsError, match=r"site 'sigma' in shape \(18,\), and this model needs"):
        hj.fit(model, method=NUTS, init=longer, progress=False)
    without = {name: value for name, value in quick.draws.items() if name != "sigma"}
    short = dataclasses.replace(quick, draws=without)
    with pytest.raises(SettingsError, match="no draws of site 'sigma', which this method samples"):
        hj.fit(model, method=NUTS, init=short, progress=False)


def test_a_checkpoint_knows_where_the_fit_started(model, quick, warm, tmp_path):
    hj.fit(model, method=NUTS, init=quick, checkpoint=tmp_path / "a", progress=False)
    with pytest.raises(FileError, match="init was"):
        hj.fit(model, method=NUTS, init=warm, checkpoint=tmp_path / "a", progress=False)
    with pytest.raises(FileError, match="init was"):
        hj.fit(model, method=NUTS, checkpoint=tmp_path / "a", progress=False)


def test_a_saved_fit_remembers_it(warm, tmp_path):
    warm.save(tmp_path / "warm.nc")
    assert hj.load(tmp_path / "warm.nc").info.init == "laplace, seed 0"


METHODS = ("nuts", "laplace", "svi", "deterministic_advi", "empirical_bayes", "gibbs")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first", ["empirical_bayes", "svi"])
def test_every_method_starts_from_every_kind_of_posterior(model, first, method):
    init = hj.fit(model, method=first, progress=False, seed=3)
    cold = hj.fit(model, method=method, progress=False, seed=1)
    warm = hj.fit(model, method=method, init=init, progress=False, seed=2)
    assert set(warm.info.status) == {0}
    for name in ("b_Intercept", "b_Days", "sigma", "sd_Subject", "r_Subject"):
        sd = np.maximum(cold.draws[name].std((0, 1)), 1e-3)
        gap = np.abs(warm.draws[name].mean((0, 1)) - cold.draws[name].mean((0, 1))) / sd
        assert gap.max() < 0.25, (name, gap)


@pytest.mark.slow
def test_a_short_warmup_is_enough_from_a_variational_fit():
    data = hj.load_data("grouseticks").astype({"YEAR": str})
    model = hj.formula("TICKS ~ YEAR + (1 | BROOD)", data, family="poisson")
    init = hj.fit(model, method="svi", progress=False)
    short = hj.NUTS(warmup=150, draws=500)
    warm = hj.fit(model, method=short, init=init, progress=False)
    cold = hj.fit(model, method=hj.NUTS(draws=500), progress=False)
    assert warm.diagnostics().rhat.value < 1.02
    for name in ("b_Intercept", "sd_BROOD"):
        gap = warm.draws[name].mean() - cold.draws[name].mean()
        assert abs(gap) < 0.2 * cold.draws[name].std(), name
