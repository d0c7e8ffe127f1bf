"""Which treatment each effect gets, forced choices, and the scale of positive parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers

import hierjax as hj
from hierjax.errors import ModelError, SettingsError
from hierjax.transforms.coordinates import choose_coordinates
from hierjax.transforms.integrate_plan import make_plan
from hierjax.transforms.rescale import RESCALED
from tests import models
from tests.transforms.cases import CASES, GROUPED, several_memberships
from tests.transforms.dense import joint
from tests.transforms.test_recentre import (
    BINARY,
    NUMBERS,
    counts,
    location_and_scale,
    logistic_slopes,
    scale_of_scale,
)

GAUSSIAN = CASES["heavy-tailed coefficient"]()
BOTH = CASES["two sites on a factor"]()
CHOICES = {  # function, data, effects -> treatment of each site
    "Gaussian": (GAUSSIAN.fn, GAUSSIAN.data, "auto", {"effect": "integrated"}),
    "counts": (counts, NUMBERS, "auto", {"rate": "recentred", "effect": "recentred"}),
    "forced recentring": (GAUSSIAN.fn, GAUSSIAN.data, "recentre", {"effect": "recentred"}),
    "all Gaussian, so that nothing would be left": (
        models.known_variances,
        models.known_variances_data(),
        "auto",
        {"mu": "recentred", "effect": "recentred"},
    ),
    "non-centred": (counts, NUMBERS, "noncentred", {"effect": "noncentred"}),
    "centred": (counts, NUMBERS, "centred", {}),
    "one site as written": (
        BOTH.fn,
        BOTH.data,
        {"slopes": "centred"},
        {"intercept": "integrated", "half_effect": "integrated"},
    ),
    "one site non-centred": (
        BOTH.fn,
        BOTH.data,
        {"slopes": "noncentred"},
        {"intercept": "integrated", "half_effect": "integrated", "slopes": "noncentred"},
    ),
    "one site recentred": (
        logistic_slopes,
        BINARY,
        {"effect": "recentre"},
        {"b": "recentred", "effect": "recentred"},
    ),
    "recentred beside integrated": (
        location_and_scale,
        GROUPED,
        "auto",
        {"mu": "integrated", "u": "integrated", "log_scale": "recentred", "v": "recentred"},
    ),
    "one recentred, one integrated": (
        location_and_scale,
        GROUPED,
        {"u": "integrate", "v": "recentre"},
        {"mu": "integrated", "u": "integrated", "log_scale": "recentred", "v": "recentred"},
    ),
    "non-centred beside integrated": (
        location_and_scale,
        GROUPED,
        {"v": "noncentred"},
        {"mu": "integrated", "u": "integrated", "v": "noncentred"},
    ),
    "parent forced out": (
        location_and_scale,
        GROUPED,
        {"log_scale": "integrate"},
        {"log_scale": "integrated", "mu": "recentred", "u": "recentred"},
    ),
    "scale of a scale": (
        scale_of_scale,
        NUMBERS,
        "auto",
        {"u": "recentred", "v": "noncentred"},
    ),
    "too many for a dense matrix": (
        several_memberships,
        {"y": np.zeros(4), "weights": np.full((4, 600), 1 / 600)},
        "auto",
        {"effect": "noncentred"},
    ),
    "recentred though Gaussian": (
        GAUSSIAN.fn,
        GAUSSIAN.data,
        {"effect": "recentre"},
        {"effect": "recentred"},
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice(case):
    fn, data, effects, expected = CHOICES[case]
    assert dict(choose_coordinates(fn, data, effects).choices) == expected


WRONG = {  # function, data, effects, error, words
    "not quadratic": (counts, NUMBERS, "integrate", ModelError, "quadratic"),
    "one not quadratic": (counts, NUMBERS, {"effect": "integrate"}, ModelError, "'effect'"),
    "one of two in the same mean": (
        BOTH.fn,
        BOTH.data,
        {"slopes": "integrate", "intercept": "recentre"},
        ModelError,
        "'intercept' cannot be recentred with 'slopes'",
    ),
    "nothing left": (
        models.known_variances,
        models.known_variances_data(),
        "integrate",
        ModelError,
        "nothing is left",
    ),
    "unknown word": (counts, NUMBERS, "centered", SettingsError, "effects"),
    "unknown site": (counts, NUMBERS, {"efect": "integrate"}, SettingsError, "efect"),
    "unknown word for a site": (counts, NUMBERS, {"effect": "gone"}, SettingsError, "gone"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_choice_is_an_error_with_the_reason(case):
    fn, data, effects, error, words = WRONG[case]
    with pytest.raises(error, match=words):
        choose_coordinates(fn, data, effects)


@pytest.mark.parametrize("case", ["Gaussian", "counts"])
def test_rescaled_density_law(case):
    """log p(x) = log p(s softplus(x)) + log |ds/dx|, summed over the positive sites."""
    fn, data, effects, _ = CHOICES[case]
    with jax.enable_x64(True):
        stage = choose_coordinates(fn, data, effects).stages[-1]
        prepared = choose_coordinates(fn, data, effects).prepare(data)
        inner = {name: value for name, value in prepared.items() if name != RESCALED}
        trace = handlers.trace(handlers.seed(stage.fn, 0)).get_trace(**inner)
        other = {
            name: 0.3 * jnp.ones_like(site["value"])
            for name, site in trace.items()
            if site["type"] == "sample" and not site["is_observed"] and name not in stage.sites
        }
        free = {f"{name}_free": jnp.full(trace[name]["value"].shape, -0.7) for name in stage.sites}
        unit = prepared[RESCALED]
        positive = {name: unit[name] * jnp.log1p(jnp.exp(-0.7)) for name in stage.sites}
        change = sum(jnp.sum(jnp.log(unit[name] / (1 + jnp.exp(0.7)))) for name in stage.sites)
        found = joint(stage, prepared, {**other, **free})
        np.testing.assert_allclose(found, joint(stage.fn, inner, {**other, **positive}) + change)


@pytest.mark.slow
@pytest.mark.parametrize("effects", ["auto", "recentre", "noncentred", "centred"])
def test_every_treatment_has_the_same_posterior(effects):
    """Means of the sites agree with those of the integrated model, in standard errors."""
    settings = hj.NUTS(chains=2, warmup=300, draws=700)
    model = hj.Model(GAUSSIAN.fn, GAUSSIAN.data)
    post = hj.fit(model, method=settings, effects=effects, progress=False)
    assert set(post.draws) == {"b", "sd", "sigma", "effect", "mean", "twice"}
    table = post.diagnostics().table
    kept = table["ess_bulk"] > 200
    assert kept.mean() > 0.8
    reference = _reference()
    gap = (table["mean"] - reference["mean"]).abs() / np.hypot(table["mcse"], reference["mcse"])
    assert gap[kept].max() < 4.5


@pytest.mark.slow
@pytest.mark.parametrize("effects", [{"v": "noncentred"}, "auto"])
def test_effects_beside_integrated_ones_have_the_posterior_of_the_model_as_written(effects):
    settings = hj.NUTS(chains=2, warmup=500, draws=1000)
    model = hj.Model(location_and_scale, GROUPED)
    tables = [
        hj.fit(model, method=settings, effects=each, seed=seed, progress=False).diagnostics().table
        for seed, each in enumerate((effects, "noncentred"))
    ]
    ours, theirs = tables
    kept = (ours["ess_bulk"] > 200) & (theirs["ess_bulk"] > 200)
    assert kept.mean() > 0.8
    gap = (ours["mean"] - theirs["mean"]).abs() / np.hypot(ours["mcse"], theirs["mcse"])
    assert gap[kept].max() < 4.5


def _reference():
    settings = hj.NUTS(chains=2, warmup=300, draws=2000)
    model = hj.Model(GAUSSIAN.fn, GAUSSIAN.data)
    post = hj.fit(model, method=settings, effects="integrate", seed=9, progress=False)
    return post.diagnostics().table


@pytest.mark.slow
def test_sampler_integrates_inside_jit_and_vmap():
    case = CASES["hierarchical_linear"]()
    model = hj.Model(case.fn, case.data)
    run = hj.sampler(model, hj.NUTS(chains=1, warmup=50, draws=20))
    keys = jax.random.split(jax.random.key(0), 2)
    data = {**case.data, "y": np.stack([case.data["y"], case.data["y"] + 1.0])}
    axes = {name: 0 if name == "y" else None for name in data}
    draws = jax.jit(jax.vmap(lambda k, d: run(k, d), in_axes=(0, axes)))(keys, data)
    assert draws.sites["beta"].shape == (2, 1, 20, 6)
    assert np.isfinite(np.asarray(draws.sites["beta"])).all()


def two_factors(y, a, b):
    """Rows in groups of two factors of three and six groups."""
    sds = numpyro.sample("sds", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("a_plate", 3):
        u = numpyro.sample("u", dist.Normal(0.0, sds[0]))
    with numpyro.plate("b_plate", 6):
        v = numpyro.sample("v", dist.Normal(0.0, sds[1]))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(u[a] + v[b], 1.0), obs=y)


def test_the_structure_is_that_of_the_data_though_the_model_is_read_once():
    y, fine = np.linspace(-1.0, 1.0, 18), np.repeat(np.arange(6), 3)
    nested = {"y": y, "a": fine // 2, "b": fine}
    crossed = {"y": y, "a": np.tile(np.arange(3), 6), "b": fine}
    parents = []
    for data in (nested, crossed, nested):
        structure = make_plan(two_factors, data).layout.structure
        parents.append({factor.name: factor.parent for factor in structure.factors})
    assert parents[0] == parents[2] == {"u": None, "v": "u"}
    assert parents[1] == {"u": None, "v": None}
