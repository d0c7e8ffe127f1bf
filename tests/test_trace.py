import inspect

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from hierjax.errors import ModelError
from hierjax.trace import Plate, abstract_trace, prior_table, unused_plates
from tests import level_models as models
from tests.level_models import COUNTY, X, Y


def test_sites_of_radon():
    data = {"county": COUNTY, "floor": X, "uranium": X[:5], "y": Y, "num_counties": 5}
    trace = abstract_trace(models.radon, data)
    assert {name: site.kind for name, site in trace.sites.items()} == {
        "gamma": "latent",
        "tau": "latent",
        "beta": "latent",
        "alpha": "latent",
        "sigma": "latent",
        "y": "observed",
    }
    alpha, y, gamma = trace.sites["alpha"], trace.sites["y"], trace.sites["gamma"]
    assert (alpha.distribution, alpha.shape, alpha.event_shape) == ("Normal", (5,), ())
    assert (alpha.plates, alpha.axes, alpha.parents) == (("county",), ("county",), ("gamma", "tau"))
    assert (gamma.shape, gamma.event_shape, gamma.axes) == ((2,), (2,), ("",))
    assert set(y.parents) == {"alpha", "beta", "sigma"}
    assert trace.plates == {"county": Plate("county", 5, -1, 5), "rows": Plate("rows", 10, -1, 10)}
    assert trace.response == {"y": "y"}


def test_no_array_is_computed():
    def fn(x):
        with numpyro.plate("g", 10**9):
            effect = numpyro.sample("effect", dist.Normal(0, 1).expand([1000]).to_event(1))
        numpyro.sample("y", dist.Normal(effect.sum() + x.sum(), 1.0), obs=0.0)

    data = {"x": np.broadcast_to(1.0, (10**9, 1000))}
    before = len(jax.live_arrays())
    assert abstract_trace(fn, data).sites["effect"].shape == (10**9, 1000)
    assert len(jax.live_arrays()) == before


def test_events_and_axes_of_multivariate_sites():
    data = {"county": COUNTY, "floor": X, "y": Y, "num_counties": 5}
    sites = abstract_trace(models.correlated_slopes, data).sites
    assert (sites["r"].shape, sites["r"].event_shape) == ((5, 2), (2,))
    assert sites["r"].axes == ("county", "")
    assert sites["r"].distribution == "MultivariateNormal"
    assert sites["L"].distribution == "LKJCholesky"
    assert sites["cor"].kind == "deterministic"
    assert (sites["cor"].shape, sites["cor"].parents) == ((2, 2), ("L",))


def test_plates_of_a_deterministic_site_come_from_what_it_is_computed_from():
    data = {"county": COUNTY, "x": X, "y": Y, "num_counties": 5}
    r = abstract_trace(models.taken, data).sites["r"]
    assert (r.plates, r.axes, r.event_shape, r.parents) == (
        ("county",),
        ("county", ""),
        (2,),
        ("sd", "z"),
    )


def test_axes_of_nested_plates_with_axes_of_length_one():
    sites = abstract_trace(models.nested_axes, {"y": np.zeros((2, 3, 4))}).sites
    assert (sites["u"].shape, sites["u"].axes) == ((2, 1, 1), ("district", "", ""))
    assert sites["y"].plates == ("district", "school", "pupil")


def test_handlers_inside_the_model():
    sites = abstract_trace(models.reparameterised, {"county": COUNTY, "y": Y}).sites
    assert sites["alpha"].kind == "deterministic"
    assert sites["alpha"].parents == ("tau", "alpha_decentered")
    assert sites["y"].distribution == "Normal"


def test_sites_inside_a_scan_know_their_parents():
    sites = abstract_trace(models.random_walk, {"y": Y}).sites
    assert sites["level"].shape == (10,)
    assert sites["y"].kind == "observed"
    assert sites["y"].parents == ("level",)
    assert sites["level"].parents == ("drift",)


