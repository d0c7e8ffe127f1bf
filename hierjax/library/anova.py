"""Random-effects analysis of variance: any number of crossed or nested factors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError, ModelError
from hierjax.groups import take
from hierjax.library.columns import column
from hierjax.library.factors import group_index
from hierjax.library.priors import prior_of
from hierjax.model import Model


def anova_model(
    y: ArrayLike | None,
    num_groups: Mapping[str, int],
    num_rows: int,
    mu_prior: dist.Distribution,
    sd_prior: dist.Distribution,
    sigma_prior: dist.Distribution,
    **index: ArrayLike,
) -> None:
    r"""Responses that are a mean, an effect of each of several factors, and an error.

    .. math::

        y_i \sim N\Bigl(\mu + \sum_f r^f_{g_f(i)}, \sigma^2\Bigr), \qquad r^f_j \sim N(0, \tau_f^2)

    Parameters
    ----------
    y
        Responses, shape (rows,); `None` draws them from the prior.
    num_groups
        Number of levels of each factor, by its name.
    num_rows
        Number of rows.
    mu_prior
        Prior of the mean.
    sd_prior
        Prior of the sd :math:`\tau_f` of each factor.
    sigma_prior
        Prior of the sd of errors.
    **index
        Index of the level of each row, shape (rows,), by the name of its factor.
    """
    mean = numpyro.sample("mu", mu_prior)
    sigma = numpyro.sample("sigma", sigma_prior)
    for name, size in num_groups.items():
        sd = numpyro.sample(f"sd_{name}", sd_prior)
        with numpyro.plate(name, size):
            effect = numpyro.sample(f"r_{name}", dist.Normal(0.0, sd))
        mean = mean + take(effect, index[name])
    with numpyro.plate("rows", num_rows):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def anova(
    y: Any,
    factors: Mapping[str, Any],
    *,
    mu_prior: dist.Distribution | None = None,
    sd_prior: dist.Distribution | None = None,
    sigma_prior: dist.Distribution | None = None,
) -> Model:
    """Model of `y` as a mean plus random effects of `factors` plus an error.

    One factor is the one-way layout, two are crossed or nested as their labels are. The formula
    `y ~ 1 + (1 | a) + (1 | b)` is the same model, and takes predictors too.

    Parameters
    ----------
    y
        Responses, shape (rows,).
    factors
        Name of each factor -> label of each row. Labels of a nested factor must be unique across
        the outer one: join both if they repeat.
    mu_prior
        Prior of the mean `mu`; by default normal around the mean of `y` with 2.5 times its sd.
    sd_prior
        Prior of the sds of all factors; by default HalfNormal of the sd of `y`.
    sigma_prior
        Prior of the sd of errors; by default HalfNormal of the sd of `y`.

    Returns
    -------
    Model
        Sites `mu`, `sigma`, for each factor `sd_<factor>` and `r_<factor>`, and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a value is missing or infinite, or a factor has too few levels, or too
        many; the message names argument and rows.
    ModelError
        There is no factor, or its name is taken.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Davies and Goldsmith (1972), Statistical Methods in Research and Production, chapter 6; Gelman
    (2005), Annals of Statistics 33, 1-53.
    """
    y = column("y", y)
    sd_y = float(np.std(y))
    if sd_y == 0:
        raise DataError("`y` does not vary, so there is nothing to learn.")
    if not factors:
        raise ModelError("`factors` is empty: there is no level to learn.")
    scale = dist.HalfNormal(sd_y)
    data: dict[str, Any] = {
        "y": y,
        "num_groups": {},
        "num_rows": len(y),
        "mu_prior": prior_of("mu_prior", mu_prior, dist.Normal(float(np.mean(y)), 2.5 * sd_y)),
        "sd_prior": prior_of("sd_prior", sd_prior, scale, above_zero=True),
        "sigma_prior": prior_of("sigma_prior", sigma_prior, scale, above_zero=True),
    }
    blocks, labels = {"mu": "coefficient", "sigma": "other"}, {}
    for name, values in factors.items():
        if name in data or name == "rows":
            raise ModelError(f"a factor cannot be called {name!r}; rename it.")
        data[name], labels[name] = group_index(values, len(y), name)
        data["num_groups"][name] = len(labels[name])
        blocks |= {f"sd_{name}": "level", f"r_{name}": "effect"}
    return Model(anova_model, data, labels=labels, blocks=blocks, name="anova")


def example() -> Model:
    """Return a small model: 24 simulated assays, 4 plates crossed with 3 samples, twice each."""
    generator = np.random.default_rng(6)
    plate, sample = (part.ravel() for part in np.indices((4, 6)))
    sample = sample // 2
    effects = 20.0 + generator.normal(size=4)[plate] + 2.0 * generator.normal(size=3)[sample]
    return anova(effects + 0.5 * generator.normal(size=24), {"plate": plate, "sample": sample})
