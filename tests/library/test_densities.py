"""Each design's log density is that of its formula, written out in `by_hand` with SciPy."""

import jax
import numpy as np
import pytest
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density

from hierjax import library
from hierjax.trace import abstract_trace
from tests.library import by_hand

UNOPTIMISED = {"xla_backend_optimization_level": 0}  # compiles in half the time
ROUNDED = {"abundance": 1e-6}  # NumPyro's negative binomial has jax's betaln, good to 1e-7 a row


def some_values(model):
    """Values of all latent sites inside their support, drawn without their priors."""
    generator, values = np.random.default_rng(1), {}
    for site in abstract_trace(model.fn, model.data).sites.values():
        if site.kind == "latent":
            transform = biject_to(site.support)
            free = generator.normal(size=transform.inverse_shape(site.shape))
            values[site.name] = np.asarray(transform(free))
    return values


def test_every_design_is_written_out():
    assert set(library.MODELS) <= set(vars(by_hand))


@pytest.mark.parametrize("name", library.MODELS)
def test_log_density_is_the_formula(name):
    model = library.MODELS[name].example()
    with jax.enable_x64(True):
        values = some_values(model)
        density = jax.jit(
            lambda values: log_density(model.fn, (), dict(model.data), values)[0],
            compiler_options=UNOPTIMISED,
        )
        found = density(values)
        assert found.dtype == np.float64
        np.testing.assert_allclose(
            float(found),
            getattr(by_hand, name)(model.data, values),
            rtol=ROUNDED.get(name, 1e-10),
        )
