"""Rates of groups, each a number of events in trials: hospitals, players, herds."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError, GroupCountError
from hierjax.library.columns import counts, rows_text
from hierjax.library.factors import label_list
from hierjax.library.priors import prior_of
from hierjax.model import Model


def binomial_groups_model(
    y: ArrayLike | None,
    trials: ArrayLike,
    offset: ArrayLike,
    mu_prior: dist.Distribution,
    sigma_prior: dist.Distribution,
) -> None:
    r"""Events in trials of groups whose log odds come from one population.

    .. math::

        y_j \sim \text{Binomial}(n_j, p_j), \qquad \operatorname{logit} p_j = o_j + \theta_j, \qquad
        \theta_j \sim N(\mu, \sigma^2)

    Parameters
    ----------
    y
        Events of each group, shape (groups,); `None` draws them from the prior.
    trials
        Trials of each group, shape (groups,).
    offset
        Known log odds o that effects are measured from, shape (groups,).
    mu_prior, sigma_prior
        Priors of the mean and the sd of the population.
    """
    mu = numpyro.sample("mu", mu_prior)
    sigma = numpyro.sample("sigma", sigma_prior)
    with numpyro.plate("group", np.shape(trials)[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, sigma))
        logits = offset + theta
        numpyro.deterministic("p", jax.nn.sigmoid(logits))
        numpyro.sample("y", dist.Binomial(trials, logits=logits), obs=y)


def binomial_groups(
    y: Any,
    trials: Any,
    *,
    labels: Sequence[Any] | None = None,
    mu_prior: dist.Distribution | None = None,
    sigma_prior: dist.Distribution | None = None,
) -> Model:
    """Model of `y` events in `trials` of each of several groups: logit p_j ~ N(mu, sigma^2).

    The design of hospitals compared by deaths, of players by hits, of herds by cases.

    Parameters
    ----------
    y
        Events of each group, shape (groups,).
    trials
        Trials of each group, shape (groups,).
    labels
        Names of the groups; numbers from 0 without.
    mu_prior
        Prior of the mean log odds `mu`; by default Normal(0, 2.5).
    sigma_prior
        Prior of the sd `sigma` of log odds between groups; by default HalfNormal(1).

    Returns
    -------
    Model
        Sites `mu`, `sigma`, `theta` (log odds, one per group), the rates `p` computed from them,
        and the observed `y`.

    Raises
    ------
    DataError
        A count is missing, negative or not whole, there are more events than trials, a group has no
        trials, or there is one group only; the message names argument and rows.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Efron and Morris (1975), Journal of the American Statistical Association 70, 311-319 (baseball);
    Spiegelhalter, Thomas, Best and Gilks (1996), BUGS Examples volume 1 ("Surgical"); Gelman et al.
    (2013), Bayesian Data Analysis, chapter 5.
    """
    return binomial_model(
        y,
        trials,
        None,
        labels,
        prior_of("mu_prior", mu_prior, dist.Normal(0.0, 2.5)),
        prior_of("sigma_prior", sigma_prior, dist.HalfNormal(1.0), above_zero=True),
        "binomial_groups",
    )


def binomial_model(
    y: Any,
    trials: Any,
    offset: np.ndarray | None,
    labels: Sequence[Any] | None,
    mu_prior: dist.Distribution,
    sigma_prior: dist.Distribution,
    name: str,
) -> Model:
    """Check counts and make the model; the builders of the design differ in priors and offset."""
    trials = counts("trials", trials)
    if (trials == 0).any():
        raise DataError(f"`trials` is zero in {rows_text(trials == 0)}: leave those groups out.")
    if len(trials) < 2:
        raise GroupCountError("There is one group only, so no sd between groups can be learnt.")
    data = {
        "y": counts("y", y, len(trials), most=trials),
        "trials": trials,
        "offset": np.zeros(len(trials)) if offset is None else offset,
        "mu_prior": mu_prior,
        "sigma_prior": sigma_prior,
    }
    return Model(
        binomial_groups_model,
        data,
        labels={"group": label_list("labels", labels, len(trials))},
        blocks={"mu": "coefficient", "sigma": "level", "theta": "effect"},
        name=name,
    )


def example() -> Model:
    """Return six of the hospitals of "Surgical" (Spiegelhalter et al. 1996)."""
    return binomial_groups([0, 18, 8, 46, 8, 13], [47, 148, 119, 810, 211, 196], labels="ABCDEF")
