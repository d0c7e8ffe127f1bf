"""Item response: persons of an ability answer items of a difficulty, right or wrong."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import SettingsError
from hierjax.groups import take
from hierjax.library.columns import counts
from hierjax.library.factors import group_index
from hierjax.library.priors import prior_of
from hierjax.model import Model


def item_response_model(
    y: ArrayLike | None,
    person: ArrayLike,
    item: ArrayLike,
    num_persons: int,
    num_items: int,
    mu_prior: dist.Distribution,
    sd_prior: dist.Distribution,
    ability_sd_prior: dist.Distribution | None,
    discrimination_sd_prior: dist.Distribution | None,
) -> None:
    r"""Answers of persons to items: the models with one and with two parameters an item.

    One parameter (Rasch):

    .. math::

        \operatorname{logit} P(y_{ij} = 1) = \theta_i - b_j, \qquad \theta_i \sim N(0, \sigma^2),
        \qquad b_j \sim N(\mu, \tau^2)

    Two parameters: abilities have sd 1, and items differ in how sharply they tell persons apart:

    .. math::

        \operatorname{logit} P(y_{ij} = 1) = a_j (\theta_i - b_j), \qquad \log a_j \sim N(0, s^2)

    Parameters
    ----------
    y
        Answers, 1 or 0, shape (rows,); `None` draws them from the prior.
    person, item
        Index of the person and of the item of each row, shape (rows,).
    num_persons, num_items
        Numbers of persons and items.
    mu_prior
        Prior of the mean difficulty.
    sd_prior
        Prior of the sd :math:`\tau` of difficulties.
    ability_sd_prior
        Prior of the sd :math:`\sigma` of abilities; None in the model with two parameters.
    discrimination_sd_prior
        Prior of the sd s of log discriminations; None in the model with one parameter.
    """
    mu = numpyro.sample("mu", mu_prior)
    tau = numpyro.sample("tau", sd_prior)
    sigma = 1.0
    if ability_sd_prior is not None:
        sigma = numpyro.sample("sigma", ability_sd_prior)
    with numpyro.plate("person", num_persons):
        ability = numpyro.sample("ability", dist.Normal(0.0, sigma))
    with numpyro.plate("item", num_items):
        difficulty = numpyro.sample("difficulty", dist.Normal(mu, tau))
    logits = take(ability, person) - take(difficulty, item)
    if discrimination_sd_prior is not None:
        s = numpyro.sample("discrimination_sd", discrimination_sd_prior)
        with numpyro.plate("item", num_items):
            log_a = numpyro.sample("log_discrimination", dist.Normal(0.0, s))
        logits = take(jnp.exp(log_a), item) * logits
    with numpyro.plate("rows", np.shape(person)[0]):
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def item_response(
    y: Any,
    person: Any,
    item: Any,
    *,
    parameters: int = 1,
    mu_prior: dist.Distribution | None = None,
    sd_prior: dist.Distribution | None = None,
    ability_sd_prior: dist.Distribution | None = None,
    discrimination_sd_prior: dist.Distribution | None = None,
) -> Model:
    """Model of right and wrong answers of persons to items, with one or two parameters an item.

    Not every person has to answer every item. With one parameter the formula `y ~ 1 + (1 | person)
    + (1 | item)` with `family="bernoulli"` is the same model but for the sign of difficulties, and
    takes predictors of persons and items; two parameters are beyond formulas.

    Parameters
    ----------
    y
        Answers, 1 or 0 (or True and False), shape (rows,).
    person, item
        Label of the person and of the item of each row, shape (rows,).
    parameters
        1 for difficulties only, 2 for discriminations too.
    mu_prior
        Prior of the mean difficulty `mu`; by default Normal(0, 2.5).
    sd_prior
        Prior of the sd `tau` of difficulties; by default HalfNormal(2).
    ability_sd_prior
        Prior of the sd `sigma` of abilities, with one parameter; by default HalfNormal(2). With two
        it is 1.
    discrimination_sd_prior
        Prior of the sd of log discriminations, with two parameters; by default HalfNormal(1).

    Returns
    -------
    Model
        Sites `mu`, `tau`, `sigma` (one parameter) or `discrimination_sd` and `log_discrimination`
        (two), `ability`, `difficulty` and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, an answer is missing or not 0 or 1, or there is one person or item only;
        the message names argument and rows.
    SettingsError
        `parameters` is not 1 or 2, or a prior belongs to the other model.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Rasch (1960), Probabilistic Models for Some Intelligence and Attainment Tests; Birnbaum (1968)
    in Lord and Novick, Statistical Theories of Mental Test Scores; De Boeck and Wilson (2004),
    Explanatory Item Response Models.
    """
    if parameters not in (1, 2):
        raise SettingsError(f"`parameters` must be 1 or 2; got {parameters!r}.")
    other = ability_sd_prior if parameters == 2 else discrimination_sd_prior
    if other is not None:
        name = "ability_sd_prior" if parameters == 2 else "discrimination_sd_prior"
        raise SettingsError(f"`{name}` has no use with parameters={parameters}.")
    answers = np.asarray(y)
    y = counts("y", answers, most=np.ones(answers.shape))
    persons, person_labels = group_index(person, len(y), "person", several_rows=False)
    items, item_labels = group_index(item, len(y), "item", several_rows=False)
    wide = dist.HalfNormal(2.0)
    data: dict[str, Any] = {
        "y": y,
        "person": persons,
        "item": items,
        "num_persons": len(person_labels),
        "num_items": len(item_labels),
        "mu_prior": prior_of("mu_prior", mu_prior, dist.Normal(0.0, 2.5)),
        "sd_prior": prior_of("sd_prior", sd_prior, wide, above_zero=True),
        "ability_sd_prior": None,
        "discrimination_sd_prior": None,
    }
    blocks = {"mu": "coefficient", "tau": "level", "ability": "effect", "difficulty": "effect"}
    if parameters == 1:
        given = prior_of("ability_sd_prior", ability_sd_prior, wide, above_zero=True)
        data["ability_sd_prior"] = given
        blocks |= {"sigma": "level"}
    else:
        given = prior_of(
            "discrimination_sd_prior",
            discrimination_sd_prior,
            dist.HalfNormal(1.0),
            above_zero=True,
        )
        data["discrimination_sd_prior"] = given
        blocks |= {"discrimination_sd": "level", "log_discrimination": "effect"}
    return Model(
        item_response_model,
        data,
        labels={"person": person_labels, "item": item_labels},
        blocks=blocks,
        name="item_response",
    )


def example() -> Model:
    """Return a small model with two parameters: 20 simulated persons answer 6 items."""
    generator = np.random.default_rng(7)
    person, item = (part.ravel() for part in np.indices((20, 6)))
    ability, difficulty = generator.normal(size=20), np.linspace(-1.5, 1.5, 6)
    discrimination = np.exp(0.4 * generator.normal(size=6))
    logits = discrimination[item] * (ability[person] - difficulty[item])
    answers = generator.uniform(size=120) < 1.0 / (1.0 + np.exp(-logits))
    return item_response(answers, person, item, parameters=2)
