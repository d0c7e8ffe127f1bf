"""The basket trial of Berry et al.: one treatment, several groups of patients, response or none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpyro.distributions as dist

from hierjax.errors import DataError
from hierjax.library.binomial_groups import binomial_groups_model, binomial_model
from hierjax.library.columns import column, rows_text
from hierjax.library.priors import prior_of, root
from hierjax.model import Model

basket_trial_model = binomial_groups_model


def basket_trial(
    y: Any,
    trials: Any,
    *,
    target: Any = 0.3,
    labels: Sequence[Any] | None = None,
    mu_prior: dist.Distribution | None = None,
    sigma_prior: dist.Distribution | None = None,
) -> Model:
    r"""Model of `y` responders among `trials` patients in the baskets of a phase II trial.

    .. math::

        y_j \sim \text{Binomial}(n_j, p_j), \qquad
        \theta_j = \operatorname{logit} p_j - \operatorname{logit} \pi_j \sim N(\mu, \sigma^2),
        \qquad \mu \sim N(m, s^2), \qquad \sigma^2 \sim IG(a, b)

    with :math:`\pi_j` the response rate that the treatment is meant to have in basket j. How much
    the baskets borrow from one another is learnt, and depends on the prior of :math:`\sigma`; the
    default is that of the paper, a pull towards equal baskets that data can overcome.

    Parameters
    ----------
    y
        Responders of each basket, shape (baskets,).
    trials
        Patients of each basket, shape (baskets,).
    target
        Target response rate, one for all baskets or one each, between 0 and 1.
    labels
        Names of the baskets; numbers from 0 without.
    mu_prior
        Prior of the mean `mu` of the log odds less those of the target; by default Normal(-1.34,
        10).
    sigma_prior
        Prior of the sd `sigma`; by default that of a variance ~ InverseGamma(0.0005, 0.000005),
        `root(dist.InverseGamma(0.0005, 0.000005))`.

    Returns
    -------
    Model
        The function of `binomial_groups`: sites `mu`, `sigma`, `theta`, the rates `p`, and the
        observed `y`.

    Raises
    ------
    DataError
        As of `binomial_groups`, or a target is not between 0 and 1.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Berry, Broglio, Groshen and Berry (2013), Clinical Trials 10, 720-734; the prior of the variance
    is that of Thall et al. (2003), Statistics in Medicine 22, 763-780, as they discuss it.
    """
    rates = np.broadcast_to(np.asarray(target, dtype=float), np.shape(trials))
    rates = column("target", rates)
    wrong = (rates <= 0) | (rates >= 1)
    if wrong.any():
        raise DataError(f"`target` must lie between 0 and 1; it does not in {rows_text(wrong)}.")
    default = root(dist.InverseGamma(0.0005, 0.000005))
    return binomial_model(
        y,
        trials,
        np.log(rates / (1.0 - rates)),
        labels,
        prior_of("mu_prior", mu_prior, dist.Normal(-1.34, 10.0)),
        prior_of("sigma_prior", sigma_prior, default, above_zero=True),
        "basket_trial",
    )


def example() -> Model:
    """Return the cohorts of a trial of vemurafenib outside melanoma (Hyman et al. 2015).

    Its prior of the sd is one that can be drawn from; the default, a limit of improper ones, can't.
    """
    return basket_trial(
        [8, 0, 1, 1, 6, 2],
        [19, 10, 26, 8, 14, 7],
        labels=["NSCLC", "CRC V", "CRC V+C", "Bile duct", "ECD/LCH", "ATC"],
        sigma_prior=root(dist.InverseGamma(2.0, 1.0)),
    )
