"""From the sites of a model back to the position that they came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.arguments import Arguments
from hierjax.density import make_density
from hierjax.transforms.coordinates import choose_coordinates
from hierjax.transforms.inverse import sampled_values
from hierjax.transforms.labelled import labelled
from tests import models


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def nested_counts():
    """Counts of crossed levels, one with slopes and one nested in it, made by a formula."""
    import hierjax as hj

    generator = np.random.default_rng(0)
    group = np.arange(60) % 6
    table = {
        "y": generator.poisson(2.0, 60),
        "x": generator.normal(size=60),
        "g": [f"g{n}" for n in group],
        "h": [f"h{n}" for n in 6 * (np.arange(60) % 3) + group],
        "k": [f"k{n}" for n in np.arange(60) % 5],
    }
    model = hj.formula("y ~ x + (1 + x | g) + (1 | h) + (1 | k)", table, family="poisson")
    return model.fn, model.data


def slopes():
    return models.correlated_slopes, models.correlated_slopes_data()


CASES = [
    (nested_counts, "auto"),
    (nested_counts, "noncentred"),
    pytest.param(nested_counts, "centred", marks=pytest.mark.slow),
    (slopes, "auto"),
    pytest.param(slopes, "recentre", marks=pytest.mark.slow),
    pytest.param(slopes, "noncentred", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("make", "effects"), CASES)
def test_sites_of_a_position_lead_back_to_it(make, effects):
    fn, data = make()
    coordinates = labelled(choose_coordinates(fn, data, effects), fn, data)
    prepared = jax.device_get(jax.jit(lambda: coordinates.prepare(arrays_of(data)))())
    prepared = {**data, **{s.key: prepared[s.key] for s in coordinates.stages}}
    arguments = Arguments.of(prepared)
    density = make_density(coordinates.fn, arguments, prepared)

    @jax.jit
    def there_and_back(position, arrays):
        whole = arguments.rebuild(arrays)
        sites = coordinates.recover(jax.random.key(1), density.constrain(position, arrays), whole)
        found = sampled_values(coordinates.fn, sites, whole)
        return density.unconstrain({slot.name: found[slot.name] for slot in density.slots}, arrays)

    position = 0.4 * np.random.default_rng(1).normal(size=density.size)
    arrays = tuple(map(jnp.asarray, arguments.arrays(prepared)))
    np.testing.assert_allclose(there_and_back(position, arrays), position, atol=1e-8)


def arrays_of(data):
    return {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in data.items()}
