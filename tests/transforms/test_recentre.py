"""Recentring changes coordinates, never the posterior: shown on densities, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from numpyro import handlers

import hierjax as hj
from hierjax.errors import ModelError, SettingsError
from hierjax.transforms.recentre import RECENTRED, Recentred
from tests.transforms.cases import CASES, GROUPED, ROWS
from tests.transforms.dense import joint, latents_of


def logistic_slopes(y, x, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    cholesky = numpyro.sample("cholesky", dist.LKJCholesky(2, 2.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with numpyro.plate("group", num_groups):
        root = sd[:, None] * cholesky
        effect = numpyro.sample("effect", dist.MultivariateNormal(b, scale_tril=root))
    logits = numpyro.deterministic("logits", effect[group, 0] + effect[group, 1] * x)
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def counts(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    rate = numpyro.sample("rate", dist.Normal(0.0, 2.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(rate, sd))
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Poisson(jnp.exp(effect[group])), obs=y)


def crossed_and_nested(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([3]).to_event(1))
    with numpyro.plate("parent", 2):
        parent = numpyro.sample("parent_effect", dist.Normal(0.0, sd[0]))
    with numpyro.plate("group", num_groups):
        child = numpyro.sample("child", dist.Normal(parent[np.array([0, 0, 1, 1, 1])], sd[1]))
    with numpyro.plate("item", 4):
        item = numpyro.sample("item_effect", dist.Normal(0.3, sd[2]))
    logits = child[group] + item[np.arange(y.shape[0]) % 4]
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.BinomialLogits(logits, 5), obs=y)


def location_and_scale(y, group, num_groups):
    """Normal rows whose mean and log sd differ between groups: the means integrate out."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    log_scale = numpyro.sample("log_scale", dist.Normal(0.0, 1.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(mu, sd[0]))
        v = numpyro.sample("v", dist.Normal(log_scale, sd[1]))
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Normal(u[group], jnp.exp(v[group])), obs=y)


