"""Rates of counts with known exposure: pumps that fail, wards, junctions, a gamma population."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import GroupCountError
from hierjax.library.columns import column, counts, positive
from hierjax.library.factors import label_list
from hierjax.library.priors import prior_of
from hierjax.model import Model


def gamma_poisson_model(
    y: ArrayLike | None,
    exposure: ArrayLike,
    alpha_prior: dist.Distribution,
    beta_prior: dist.Distribution,
) -> None:
    r"""Poisson counts whose rates come from a gamma distribution.

    .. math::

        y_j \sim \text{Poisson}(\theta_j t_j), \qquad \theta_j \sim \text{Gamma}(\alpha, \beta)

    with mean :math:`\alpha / \beta`. Given the rest a rate has a gamma distribution again,
    :math:`\text{Gamma}(\alpha + y_j, \beta + t_j)`.

    Parameters
    ----------
    y
        Count of each group, shape (groups,); `None` draws them from the prior.
    exposure
        Exposure t of each group, for example hours, shape (groups,).
    alpha_prior, beta_prior
        Priors of the shape and the rate of the population; the rate has the unit of `exposure`.
    """
    alpha = numpyro.sample("alpha", alpha_prior)
    beta = numpyro.sample("beta", beta_prior)
    with numpyro.plate("group", np.shape(exposure)[0]):
        theta: Any = numpyro.sample("theta", dist.Gamma(alpha, beta))
        numpyro.sample("y", dist.Poisson(theta * exposure), obs=y)


def gamma_poisson(
    y: Any,
    exposure: Any,
    *,
    labels: Sequence[Any] | None = None,
    alpha_prior: dist.Distribution | None = None,
    beta_prior: dist.Distribution | None = None,
) -> Model:
    """Model of counts `y` over known `exposure`: y_j ~ Poisson(theta_j t_j), theta_j gamma.

    The effects are not normal, so they are sampled as they are. Where rates of groups depend on
    covariates, or groups are crossed, a formula with `family="poisson"` and an offset is the better
    way; its group effects are normal on the log scale.

    Parameters
    ----------
    y
        Counts, shape (groups,).
    exposure
        Exposure of each group, above zero, shape (groups,).
    labels
        Names of the groups; numbers from 0 without.
    alpha_prior
        Prior of the shape `alpha` of the population; by default Exponential(1).
    beta_prior
        Prior of its rate `beta`, in the unit of `exposure`; by default Gamma(0.1, 1), which suits
        exposures of about one to a hundred.

    Returns
    -------
    Model
        Sites `alpha`, `beta`, `theta` (one per group) and the observed `y`.

    Raises
    ------
    DataError
        A count is missing, negative or not whole, an exposure is not above zero, or there is one
        group only; the message names argument and rows.
    PriorError
        A prior is no distribution of one positive number.

    References
    ----------
    Gaver and O'Muircheartaigh (1987), Technometrics 29, 1-15; George, Makov and Smith (1993),
    Scandinavian Journal of Statistics 20, 147-156, whose priors are the default.
    """
    y = counts("y", y)
    if len(y) < 2:
        raise GroupCountError("There is one group only, so no population can be learnt.")
    data = {
        "y": y,
        "exposure": positive("exposure", column("exposure", exposure, len(y))),
        "alpha_prior": prior_of("alpha_prior", alpha_prior, dist.Exponential(1.0), above_zero=True),
        "beta_prior": prior_of("beta_prior", beta_prior, dist.Gamma(0.1, 1.0), above_zero=True),
    }
    return Model(
        gamma_poisson_model,
        data,
        labels={"group": label_list("labels", labels, len(y))},
        blocks={"alpha": "level", "beta": "level", "theta": "effect"},
        name="gamma_poisson",
    )


def example() -> Model:
    """Return the pumps of a nuclear power plant (Gaver and O'Muircheartaigh 1987)."""
    return gamma_poisson(
        y=[5, 1, 5, 14, 3, 19, 1, 1, 4, 22],
        exposure=[94.3, 15.7, 62.9, 126.0, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5],
    )