def test_factor_and_improper_prior():
    def fn(y):
        improper = dist.ImproperUniform(dist.constraints.positive, (), ())
        tau = numpyro.sample("tau", improper)
        numpyro.factor("term", -tau * y.sum())

    sites = abstract_trace(fn, {"y": Y}).sites
    assert (sites["tau"].kind, sites["term"].kind) == ("latent", "factor")
    assert sites["term"].parents == ("tau",)


def test_subsampling_plate():
    trace = abstract_trace(models.subsampled, {"county": COUNTY, "y": Y})
    assert trace.plates["rows"] == Plate("rows", 10, -1, 4)
    assert trace.sites["y"].shape == (4,)


@pytest.mark.parametrize("wanted", [np.float32, np.float64])
def test_type_follows_the_precision_in_force(wanted):
    with jax.enable_x64(wanted is np.float64):
        site = abstract_trace(models.eight_schools, {"y": Y, "sigma": abs(Y)}).sites["theta"]
    assert site.dtype == np.dtype(wanted).name


def test_function_that_reads_values_gets_them():
    sites = abstract_trace(models.index_by_value, {"county": COUNTY, "y": Y}).sites
    assert sites["r"].shape == (5,)


def test_unused_plate_is_found():
    def fn(y):
        with numpyro.plate("county", 5):
            pass
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    assert unused_plates(abstract_trace(fn, {"y": Y})) == ("county",)


def broken_between_sites(y):
    numpyro.sample("mu", dist.Normal(0, 1))
    return jnp.dot(y, jnp.zeros(3))


def broken_at_a_site(y):
    with numpyro.plate("rows", 7):
        numpyro.sample("theta", dist.Normal(jnp.zeros(10), 1))


def broken_observation(y):
    numpyro.sample("score", dist.Normal(jnp.zeros(3), 1), obs=y)


def broken_twice(y):
    numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("mu", dist.Normal(0, 1))


def broken_at_once(y):
    raise KeyError("nothing")


def broken_on_a_latent(y):
    if numpyro.sample("mu", dist.Normal(0, 1)) > 0:
        numpyro.sample("y", dist.Normal(0, 1), obs=y)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (broken_between_sites, r"after site 'mu', line \d+ \(`return jnp.dot.*TypeError"),
        (broken_at_a_site, "at site 'theta'.*ValueError"),
        (broken_observation, r"site 'score': values of shape \(10,\).*batch shape \(3,\)"),
        (broken_twice, "two sites are called 'mu'"),
        (broken_at_once, "'broken_at_once' failed before its first site.*KeyError: 'nothing'"),
        (broken_on_a_latent, "after site 'mu'.*TracerBoolConversionError"),
    ],
)
def test_failure_names_the_place(fn, message):
    with pytest.raises(ModelError, match=f"(?s){message}") as caught:
        abstract_trace(fn, {"y": Y})
    assert "/site-packages/" not in str(caught.value).split("\n")[0]


def test_prior_table_writes_distributions():
    def fn(y, prior):
        mu = numpyro.sample("mu", prior)
        tau = numpyro.sample("tau", dist.HalfCauchy(2.5))
        with numpyro.plate("g", 3):
            a = numpyro.sample("a", dist.Normal(mu, tau))
            b = numpyro.sample("b", dist.Normal(2 * mu, tau))
        numpyro.sample("y", dist.Normal(a.sum() + b.sum(), 1.0), obs=y)

    table = prior_table(fn, {"y": 0.0, "prior": dist.Normal(0.0, 10.0)})
    assert list(table["slot"]) == ["mu", "tau", "a", "b"]
    assert list(table["distribution"][1:]) == [
        "HalfCauchy(2.5)",
        "Normal(mu, tau)",
        "Normal(f(mu), tau)",
    ]
    assert list(table["shape"]) == [(), (), (3,), (3,)]


def test_every_model_can_be_traced_in_x64_without_warnings():
    names = {name for name, fn in inspect.getmembers(models, inspect.isfunction)}
    with jax.enable_x64(True):
        trace = abstract_trace(models.no_plates, {"county": COUNTY, "y": Y})
    assert "no_plates" in names
    assert trace.sites["alpha"].dtype == "float64"
