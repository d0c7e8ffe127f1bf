"""fit and sampler: re-use, reproducibility, precision, options and their errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest

import hierjax as hj
from hierjax.errors import (
    EmptyDataError,
    FitError,
    GroupIndexError,
    MissingValueError,
    ModelError,
    NonFiniteError,
    SettingsError,
    SupportError,
)
from tests import models

SHORT = hj.NUTS(chains=2, warmup=50, draws=40)
TRACES = {"count": 0}


def counted_schools(y, sigma):
    TRACES["count"] += 1
    models.eight_schools(y, sigma)


def schools(y=models.SCHOOLS_Y, fn=counted_schools):
    return hj.Model(fn, {"y": y, "sigma": models.SCHOOLS_SIGMA}, labels={"school": "ABCDEFGH"})


@pytest.fixture(scope="module")
def posterior():
    return hj.fit(schools(), method=SHORT, seed=7, progress=False)


def test_every_site_under_its_own_name(posterior):
    assert {name: value.shape for name, value in posterior.draws.items()} == {
        "mu": (2, 40),
        "tau": (2, 40),
        "theta": (2, 40, 8),
    }
    assert posterior.draws["mu"].dtype == np.float64
    assert posterior.info.dtype == "float64"
    assert jnp.zeros(1).dtype == jnp.float32  # the global flag is untouched


def test_same_seed_same_draws_and_another_seed_others(posterior):
    again = hj.fit(schools(), method=SHORT, seed=7, progress=False)
    np.testing.assert_array_equal(again.draws["theta"], posterior.draws["theta"])
    other = hj.fit(schools(), method=SHORT, seed=8, progress=False)
    assert not np.array_equal(other.draws["theta"], posterior.draws["theta"])


def test_new_data_of_the_same_shape_compile_nothing(posterior):
    hj.fit(schools(), method=SHORT, seed=7, progress=False)
    compiled = hj.fit(schools(models.SCHOOLS_Y + 1.0), method=SHORT, seed=7, progress=False)
    assert compiled.info.seconds["compile"] < posterior.info.seconds["compile"] / 5
    assert not np.array_equal(compiled.draws["theta"], posterior.draws["theta"])


def test_sampler_gives_the_draws_of_fit_and_works_under_jit_and_vmap():
    """On a Gaussian posterior, where rounding is not amplified along a trajectory."""
    model = hj.Model(models.known_variances, models.known_variances_data())
    fitted = hj.fit(model, method=SHORT, seed=7, progress=False)
    with jax.enable_x64(True):
        run = hj.sampler(model, SHORT)
        keys = jax.vmap(jax.random.key)(jnp.array([7, 11]))
        batch = jax.jit(jax.vmap(run, in_axes=(0, None)))(keys, model.data)
    assert batch.sites["effect"].shape == (2, 2, 40, 6)
    np.testing.assert_allclose(batch.sites["effect"][0], fitted.draws["effect"], rtol=1e-5)
    assert not np.allclose(batch.sites["effect"][0], batch.sites["effect"][1])


@pytest.mark.parametrize("method", [SHORT, hj.Laplace(draws=80, points=100)])
def test_hyperparameters_alone_are_kept_as_they_are_among_all_draws(method):
    full = hj.fit(schools(), method=method, progress=False)
    hyper = hj.fit(schools(), method=method, keep="hyper", progress=False)
    assert set(hyper.draws) == {"mu", "tau"}
    np.testing.assert_allclose(hyper.draws["tau"], full.draws["tau"], rtol=1e-6)
    assert not [name for name in hyper.summary(effects=True).index if "theta" in name[1]]
    assert set(hj.fit(schools(), method=method, progress=False).draws) == set(full.draws)


def test_draws_without_effects_say_so_where_effects_are_needed(tmp_path):
    fitted = hj.fit(
        "yield_ ~ 1 + (1 | batch)",
        {"yield_": np.arange(12.0) % 5, "batch": np.repeat(list("abcd"), 3)},
        method=SHORT,
        keep="hyper",
        progress=False,
    )
    assert hj.load(fitted.save(tmp_path / "fit.nc")).draws.keys() == fitted.draws.keys()
    for call in (fitted.predict, fitted.shrinkage, fitted.loo):
        with pytest.raises(ModelError, match=r'no draws of .*r_batch.* keep="all"'):
            call()


def test_keeping_hyperparameters_alone_needs_some():
    def lonely(y):
        with numpyro.plate("group", len(y)):
            mean = numpyro.sample("mean", numpyro.distributions.Normal(0.0, 1.0))
            numpyro.sample("y", numpyro.distributions.Normal(mean, 1.0), obs=y)

    with pytest.raises(SettingsError, match=r'keep="hyper" leaves nothing'):
        hj.fit(hj.Model(lonely, {"y": np.arange(4.0)}), method=SHORT, keep="hyper", progress=False)


def test_noncentred_effects_keep_their_names():
    fitted = hj.fit(schools(), method=SHORT, effects="noncentred", progress=False)
    assert set(fitted.draws) == {"mu", "tau", "theta"}
    assert fitted.info.effects == {"theta": "noncentred"}
    as_written = hj.fit(schools(), method=SHORT, effects="centred", progress=False)
    assert as_written.info.effects == {}
    assert not np.array_equal(as_written.draws["theta"], fitted.draws["theta"])


def test_float32():
    fitted = hj.fit(schools(), method=SHORT, dtype="float32", progress=False)
    assert fitted.draws["theta"].dtype == np.float32
    assert fitted.info.dtype == "float32"


def test_posterior_is_frozen(posterior):
    with pytest.raises(dataclasses.FrozenInstanceError):
        posterior.draws = {}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "mcmc"}, SettingsError, "`method` must be one of 'auto', 'nuts', 'laplace'"),
        ({"method": hj.NUTS}, SettingsError, r"settings object such as hierjax.NUTS\(draws=500\)"),
        ({"effects": "centered"}, SettingsError, "`effects` must be one of"),
        ({"keep": "some"}, SettingsError, "`keep` must be one of"),
        ({"dtype": "bfloat16"}, SettingsError, "`dtype` must be one of"),
        ({"chains": 2}, SettingsError, r"method=hierjax.NUTS\(chains=...\)"),
        ({"sed": 2}, SettingsError, "no option `sed`. Did you mean `seed`"),
        ({"seed": 1.5}, SettingsError, "`seed` must be an integer"),
        ({"family": "poisson"}, SettingsError, r"\['family'\] belong to a formula"),
    ],
)
def test_wrong_options(arguments, error, message):
    with pytest.raises(error, match=message):
        hj.fit(schools(), progress=False, **arguments)


def test_a_formula_needs_data():
    with pytest.raises(SettingsError, match="a formula needs data"):
        hj.fit("y ~ x + (1 | g)")


def changed(name, row, value):
    data = {"y": models.SCHOOLS_Y.copy(), "sigma": models.SCHOOLS_SIGMA.copy()}
    data[name][row] = value
    return data


BAD_DATA = [
    (models.eight_schools, changed("y", 3, np.nan), MissingValueError, r"data\['y'\].*row 3"),
    (models.eight_schools, changed("sigma", 2, np.inf), NonFiniteError, r"data\['sigma'\].*row 2"),
    (
        models.eight_schools,
        {"y": np.zeros(0), "sigma": np.zeros(0)},
        EmptyDataError,
        r"is empty: there is nothing",
    ),
    (
        models.known_variances,
        {**models.known_variances_data(), "num_groups": 5},
        GroupIndexError,
        "group",
    ),
    (models.eight_schools, {"y": np.zeros(8), "sigma": np.ones(7)}, ModelError, "y"),
]


@pytest.mark.parametrize(("fn", "data", "error", "message"), BAD_DATA)
def test_bad_data_stop_before_anything_is_compiled(fn, data, error, message):
    with pytest.raises(error, match=message):
        hj.fit(hj.Model(fn, data), progress=False)


def test_negative_group_index_is_refused():
    data = models.known_variances_data()
    data["group"][4] = -1
    with pytest.raises(GroupIndexError, match=r"group.*4"):
        hj.fit(hj.Model(models.known_variances, data), progress=False)


def test_response_outside_the_support():
    def counts(y):
        rate = numpyro.sample("rate", numpyro.distributions.Gamma(1.0, 1.0))
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", numpyro.distributions.Poisson(rate), obs=y)

    with pytest.raises(SupportError, match=r"site 'y': 2 values are.*rows 1, 3"):
        hj.fit(hj.Model(counts, {"y": np.array([1, -2, 3, -1])}), progress=False)


def test_a_plate_that_no_site_uses():
    def unused(y):
        with numpyro.plate("ghost", 3):
            pass
        models.eight_schools(y, models.SCHOOLS_SIGMA)

    with pytest.raises(ModelError, match="ghost"):
        hj.fit(hj.Model(unused, {"y": models.SCHOOLS_Y}), progress=False)


def test_no_finite_start_names_the_remedy():
    def impossible(y):
        mu = numpyro.sample("mu", numpyro.distributions.Normal(0.0, 1.0))
        numpyro.factor("never", -jnp.inf * (1.0 + mu**2))
        numpyro.sample("y", numpyro.distributions.Normal(mu, 1.0), obs=y)

    with pytest.raises(FitError, match="check that the priors"):
        hj.fit(hj.Model(impossible, {"y": np.array(1.0)}), method=SHORT, progress=False)
