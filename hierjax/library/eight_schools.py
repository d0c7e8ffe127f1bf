"""Known standard errors: the random-effects meta-analysis, with eight schools as its classic."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import GroupCountError, LengthError
from hierjax.library.columns import column, positive
from hierjax.library.priors import hyper
from hierjax.model import Model


def eight_schools_model(
    y: ArrayLike | None, sigma: ArrayLike, mu_sd: ArrayLike = 5.0, tau_scale: ArrayLike = 5.0
) -> None:
    r"""Estimates with known standard errors whose true effects come from one population.

    .. math::

        y_j \sim N(\theta_j, \sigma_j^2), \qquad \theta_j \sim N(\mu, \tau^2), \qquad
        \mu \sim N(0, s_\mu^2), \qquad \tau \sim \text{half-Cauchy}(s_\tau)

    Parameters
    ----------
    y
        Estimates, shape (schools,); `None` draws them from the prior.
    sigma
        Their standard errors, shape (schools,), in the unit of `y`.
    mu_sd, tau_scale
        The prior's :math:`s_\mu` and :math:`s_\tau`, in the unit of `y`.
    """
    mu = numpyro.sample("mu", dist.Normal(0.0, mu_sd))
    tau = numpyro.sample("tau", dist.HalfCauchy(tau_scale))
    with numpyro.plate("school", np.shape(sigma)[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools(
    y: Any,
    sigma: Any,
    *,
    labels: Sequence[Any] | None = None,
    mu_sd: float = 5.0,
    tau_scale: float = 5.0,
) -> Model:
    """Model of estimates `y` with known standard errors `sigma` (random-effects meta-analysis).

    y_j ~ N(theta_j, sigma_j^2), theta_j ~ N(mu, tau^2), mu ~ N(0, mu_sd^2),
    tau ~ half-Cauchy(tau_scale). The default priors suit effects of a few units.

    Parameters
    ----------
    y
        Estimates, shape (schools,).
    sigma
        Their standard errors, shape (schools,), in the unit of `y`.
    labels
        Names of the schools; numbers from 0 without.
    mu_sd
        Prior sd of the population mean `mu`, in the unit of `y`.
    tau_scale
        Prior scale of the population sd `tau`, in the unit of `y`.

    Returns
    -------
    Model
        Sites `mu`, `tau`, `theta` (one per school) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, a standard error is not above zero, or
        there is one school only; the message names argument and rows.
    PriorError
        A prior's parameter is not a finite number above zero.

    References
    ----------
    Rubin (1981), Journal of Educational Statistics 6, 377-401; Gelman et al. (2013), Bayesian Data
    Analysis, section 5.5. The default priors are those of posteriordb's `eight_schools`.
    """
    y = column("y", y)
    if len(y) < 2:
        raise GroupCountError("There is one school only, so no population sd can be learnt.")
    if labels is not None and len(labels) != len(y):
        raise LengthError(f"`labels` has {len(labels)} names, but there are {len(y)} rows of `y`.")
    data = {
        "y": y,
        "sigma": positive("sigma", column("sigma", sigma, len(y))),
        "mu_sd": hyper("mu_sd", mu_sd),
        "tau_scale": hyper("tau_scale", tau_scale),
    }
    return Model(
        eight_schools_model,
        data,
        labels={} if labels is None else {"school": list(labels)},
        blocks={"mu": "coefficient", "tau": "level", "theta": "effect"},
        name="eight_schools",
    )


def example() -> Model:
    """Return the eight schools themselves (Rubin 1981)."""
    return eight_schools(
        y=[28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0],
        sigma=[15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0],
        labels=list("ABCDEFGH"),
    )
