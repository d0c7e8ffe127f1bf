"""Models for the transforms: every structure that a Gaussian hierarchy comes in."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import hierjax as hj
from tests import models


def centred_on_parent(y, child, parent_of_child, num_parents, num_children):
    """A child's effect has its parent's as its mean."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([3]).to_event(1))
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    with numpyro.plate("parent", num_parents):
        parent = numpyro.sample("parent_effect", dist.Normal(mu, sd[0]))
    with numpyro.plate("child", num_children):
        effect = numpyro.sample("child_effect", dist.Normal(parent[parent_of_child], sd[1]))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[child], sd[2]), obs=y)


def non_centred_by_hand(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    with numpyro.plate("group", num_groups):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.deterministic("effect", mu + sd * z)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu + sd * z[group], 0.7), obs=y)


def two_slopes_and_intercepts(y, x, group, num_groups):
    """Two sites on one factor, one of them with an event dimension, another factor crossed."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("group", num_groups):
        intercept = numpyro.sample("intercept", dist.Normal(0.0, 1.3))
        slopes = numpyro.sample("slopes", dist.Normal(jnp.ones(2), sd).to_event(1))
    with numpyro.plate("half", 2):
        half = numpyro.sample("half_effect", dist.Normal(0.0, sd[0]))
    side = (jnp.arange(y.shape[0]) % 3) % 2
    mean = intercept[group] + slopes[group, 0] * x + slopes[group, 1] * x**2 + half[side]
    numpyro.sample("y", dist.Normal(mean, 0.8).to_event(1), obs=y)


def balanced(y):
    """Groups and rows are axes of one array; a scale for each group."""
    num_groups, rows = y.shape
    scale = numpyro.sample("scale", dist.HalfNormal(1.0).expand([num_groups]).to_event(1))
    with numpyro.plate("group", num_groups, dim=-2):
        effect = numpyro.sample("effect", dist.Normal(0.5, scale[:, None]))
        with numpyro.plate("rows", rows, dim=-1):
            numpyro.sample("y", dist.Normal(effect, 1.1), obs=y)


def masked_and_weighted(y, group, num_groups, observed, weights):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        with numpyro.handlers.mask(mask=observed), numpyro.handlers.scale(scale=weights):
            numpyro.sample("y", dist.Normal(effect[group], sigma), obs=y)


def unequal_precision(y, x, group, num_groups, sizes, observed):
    """Rows are means of several measurements, their variance is sampled, and some are missing."""
    variance = numpyro.sample("variance", dist.InverseGamma(3.0, 2.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    slope = numpyro.sample("slope", dist.StudentT(4.0, 0.0, 1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)), numpyro.handlers.mask(mask=observed):
        scale = jnp.sqrt(variance / sizes)
        numpyro.sample("y", dist.Normal(effect[group] + slope * x, scale), obs=y)


def several_memberships(y, weights):
    """Every row belongs to several groups: a dense matrix of memberships."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", weights.shape[1]):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(weights @ effect, 0.9), obs=y)


def heavy_tailed_coefficient(y, x, group, num_groups):
    """One coefficient has a Student-t prior: it stays, as a known column."""
    b = numpyro.sample("b", dist.StudentT(4.0, 0.0, 1.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    mean = numpyro.deterministic("mean", b * x + effect[group])
    numpyro.deterministic("twice", 2 * b)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def dependent_errors(y, group, num_groups, root):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.3, sd))
    blocks = effect[group].reshape(-1, 4)
    with numpyro.plate("blocks", blocks.shape[0]):
        numpyro.sample("y", dist.MultivariateNormal(blocks, scale_tril=root), obs=y)


def two_responses(y, x, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    cholesky = numpyro.sample("cholesky", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("group", num_groups):
        root = sd[:, None] * cholesky
        effect = numpyro.sample("effect", dist.MultivariateNormal(jnp.zeros(2), scale_tril=root))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group, 0], sigma), obs=y)
        numpyro.sample("x", dist.Normal(effect[group, 1] + 1.0, 0.5), obs=x)


