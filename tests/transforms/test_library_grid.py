"""Every library design under every treatment of its effects: one density identity, or a refusal."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpyro import handlers

import hierjax as hj
from hierjax.errors import ModelError
from hierjax.trace import abstract_trace
from hierjax.transforms.coordinates import EFFECTS, INTEGRATED, Coordinates, choose_coordinates
from tests.transforms.dense import conditional_of, joint, latents_of

NOTHING = ("gamma_poisson", "topics", "nested_topics")  # no Gaussian effects
NOT_GAUSSIAN = (
    *("binomial_groups", "basket_trial", "meta_arms", "item_response", "choice"),
    *("abundance", "n_mixture", "poststratification"),
)
REFUSED = {
    **{(name, "integrate"): "not a quadratic function" for name in NOT_GAUSSIAN},
    **{(name, "integrate"): "nothing to integrate out" for name in NOTHING},
    **{(name, "recentre"): "nothing to recentre" for name in NOTHING},
    **{(name, "noncentred"): "nothing to non-centre" for name in NOTHING},
}
FAST = ("eight_schools", "basket_trial")
PAIRS = [
    pytest.param(name, effects, marks=() if name in FAST else pytest.mark.slow)
    for name in hj.library.MODELS
    for effects in EFFECTS
    if (name, effects) not in REFUSED
]


def values_of(
    fn: Callable, data: Mapping[str, Any], latents: Mapping[str, Any], names: tuple[str, ...]
) -> dict[str, jax.Array]:
    """Values of sites, latent or deterministic, where the latent ones are given."""
    substituted = handlers.substitute(handlers.seed(fn, 0), data=dict(latents))
    trace = handlers.trace(substituted).get_trace(**data)
    return {name: trace[name]["value"] for name in names}


def moved(coordinates: Coordinates, prepared: Mapping[str, Any], fn: Callable, data: Any) -> tuple:
    """Latent sites of a function that are new in the coordinates, and those that they stand for."""
    new = {s.name: s for s in abstract_trace(coordinates.fn, prepared).sites.values()}
    old = [s.name for s in abstract_trace(fn, data).sites.values() if s.kind == "latent"]
    gone = {name for name, word in coordinates.choices if word == INTEGRATED}
    changed = tuple(n for n in old if n not in gone and new[n].kind != "latent")
    added = {n: s for n, s in new.items() if s.kind == "latent" and n not in old}
    return added, changed, tuple(n for n in old if n in gone)


@pytest.mark.parametrize(("name", "effects"), PAIRS)
def test_density_law(name, effects):
    """log p(h, z) = log p(h, u(z), y) + log |du/dz|, less log p(w | h, u, y) of effects w gone.

    The Jacobian is an automatic one of all sites that moved; the effects that were integrated out
    are integrated out of the original by one dense Hessian of the joint log density.
    """
    with jax.enable_x64(True):
        model = hj.library.MODELS[name].example()
        fn, data = model.fn, dict(model.data)
        coordinates = choose_coordinates(fn, data, effects)
        prepared = coordinates.prepare(data)
        added, changed, gone = moved(coordinates, prepared, fn, data)
        latents = latents_of(fn, data, (*changed, *gone), 3)
        generator = np.random.default_rng(0)
        some = {n: jnp.asarray(generator.normal(0, 0.5, s.shape)) for n, s in added.items()}
        start, unravel = ravel_pytree(some)

        def values(vector):
            sites = {**latents, **unravel(vector)}
            return values_of(coordinates.fn, prepared, sites, changed)

        @jax.jit
        def law(vector):
            jacobian = jax.jacfwd(lambda v: ravel_pytree(values(v))[0])(vector)
            found = joint(coordinates.fn, prepared, {**latents, **unravel(vector)})
            return found, values(vector), jnp.linalg.slogdet(jacobian)[1] if changed else 0.0

        found, sites, change = law(start)
        original = {**latents, **sites}
        if gone:
            expected = conditional_of(fn, data, gone)(original)[0]
        else:
            expected = jax.jit(lambda sites: joint(fn, data, sites))(original)
        np.testing.assert_allclose(found, expected + change, rtol=1e-9)


@pytest.mark.parametrize(("name", "effects"), REFUSED)
def test_refused_with_the_reason(name, effects):
    model = hj.library.MODELS[name].example()
    with pytest.raises(ModelError, match=REFUSED[name, effects]):
        choose_coordinates(model.fn, model.data, effects)
