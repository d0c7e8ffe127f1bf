"""The density over one vector is NumPyro's density plus the log-Jacobian, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats

from hierjax.arguments import Arguments
from hierjax.density import make_density, map_in_batches, observed_support, starting_position
from hierjax.errors import ModelError
from tests import models

SCHOOLS = {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA}


def density_of(fn, data):
    arguments = Arguments.of(data)
    return make_density(fn, arguments, data), arguments.arrays(data)


def test_eight_schools_against_scipy():
    with jax.enable_x64(True):
        density, arrays = density_of(models.eight_schools, SCHOOLS)
        position = jnp.linspace(-1.0, 1.5, density.size)
        values = density.constrain(position, arrays)
        mu, tau, theta = float(values["mu"]), float(values["tau"]), np.asarray(values["theta"])
        expected = (
            stats.norm.logpdf(mu, 0, 5)
            + stats.halfcauchy.logpdf(tau, 0, 5)
            + stats.norm.logpdf(theta, mu, tau).sum()
            + stats.norm.logpdf(SCHOOLS["y"], theta, SCHOOLS["sigma"]).sum()
            + np.log(tau)
        )
        np.testing.assert_allclose(density.log_density(position, arrays), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("fn", "data"),
    [
        (models.eight_schools, SCHOOLS),
        (models.correlated_slopes, models.correlated_slopes_data()),
        (models.known_variances, models.known_variances_data()),
    ],
)
def test_constrain_and_unconstrain_are_inverse_and_joint_density_is_numpyros(fn, data):
    with jax.enable_x64(True):
        density, arrays = density_of(fn, data)
        position = jax.random.normal(jax.random.key(0), (density.size,))
        values = density.constrain(position, arrays)
        back = density.unconstrain({slot.name: values[slot.name] for slot in density.slots}, arrays)
        np.testing.assert_allclose(back, position, rtol=1e-9, atol=1e-9)

        def constrained(position):
            values = density.constrain(position, arrays)
            return density.join({slot.name: values[slot.name] for slot in density.slots})

        joint, _ = log_density(fn, (), data, values)
        full = density.log_density(position, arrays)
        if fn is models.correlated_slopes:  # the Cholesky factor has fewer free coordinates
            assert np.isfinite(full)
            return
        log_jacobian = np.linalg.slogdet(jax.jacfwd(constrained)(position))[1]
        np.testing.assert_allclose(full, joint + log_jacobian, rtol=1e-10)


def test_start_is_finite_and_says_when_there_is_none():
    with jax.enable_x64(True):
        density, arrays = density_of(models.eight_schools, SCHOOLS)
        start = jax.jit(lambda arrays: starting_position(density, jax.random.key(1), arrays))
        found = start(arrays)
        assert bool(found.found)
        value, gradient = jax.value_and_grad(density.log_density)(found.position, arrays)
        np.testing.assert_allclose(found.log_density, value, rtol=1e-12)
        np.testing.assert_allclose(found.gradient, gradient, rtol=1e-9)
        assert float(jnp.max(jnp.abs(found.position))) <= 2.0
        nowhere = {**SCHOOLS, "sigma": -SCHOOLS["sigma"]}
        assert not bool(start(Arguments.of(nowhere).arrays(nowhere)).found)


def test_discrete_latents_and_empty_models_are_refused():
    import numpyro
    import numpyro.distributions as dist

    def mixture(y):
        k = numpyro.sample("k", dist.Bernoulli(0.5))
        numpyro.sample("y", dist.Normal(k, 1.0), obs=y)

    with pytest.raises(ModelError, match=r"site 'k' is discrete"):
        density_of(mixture, {"y": 1.0})
    with pytest.raises(ModelError, match="no latent site"):
        density_of(lambda y: numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y), {"y": 1.0})


def test_observed_support_marks_values_and_spares_masked_ones():
    import numpyro
    import numpyro.distributions as dist

    def counts(y, keep):
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        with numpyro.plate("rows", len(y)), numpyro.handlers.mask(mask=keep):
            numpyro.sample("y", dist.Poisson(rate), obs=y)

    data = {"y": np.array([0, 3, -1, -2]), "keep": np.array([True, True, True, False])}
    density, arrays = density_of(counts, data)
    inside = observed_support(density, arrays)["y"]
    assert inside.tolist() == [True, True, False, True]


@pytest.mark.parametrize("count", [1, 3, 4, 7, 8])
def test_mapping_in_batches_is_mapping(count):
    sizes = []

    def function(each):
        sizes.append(each[1].shape)  # once for each batch size that is compiled
        return {"sum": jax.random.normal(each[0]) + each[1].sum()}

    values = jax.random.split(jax.random.key(0), count), jnp.arange(2.0 * count).reshape(count, 2)
    found = map_in_batches(function, values, 3)
    assert len(sizes) == 1
    assert found["sum"].shape == (count,)
    np.testing.assert_allclose(found["sum"], jax.vmap(lambda *each: function(each)["sum"])(*values))
