"""Repeated counts with imperfect detection: N-mixture, the numbers of animals summed out."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax import checks
from hierjax.errors import LengthError, SettingsError, SupportError
from hierjax.groups import take
from hierjax.library.columns import design_matrix, rows_text, spreads
from hierjax.library.factors import group_index
from hierjax.library.priors import prior_of
from hierjax.library.repeated_counts import RepeatedCounts
from hierjax.model import Model


def n_mixture_model(
    y: ArrayLike | None,
    x: ArrayLike,
    detection_x: ArrayLike,
    surveyed: ArrayLike,
    group: ArrayLike,
    num_groups: int,
    num_most: int,
    b_mean: ArrayLike,
    b_sd: ArrayLike,
    a_sd: ArrayLike,
    sd_prior: dist.Distribution,
    detection_sd_prior: dist.Distribution,
) -> None:
    r"""Repeated counts of units in groups, such as species, which differ in number and detection.

    .. math::

        y_{it} \sim \text{Binomial}(N_i, p_{it}), \quad N_i \sim \text{Poisson}(\lambda_i), \quad
        \log \lambda_i = x_i^\top b + u_{g(i)}, \quad
        \operatorname{logit} p_{it} = w_{it}^\top a + v_{g(i)}

    with :math:`u_g \sim N(0, \sigma^2)` and :math:`v_g \sim N(0, \tau^2)`; N is summed out.

    Parameters
    ----------
    y
        Counts, shape (units, visits); `None` draws them from the prior.
    x
        Predictors of numbers, the first one the constant 1, shape (units, k).
    detection_x
        Predictors of detection, the first one the constant 1, shape (units, visits, q).
    surveyed
        Whether there was such a visit, shape (units, visits).
    group
        Index of the group of each unit, shape (units,).
    num_groups
        Number of groups.
    num_most
        Largest number of individuals that is summed over.
    b_mean, b_sd
        Means and sds of the normal priors of b, shape (k,).
    a_sd
        Sds of the normal priors of a, shape (q,).
    sd_prior, detection_sd_prior
        Priors of the two sds.
    """
    b: Any = numpyro.sample("b", dist.Normal(b_mean, b_sd).to_event(1))
    a: Any = numpyro.sample("a", dist.Normal(0.0, a_sd).to_event(1))
    sd = numpyro.sample("sd", sd_prior)
    detection_sd = numpyro.sample("detection_sd", detection_sd_prior)
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0.0, sd))
        v = numpyro.sample("v", dist.Normal(0.0, detection_sd))
    rate = jnp.exp(x @ b + take(u, group))
    logits = detection_x @ a + take(v, group)[:, None]
    with numpyro.plate("unit", np.shape(group)[0]):
        counted: Any = RepeatedCounts(rate, logits, surveyed, num_most)
        numpyro.sample("y", counted, obs=y)


def n_mixture(
    y: Any,
    group: Any,
    x: Any = None,
    detection_x: Any = None,
    *,
    most: int | None = None,
    b_sd: float = 2.5,
    a_sd: float = 1.5,
    sd_prior: dist.Distribution | None = None,
    detection_sd_prior: dist.Distribution | None = None,
) -> Model:
    """Model of repeated counts of units whose individuals are not all seen.

    Repeated visits tell how many of those that are there are seen, as far as the numbers did not
    change between visits. The model leans on that and on the Poisson distribution: what it says of
    numbers is only as good as these.

    Parameters
    ----------
    y
        Counts, shape (units, visits); NaN for visits that were not made.
    group
        Label of the group of each unit, for example its species, shape (units,).
    x
        Predictors of numbers: a vector, a matrix (units, k), a data frame or a mapping.
    detection_x
        Name of each predictor of detection -> its values, shape (units, visits); anything finite
        where there was no visit.
    most
        Largest number of individuals that is summed over; by default the largest count plus 100.
        The posterior must stay far below it.
    b_sd
        Sd of the priors of coefficients of numbers, for a predictor of sd 1.
    a_sd
        Sd of the priors of coefficients of detection, for a predictor of sd 1.
    sd_prior, detection_sd_prior
        Priors of the sds between groups of log numbers and of logits of detection; by default
        HalfNormal(1).

    Returns
    -------
    Model
        Sites `b`, `a` (coefficients), `sd`, `detection_sd`, `u`, `v` (one per group) and the
        observed `y`.

    Raises
    ------
    DataError
        Shapes differ, a count is negative or not whole, a predictor is constant, or there is one
        group only; the message names argument and rows.
    SettingsError
        `most` is not above the largest count.
    PriorError
        A prior is no distribution of one positive number.

    References
    ----------
    Royle (2004), Biometrics 60, 108-115; Kery and Royle (2016), Applied Hierarchical Modeling in
    Ecology, chapter 6.
    """
    counted, surveyed = _visits(y)
    units, visits = counted.shape
    index, labels = group_index(group, units, several_rows=False)
    columns, terms = design_matrix("x", x, units)
    seen_by, names = _detection(detection_x, units, visits)
    if most is None:
        most = int(counted.max()) + 100
    if checks.positive_int("most", most) <= counted.max():
        raise SettingsError(f"`most` must be above the largest count, {int(counted.max())}.")
    mean = np.zeros(len(terms) + 1)
    mean[0] = np.log(max(float(counted.max(-1).mean()), 0.5))
    unit = dist.HalfNormal(1.0)
    data = {
        "y": counted,
        "x": np.column_stack([np.ones(units), columns]),
        "detection_x": np.concatenate([np.ones((units, visits, 1)), seen_by], axis=-1),
        "surveyed": surveyed,
        "group": index,
        "num_groups": len(labels),
        "num_most": most,
        "b_mean": mean,
        "b_sd": b_sd / np.concatenate([[1.0], spreads(columns, terms)]),
        "a_sd": a_sd
        / np.concatenate([[1.0], spreads(seen_by.reshape(units * visits, len(names)), names)]),
        "sd_prior": prior_of("sd_prior", sd_prior, unit, above_zero=True),
        "detection_sd_prior": prior_of(
            "detection_sd_prior", detection_sd_prior, unit, above_zero=True
        ),
    }
    return Model(
        n_mixture_model,
        data,
        labels={
            "group": labels,
            "number_term": ["Intercept", *terms],
            "detection_term": ["Intercept", *names],
        },
        dims={"b": ("number_term",), "a": ("detection_term",)},
        blocks={
            "b": "coefficient",
            "a": "coefficient",
            "sd": "level",
            "detection_sd": "level",
            "u": "effect",
            "v": "effect",
        },
        name="n_mixture",
    )


def _visits(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return counts, zero where there was no visit, and whether there was one."""
    table = np.asarray(y, dtype=float)
    if table.ndim != 2 or not table.size:
        raise LengthError(f"`y` must have shape (units, visits); got shape {table.shape}.")
    surveyed = ~np.isnan(table)
    counted = np.where(surveyed, table, 0.0)
    wrong = ((counted < 0) | (counted != np.floor(counted)) | np.isinf(counted)).any(-1)
    if wrong.any():
        raise SupportError(f"`y` holds counts, so whole numbers from 0; not in {rows_text(wrong)}.")
    return counted.astype(np.int64), surveyed


