"""The text of a formula model is the same model: same sites, same log density, nothing of ours."""

import ast
import inspect
import re

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro import handlers
from numpyro.infer.initialization import init_to_uniform
from numpyro.infer.util import log_density

import hierjax as hj
from hierjax.errors import ModelError, PriorError
from hierjax.formula import Variance, formula
from hierjax.formula.families import FAMILIES

RNG = np.random.default_rng(11)
ROWS = 24
FRAME = pd.DataFrame(
    {
        "y": 3.0 + RNG.normal(size=ROWS),
        "x": RNG.normal(size=ROWS),
        "g": np.tile(["a", "b\n\"'''\\", "c", "d"], 6),
        "h": np.repeat(list("uvw"), 8),
        "n": RNG.poisson(2, size=ROWS),
        "m": RNG.integers(9, 14, size=ROWS),
        "bit": RNG.integers(0, 2, size=ROWS),
        "positive": RNG.uniform(0.5, 2.0, size=ROWS),
        "share": RNG.uniform(0.1, 0.9, size=ROWS),
        "side": np.tile(["none", "left", "right"], 8),
        "word": pd.Categorical.from_codes(np.tile([0, 2, 1], 8), list("abc"), ordered=True),
        "class": RNG.normal(size=ROWS),
        "2 + 2 = #4": RNG.normal(size=ROWS),
    }
)
TERMS = {
    "intercept": ("y ~ 1", {}),
    "nothing but effects": ("y ~ 0 + (0 + x | g)", {}),
    "offset alone": ("y ~ 0 + offset(x)", {}),
    "categories": ("y ~ x * h", {}),
    "correlated": ("y ~ x + (x | g)", {}),
    "uncorrelated": ("y ~ x + (x || g)", {}),
    "categories by group": ("y ~ (h | g)", {}),
    "categories by group, uncorrelated": ("y ~ (h || g)", {}),
    "nested": ("y ~ x + (1 | h/g)", {}),
    "crossed": ("y ~ x + (x | g) + (1 | h)", {}),
    "offsets": ("y ~ x + offset(positive)", {"offset": "x"}),
    "precisions": ("y ~ x", {"weights": "positive"}),
    "known errors": ("y | se(positive) ~ 1 + (1 | g)", {}),
    "censored": ("y | cens(side) ~ x + (1 | g)", {}),
    "censored precisions": ("y ~ x", {"censored": "side", "weights": "positive"}),
    "censored with known errors": ("y ~ x", {"censored": "side", "known_sd": "positive"}),
    "odd names": ("class ~ `2 + 2 = #4` + bs(x, df=4) + (`2 + 2 = #4` | g)", {}),
    "variances": (
        "y ~ x + (x | g)",
        {
            "priors": {
                "sd_g": Variance(dist.InverseGamma(2.0, 1.0)),
                "sigma": Variance(dist.InverseGamma(3.0, 1.0)),
            }
        },
    ),
    "priors of several kinds": (
        "y ~ x + h + (h | g)",
        {
            "priors": {
                "b_x": dist.HalfNormal(2.0),
                "b_h": dist.Normal(np.array([0.0, 1.0]), np.array([1.0, 2.0])),
                "sd_g": dist.Exponential(2.0),
                "sd_g__Intercept": dist.LogNormal(0.0, 1.0),
                "cor": 3.0,
                "sigma": dist.TruncatedNormal(1.0, 2.0, low=0.0),
            }
        },
    ),
    "priors without numbers": (
        "y ~ h + (1 | g)",
        {"priors": {"b": dist.TruncatedNormal(0.0, 1.0, low=-2.0, high=3.0)}},
    ),
}
RESPONSES = {
    "gaussian": "y", "student_t": "y", "lognormal": "positive", "gamma": "positive",
    "beta": "share", "bernoulli": "bit", "binomial": "n / m", "poisson": "n",
    "zero_inflated_poisson": "n", "negative_binomial": "n", "ordered": "n", "categorical": "word",
}  # fmt: skip
BY_FAMILY = {
    name: (f"{response} ~ x + (1 | g)", {"family": name}) for name, response in RESPONSES.items()
} | {
    "lognormal censored": ("positive ~ x", {"family": "lognormal", "censored": "side"}),
    "categorical with slopes": ("n ~ x + h + (x | g) + (1 | h)", {"family": "categorical"}),
    "ordered offset": ("word ~ x * h + offset(x) + (x | g)", {"family": "ordered"}),
    "ordered threshold": (
        "n ~ 1",
        {"family": "ordered", "priors": {"threshold": dist.Normal(0.0, 3.0)}},
    ),
    "replicates": ("n ~ x", {"family": "poisson", "weights": "positive"}),
}
CASES = TERMS | BY_FAMILY
LONG = ("categories by group", "priors without numbers")  # to compile; others have their parts


