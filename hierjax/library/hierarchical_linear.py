"""A slope for every group: the hierarchical linear model."""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError
from hierjax.groups import take
from hierjax.library.columns import column
from hierjax.library.factors import group_index
from hierjax.library.priors import hyper
from hierjax.model import Model


def hierarchical_linear_model(
    y: ArrayLike | None,
    x: ArrayLike,
    group: ArrayLike,
    num_groups: int,
    gamma_mean: ArrayLike,
    gamma_sd: ArrayLike,
    tau_sd: ArrayLike,
    sigma_sd: ArrayLike,
) -> None:
    r"""Regression through the origin whose slope differs between groups.

    .. math::

        y_{ij} = \beta_i x_{ij} + \epsilon_{ij}, \qquad \epsilon_{ij} \sim N(0, \sigma^2), \qquad
        \beta_i \sim N(\gamma, \tau^2)

    with :math:`\gamma \sim N(m, s^2)` and half-normal priors on the sds :math:`\tau` and
    :math:`\sigma`.

    Parameters
    ----------
    y
        Responses, shape (rows,); `None` draws them from the prior.
    x
        Covariate, shape (rows,).
    group
        Index of the group of each row, 0 to num_groups - 1, shape (rows,).
    num_groups
        Number of groups.
    gamma_mean, gamma_sd
        The prior's m and s, in units of `y` per unit of `x`.
    tau_sd
        Scale of the half-normal prior of tau, in units of `y` per unit of `x`.
    sigma_sd
        Scale of the half-normal prior of sigma, in the unit of `y`.
    """
    gamma = numpyro.sample("gamma", dist.Normal(gamma_mean, gamma_sd))
    tau = numpyro.sample("tau", dist.HalfNormal(tau_sd))
    sigma = numpyro.sample("sigma", dist.HalfNormal(sigma_sd))
    with numpyro.plate("group", num_groups):
        beta = numpyro.sample("beta", dist.Normal(gamma, tau))
    with numpyro.plate("rows", np.shape(group)[0]):
        numpyro.sample("y", dist.Normal(take(beta, group) * x, sigma), obs=y)


def hierarchical_linear(
    y: Any,
    x: Any,
    group: Any,
    *,
    gamma_mean: float = 0.0,
    gamma_sd: float | None = None,
    tau_sd: float | None = None,
    sigma_sd: float | None = None,
) -> Model:
    """Model y_ij = beta_i x_ij + e_ij with a slope for every group, beta_i ~ N(gamma, tau^2).

    gamma ~ N(gamma_mean, gamma_sd^2), tau ~ half-normal(tau_sd), e_ij ~ N(0, sigma^2), sigma ~
    half-normal(sigma_sd). There is no intercept: centre `y` and `x`, or write a formula, if the
    lines do not pass through the origin.

    Parameters
    ----------
    y
        Responses, shape (rows,).
    x
        Covariate, shape (rows,).
    group
        Label or integer code of the group of each row, shape (rows,). Groups are sorted by label.
    gamma_mean
        Prior mean of the population slope `gamma`, in units of `y` per unit of `x`.
    gamma_sd
        Prior sd of `gamma`; by default 2.5 times the root mean square of `y` over that of `x`.
    tau_sd
        Scale of the prior of `tau`, the sd of slopes; by default the same ratio.
    sigma_sd
        Scale of the prior of the residual sd; by default the root mean square of `y`.

    Returns
    -------
    Model
        Sites `gamma`, `tau`, `sigma`, `beta` (one per group) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, `y` or `x` is zero throughout, or the groups
        are too few or too many; the message names argument and rows.
    PriorError
        A prior's parameter is not a finite number, or not above zero.

    References
    ----------
    Lindley and Smith (1972), Journal of the Royal Statistical Society B 34, 1-41; Gelman and Hill
    (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, chapter 13.
    """
    y = column("y", y)
    x = column("x", x, len(y))
    index, labels = group_index(group, len(y))
    size_y, size_x = _root_mean_square("y", y), _root_mean_square("x", x)
    slope = size_y / size_x
    data = {"y": y, "x": x, "group": index, "num_groups": len(labels)}
    data |= {
        "gamma_mean": hyper("gamma_mean", gamma_mean, above_zero=False),
        "gamma_sd": hyper("gamma_sd", 2.5 * slope if gamma_sd is None else gamma_sd),
        "tau_sd": hyper("tau_sd", slope if tau_sd is None else tau_sd),
        "sigma_sd": hyper("sigma_sd", size_y if sigma_sd is None else sigma_sd),
    }
    return Model(
        hierarchical_linear_model,
        data,
        labels={"group": labels},
        blocks={"gamma": "coefficient", "tau": "level", "sigma": "other", "beta": "effect"},
        name="hierarchical_linear",
    )


def _root_mean_square(name: str, values: np.ndarray) -> float:
    """Typical size of `values`, or raise if they are zero throughout."""
    size = float(np.sqrt(np.mean(values**2)))
    if size == 0:
        raise DataError(f"`{name}` is zero in every row, so no slope can be learnt.")
    return size


def example() -> Model:
    """Return a small model: 32 simulated rows in 6 groups of unequal size."""
    generator = np.random.default_rng(3)
    group = np.repeat(np.arange(6), [2, 3, 4, 6, 8, 9])
    slope = 1.5 + 0.7 * generator.normal(size=6)
    x = generator.normal(size=32)
    y = slope[group] * x + 0.5 * generator.normal(size=32)
    return hierarchical_linear(y, x, [f"group {code}" for code in group])