def scale_of_scale(y, group, num_groups):
    """The sd of an effect depends on another effect."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        v = numpyro.sample("v", dist.Normal(0.0, sd))
        u = numpyro.sample("u", dist.Normal(0.0, jnp.exp(v)))
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Poisson(jnp.exp(u[group])), obs=y)


BINARY = {**ROWS, "y": (ROWS["y"] > np.median(ROWS["y"])).astype(int)}
NUMBERS = {**GROUPED, "y": np.arange(len(GROUPED["y"])) % 5}
FIXED = {  # function, data, recentred sites
    "logistic slopes": (logistic_slopes, BINARY, ("b", "effect")),
    "counts": (counts, NUMBERS, ("rate", "effect")),
    "crossed and nested": (crossed_and_nested, NUMBERS, ("parent_effect", "child", "item_effect")),
}


def library(name):
    case = CASES[name]()
    return case.fn, case.data, None


def beside_integrated():
    function = hj.integrate(location_and_scale, data=GROUPED)
    return function, function.prepare(GROUPED), ("log_scale", "v")


def several_predictors():
    """Multinomial choices: the curvature of each is a block."""
    model = hj.library.MODELS["choice"].example()
    return model.fn, model.data, ("gamma", "beta")


LIBRARY = ("hierarchical_linear", "test_scores", "eight_schools", "pastes", "two responses")
EXAMPLES = {
    "beside integrated": beside_integrated,
    "choices": several_predictors,
    **{name: lambda n=name: FIXED[n] for name in FIXED},
    **{name: lambda n=name: library(n) for name in LIBRARY},
}


FAST = [(name, at) for name in FIXED for at in ("pilot", "newton")]
GRID = [
    pytest.param(name, at, marks=() if (name, at) in FAST else pytest.mark.slow)
    for name in EXAMPLES
    for at in ("pilot", "newton")
]


@pytest.mark.parametrize(("name", "at"), GRID)
def test_density_law(name, at):
    """log p(h, z) = log p(h, u(z), y) + log |du/dz|, by an automatic Jacobian."""
    with jax.enable_x64(True):
        fn, data, sites = EXAMPLES[name]()
        function = hj.recentre(fn, data=data, at=at)
        if sites is not None:
            assert tuple(function.plan.by_name) == sites
        prepared = function.prepare(data)
        latents = latents_of(fn, data, tuple(function.plan.by_name), 3)
        generator = np.random.default_rng(0)
        white = {
            f"{site.name}_recentred": jnp.asarray(generator.normal(size=site.shape))
            for site in function.plan.sites
        }
        start, unravel = ravel_pytree(white)

        @jax.jit
        def law(vector):
            def values(vector):
                substituted = handlers.substitute(
                    handlers.seed(function, 0), data={**latents, **unravel(vector)}
                )
                trace = handlers.trace(substituted).get_trace(**prepared)
                return {name: trace[name]["value"] for name in function.plan.by_name}

            jacobian = jax.jacfwd(lambda v: ravel_pytree(values(v))[0])(vector)
            sites = values(vector)
            change = jnp.linalg.slogdet(jacobian)[1]
            recentred = joint(function, prepared, {**latents, **unravel(vector)})
            return recentred, joint(fn, data, {**latents, **sites}) + change

        found, expected = law(start)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_gaussian_likelihood_makes_z_independent_of_everything():
    """Where the approximation is exact, (h, z) is p(h | y) times a standard normal."""
    case = CASES["correlated slopes"]()
    with jax.enable_x64(True):
        function = hj.recentre(case.fn, data=case.data, at="newton", steps=1)
        prepared = function.prepare(case.data)
        latents = latents_of(case.fn, case.data, tuple(function.plan.by_name), 1)
        generator = np.random.default_rng(0)
        densities = []
        for _ in range(3):
            white = {
                f"{site.name}_recentred": generator.normal(size=site.shape)
                for site in function.plan.sites
            }
            squares = sum(np.sum(value**2) for value in white.values())
            densities.append(joint(function, prepared, {**latents, **white}) + 0.5 * squares)
        np.testing.assert_allclose(densities, densities[0], rtol=1e-10)


def test_newton_steps_hold_where_rates_are_far_from_one():
    """A full Newton step from zero effects would go to a log rate of thousands."""
    data = {**NUMBERS, "y": 5_000 + np.asarray(NUMBERS["y"])}
    with jax.enable_x64(True):
        function = hj.recentre(counts, data=data, at="newton")
        white = {f"{site.name}_recentred": np.zeros(site.shape) for site in function.plan.sites}

        @jax.jit
        @jax.value_and_grad
        def density(sd):
            return joint(function, function.prepare(data), {"sd": sd, **white})

        value, slope = density(5.0)
        assert np.isfinite(value)
        assert np.isfinite(slope)


@pytest.mark.slow
def test_large_groups_are_nearly_centred_and_small_ones_nearly_not():
    """The same z moves the effect of a group by its posterior sd: small where rows are many."""
    rows = np.array([200, 1])
    group = np.repeat([0, 1], rows)
    y = np.random.default_rng(0).integers(0, 2, rows.sum())
    data = {"y": np.where(group == 1, 1, y), "group": group, "num_groups": 2}

    def model(y, group, num_groups):
        sd = numpyro.sample("sd", dist.HalfNormal(1.0))
        with numpyro.plate("group", num_groups):
            effect = numpyro.sample("effect", dist.Normal(0.0, sd))
        numpyro.sample("y", dist.Bernoulli(logits=effect[group]).to_event(1), obs=y)

    with jax.enable_x64(True):
        function = hj.recentre(model, data=data)
        prepared = function.prepare(data)

        def effect(z):
            values = {"sd": jnp.asarray(1.0), "effect_recentred": z}
            substituted = handlers.substitute(handlers.seed(function, 0), data=values)
            return handlers.trace(substituted).get_trace(**prepared)["effect"]["value"]

        slope = np.diag(jax.jacfwd(effect)(jnp.zeros(2)))
    np.testing.assert_allclose(slope[0], 1 / np.sqrt(200 / 4), rtol=0.1)
    assert 0.8 < slope[1] < 1.0


@pytest.mark.slow
def test_deterministic_sites_are_those_of_the_original():
    function = hj.recentre(logistic_slopes, data=BINARY)
    data = function.prepare(BINARY)
    trace = handlers.trace(handlers.seed(function, 1)).get_trace(**data)
    effect, group = trace["effect"]["value"], BINARY["group"]
    expected = effect[group, 0] + effect[group, 1] * BINARY["x"]
    np.testing.assert_allclose(trace["logits"]["value"], expected, rtol=1e-5)
    assert trace["effect"]["type"] == "deterministic"


def test_the_plan_is_read_at_the_first_call_with_concrete_data():
    function = hj.recentre(counts)
    given = hj.recentre(counts, data=NUMBERS)
    assert function.plan is None
    latents = {"sd": 0.7, "rate_recentred": 0.3, "effect_recentred": np.linspace(-1, 1, 5)}
    expected = joint(given, given.prepare(NUMBERS), latents)
    np.testing.assert_allclose(joint(function, NUMBERS, latents), expected, rtol=1e-5)
    with pytest.raises(ModelError, match="data="):
        jax.jit(lambda y: joint(function, {**NUMBERS, "y": y}, latents))(NUMBERS["y"])
    with pytest.raises(ModelError, match="data="):
        joint(function, given.prepare(NUMBERS), latents)


def test_one_site_may_be_a_string():
    assert tuple(hj.recentre(counts, data=NUMBERS, sites="effect").plan.by_name) == ("effect",)


def test_sites_whose_scale_depends_on_another_are_not_recentred_with_it():
    assert tuple(hj.recentre(scale_of_scale, data=NUMBERS).plan.by_name) == ("u",)
    with pytest.raises(ModelError, match="scale depends"):
        hj.recentre(scale_of_scale, data=NUMBERS, sites=["u", "v"])


def test_the_pilot_can_be_mapped_over_data_sets():
    function = hj.recentre(counts, data=NUMBERS)
    many = np.stack([NUMBERS["y"], NUMBERS["y"][::-1], NUMBERS["y"] + 3])

    def response(y):
        return function.prepare({**NUMBERS, "y": y})[RECENTRED]["statistics"].response

    together = jax.jit(jax.vmap(response))(many)
    alone = [jax.jit(response)(y) for y in many]
    for place, expected in enumerate(alone):
        for found, value in zip(together, expected, strict=True):
            np.testing.assert_allclose(found[place], value, rtol=1e-3, atol=1e-3)


def test_refused_with_the_reason():
    def no_groups(y):
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(b, 1.0).expand([3]).to_event(1), obs=y)

    with pytest.raises(ModelError, match="nothing to recentre"):
        hj.recentre(no_groups, data={"y": np.zeros(3)})
    with pytest.raises(ModelError, match="'sd'"):
        hj.recentre(counts, data=NUMBERS, sites=["sd"])
    with pytest.raises(SettingsError, match="`at`"):
        hj.recentre(counts, data=NUMBERS, at="mode")
    with pytest.raises(SettingsError, match="`steps`"):
        hj.recentre(counts, data=NUMBERS, at="newton", steps=0)


def test_functions_are_equal_when_their_parts_are():
    first, second = hj.recentre(counts, data=NUMBERS), hj.recentre(counts, data=NUMBERS)
    assert first == second
    assert hash(first) == hash(second)
    assert first != Recentred(counts, first.plan, "newton")
