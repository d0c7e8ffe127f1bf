"""Names of dimensions, coordinates, elements and blocks, from the model function alone or given."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from hierjax import names
from hierjax.errors import ModelError
from hierjax.model import Model
from tests import models

COUNTY = np.array([0, 0, 1, 1, 2])


def radon(county, y):
    """Correlated slopes as a formula writes them: two effects a county."""
    intercept = numpyro.sample("b_Intercept", dist.Normal(0, 1))
    sd = numpyro.sample("sd_county", dist.HalfNormal(1).expand([2]).to_event(1))
    cholesky = numpyro.sample("L_county", dist.LKJCholesky(2))
    numpyro.deterministic("cor_county", cholesky @ cholesky.T)
    with numpyro.plate("county", 3):
        scale = sd[:, None] * cholesky
        effect = numpyro.sample("r_county", dist.MultivariateNormal(jnp.zeros(2), scale_tril=scale))
    mean = numpyro.deterministic("mean", intercept + effect[county].sum(-1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def radon_model(**changes):
    given = {
        "labels": {"county": ["AITKIN", "ANOKA", "BECKER"], "term": ["Intercept", "floor"]},
        "dims": {
            "sd_county": ("term",),
            "r_county": ("term",),
            "L_county": ("term", "term"),
            "cor_county": ("term", "term"),
        },
        "blocks": {"L_county": "hidden"},
    }
    return Model(radon, {"county": COUNTY, "y": np.zeros(5)}, **given | changes)


def test_dims_are_plates_then_given_names():
    assert names.site_dims(radon_model()) == {
        "b_Intercept": (),
        "sd_county": ("term",),
        "L_county": ("term", "term_2"),
        "cor_county": ("term", "term_2"),
        "r_county": ("county", "term"),
        "mean": ("rows",),
        "sigma": (),
        "y": ("rows",),
    }


def test_coordinates_are_the_labels_or_numbers():
    coordinates = names.coordinates(radon_model())
    assert list(coordinates["county"]) == ["AITKIN", "ANOKA", "BECKER"]
    assert list(coordinates["term_2"]) == ["Intercept", "floor"]
    assert list(coordinates["rows"]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("sigma", ["sigma"]),
        ("sd_county", ["sd_county[Intercept]", "sd_county[floor]"]),
        (
            "cor_county",
            [
                "cor_county[Intercept, Intercept]",
                "cor_county[Intercept, floor]",
                "cor_county[floor, Intercept]",
                "cor_county[floor, floor]",
            ],
        ),
    ],
)
def test_names_of_elements(site, expected):
    assert names.scalar_names(radon_model(), site) == expected


def test_names_of_elements_are_in_c_order():
    assert names.scalar_names(radon_model(), "r_county")[:3] == [
        "r_county[AITKIN, Intercept]",
        "r_county[AITKIN, floor]",
        "r_county[ANOKA, Intercept]",
    ]


def test_axes_without_a_name_are_numbered():
    model = radon_model(dims={}, labels={})
    assert names.site_dims(model)["r_county"] == ("county", "r_county_dim_1")
    assert names.scalar_names(model, "r_county")[1] == "r_county[0, 1]"


def non_centred(y):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    variance = numpyro.sample("variance", dist.InverseGamma(1, 1))
    tau = numpyro.deterministic("tau", jnp.sqrt(variance))
    with numpyro.plate("school", 8):
        z = numpyro.sample("z", dist.Normal(0, 1))
    theta = numpyro.deterministic("theta", mu + tau * z)
    with numpyro.plate("rows", 8):
        numpyro.sample("y", dist.Normal(theta, 1.0), obs=y)


def without_plates(y):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    numpyro.sample("y", dist.Normal(theta, sigma).to_event(1), obs=y)


def nested(y):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    tau_a, tau_b = (numpyro.sample(f"tau_{level}", dist.HalfNormal(1)) for level in "ab")
    with numpyro.plate("a", 2):
        effect_a = numpyro.sample("effect_a", dist.Normal(mu, tau_a))
        spread = numpyro.sample("spread", dist.LogNormal(0, tau_b))
    with numpyro.plate("b", 8):
        effect_b = numpyro.sample("effect_b", dist.Normal(jnp.repeat(effect_a, 4), 1))
    with numpyro.plate("rows", 8):
        numpyro.sample("y", dist.Normal(effect_b, jnp.repeat(spread, 4)), obs=y)


def plates_of_scales(y):
    tau = numpyro.sample("tau", dist.HalfNormal(1))
    with numpyro.plate("term", 2, dim=-1):
        sd = numpyro.sample("sd", dist.HalfNormal(tau))
        with numpyro.plate("group", 8, dim=-2):
            local = numpyro.sample("local", dist.HalfCauchy(1))
            effect = numpyro.sample("effect", dist.Normal(0, sd * local))
    with numpyro.plate("rows", 8):
        numpyro.sample("y", dist.Normal(effect.sum(-1), 1), obs=y)


Y = np.zeros(8)
BLOCKS = {
    "formula": (
        radon_model(),
        {
            "b_Intercept": "coefficient",
            "sd_county": "level",
            "L_county": "hidden",
            "cor_county": "level",
            "r_county": "effect",
            "mean": "effect",
            "sigma": "other",
        },
    ),
    "eight schools": (
        Model(models.eight_schools, {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA}),
        {"mu": "coefficient", "tau": "level", "theta": "effect"},
    ),
    "non-centred by hand, variance": (
        Model(non_centred, {"y": Y}),
        {
            "mu": "coefficient",
            "variance": "level",
            "tau": "level",
            "z": "effect",
            "theta": "effect",
        },
    ),
    "no plates": (
        Model(without_plates, {"y": Y}),
        {"mu": "coefficient", "tau": "level", "theta": "effect", "sigma": "other"},
    ),
    "scales that vary by group": (
        Model(nested, {"y": Y}),
        {
            "mu": "coefficient",
            "tau_a": "level",
            "tau_b": "level",
            "effect_a": "effect",
            "spread": "effect",
            "effect_b": "effect",
        },
    ),
    "a plate of scales, local scales": (
        Model(plates_of_scales, {"y": Y}),
        {"tau": "level", "sd": "level", "local": "effect", "effect": "effect"},
    ),
    "correlated slopes": (
        Model(models.correlated_slopes, models.correlated_slopes_data()),
        {
            "b": "coefficient",
            "sd": "level",
            "cholesky": "level",
            "effect": "effect",
            "sigma": "other",
        },
    ),
}


@pytest.mark.parametrize(("model", "expected"), BLOCKS.values(), ids=BLOCKS)
def test_blocks(model, expected):
    assert names.blocks_of(model) == expected


def test_given_blocks_win():
    assert names.blocks_of(radon_model(blocks={"sigma": "level"}))["sigma"] == "level"


BROKEN = {
    "too few names": (
        {"dims": {"cor_county": ("term",)}},
        r"`dims\['cor_county'\]` has 1 names .* has 2 axes beside its plates",
    ),
    "too few labels": (
        {"labels": {"county": ["AITKIN"]}},
        r"`labels\['county'\]` has 1 labels, but the dimension has length 3",
    ),
    "two lengths": (
        {"dims": {"sd_county": ("county",)}},
        "dimension 'county' has length 2 in site 'sd_county' and 3 in 'r_county'",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BROKEN.values(), ids=BROKEN)
def test_names_that_do_not_fit(changes, message):
    with pytest.raises(ModelError, match=message):
        names.coordinates(radon_model(**changes))
