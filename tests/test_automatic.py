"""What `method="auto"` chooses, that it says why, and that NUTS follows where weights are poor."""

import sys

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.automatic import Auto, first_choice
from hierjax.draws import Status
from hierjax.methods import as_method
from hierjax.transforms.coordinates import choose_coordinates
from tests import models

SCHOOLS = {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA}


def beside_a_funnel(y, sigma, width):
    """Eight schools, and beside them a funnel that is the deeper the greater the width."""
    models.eight_schools(y, sigma)
    log_scale = numpyro.sample("log_scale", dist.Normal(0.0, width))
    with numpyro.plate("other", 7):
        numpyro.sample("x", dist.StudentT(50.0, 0.0, np.e**log_scale))


def with_many_parameters(y, sigma, count):
    models.eight_schools(y, sigma)
    with numpyro.plate("nuisance", count):
        numpyro.sample("a", dist.Gamma(2.0, 1.0))


def counts(y):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", y.shape[0]):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
        numpyro.sample("y", dist.Poisson(np.e**effect), obs=y)


CHOICES = {  # function, data, effects -> method, words of the reason
    "few parameters": (models.eight_schools, SCHOOLS, "auto", "laplace", "1 parameter is left"),
    "as many as can be": (
        with_many_parameters,
        {**SCHOOLS, "count": 14},
        "auto",
        "laplace",
        "15 parameters are left to sample, few enough",
    ),
    "one too many": (
        with_many_parameters,
        {**SCHOOLS, "count": 15},
        "auto",
        "nuts",
        "16 parameters are left to sample, more than the 15",
    ),
    "effects that are sampled": (
        models.eight_schools,
        SCHOOLS,
        "noncentred",
        "nuts",
        "group effects are left to sample",
    ),
    "recentred": (counts, {"y": np.arange(5)}, "auto", "nuts", "group effects are left"),
    "as written": (models.eight_schools, SCHOOLS, "centred", "nuts", "no group effects are"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice(case):
    fn, data, effects, method, words = CHOICES[case]
    coordinates = choose_coordinates(fn, data, effects)
    choice = first_choice(coordinates, fn, data)
    assert choice.method.name == method
    assert words in choice.reason


def crossed(groups):
    """Two crossed factors with as many groups each, a row for each of some pairs."""
    first = np.arange(4 * groups) % groups
    second = np.random.default_rng(0).permutation(first)
    response = np.random.default_rng(1).normal(size=len(first))
    frame = {"y": response, "a": first, "b": second}
    return hj.formula("y ~ 1 + (1 | a) + (1 | b)", frame)


@pytest.mark.parametrize(("groups", "method"), [(400, "laplace"), (401, "gibbs")])
def test_large_crossed_factors_are_drawn_in_turn(groups, method):
    model = crossed(groups)
    coordinates = choose_coordinates(model.fn, model.data, "auto")
    choice = first_choice(coordinates, model.fn, model.data, in_turn=True)
    assert choice.method.name == method
    assert ("matrix of 401 rows" in choice.reason) == (method == "gibbs")
    assert first_choice(coordinates, model.fn, model.data).method.name == "laplace"


def test_crossed_factors_that_do_not_fit_into_memory_are_drawn_in_turn(monkeypatch):
    monkeypatch.setattr("hierjax.transforms.coordinates.is_too_large", lambda structure: True)
    model = crossed(401)
    coordinates = choose_coordinates(model.fn, model.data, "auto")
    assert {word for _, word in coordinates.choices} == {"noncentred"}
    given = (coordinates, model.fn, model.data)
    assert first_choice(*given, in_turn=True).method.name == "gibbs"
    assert first_choice(*given).method.name == "nuts"
    monkeypatch.setattr("hierjax.automatic.MOST_SLICED", 2)
    assert first_choice(*given, in_turn=True).method.name == "nuts"


def test_auto_fits_large_crossed_factors_by_gibbs_and_says_why():
    posterior = hj.fit(crossed(401), progress=False)
    assert posterior.info.method == "gibbs"
    assert "a dense matrix of 401 rows; they are drawn in turn" in posterior.report()


def test_effects_that_were_asked_for_are_not_drawn_in_turn(monkeypatch):
    def tell(task, choice):
        raise RuntimeError(choice.method.name)

    monkeypatch.setattr(sys.modules["hierjax.fit"]._Task, "fit", tell)
    with pytest.raises(RuntimeError, match="laplace"):
        hj.fit(crossed(401), effects="integrate", progress=False)
    with pytest.raises(RuntimeError, match="gibbs"):
        hj.fit(crossed(401), progress=False)


def test_auto_draws_what_its_method_draws_and_says_which():
    model = hj.Model(models.eight_schools, SCHOOLS)
    posterior = hj.fit(model, seed=3, progress=False)
    same = hj.fit(model, method="laplace", seed=3, progress=False)
    np.testing.assert_array_equal(posterior.draws["tau"], same.draws["tau"])
    assert posterior.info.method == "laplace"
    assert "chosen automatically: 1 parameter is left" in posterior.report()
    assert "chosen" not in same.report()


@pytest.mark.slow
def test_nuts_follows_poor_weights(tmp_path):
    model = hj.Model(beside_a_funnel, {**SCHOOLS, "width": 3.0})
    alone = hj.fit(model, method="laplace", progress=False)
    assert alone.info.status == (Status.POOR_WEIGHTS,)
    posterior = hj.fit(model, progress=False)
    assert posterior.info.method == "nuts"
    assert "importance sampling did not cover the posterior (k-hat" in posterior.report()
    assert set(posterior.info.seconds) == {"importance sampling", "compile", "run"}
    assert posterior.draws["mu"].shape == (4, 1000)
    posterior.save(tmp_path / "posterior.nc")
    loaded = hj.load(tmp_path / "posterior.nc", model=model)
    assert loaded.info.reason == posterior.info.reason


@pytest.mark.slow
def test_in_a_batch_nuts_follows_where_weights_are_poor():
    model = hj.Model(beside_a_funnel, {**SCHOOLS, "width": 0.1})
    datasets = [{**SCHOOLS, "width": width} for width in (0.1, 3.0, 0.05)]
    batch = hj.fit_many(model, datasets, progress=False)
    report = batch.report()
    assert report["method"].tolist() == ["laplace", "nuts", "laplace"]
    assert report["retries"].tolist() == [0, 1, 0]
    assert "did not cover" in batch[1].report()
    assert "few enough" in batch[2].report()
    once = hj.fit_many(model, datasets, retries=0, progress=False).report()
    assert once["method"].tolist() == ["laplace"] * 3
    assert once["status"].tolist() == ["ok", "failed", "ok"]


def test_the_pure_form_is_nuts():
    assert as_method("auto") == Auto()
    model = hj.Model(models.eight_schools, SCHOOLS)
    program = Auto().program(model.fn, model.data)
    assert program.num_discarded > 0  # a warm-up
