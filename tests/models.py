"""Small models whose posteriors are known exactly; shared by the tests of every method."""

import numpy as np
import numpyro
import numpyro.distributions as dist

SCHOOLS_Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SCHOOLS_SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def known_variances(y, group, num_groups, sd_group, sd_rows):
    """Balanced or not, with both variances known every parameter is jointly Gaussian."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(mu, sd_group))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group], sd_rows), obs=y)


def known_variances_data(seed=0, num_groups=6, rows=40):
    generator = np.random.default_rng(seed)
    group = np.sort(generator.integers(0, num_groups, rows))
    group[:num_groups] = np.arange(num_groups)
    y = 3.0 + generator.normal(0, 1.5, num_groups)[group] + generator.normal(0, 0.8, rows)
    return {"y": y, "group": group, "num_groups": num_groups, "sd_group": 1.5, "sd_rows": 0.8}


def known_variances_posterior(y, group, num_groups, sd_group, sd_rows):
    """Exact mean and covariance of (mu, effect_1, ..., effect_J)."""
    size = 1 + num_groups
    precision = np.zeros((size, size))
    precision[0, 0] = 1 / 10.0**2
    for j in range(num_groups):
        contrast = np.zeros(size)
        contrast[0], contrast[1 + j] = -1.0, 1.0
        precision += np.outer(contrast, contrast) / sd_group**2
    shift = np.zeros(size)
    for value, j in zip(y, group, strict=True):
        precision[1 + j, 1 + j] += 1 / sd_rows**2
        shift[1 + j] += value / sd_rows**2
    covariance = np.linalg.inv(precision)
    return covariance @ shift, covariance


def eight_schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def correlated_slopes(y, x, group, num_groups):
    b = numpyro.sample("b", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    cholesky = numpyro.sample("cholesky", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("group", num_groups):
        scale = sd[:, None] * cholesky
        effect = numpyro.sample("effect", dist.MultivariateNormal(b, scale_tril=scale))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    mean = effect[group, 0] + effect[group, 1] * x
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def correlated_slopes_data(seed=1, num_groups=5, rows=30):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=rows)
    group = np.arange(rows) % num_groups
    return {
        "y": x + generator.normal(size=rows),
        "x": x,
        "group": group,
        "num_groups": num_groups,
    }
