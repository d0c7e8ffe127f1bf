"""Three levels: pupils in schools in areas, assays of casks in batches."""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError
from hierjax.groups import take
from hierjax.library.columns import column, design_matrix, spreads
from hierjax.library.factors import group_index, parent_index
from hierjax.library.priors import hypers, prior_of
from hierjax.model import Model


def three_level_model(
    y: ArrayLike | None,
    x: ArrayLike | None,
    group: ArrayLike,
    parent: ArrayLike,
    num_groups: int,
    num_parents: int,
    mu_prior: dist.Distribution,
    b_sd: ArrayLike | None,
    omega_prior: dist.Distribution,
    tau_prior: dist.Distribution,
    sigma_prior: dist.Distribution,
) -> None:
    r"""Rows in groups in larger groups, each with a mean around that of the level above.

    .. math::

        y_{ijk} \sim N(\theta_{ij} + x_{ijk}^\top b, \sigma^2), \qquad
        \theta_{ij} \sim N(\phi_i, \tau^2), \qquad \phi_i \sim N(\mu, \omega^2)

    Parameters
    ----------
    y
        Responses, shape (rows,); `None` draws them from the prior.
    x
        Predictors, without the constant, shape (rows, k), or None.
    group
        Index of the group of each row, shape (rows,).
    parent
        Index of the larger group of each group, shape (groups,).
    num_groups, num_parents
        Numbers of groups and of larger ones.
    mu_prior
        Prior of the mean.
    b_sd
        Sds of the normal priors of coefficients, shape (k,), or None.
    omega_prior, tau_prior, sigma_prior
        Priors of the sds between larger groups, between groups of one larger group, and of rows.
    """
    mu = numpyro.sample("mu", mu_prior)
    omega = numpyro.sample("omega", omega_prior)
    tau = numpyro.sample("tau", tau_prior)
    sigma = numpyro.sample("sigma", sigma_prior)
    with numpyro.plate("parent", num_parents):
        phi = numpyro.sample("phi", dist.Normal(mu, omega))
    with numpyro.plate("group", num_groups):
        theta = numpyro.sample("theta", dist.Normal(take(phi, parent), tau))
    mean = take(theta, group)
    if x is not None:
        b: Any = numpyro.sample("b", dist.Normal(0.0, b_sd).to_event(1))
        mean = mean + x @ b
    with numpyro.plate("rows", np.shape(group)[0]):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def three_level(
    y: Any,
    group: Any,
    parent: Any,
    x: Any = None,
    *,
    mu_prior: dist.Distribution | None = None,
    b_sd: Any = None,
    omega_prior: dist.Distribution | None = None,
    tau_prior: dist.Distribution | None = None,
    sigma_prior: dist.Distribution | None = None,
) -> Model:
    """Model of rows in groups in larger groups: pupils in schools in areas.

    y ~ N(theta_group + x . b, sigma^2), theta_group ~ N(phi_parent, tau^2), phi_parent ~ N(mu,
    omega^2). The formula `y ~ x + (1 | parent/group)` is the same model with effects measured from
    the level above.

    Parameters
    ----------
    y
        Responses, shape (rows,).
    group
        Label of the group of each row, shape (rows,); unique across larger groups.
    parent
        Label of the larger group of each row, shape (rows,).
    x
        Predictors of rows, without the constant: a vector, a matrix (rows, k), a data frame or a
        mapping of names to columns.
    mu_prior
        Prior of the mean `mu`; by default normal around the mean of `y` with 2.5 times its sd.
    b_sd
        Sds of the normal priors of the coefficients `b`, one or one each, in units of `y` per unit
        of the predictor; by default 2.5 sds of `y` over that of the predictor.
    omega_prior, tau_prior, sigma_prior
        Priors of the three sds; by default HalfNormal of the sd of `y`.

    Returns
    -------
    Model
        Sites `mu`, `b` (if there are predictors), `omega`, `tau`, `sigma`, `phi` (one per larger
        group), `theta` (one per group) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, groups are not nested, or the groups of a
        level are too few or too many; the message names argument and rows.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Goldstein (2011), Multilevel Statistical Models, chapter 2; Davies and Goldsmith (1972) for
    nested assays.
    """
    y = column("y", y)
    index, labels = group_index(group, len(y))
    above, above_labels = parent_index(index, parent, "group", "parent")
    columns, terms = design_matrix("x", x, len(y))
    sd_y = float(np.std(y))
    if sd_y == 0:
        raise DataError("`y` does not vary, so there is nothing to learn.")
    spread = spreads(columns, terms)
    scale = dist.HalfNormal(sd_y)
    data = {
        "y": y,
        "x": columns if terms else None,
        "group": index,
        "parent": above,
        "num_groups": len(labels),
        "num_parents": len(above_labels),
        "mu_prior": prior_of("mu_prior", mu_prior, dist.Normal(float(np.mean(y)), 2.5 * sd_y)),
        "b_sd": hypers("b_sd", b_sd, 2.5 * sd_y / spread) if terms else None,
        "omega_prior": prior_of("omega_prior", omega_prior, scale, above_zero=True),
        "tau_prior": prior_of("tau_prior", tau_prior, scale, above_zero=True),
        "sigma_prior": prior_of("sigma_prior", sigma_prior, scale, above_zero=True),
    }
    blocks = {"mu": "coefficient", "omega": "level", "tau": "level", "sigma": "other"}
    blocks |= {"phi": "effect", "theta": "effect"} | ({"b": "coefficient"} if terms else {})
    return Model(
        three_level_model,
        data,
        labels={"parent": above_labels, "group": labels} | ({"term": terms} if terms else {}),
        dims={"b": ("term",)} if terms else {},
        blocks=blocks,
        name="three_level",
    )


def example() -> Model:
    """Return a small model: 96 simulated pupils in 16 schools in 4 areas."""
    generator = np.random.default_rng(5)
    school = np.repeat(np.arange(16), 6)
    area = school // 4
    means = (10.0 + 2.0 * generator.normal(size=4))[np.arange(16) // 4]
    means = means + 1.5 * generator.normal(size=16)
    before = generator.normal(size=96)
    score = means[school] + 0.8 * before + generator.normal(size=96)
    return three_level(score, school, [f"area {code}" for code in area], {"before": before})
