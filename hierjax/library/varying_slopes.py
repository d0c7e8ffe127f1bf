"""A line for every group, explained by predictors of the groups: intercepts and slopes as outcomes.

Schools with predictors of pupils and of schools, growth curves of patients in two treatments, rats.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError
from hierjax.groups import take
from hierjax.library.columns import by_group, column, design_matrix, spreads
from hierjax.library.factors import group_index
from hierjax.library.priors import hyper, hypers, prior_of
from hierjax.model import Model


def varying_slopes_model(
    y: ArrayLike | None,
    x: ArrayLike,
    group: ArrayLike,
    group_x: ArrayLike,
    num_groups: int,
    correlation: ArrayLike | None,
    gamma_mean: ArrayLike,
    gamma_sd: ArrayLike,
    tau_sd: ArrayLike,
    sigma_prior: dist.Distribution,
) -> None:
    r"""Regression for every group, its coefficients regressed on predictors of the group.

    .. math::

        y_{ij} \sim N(x_{ij}^\top \beta_i, \sigma^2), \qquad
        \beta_i \sim N(\Gamma w_i, \operatorname{diag}(\tau) \, \Omega \operatorname{diag}(\tau))

    with :math:`\Omega = L L^\top \sim \text{LKJ}(\eta)`, or the unit matrix where coefficients are
    independent, half-normal :math:`\tau`, and normal elements of :math:`\Gamma`, which has a row
    for every coefficient and a column for every predictor of the groups.

    Parameters
    ----------
    y
        Responses, shape (rows,); `None` draws them from the prior.
    x
        Predictors of rows, the first one the constant 1, shape (rows, k).
    group
        Index of the group of each row, shape (rows,).
    group_x
        Predictors w of groups, the first one the constant 1, shape (groups, q).
    num_groups
        Number of groups.
    correlation
        Concentration :math:`\eta`; None for independent coefficients.
    gamma_mean, gamma_sd
        Means and sds of the prior of :math:`\Gamma`, shape (k, q).
    tau_sd
        Scales of the half-normal priors of :math:`\tau`, shape (k,).
    sigma_prior
        Prior of the residual sd :math:`\sigma`.
    """
    gamma: Any = numpyro.sample("gamma", dist.Normal(gamma_mean, gamma_sd).to_event(2))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(tau_sd).to_event(1))
    if correlation is None:
        tril = jnp.diag(tau)
    else:
        cholesky: Any = numpyro.sample("L", dist.LKJCholesky(np.shape(tau_sd)[0], correlation))
        numpyro.deterministic("cor", cholesky @ cholesky.T)
        tril = tau[:, None] * cholesky
    sigma = numpyro.sample("sigma", sigma_prior)
    with numpyro.plate("group", num_groups):
        prior = dist.MultivariateNormal(group_x @ gamma.T, scale_tril=tril)
        beta = numpyro.sample("beta", prior)
    with numpyro.plate("rows", np.shape(group)[0]):
        mean = (take(beta, group) * x).sum(-1)
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def varying_slopes(
    y: Any,
    x: Any,
    group: Any,
    group_x: Any = None,
    *,
    gamma_mean: Any = None,
    gamma_sd: Any = None,
    tau_sd: Any = None,
    correlation: float | None = 2.0,
    sigma_prior: dist.Distribution | None = None,
) -> Model:
    """Model y_ij = x_ij . beta_i + e_ij with beta_i ~ N(Gamma w_i, Sigma): a line for every group.

    Every row has a constant and the predictors `x`; every group a constant and the predictors
    `group_x`, each of which may change the intercept and all slopes (cross-level interactions).
    A formula says the same as `y ~ x * w + (1 + x | group)` and can leave single interactions out;
    this function is the one to start from when you write your own.

    Parameters
    ----------
    y
        Responses, shape (rows,).
    x
        Predictors of rows, without the constant: a vector, a matrix (rows, k), a data frame or a
        mapping of names to columns.
    group
        Label or integer code of the group of each row, shape (rows,). Groups are sorted by label.
    group_x
        Predictors of groups, given for every row in the same forms as `x`; constant within groups.
    gamma_mean, gamma_sd
        Means and sds of the normal priors of `gamma`, one or one each, shape (1 + k, 1 + q). By
        default the mean is that of `y` for the overall intercept and zero for the rest, and the sd
        2.5 times that of `y`, over those of the predictors.
    tau_sd
        Scale of the half-normal priors of the sds `tau` of intercepts and slopes, one or one each;
        by default the sd of `y`, over that of the predictor for slopes.
    correlation
        Concentration of the LKJ prior of the correlation of intercepts and slopes; None for
        independent ones.
    sigma_prior
        Prior of the residual sd `sigma`; by default HalfNormal of the sd of `y`.

    Returns
    -------
    Model
        Sites `gamma` (coefficients by predictors of groups), `tau`, `L` and `cor`, `sigma`,
        `beta` (one row of coefficients per group) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, a predictor is constant, one of groups
        varies within a group, or the groups are too few or too many; the message names them.
    PriorError
        A prior's parameter is out of range.

    References
    ----------
    Laird and Ware (1982), Biometrics 38, 963-974; Raudenbush and Bryk (2002), Hierarchical Linear
    Models, chapters 4 and 6; Gelman and Hill (2007), chapter 13.
    """
    y = column("y", y)
    index, labels = group_index(group, len(y))
    columns, terms = design_matrix("x", x, len(y))
    of_rows, predictors = design_matrix("group_x", group_x, len(y))
    sd_y = float(np.std(y))
    if sd_y == 0:
        raise DataError("`y` does not vary, so there is nothing to learn.")
    spread = spreads(columns, terms)
    group_spread = spreads(of_rows, predictors)
    of_groups = by_group(of_rows, index, len(labels), predictors, "group_x")
    centre = np.zeros((len(terms) + 1, len(predictors) + 1))
    centre[0, 0] = np.mean(y)
    inverse = 1.0 / np.concatenate([[1.0], spread])
    width = 2.5 * sd_y * np.outer(inverse, 1.0 / np.concatenate([[1.0], group_spread]))
    data = {
        "y": y,
        "x": np.column_stack([np.ones(len(y)), columns]),
        "group": index,
        "group_x": np.column_stack([np.ones(len(labels)), of_groups]),
        "num_groups": len(labels),
        "correlation": None if correlation is None else hyper("correlation", correlation),
        "gamma_mean": hypers("gamma_mean", gamma_mean, centre, above_zero=False),
        "gamma_sd": hypers("gamma_sd", gamma_sd, width),
        "tau_sd": hypers("tau_sd", tau_sd, sd_y * inverse),
        "sigma_prior": prior_of("sigma_prior", sigma_prior, dist.HalfNormal(sd_y), above_zero=True),
    }
    names, of_group = ["Intercept", *terms], ["Intercept", *predictors]
    blocks = {"gamma": "coefficient", "tau": "level", "L": "hidden", "sigma": "other"}
    if correlation is None:
        del blocks["L"]
    return Model(
        varying_slopes_model,
        data,
        labels={"group": labels, "term": names, "predictor": of_group},
        dims={
            "gamma": ("term", "predictor"),
            "tau": ("term",),
            "beta": ("term",),
            "cor": ("term", "term"),
        },
        blocks=blocks | {"beta": "effect"},
        name="varying_slopes",
    )


def example() -> Model:
    """Return a small model: 60 simulated measurements of 12 patients in two treatments."""
    generator = np.random.default_rng(3)
    patient = np.repeat(np.arange(12), 5)
    time = np.tile(np.arange(5.0), 12)
    treated = (patient % 2).astype(float)
    lines = generator.normal([20.0, -1.0], [3.0, 0.7], size=(12, 2))
    mean = lines[patient, 0] + (lines[patient, 1] - 1.5 * treated) * time
    return varying_slopes(
        mean + 2.0 * generator.normal(size=60), {"time": time}, patient, {"treated": treated}
    )
