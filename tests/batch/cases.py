"""Models for batches: what can be padded, what cannot, and data sets of several sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from tests import models


def lanes_for(chunk):
    """Data sets of one device, for chunks of so many on all devices."""
    return max(1, chunk // jax.local_device_count())


def varying_intercepts(y, x, group, num_groups):
    """Two plates, a group index and a computed site in a group plate."""
    slope = numpyro.sample("slope", dist.Normal(0.0, 2.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
        numpyro.deterministic("doubled", 2.0 * effect)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group] + slope * x, 0.5), obs=y)


def counts(y, group, num_groups):
    """Another likelihood, and a factor in the plate of the rows."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Poisson(jnp.exp(effect[group])), obs=y)
        numpyro.factor("more", -0.1 * effect[group] ** 2)


def grouped_predictor(y, u, group):
    """The number of groups is the length of an argument of the groups' own."""
    gamma = numpyro.sample("gamma", dist.Normal(0.0, 1.0))
    with numpyro.plate("group", len(u)):
        effect = numpyro.sample("effect", dist.Normal(gamma * u, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group], 1.0), obs=y)


def standardised(y, x, group, num_groups):
    """The mean over rows sees padding."""
    varying_intercepts(y, x - x.mean(), group, num_groups)


def total_factor(y, x, group, num_groups):
    """A factor outside the plate sees padding."""
    varying_intercepts(y, x, group, num_groups)
    numpyro.factor("total", -0.01 * jnp.sum(x**2))


def mean_effect(y, x, group, num_groups):
    """The posterior is padded well, a computed site is not."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    numpyro.deterministic("average", effect.mean())
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group] + 0.0 * x, 0.5), obs=y)


def one_event(y, x, group, num_groups):
    """Rows without a plate: one observation of a vector."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    numpyro.sample("y", dist.Normal(effect[group] + x, 0.5).to_event(1), obs=y)


def rows_data(seed, num_groups=5, rows=30):
    generator = np.random.default_rng(seed)
    x, group = generator.normal(size=rows), np.arange(rows) % num_groups
    effect = generator.normal(size=num_groups)
    y = effect[group] + x + generator.normal(0, 0.5, rows)
    return {"y": y, "x": x, "group": group, "num_groups": num_groups}


def counts_data(seed, num_groups=5, rows=30):
    data = rows_data(seed, num_groups, rows)
    y = np.random.default_rng(seed).poisson(2.0, rows)
    return {"y": y, "group": data["group"], "num_groups": num_groups}


def predictor_data(seed, num_groups=5, rows=30):
    data = rows_data(seed, num_groups, rows)
    u = np.random.default_rng(seed).normal(size=num_groups)
    return {"y": data["y"], "u": u, "group": data["group"]}


SHAPES = ((5, 30), (6, 33), (5, 41), (7, 36))
PADDED = {
    "varying_intercepts": (varying_intercepts, rows_data),
    "counts": (counts, counts_data),
    "grouped_predictor": (grouped_predictor, predictor_data),
    "correlated_slopes": (
        models.correlated_slopes,
        lambda seed, groups, rows: models.correlated_slopes_data(seed, groups, rows),
    ),
}
NOT_PADDED = {
    "standardised": (standardised, "log density of 'y'"),
    "total_factor": (total_factor, "log density of 'total'"),
    "mean_effect": (mean_effect, "'average' changes"),
    "one_event": (one_event, "size of no plate"),
}


def ragged(make, shapes=SHAPES):
    return [make(seed, *shape) for seed, shape in enumerate(shapes)]
