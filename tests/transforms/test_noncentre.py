"""Non-centring changes coordinates, never the posterior: shown on densities, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density

from hierjax.arguments import Arguments
from hierjax.density import make_density
from hierjax.errors import ModelError
from hierjax.trace import abstract_trace
from hierjax.transforms.noncentre import group_effects, noncentre
from tests import models

SCHOOLS = {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA}


def independent_slopes(y, group, num_groups):
    """Several uncorrelated effects of a group in one site with an event dimension."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.5, sd).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group].sum(-1), 1.0), obs=y)


def nested(y, child, parent_of_child, num_parents, num_children):
    """A child's effect is centred on its parent's: non-centring both must compose."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("parent", num_parents):
        parent = numpyro.sample("parent_effect", dist.Normal(0.0, sd[0]))
    with numpyro.plate("child", num_children):
        effect = numpyro.sample("child_effect", dist.Normal(parent[parent_of_child], sd[1]))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[child], 1.0), obs=y)


SLOPES = models.correlated_slopes_data()
GROUPED = {"y": SLOPES["y"], "group": SLOPES["group"], "num_groups": 5}
NESTED = {
    "y": SLOPES["y"],
    "child": SLOPES["group"],
    "parent_of_child": np.array([0, 0, 1, 1, 1]),
    "num_parents": 2,
    "num_children": 5,
}
CASES = {  # model, data, effects that are re-parametrised
    "eight schools": (models.eight_schools, SCHOOLS, ("theta",)),
    "correlated slopes": (models.correlated_slopes, SLOPES, ("effect",)),
    "independent slopes": (independent_slopes, GROUPED, ("effect",)),
    "nested": (nested, NESTED, ("parent_effect", "child_effect")),
}


@pytest.mark.parametrize("case", CASES)
def test_density_law(case):
    """log p(h, z) = log p(h, u(z)) + log |du/dz|, by an automatic Jacobian."""
    fn, data, sites = CASES[case]
    with jax.enable_x64(True):
        new_fn, chosen = noncentre(fn, data)
        assert chosen == sites
        density = make_density(new_fn, Arguments.of(data), data)
        arrays = Arguments.of(data).arrays(data)
        position = jax.random.normal(jax.random.key(3), (density.size,))
        values = density.constrain(position, arrays)
        original = {site: values[site] for site in abstract_trace(fn, data).sites if site in values}
        hyper = {name: value for name, value in values.items() if name not in chosen}
        noise = {f"{name}_decentered": values[f"{name}_decentered"] for name in chosen}

        def effects(noise):
            substituted = numpyro.handlers.substitute(new_fn, {**hyper, **noise})
            trace = numpyro.handlers.trace(numpyro.handlers.seed(substituted, 0)).get_trace(**data)
            return jnp.concatenate([trace[name]["value"].ravel() for name in chosen])

        flat, unravel = jax.flatten_util.ravel_pytree(noise)
        jacobian = jax.jacfwd(lambda flat: effects(unravel(flat)))(flat)
        expected = log_density(fn, (), data, original)[0] + np.linalg.slogdet(jacobian)[1]
        found = log_density(new_fn, (), data, {**hyper, **noise})[0]
        np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_gradient(case):
    fn, data, _ = CASES[case]
    with jax.enable_x64(True):
        new_fn, _ = noncentre(fn, data)
        density = make_density(new_fn, Arguments.of(data), data)
        arrays = Arguments.of(data).arrays(data)
        position = 0.1 * jnp.ones(density.size)
        assert jnp.all(jnp.isfinite(jax.grad(density.log_density)(position, arrays)))
        values = density.constrain(position, arrays)
        for name, site in abstract_trace(fn, data).sites.items():
            if site.kind == "latent":
                assert values[name].shape == site.shape


def test_only_group_effects_are_chosen():
    trace = abstract_trace(models.correlated_slopes, SLOPES)
    assert group_effects(trace) == ("effect",)


def test_equal_functions_stay_equal():
    first, _ = noncentre(models.eight_schools, SCHOOLS)
    second, _ = noncentre(models.eight_schools, SCHOOLS)
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("nosuch", "no such latent site"),
        ("tau", "distribution HalfCauchy"),
        ("y", "no such latent"),
    ],
)
def test_wrong_sites_are_refused(site, message):
    with pytest.raises(ModelError, match=message):
        noncentre(models.eight_schools, SCHOOLS, sites=(site,))
