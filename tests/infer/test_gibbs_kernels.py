"""Geweke's test of every kernel: a sampler that is right keeps the joint distribution.

Parameters and data are drawn from the model in two ways: at once, and by turns, parameters by one
sweep of the sampler given data, then data given parameters. Both have the same distribution if and
only if the sweep leaves the posterior invariant. Compared are means of test functions, in standard
errors from the effective size of the turns.

Geweke (2004), Getting it right, JASA 99, doi:10.1198/016214504000001132.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers

from hierjax.arguments import Arguments
from hierjax.infer.gibbs_sweep import Sampler
from hierjax.transforms.gibbs import gibbs_coordinates
from tests.helpers import effective_sample_size
from tests.infer.gibbs_models import KERNELS

CHAINS, STEPS = 20, 2000
LEAST_ESS = 100.0
STANDARD_ERRORS = 4.5  # false alarm 7e-6 a function; about 40 functions a kernel


def simulate(fn, data, key, values=None):
    """Draw the response, and the latent sites unless their values are given."""
    model = handlers.seed(fn, key)
    if values is not None:
        model = handlers.substitute(model, data=values)
    trace = handlers.trace(model).get_trace(**{**data, "y": None})
    return {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}


def test_functions(values):
    """Means and squares of everything, and products with the data."""
    parts = []
    for name, value in values.items():
        value = jnp.ravel(value)
        if name != "y" and jnp.ndim(values[name]) < 2 and name in SCALES:
            value = jnp.log(value)
        parts += [jnp.arctan(value), jnp.tanh(value) ** 2]
    spread = jnp.log(jnp.mean(values["y"] ** 2))
    parts += [spread[None], jnp.arctan(parts[0] * spread)]
    return jnp.concatenate(parts)


SCALES = {"sd", "sigma", "variance", "precision", "slopes", "common"}
test_functions.__test__ = False


def by_turns(kernel, data, key):
    """Test functions along chains of turns, shape (chain, step, function)."""
    coordinates = gibbs_coordinates(kernel.fn, data, updates=kernel.updates, blocks=kernel.blocks)
    prepared = coordinates.prepare(data)
    sampler, arguments = Sampler.of(coordinates.fn, prepared), Arguments.of(prepared)

    def arrays(y):
        return arguments.arrays(coordinates.prepare({**data, "y": y}))

    def turn(carry, step):
        chain, y = carry
        given = arrays(y)
        chain, _ = sampler.sweep(chain, step, given)
        sites = sampler.density.constrain(chain.position, given)
        values = sampler.fn.placed(chain.effects, sites, arguments.rebuild(given))
        key = jax.random.fold_in(jax.random.fold_in(chain.key, 1), step)
        new = simulate(kernel.fn, data, key, {n: v for n, v in values.items() if n != "y"})
        return (chain, new["y"]), test_functions(new)

    def one(key):
        first = simulate(kernel.fn, data, jax.random.fold_in(key, 1))
        given = arrays(first["y"])
        chain = sampler.begin(key, given)
        latents = {slot.name: first[slot.name] for slot in sampler.density.slots}
        chain = chain._replace(position=sampler.density.unconstrain(latents, given))
        _, found = jax.lax.scan(turn, (chain, first["y"]), jnp.arange(STEPS))
        return found

    return jax.jit(jax.vmap(one))(jax.random.split(key, CHAINS))


def at_once(kernel, data, key, count=40_000):
    """Test functions of independent draws, shape (draw, function)."""
    return jax.lax.map(
        lambda key: test_functions(simulate(kernel.fn, data, key)),
        jax.random.split(key, count),
        batch_size=1000,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_joint_distribution_is_kept(name):
    kernel = KERNELS[name]
    data = kernel.data()
    with jax.enable_x64(True):
        turns = np.asarray(by_turns(kernel, data, jax.random.key(1)))
        once = np.asarray(jax.jit(lambda key: at_once(kernel, data, key))(jax.random.key(2)))
    moving = once.std(axis=0) > 1e-6
    assert moving.sum() > 20
    gaps = {}
    for place in np.flatnonzero(moving):
        chain, independent = turns[:, :, place], once[:, place]
        size = effective_sample_size(chain, "mean")
        assert size > LEAST_ESS, (place, size)
        error = np.hypot(chain.std() / size**0.5, independent.std() / len(independent) ** 0.5)
        gaps[int(place)] = (chain.mean() - independent.mean()) / error
    worst = {place: gap for place, gap in gaps.items() if abs(gap) > STANDARD_ERRORS}
    assert not worst, worst
