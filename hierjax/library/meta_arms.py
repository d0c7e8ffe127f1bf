"""Counts of two arms in several studies or clinics: meta-analysis without standard errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError, GroupCountError
from hierjax.groups import take
from hierjax.library.columns import counts, rows_text
from hierjax.library.factors import label_list
from hierjax.library.priors import prior_of
from hierjax.model import Model


def meta_arms_model(
    y: ArrayLike | None,
    trials: ArrayLike,
    study: ArrayLike,
    treated: ArrayLike,
    num_studies: int,
    baseline_prior: dist.Distribution,
    d_prior: dist.Distribution,
    tau_prior: dist.Distribution,
) -> None:
    r"""Events in the arms of studies, whose log odds ratios come from one population.

    .. math::

        y_{ia} \sim \text{Binomial}(n_{ia}, p_{ia}), \qquad
        \operatorname{logit} p_{ia} = \mu_i + \delta_i t_{ia}, \qquad
        \delta_i \sim N(d, \tau^2)

    with t = 1 in the treated arm and 0 in the control arm. The baselines :math:`\mu_i` are a
    nuisance with a fixed prior: control groups of one study tell nothing of those of another.

    Parameters
    ----------
    y
        Events of each arm, shape (arms,); `None` draws them from the prior.
    trials
        People of each arm, shape (arms,).
    study
        Index of the study of each arm, shape (arms,).
    treated
        1 for treated arms, 0 for control arms, shape (arms,).
    num_studies
        Number of studies.
    baseline_prior
        Prior of the log odds :math:`\mu_i` of a control arm.
    d_prior, tau_prior
        Priors of the mean d and the sd :math:`\tau` of log odds ratios.
    """
    d = numpyro.sample("d", d_prior)
    tau = numpyro.sample("tau", tau_prior)
    with numpyro.plate("study", num_studies):
        mu = numpyro.sample("mu", baseline_prior)
        delta = numpyro.sample("delta", dist.Normal(d, tau))
    logits = take(mu, study) + take(delta, study) * treated
    with numpyro.plate("arms", np.shape(study)[0]):
        numpyro.sample("y", dist.Binomial(trials, logits=logits), obs=y)


def meta_arms(
    events: Any,
    total: Any,
    control_events: Any,
    control_total: Any,
    *,
    labels: Sequence[Any] | None = None,
    baseline_prior: dist.Distribution | None = None,
    d_prior: dist.Distribution | None = None,
    tau_prior: dist.Distribution | None = None,
) -> Model:
    """Model of events in a treated and a control arm of several studies (or clinics of one trial).

    logit p = mu_i in the control arm and mu_i + delta_i in the treated arm of study i, delta_i ~
    N(d, tau^2). Counts are binomial, so arms without events need no correction.

    Parameters
    ----------
    events, total
        Events and people of the treated arm, shape (studies,).
    control_events, control_total
        The same of the control arm.
    labels
        Names of the studies; numbers from 0 without.
    baseline_prior
        Prior of each study's log odds `mu` in the control arm; by default Normal(0, 5).
    d_prior
        Prior of the population's log odds ratio `d`; by default Normal(0, 2.5).
    tau_prior
        Prior of the sd `tau` of log odds ratios; by default HalfNormal(1).

    Returns
    -------
    Model
        Sites `d`, `tau`, `mu` and `delta` (one per study) and the observed `y`, of which the
        control arms come first.

    Raises
    ------
    DataError
        A count is missing, negative or not whole, there are more events than people, or an arm has
        no people, or there is one study only; the message names argument and rows.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Smith, Spiegelhalter and Thomas (1995), Statistics in Medicine 14, 2685-2699; Jackson, Law,
    Stijnen, Viechtbauer and White (2018), Statistics in Medicine 37, 1059-1085 (their model 2).
    """
    total = counts("total", total)
    control_total = counts("control_total", control_total, len(total))
    for name, people in (("total", total), ("control_total", control_total)):
        if (people == 0).any():
            raise DataError(
                f"`{name}` is zero in {rows_text(people == 0)}: leave those studies out."
            )
    if len(total) < 2:
        raise GroupCountError("There is one study only, so no sd between studies can be learnt.")
    y = [
        counts("control_events", control_events, len(total), most=control_total),
        counts("events", events, len(total), most=total),
    ]
    study = np.arange(len(total), dtype=np.int32)
    data = {
        "y": np.concatenate(y),
        "trials": np.concatenate([control_total, total]),
        "study": np.concatenate([study, study]),
        "treated": np.repeat([0.0, 1.0], len(total)),
        "num_studies": len(total),
        "baseline_prior": prior_of("baseline_prior", baseline_prior, dist.Normal(0.0, 5.0)),
        "d_prior": prior_of("d_prior", d_prior, dist.Normal(0.0, 2.5)),
        "tau_prior": prior_of("tau_prior", tau_prior, dist.HalfNormal(1.0), above_zero=True),
    }
    names = label_list("labels", labels, len(total))
    arms = [f"{name}, {arm}" for arm in ("control", "treated") for name in names]
    return Model(
        meta_arms_model,
        data,
        labels={"study": names, "arms": arms},
        blocks={"d": "coefficient", "tau": "level", "mu": "effect", "delta": "effect"},
        name="meta_arms",
    )


def example() -> Model:
    """Return four trials of the BCG vaccine against tuberculosis (Colditz et al. 1994)."""
    return meta_arms(
        events=[4, 6, 62, 17],
        total=[123, 306, 13598, 1716],
        control_events=[11, 29, 248, 65],
        control_total=[139, 303, 12867, 1665],
        labels=["Aronson", "Ferguson", "Rosenthal", "Stein"],
    )
