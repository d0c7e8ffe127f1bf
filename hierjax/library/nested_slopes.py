"""Coefficients of units in markets: stores or consumers whose markets differ as well."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError
from hierjax.groups import take
from hierjax.library.columns import column, design_matrix, spreads
from hierjax.library.factors import group_index, parent_index
from hierjax.library.priors import hyper, hypers, prior_of
from hierjax.model import Model


def nested_slopes_model(
    y: ArrayLike | None,
    x: ArrayLike,
    group: ArrayLike,
    parent: ArrayLike,
    num_groups: int,
    num_parents: int,
    gamma_mean: ArrayLike,
    gamma_sd: ArrayLike,
    omega_sd: ArrayLike,
    tau_sd: ArrayLike,
    correlation: ArrayLike,
    sigma_prior: dist.Distribution,
) -> None:
    r"""Regression for every unit, with coefficients around those of its market.

    .. math::

        y_{mci} \sim N(x_{mci}^\top \beta_{mc}, \sigma^2), \qquad
        \beta_{mc} \sim N(\mu_m, \operatorname{diag}(\tau) \Omega \operatorname{diag}(\tau)), \qquad
        \mu_m \sim N(\gamma, \operatorname{diag}(\omega^2))

    with :math:`\Omega = L L^\top \sim \text{LKJ}(\eta)` and half-normal sds.

    Parameters
    ----------
    y
        Responses, shape (rows,); `None` draws them from the prior.
    x
        Predictors, the first one the constant 1, shape (rows, k).
    group
        Index of the unit of each row, shape (rows,).
    parent
        Index of the market of each unit, shape (units,).
    num_groups, num_parents
        Numbers of units and of markets.
    gamma_mean, gamma_sd
        Means and sds of the priors of the population's coefficients, shape (k,).
    omega_sd, tau_sd
        Scales of the half-normal priors of the sds between markets and between units of one market,
        shape (k,).
    correlation
        Concentration :math:`\eta`.
    sigma_prior
        Prior of the residual sd :math:`\sigma`.
    """
    size = np.shape(gamma_sd)[0]
    gamma: Any = numpyro.sample("gamma", dist.Normal(gamma_mean, gamma_sd).to_event(1))
    omega: Any = numpyro.sample("omega", dist.HalfNormal(omega_sd).to_event(1))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(tau_sd).to_event(1))
    cholesky: Any = numpyro.sample("L", dist.LKJCholesky(size, correlation))
    numpyro.deterministic("cor", cholesky @ cholesky.T)
    sigma = numpyro.sample("sigma", sigma_prior)
    with numpyro.plate("parent", num_parents):
        prior = dist.MultivariateNormal(gamma[None], scale_tril=jnp.diag(omega))
        mu = numpyro.sample("mu", prior)
    with numpyro.plate("group", num_groups):
        prior = dist.MultivariateNormal(take(mu, parent), scale_tril=tau[:, None] * cholesky)
        beta = numpyro.sample("beta", prior)
    with numpyro.plate("rows", np.shape(group)[0]):
        mean = (take(beta, group) * x).sum(-1)
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def nested_slopes(
    y: Any,
    x: Any,
    group: Any,
    parent: Any,
    *,
    gamma_mean: Any = None,
    gamma_sd: Any = None,
    omega_sd: Any = None,
    tau_sd: Any = None,
    correlation: float = 2.0,
    sigma_prior: dist.Distribution | None = None,
) -> Model:
    """Model of a regression for every unit (store, consumer) nested in larger ones (markets).

    Coefficients of a unit vary around those of its market, these around the population's. As a
    formula: `y ~ x + (1 + x || parent) + (1 + x | parent:group)`.

    Parameters
    ----------
    y
        Responses, shape (rows,).
    x
        Predictors, without the constant: a vector, a matrix (rows, k), a data frame or a mapping of
        names to columns.
    group
        Label of the unit of each row, shape (rows,); unique across markets.
    parent
        Label of the market of each row, shape (rows,).
    gamma_mean, gamma_sd
        Means and sds of the normal priors of `gamma`, one or one each, the intercept first. By
        default the mean of `y` for the intercept and zero for the rest, and 2.5 times the sd of
        `y`, over that of the predictor.
    omega_sd, tau_sd
        Scales of the half-normal priors of the sds between markets and between units of one market;
        by default the sd of `y`, over that of the predictor.
    correlation
        Concentration of the LKJ prior of correlations between units of one market.
    sigma_prior
        Prior of the residual sd `sigma`; by default HalfNormal of the sd of `y`.

    Returns
    -------
    Model
        Sites `gamma`, `omega`, `tau`, `L` and `cor`, `sigma`, `mu` (a row per market), `beta` (a
        row per unit) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, a predictor is constant, units are not
        nested in markets, or there are too few or too many of either; the message names them.
    PriorError
        A prior's parameter is out of range.

    References
    ----------
    Boatwright, McCulloch and Rossi (1999), Journal of the American Statistical Association 94,
    1063-1073; Rossi, Allenby and McCulloch (2005), section 3.7.
    """
    y = column("y", y)
    index, labels = group_index(group, len(y))
    above, above_labels = parent_index(index, parent, "group", "parent")
    columns, terms = design_matrix("x", x, len(y))
    sd_y = float(np.std(y))
    if sd_y == 0:
        raise DataError("`y` does not vary, so there is nothing to learn.")
    scale = sd_y / np.concatenate([[1.0], spreads(columns, terms)])
    mean = np.zeros(len(terms) + 1)
    mean[0] = np.mean(y)
    data = {
        "y": y,
        "x": np.column_stack([np.ones(len(y)), columns]),
        "group": index,
        "parent": above,
        "num_groups": len(labels),
        "num_parents": len(above_labels),
        "gamma_mean": hypers("gamma_mean", gamma_mean, mean, above_zero=False),
        "gamma_sd": hypers("gamma_sd", gamma_sd, 2.5 * scale),
        "omega_sd": hypers("omega_sd", omega_sd, scale),
        "tau_sd": hypers("tau_sd", tau_sd, scale),
        "correlation": hyper("correlation", correlation),
        "sigma_prior": prior_of("sigma_prior", sigma_prior, dist.HalfNormal(sd_y), above_zero=True),
    }
    vectors = {name: ("term",) for name in ("gamma", "omega", "tau", "mu", "beta")}
    return Model(
        nested_slopes_model,
        data,
        labels={"parent": above_labels, "group": labels, "term": ["Intercept", *terms]},
        dims=vectors | {"cor": ("term", "term")},
        blocks={
            "gamma": "coefficient",
            "omega": "level",
            "tau": "level",
            "L": "hidden",
            "sigma": "other",
            "mu": "effect",
            "beta": "effect",
        },
        name="nested_slopes",
    )


def example() -> Model:
    """Return a small model: weekly sales of 12 simulated stores in 4 towns."""
    generator = np.random.default_rng(10)
    store = np.repeat(np.arange(12), 10)
    town = store // 3
    price = generator.normal(size=120)
    of_town = generator.normal([8.0, -1.0], [0.6, 0.4], size=(4, 2))
    lines = (of_town[np.arange(12) // 3] + generator.normal(0.0, [0.4, 0.3], size=(12, 2)))[store]
    sales = lines[:, 0] + lines[:, 1] * price + 0.3 * generator.normal(size=120)
    return nested_slopes(sales, {"log price": price}, store, [f"town {code}" for code in town])
