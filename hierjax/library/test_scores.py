"""Scores of pupils in schools: means of groups that vary around a common mean."""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import numpy as jnp
from jax.typing import ArrayLike

from hierjax.errors import DataError
from hierjax.groups import take
from hierjax.library.columns import column
from hierjax.library.factors import group_index
from hierjax.library.priors import hyper
from hierjax.model import Model


def test_scores_model(
    y: ArrayLike | None,
    group: ArrayLike,
    num_groups: int,
    mu_mean: ArrayLike,
    mu_sd: ArrayLike,
    sigma2_shape: ArrayLike,
    sigma2_scale: ArrayLike,
    tau2_shape: ArrayLike,
    tau2_scale: ArrayLike,
) -> None:
    r"""Scores within groups, with inverse-gamma priors on the two variances.

    .. math::

        y_{ij} \sim N(\theta_i, \sigma^2), \qquad \theta_i \sim N(\mu, \tau^2), \qquad
        \mu \sim N(m, s^2), \qquad \sigma^2 \sim IG(a, b), \qquad \tau^2 \sim IG(c, d)

    where the density of :math:`IG(a, b)` at v is
    :math:`b^a \Gamma(a)^{-1} v^{-a-1} \exp(-b / v)`, a density of the variance and not of the sd.

    Parameters
    ----------
    y
        Scores, shape (rows,); `None` draws them from the prior.
    group
        Index of the group of each row, 0 to num_groups - 1, shape (rows,).
    num_groups
        Number of groups.
    mu_mean, mu_sd
        The prior's m and s, in the unit of `y`.
    sigma2_shape, sigma2_scale
        The prior's a (no unit) and b (unit of `y`, squared).
    tau2_shape, tau2_scale
        The prior's c (no unit) and d (unit of `y`, squared).
    """
    mu = numpyro.sample("mu", dist.Normal(mu_mean, mu_sd))
    sigma2 = numpyro.sample("sigma2", dist.InverseGamma(sigma2_shape, sigma2_scale))
    tau2 = numpyro.sample("tau2", dist.InverseGamma(tau2_shape, tau2_scale))
    with numpyro.plate("group", num_groups):
        theta = numpyro.sample("theta", dist.Normal(mu, jnp.sqrt(tau2)))
    with numpyro.plate("rows", np.shape(group)[0]):
        numpyro.sample("y", dist.Normal(take(theta, group), jnp.sqrt(sigma2)), obs=y)


def test_scores(
    y: Any,
    group: Any,
    *,
    mu_mean: float | None = None,
    mu_sd: float | None = None,
    sigma2_shape: float = 0.5,
    sigma2_scale: float | None = None,
    tau2_shape: float = 0.5,
    tau2_scale: float | None = None,
) -> Model:
    """Model of scores `y` of members of groups: theta_i ~ N(mu, tau^2), y_ij ~ N(theta_i, sigma^2).

    sigma^2 ~ InverseGamma(sigma2_shape, sigma2_scale) and tau^2 ~ InverseGamma(tau2_shape,
    tau2_scale) are priors on the *variances*; mu ~ N(mu_mean, mu_sd^2). With the default shapes of
    1/2 each variance has a scaled inverse chi-squared prior with one degree of freedom, worth one
    observation.

    Parameters
    ----------
    y
        Scores, shape (rows,).
    group
        Label or integer code of the group of each row, shape (rows,). Groups are sorted by label.
    mu_mean
        Prior mean of `mu`; by default the mean of `y`.
    mu_sd
        Prior sd of `mu`; by default 2.5 sds of `y`.
    sigma2_shape, tau2_shape
        Inverse-gamma shapes.
    sigma2_scale, tau2_scale
        Inverse-gamma scales, in the unit of `y` squared; by default the shape times the variance
        of `y`, so that the prior is centred on the variance of the scores.

    Returns
    -------
    Model
        Sites `mu`, `sigma2`, `tau2`, `theta` (one per group) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, the scores do not vary, or the groups are
        too few or too many; the message names argument and rows.
    PriorError
        A prior's parameter is not a finite number, or not above zero.

    References
    ----------
    Hoff (2009), A First Course in Bayesian Statistical Methods, chapter 8; Gelman et al. (2013),
    Bayesian Data Analysis, section 11.6.
    """
    y = column("y", y)
    index, labels = group_index(group, len(y))
    variance = float(np.var(y))
    if variance == 0:
        raise DataError("`y` does not vary: all scores are equal, so there is nothing to learn.")
    given = {
        "mu_sd": 2.5 * variance**0.5 if mu_sd is None else mu_sd,
        "sigma2_shape": sigma2_shape,
        "sigma2_scale": sigma2_shape * variance if sigma2_scale is None else sigma2_scale,
        "tau2_shape": tau2_shape,
        "tau2_scale": tau2_shape * variance if tau2_scale is None else tau2_scale,
    }
    mean = float(np.mean(y)) if mu_mean is None else mu_mean
    data = {"y": y, "group": index, "num_groups": len(labels)}
    data |= {"mu_mean": hyper("mu_mean", mean, above_zero=False)}
    data |= {name: hyper(name, value) for name, value in given.items()}
    return Model(
        test_scores_model,
        data,
        labels={"group": labels},
        blocks={"mu": "coefficient", "tau2": "level", "sigma2": "other", "theta": "effect"},
        name="test_scores",
    )


def example() -> Model:
    """Return a small model: 30 simulated scores of 6 schools of unequal size."""
    generator = np.random.default_rng(8)
    school = np.repeat(np.arange(6), [2, 3, 4, 5, 7, 9])
    mean = 50.0 + 5.0 * generator.normal(size=6)
    score = mean[school] + 9.0 * generator.normal(size=30)
    return test_scores(score, [f"school {code}" for code in school])