def module_of(text):
    """Run the text in a namespace of its own."""
    space = {"__name__": "standalone"}
    exec(compile(text, "standalone", "exec"), space)
    return space


def arguments_of(model, space):
    """Data of a model under the words of its text, as its docstring says."""
    found = {}
    for word in inspect.signature(space["model"]).parameters:
        other = re.search(
            rf"^    {word} .*\(`(.*)` in the data of hierjax\)$", space["__doc__"], re.M
        )
        found[word] = model.data[other[1] if other else word]
    assert len(found) == len(model.data) - 1  # all but the priors
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in CASES]
)
def test_text_is_the_same_model(name):
    text, options = CASES[name]
    model = formula(text, FRAME, **options)
    source = model.source()
    imported = {
        line.names[0].name if isinstance(line, ast.Import) else line.module
        for line in ast.walk(ast.parse(source))
        if isinstance(line, ast.Import | ast.ImportFrom)
    }
    assert {module.split(".")[0] for module in imported} <= {"jax", "numpyro"}
    assert "hierjax." not in source
    space = module_of(source)
    function, data = space["model"], arguments_of(model, space)
    with jax.enable_x64(True):
        start = handlers.substitute(
            handlers.seed(model.fn, 0), substitute_fn=init_to_uniform(radius=0.7)
        )
        trace = handlers.trace(start).get_trace(**model.data)
        latent = {
            site: message["value"]
            for site, message in trace.items()
            if message["type"] == "sample" and not message["is_observed"]
        }
        wanted, _ = log_density(model.fn, (), dict(model.data), latent)
        found, again = log_density(function, (), data, latent)
        assert np.isfinite(wanted)
        assert float(found) == pytest.approx(float(wanted), abs=1e-10, rel=1e-13)
    kinds = ("sample", "deterministic", "plate")
    assert [site for site in again if again[site]["type"] in kinds] == [
        site for site in trace if trace[site]["type"] in kinds
    ]
    for site, message in trace.items():
        if message["type"] in ("sample", "deterministic"):
            np.testing.assert_allclose(again[site]["value"], message["value"], rtol=1e-12)


def test_grid_has_every_family():
    assert set(RESPONSES) == set(FAMILIES)


def test_text_without_response_draws_it():
    model = formula("y ~ x + (1 | g)", FRAME)
    space = module_of(model.source())
    data = arguments_of(model, space) | {"y": None}
    trace = handlers.trace(handlers.seed(space["model"], 0)).get_trace(**data)
    assert trace["y"]["value"].shape == (ROWS,) and not trace["y"]["is_observed"]


def test_text_says_levels_and_arguments():
    source = hj.formula("y ~ x + (x | h)", FRAME).source()
    assert "# Level h: 3 groups, in the order u, v, w\n" in source
    docstring = ast.get_docstring(ast.parse(source))
    for word in ("X ", "h ", "num_h ", "Z_h ", "num_rows ", "y "):
        assert f"\n    {word}" in docstring
    assert "columns Intercept, x" in docstring


def test_other_models_say_how_to_see_their_source():
    model = hj.Model(lambda y: None, {"y": np.zeros(3)})
    with pytest.raises(ModelError, match=r"inspect\.getsource"):
        model.source()


def test_priors_of_the_user_s_own_class_are_refused():
    class Mine(dist.Normal):
        pass

    model = formula("y ~ x", FRAME, priors={"b_x": Mine(0.0, 1.0)})
    with pytest.raises(PriorError, match="Mine cannot be written as source text"):
        model.source()