def different_scales(y, group, num_groups):
    """Residual sds differ between groups and are latent: rows cannot be summed once."""
    tau = numpyro.sample("tau", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, tau))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group], sigma[group]), obs=y)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, the sites that can be integrated out, and whether its rows are summed once."""

    fn: Callable[..., Any]
    data: dict[str, Any]
    sites: tuple[str, ...]
    summed: bool


GENERATOR = np.random.default_rng(7)
ROWS = {name: models.correlated_slopes_data()[name] for name in ("y", "x", "group", "num_groups")}
GROUPED = {name: ROWS[name] for name in ("y", "group", "num_groups")}
NUM = len(ROWS["y"])
FIRST = NUM - NUM % 4
BLOCKS = {
    "y": ROWS["y"][:FIRST].reshape(-1, 4),
    "group": ROWS["group"][:FIRST],
    "num_groups": ROWS["num_groups"],
    "root": np.linalg.cholesky(0.5 * np.eye(4) + 0.3),
}


def formula_case(text: str, data: Any, *sites: str, **options: Any) -> Case:
    """Case of a formula; `data` is a table, or the name of a packaged one."""
    model = hj.formula(text, hj.load_data(data) if isinstance(data, str) else data, **options)
    return Case(model.fn, dict(model.data), sites, True)


def chem97_part() -> Any:
    """Pupils of 40 schools in their authorities: three levels."""
    table = hj.load_data("chem97")
    schools = table["school"].unique()[::60][:40]
    return table[table["school"].isin(schools)]


def library_case(name: str) -> Case:
    """Case of a library design's own example; its plate sites and their means go."""
    model = importlib.import_module(f"hierjax.library.{name}").example()
    sites = {
        "hierarchical_linear": ("gamma", "beta"),
        "test_scores": ("mu", "theta"),
        "eight_schools": ("mu", "theta"),
    }
    return Case(model.fn, dict(model.data), sites[name], True)


CASES: dict[str, Callable[[], Case]] = {
    "sleepstudy": lambda: formula_case(
        "Reaction ~ Days + (1 + Days | Subject)", "sleepstudy", "b_Intercept", "b_Days", "r_Subject"
    ),
    "radon": lambda: formula_case(
        "log_radon ~ floor + log_uranium + (1 + floor | county)",
        "radon",
        *("b_Intercept", "b_floor", "b_log_uranium", "r_county"),
    ),
    "penicillin": lambda: formula_case(
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        "penicillin",
        *("b_Intercept", "r_plate", "r_sample"),
    ),
    "pastes": lambda: formula_case(
        "strength ~ 1 + (1 | batch/cask)", "pastes", "b_Intercept", "r_batch", "r_batch:cask"
    ),
    "chem97": lambda: formula_case(
        "score ~ gcsecnt + (1 | lea) + (1 | school)",
        chem97_part(),
        *("b_Intercept", "b_gcsecnt", "r_lea", "r_school"),
    ),
    "hierarchical_linear": lambda: library_case("hierarchical_linear"),
    "test_scores": lambda: library_case("test_scores"),
    "eight_schools": lambda: library_case("eight_schools"),
    "correlated slopes": lambda: Case(
        models.correlated_slopes, dict(models.correlated_slopes_data()), ("b", "effect"), True
    ),
    "centred on parent": lambda: Case(
        centred_on_parent,
        {
            "y": ROWS["y"],
            "child": ROWS["group"],
            "parent_of_child": np.array([0, 0, 1, 1, 1]),
            "num_parents": 2,
            "num_children": 5,
        },
        ("mu", "parent_effect", "child_effect"),
        True,
    ),
    "non-centred by hand": lambda: Case(non_centred_by_hand, GROUPED, ("mu", "z"), False),
    "two sites on a factor": lambda: Case(
        two_slopes_and_intercepts, ROWS, ("intercept", "slopes", "half_effect"), True
    ),
    "balanced": lambda: Case(balanced, {"y": GENERATOR.normal(size=(5, 4))}, ("effect",), True),
    "masked and weighted": lambda: Case(
        masked_and_weighted,
        {
            **GROUPED,
            "observed": np.arange(NUM) % 3 > 0,
            "weights": GENERATOR.uniform(0.5, 2.0, NUM),
        },
        ("effect",),
        False,
    ),
    "unequal precision": lambda: Case(
        unequal_precision,
        {
            **ROWS,
            "y": np.where(np.arange(NUM) % 4 > 0, ROWS["y"], np.nan),
            "observed": np.arange(NUM) % 4 > 0,
            "sizes": GENERATOR.integers(1, 9, NUM).astype(float),
        },
        ("effect",),
        True,
    ),
    "several memberships": lambda: Case(
        several_memberships,
        {"y": ROWS["y"], "weights": GENERATOR.dirichlet(np.ones(6), NUM)},
        ("effect",),
        True,
    ),
    "heavy-tailed coefficient": lambda: Case(heavy_tailed_coefficient, ROWS, ("effect",), True),
    "dependent errors": lambda: Case(dependent_errors, BLOCKS, ("effect",), False),
    "two responses": lambda: Case(two_responses, ROWS, ("effect",), False),
    "different scales": lambda: Case(different_scales, GROUPED, ("effect",), False),
}
