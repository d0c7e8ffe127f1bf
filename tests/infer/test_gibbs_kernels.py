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
from hierjax.infer import slice as slicing
from hierjax.infer.gibbs_sweep import Sampler
from hierjax.linalg import shared
from hierjax.transforms import blocks, conjugate
from hierjax.transforms.conjugate import evidence_of
from hierjax.transforms.conjugate_families import FAMILIES
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
    """Means and squares of everything, and products with the data; bounded, to mix quickly."""
    parts = []
    for name, value in values.items():
        value = jnp.ravel(value)
        if name != "y" and jnp.ndim(values[name]) < 2 and name in SCALES:
            value = jnp.log(value)
        parts += [jnp.arctan(value), jnp.tanh(value) ** 2]
    spread = jnp.log(jnp.mean(values["y"] ** 2))
    parts += [jnp.arctan(spread)[None], jnp.arctan(parts[0] * spread)]
    return jnp.concatenate(parts)


SCALES = {"sd", "sigma", "variance", "precision", "slopes", "common"}
test_functions.__test__ = False


def coordinates_of(kernel, monkeypatch):
    """How the sites of a kernel are drawn in turn."""
    if kernel.in_cells:
        monkeypatch.setattr(shared, "CELL", 0)
    return gibbs_coordinates(kernel.fn, kernel.data(), updates=kernel.updates, blocks=kernel.blocks)


def by_turns(kernel, coordinates, data, key):
    """Test functions along chains of turns, shape (chain, step, function)."""
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


def assert_joint_distribution_is_kept(kernel, coordinates):
    """Compare the mean of every test function that varies."""
    data = kernel.data()
    with jax.enable_x64(True):
        turns = np.asarray(by_turns(kernel, coordinates, data, jax.random.key(1)))
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


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_joint_distribution_is_kept(name, monkeypatch):
    kernel = KERNELS[name]
    assert_joint_distribution_is_kept(kernel, coordinates_of(kernel, monkeypatch))


@pytest.mark.slow
def test_kernels_have_every_family_and_every_way_to_draw_effects(monkeypatch):
    ways, families = set(), set()
    for kernel in KERNELS.values():
        stage = coordinates_of(kernel, monkeypatch).fn
        families |= {each.family for each in stage.exact_updates}
        cells = [each.cells for each in getattr(stage, "sharing", ())]
        kept = "in cells" if any(cells) else "dense" if cells else "alone"
        ways.add((type(stage).__name__, "summed" if stage.plan.summed else "by row", kept))
        monkeypatch.undo()
    assert families == set(FAMILIES)
    assert ways == {
        ("Jointly", "summed", "alone"),
        ("Jointly", "by row", "alone"),
        ("ByFactor", "summed", "dense"),
        ("ByFactor", "summed", "in cells"),
    }


def one_group_more(monkeypatch):
    """Count one normal variable too many in every exact draw of a scale."""

    def mistaken(family, others, value):
        evidence = evidence_of(family, others, value)
        return evidence._replace(count=evidence.count + 1.0)

    monkeypatch.setattr(conjugate, "evidence_of", mistaken)


def a_slice_too_low(monkeypatch):
    """Lay slices at two thirds of their depth below the density."""

    def mistaken(walk, own, width, noise):
        return begun(walk, own, width, noise.at[2].multiply(2.0 / 3.0))

    begun = slicing._begun
    monkeypatch.setattr(slicing, "_begun", mistaken)


def effects_given_a_larger_sd(monkeypatch):
    """Draw effects given a residual sd that is too large by a fifth."""

    def mistaken(statistics, prior, sigma):
        return factorise(statistics, prior, 1.2 * sigma)

    factorise = blocks.factorise
    monkeypatch.setattr(blocks, "factorise", mistaken)


MISTAKES = {
    "exact draws of scales": one_group_more,
    "slices, effects together": a_slice_too_low,
    "effects by factor": effects_given_a_larger_sd,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistakes_are_found(name, monkeypatch):
    kernel = KERNELS[name]
    coordinates = coordinates_of(kernel, monkeypatch)
    MISTAKES[name](monkeypatch)
    with pytest.raises(AssertionError):  # means are off, or the turns wander away
        assert_joint_distribution_is_kept(kernel, coordinates)
