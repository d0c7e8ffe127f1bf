"""Which sites have a known distribution given all others, and what the others say of them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import hierjax as hj
from hierjax.effects.values import some_value
from hierjax.trace import abstract_trace
from hierjax.transforms.conjugate import Exact, evidence_of, exact_draw, find_exact, others_of
from hierjax.transforms.conjugate_families import FAMILIES
from tests.infer.gibbs_models import KERNELS
from tests.transforms import cases

GROUPED = {"y": np.arange(12.0), "group": np.arange(12) % 4, "num_groups": 4}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def latents_of(fn, data):
    return tuple(s.name for s in abstract_trace(fn, data).sites.values() if s.kind == "latent")


def found(fn, data):
    return dict(find_exact(fn, data, latents_of(fn, data)))


@pytest.mark.slow
def test_families_of_a_model_that_has_most_of_them():
    kernel = KERNELS["exact draws of scales"]
    assert found(kernel.fn, kernel.data()) == {
        "variance": "inverse gamma",
        "precision": "gamma",
        "sd": "half t",
        "slopes": "half t",
    }


@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param("exact draw of a covariance", "inverse Wishart", marks=pytest.mark.slow),
        pytest.param("exact draw of a precision matrix", "Wishart", marks=pytest.mark.slow),
    ],
)
def test_families_of_matrices(name, family):
    kernel = KERNELS[name]
    assert found(kernel.fn, kernel.data()) == {"matrix": family}


def sd(value):
    return value


T = dist.StudentT
PROVED = [  # prior, sd of the groups as a function of the site, their mean, and what comes out
    (dist.InverseGamma(2.0, 1.0), jnp.sqrt, 0.0, "inverse gamma"),
    (dist.InverseGamma(2.0, 1.0), lambda v: jnp.sqrt(3.0 * v), 0.0, "inverse gamma"),
    (dist.Exponential(2.0), lambda p: p**-0.5, 0.0, "gamma"),
    (dist.HalfCauchy(2.0), sd, 0.0, "half t"),
    (dist.TruncatedDistribution(T(3.0, 0.0, 2.0), low=0.0), sd, 0.0, "half t"),
    (dist.FoldedDistribution(dist.Cauchy(0.0, 2.0)), sd, 0.0, "half t"),
    # The class of the prior promises what the model does not keep.
    (dist.InverseGamma(2.0, 1.0), sd, 0.0, None),
    (dist.InverseGamma(2.0, 1.0), lambda v: jnp.sqrt(v + 0.1), 0.0, None),
    (dist.InverseGamma(2.0, 1.0), jnp.sqrt, 1.0, None),
    (dist.Gamma(2.0, 1.0), sd, 0.0, None),
    (dist.FoldedDistribution(T(3.0, 0.5, 2.0)), sd, 0.0, None),
    (dist.TruncatedDistribution(T(3.0, 0.0, 2.0), low=0.5), sd, 0.0, None),
    (dist.HalfNormal(1.0), sd, 0.0, None),
    (dist.LogNormal(0.0, 1.0), sd, 0.0, None),
    (dist.InverseGamma(2.0, 1.0).mask(False), jnp.sqrt, 0.0, None),
]


@pytest.mark.parametrize(
    "first", [pytest.param(place, marks=[pytest.mark.slow] if place else []) for place in range(3)]
)
def test_a_family_is_proved_and_not_believed(first):
    rows = PROVED[first::3]

    def model():
        for place, (prior, to_sd, mean, _) in enumerate(rows):
            scale = numpyro.sample(f"scale{place}", prior)
            with numpyro.plate(f"group{place}", 4):
                numpyro.sample(f"effect{place}", dist.Normal(mean * scale, to_sd(scale)))

    expected = {f"scale{place}": row[-1] for place, row in enumerate(rows)}
    assert found(model, {}) == {name: word for name, word in expected.items() if word}


@pytest.mark.slow
def test_effects_written_non_centred_leave_no_conjugate_scale():
    data = {**cases.GROUPED}
    assert found(cases.non_centred_by_hand, data) == {}


@pytest.mark.slow
def test_shared_and_hierarchical_parameters():
    """A scale of the prior that is itself sampled, and a variance that two levels share."""

    def model(y, group, num_groups):
        rate = numpyro.sample("rate", dist.Gamma(2.0, 2.0))
        variance = numpyro.sample("variance", dist.InverseGamma(2.0, rate))
        with numpyro.plate("group", num_groups):
            effect = numpyro.sample("effect", dist.Normal(0.0, jnp.sqrt(variance)))
        with numpyro.plate("rows", y.shape[0]):
            numpyro.sample("y", dist.Normal(effect[group], jnp.sqrt(2 * variance)), obs=y)

    # Given the variance, the gamma prior of the rate is conjugate too.
    assert found(model, GROUPED) == {"rate": "gamma", "variance": "inverse gamma"}


@pytest.mark.slow
def test_evidence_of_test_scores_is_counts_and_sums_of_squares():
    model = hj.library.test_scores(np.arange(12.0) ** 1.5, np.arange(12) % 4)
    data = dict(model.data)
    generator = np.random.default_rng(1)
    trace = abstract_trace(model.fn, data)
    values = {s.name: some_value(s) for s in trace.sites.values() if s.kind == "latent"}
    values |= {"mu": np.array(2.0), "theta": generator.normal(size=4)}
    family = FAMILIES["inverse gamma"]
    of_groups = evidence_of(family, others_of(model.fn, "tau2", values, data), jnp.asarray(1.3))
    np.testing.assert_allclose(of_groups.count, 4, rtol=1e-10)
    np.testing.assert_allclose(of_groups.squares, np.sum((values["theta"] - 2.0) ** 2), rtol=1e-10)
    of_rows = evidence_of(family, others_of(model.fn, "sigma2", values, data), jnp.asarray(0.4))
    residual = data["y"] - values["theta"][data["group"]]
    np.testing.assert_allclose(of_rows.count, 12, rtol=1e-10)
    np.testing.assert_allclose(of_rows.squares, np.sum(residual**2), rtol=1e-10)


@pytest.mark.slow
def test_draws_have_the_conjugate_distribution():
    model = hj.library.test_scores(np.arange(12.0) ** 1.5, np.arange(12) % 4)
    data = dict(model.data)
    theta = np.array([3.0, -4.0, 9.0, 1.0])
    values = {"mu": np.array(2.0), "theta": theta, "sigma2": 3.0, "tau2": 2.0}
    update = Exact("tau2", "inverse gamma")
    keys = jax.random.split(jax.random.key(0), 4000)
    draws = jax.jit(jax.vmap(lambda key: exact_draw(model.fn, update, key, values, data)))(keys)
    posterior = stats.invgamma(
        data["tau2_shape"] + 2.0, scale=data["tau2_scale"] + np.sum((theta - 2.0) ** 2) / 2
    )
    assert stats.kstest(np.asarray(draws), posterior.cdf).pvalue > 1e-4


def test_a_deterministic_site_between_a_variance_and_what_it_scales_is_no_obstacle():
    """Values "of all sites" have the sd from before in them, which must not hide the variance."""
    table = {"y": np.arange(12.0), "g": list("abcd") * 3}
    priors = {
        "sd_g": hj.Variance(dist.InverseGamma(2.0, 1.0)),
        "sigma": hj.Variance(dist.InverseGamma(2.0, 1.0)),
    }
    model = hj.formula("y ~ 1 + (1 | g)", table, priors=priors)
    names = latents_of(model.fn, model.data)
    assert found(model.fn, model.data)["variance_sigma"] == "inverse gamma"
    sites = abstract_trace(model.fn, model.data).sites
    latents = {name: some_value(sites[name]) for name in names}
    everything = {**latents, "sigma": np.array(1.0), "sd_g": np.array(1.0)}
    exact = Exact("variance_sigma", "inverse gamma")
    draws = [
        exact_draw(model.fn, exact, jax.random.key(3), values, model.data)
        for values in (latents, everything)
    ]
    assert draws[0] == draws[1]
    family = FAMILIES["inverse gamma"]
    others = others_of(model.fn, "variance_sigma", everything, model.data)
    evidence = evidence_of(family, others, jnp.asarray(everything["variance_sigma"]))
    np.testing.assert_allclose(evidence.count, 12.0, rtol=1e-9)