def _detection(given: Any, units: int, visits: int) -> tuple[np.ndarray, list[str]]:
    """Predictors of detection, (units, visits, q), and their names."""
    parts = [np.zeros((units, visits, 0))]
    for name, values in (given or {}).items():
        if np.shape(values) != (units, visits):
            raise LengthError(
                f"`detection_x[{name!r}]` has shape {np.shape(values)}, but `y` has "
                f"{(units, visits)}."
            )
        parts.append(design_matrix(f"detection_x[{name!r}] ", values, units)[0][..., None])
    return np.concatenate(parts, axis=-1), list(given or {})


def example() -> Model:
    """Return a small model: 5 simulated species at 6 sites, 3 visits each, one of them missed."""
    generator = np.random.default_rng(12)
    species, site = (part.ravel() for part in np.indices((5, 6)))
    shade = np.linspace(-1.0, 1.0, 6)[site]
    rain = generator.normal(size=(30, 3))
    rate = np.exp(1.0 + 0.6 * shade + 0.6 * generator.normal(size=5)[species])
    chance = 0.5 - 0.4 * generator.normal(size=5)[species][:, None] - 0.5 * rain
    number = generator.poisson(rate)
    counted = generator.binomial(number[:, None], 1.0 / (1.0 + np.exp(-chance))).astype(float)
    counted[4, 2] = np.nan
    return n_mixture(counted, species, {"shade": shade}, {"rain": rain}, most=30)
