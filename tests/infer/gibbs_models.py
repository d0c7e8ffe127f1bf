"""Small models for the tests of Gibbs sampling: between them they need every kernel.

Priors have light tails on the log scale, so that means of test functions exist.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist


def correlated(y, x, group, num_groups):
    """Sds without a conjugate prior, and a correlation: everything is sliced."""
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    cholesky = numpyro.sample("cholesky", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("group", num_groups):
        root = sd[:, None] * cholesky
        effect = numpyro.sample("effect", dist.MultivariateNormal(b, scale_tril=root))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    mean = effect[group, 0] + effect[group, 1] * x
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def conjugate(y, x, group, half, num_groups, weights):
    """A variance, a precision, and two sds with half-t and half-Cauchy priors; weighted rows.

    A deterministic site is between the variance and the effects, as in formulas.
    """
    variance = numpyro.sample("variance", dist.InverseGamma(3.0, 2.0))
    spread = numpyro.deterministic("spread", jnp.sqrt(variance))
    precision = numpyro.sample("precision", dist.Gamma(3.0, 2.0))
    sd = numpyro.sample("sd", dist.FoldedDistribution(dist.StudentT(4.0, 0.0, 0.7)))
    slopes = numpyro.sample("slopes", dist.HalfCauchy(0.5).expand([2]).to_event(1))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.3, spread))
    with numpyro.plate("half", 3):
        other = numpyro.sample("other", dist.Normal(0.0, sd))
    b = numpyro.sample("b", dist.Normal(0.0, slopes).to_event(1))
    mean = effect[group] + other[half] + b[0] * x + b[1]
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, 1.0 / jnp.sqrt(precision * weights)), obs=y)


def covariance(y, x, group, num_groups):
    """A covariance matrix with an inverse Wishart prior."""
    matrix = numpyro.sample(
        "matrix", dist.InverseWishart(6.0, scale_matrix=jnp.array([[2.0, 0.5], [0.5, 1.0]]))
    )
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        normal = dist.MultivariateNormal(jnp.zeros(2), covariance_matrix=matrix)
        effect = numpyro.sample("effect", normal)
    mean = effect[group, 0] + effect[group, 1] * x
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def precision_matrix(y, x, group, num_groups):
    """A precision matrix with a Wishart prior."""
    matrix = numpyro.sample(
        "matrix", dist.Wishart(6.0, rate_matrix=jnp.array([[4.0, 1.0], [1.0, 3.0]]))
    )
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        normal = dist.MultivariateNormal(jnp.zeros(2), precision_matrix=matrix)
        effect = numpyro.sample("effect", normal)
    mean = effect[group, 0] + effect[group, 1] * x
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def crossed(y, x, group, half, num_groups):
    """Crossed factors that share a hyperparameter, one with slopes; a coefficient that stays."""
    common = numpyro.sample("common", dist.HalfNormal(1.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    mu = numpyro.sample("mu", dist.Normal(0.5, 1.0))
    b = numpyro.sample("b", dist.StudentT(5.0, 0.0, 0.5))
    with numpyro.plate("group", num_groups):
        scale = jnp.stack([common, sd[0]])
        effect = numpyro.sample("effect", dist.Normal(jnp.zeros(2), scale).to_event(1))
    with numpyro.plate("half", 3):
        other = numpyro.sample("other", dist.Normal(mu, common * sd[1]))
    mean = effect[group, 0] + effect[group, 1] * x + other[half] + b * x
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def nested(y, x, group, half, num_groups):
    """Groups within larger ones, and a factor that crosses both."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([3]).to_event(1))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    with numpyro.plate("larger", 2):
        larger = numpyro.sample("larger_effect", dist.Normal(0.0, sd[0]))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(jnp.zeros(2), sd[1]).to_event(1))
    with numpyro.plate("half", 3):
        other = numpyro.sample("other", dist.Normal(0.0, sd[2]))
    mean = b + larger[group // 2] + effect[group, 0] + effect[group, 1] * x + other[half]
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def three_factors(y, x, group, half, pair, num_groups):
    """Three crossed factors, whose pairs of groups do not all have rows."""
    variance = numpyro.sample("variance", dist.InverseGamma(3.0, 2.0).expand([3]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    sd = jnp.sqrt(variance)
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd[0]))
    with numpyro.plate("half", 3):
        slope = numpyro.sample("other", dist.Normal(0.0, sd[1]))
    with numpyro.plate("pair", 6):
        paired = numpyro.sample("paired", dist.Normal(0.0, sd[2]))
    mean = effect[group] + slope[half] * x + paired[pair] + b[0] + b[1] * x
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def own_scales(y, group, num_groups):
    """Residual sds of groups, which are latent: rows cannot be summed once."""
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        sigma = numpyro.sample("sigma", dist.Exponential(1.0))
        effect = numpyro.sample("effect", dist.Normal(0.3, sd))
    with numpyro.plate("rows", group.shape[0]):
        numpyro.sample("y", dist.Normal(effect[group], sigma[group]), obs=y)


def other_scales(y, x, group, half, num_groups):
    """The other priors that are read as gamma ones; a covariance, and two sites on one factor."""
    precision = numpyro.sample("precision", dist.Exponential(0.5))
    common = numpyro.sample("common", dist.Chi2(5.0))
    half_t = dist.FoldedDistribution(dist.StudentT(9.0, 0.0, 0.7))
    sd, slopes = numpyro.sample("sd", half_t), numpyro.sample("slopes", half_t)
    matrix = numpyro.sample(
        "matrix", dist.InverseWishart(6.0, scale_matrix=jnp.array([[2.0, 0.5], [0.5, 1.0]]))
    )
    b = numpyro.sample("b", dist.Normal(0.0, slopes))
    with numpyro.plate("group", num_groups):
        normal = dist.MultivariateNormal(jnp.zeros(2), covariance_matrix=matrix)
        effect = numpyro.sample("effect", normal)
    with numpyro.plate("half", 3):
        other = numpyro.sample("other", dist.Normal(0.0, sd))
        more = numpyro.sample("more", dist.Normal(0.0, 1.0 / jnp.sqrt(common)))
    mean = effect[group, 0] + effect[group, 1] * x + other[half] + (b + more[half]) * x
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, 1.0 / jnp.sqrt(precision)), obs=y)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A model, and how it is to be sampled; `in_cells` keeps pairs of groups that share rows."""

    fn: Callable[..., Any]
    arguments: tuple[str, ...]
    updates: str = "collapsed"
    blocks: str = "auto"
    in_cells: bool = False

    def data(self) -> dict[str, Any]:
        """Return arguments of the model function."""
        generator, rows, groups = np.random.default_rng(3), 12, 4
        everything = {
            "y": generator.normal(size=rows),
            "x": generator.normal(size=rows),
            "group": np.arange(rows) % groups,
            "half": np.arange(rows) * 7 % 5 % 3,
            "pair": np.arange(rows) // 2,
            "num_groups": groups,
            "weights": np.exp(generator.normal(size=rows)),
        }
        return {name: everything[name] for name in self.arguments}


ROWS = ("y", "x", "group", "num_groups")

KERNELS = {
    "slices, effects together": Kernel(correlated, ROWS),
    "exact draws of scales": Kernel(conjugate, (*ROWS, "half", "weights"), updates="conjugate"),
    "exact draw of a covariance": Kernel(covariance, ROWS, updates="conjugate"),
    "exact draw of a precision matrix": Kernel(precision_matrix, ROWS, updates="conjugate"),
    "exact draws, effects by factor": Kernel(
        conjugate, (*ROWS, "half", "weights"), updates="conjugate", blocks="factor"
    ),
    "effects by factor": Kernel(crossed, (*ROWS, "half"), blocks="factor"),
    "nested effects together": Kernel(nested, (*ROWS, "half"), blocks="joint"),
    "nested effects, a part of two factors": Kernel(nested, (*ROWS, "half"), blocks="factor"),
    "three parts, pairs of groups in cells": Kernel(
        three_factors, (*ROWS, "half", "pair"), "conjugate", "factor", in_cells=True
    ),
    "rows that are not summed": Kernel(own_scales, ("y", "group", "num_groups")),
    "exact draws of scales with other priors": Kernel(other_scales, (*ROWS, "half"), "conjugate"),
    "exact draw of a covariance, effects by factor": Kernel(
        other_scales, (*ROWS, "half"), "conjugate", "factor"
    ),
}
