"""Small-area estimation: multilevel regression of a survey, weighted by the population's cells."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError, LengthError, ModelError, UnknownColumnError
from hierjax.groups import encode, group_sum, take
from hierjax.library.columns import by_group, column, counts, design_matrix, rows_text, spreads
from hierjax.library.priors import prior_of
from hierjax.model import Model

Levels = Mapping[str, ArrayLike]


def poststratification_model(
    y: ArrayLike | None,
    trials: ArrayLike,
    area: ArrayLike,
    area_x: ArrayLike | None,
    num_areas: int,
    num_levels: Mapping[str, int],
    cells: Levels,
    mu_prior: dist.Distribution,
    b_sd: ArrayLike | None,
    sd_prior: dist.Distribution,
    **index: ArrayLike,
) -> None:
    r"""Answers of a survey by area and other factors, and the shares of areas in the population.

    .. math::

        y_c \sim \text{Binomial}(n_c, p_c), \qquad
        \operatorname{logit} p_c = \mu + \sum_f r^f_{g_f(c)} + r^{area}_{a(c)}, \qquad
        r^f_j \sim N(0, \tau_f^2), \quad r^{area}_a \sim N(x_a^\top b, \tau^2)

    and the share of area a is :math:`\sum_{c \in a} N_c p_c / \sum_{c \in a} N_c` over all cells of
    its population, whether the survey reached them or not.

    Parameters
    ----------
    y
        Answers "yes" of each row, shape (rows,); `None` draws them from the prior.
    trials
        Answers of each row, shape (rows,).
    area
        Index of the area of each row, shape (rows,).
    area_x
        Predictors of areas, without a constant, shape (areas, k), or None.
    num_areas
        Number of areas.
    num_levels
        Number of levels of each other factor, by its name.
    cells
        The population: "area", "count" (people), and the level of each factor, shape (cells,).
    mu_prior
        Prior of the overall logit.
    b_sd
        Sds of the priors of coefficients of areas, shape (k,), or None.
    sd_prior
        Prior of all sds.
    **index
        Index of the level of each row, shape (rows,), by the name of its factor.
    """
    logits = mean = numpyro.sample("mu", mu_prior)
    for name, size in num_levels.items():
        sd = numpyro.sample(f"sd_{name}", sd_prior)
        with numpyro.plate(name, size):
            effect = numpyro.sample(f"r_{name}", dist.Normal(0.0, sd))
        logits = logits + take(effect, index[name])
        mean = mean + take(effect, cells[name])
    of_area: Any = 0.0
    if area_x is not None:
        b: Any = numpyro.sample("b", dist.Normal(0.0, b_sd).to_event(1))
        of_area = area_x @ b
    sd = numpyro.sample("sd_area", sd_prior)
    with numpyro.plate("area", num_areas):
        effect = numpyro.sample("r_area", dist.Normal(of_area, sd))
        chance = jax.nn.sigmoid(mean + take(effect, cells["area"]))
        people = group_sum(cells["count"], cells["area"], num_areas)
        yes = group_sum(chance * cells["count"], cells["area"], num_areas)
        numpyro.deterministic("share", yes / people)
    with numpyro.plate("rows", np.shape(area)[0]):
        numpyro.sample("y", dist.Binomial(trials, logits=logits + take(effect, area)), obs=y)


def poststratification(
    y: Any,
    trials: Any,
    area: Any,
    factors: Mapping[str, Any],
    population: Any,
    area_x: Any = None,
    *,
    mu_prior: dist.Distribution | None = None,
    b_sd: float = 1.5,
    sd_prior: dist.Distribution | None = None,
) -> Model:
    """Model of yes-or-no answers by area and other factors, with the shares of whole areas.

    Small areas borrow from the others through the factors, their predictors, and the sd between
    areas; the site `share` is the estimate for each area, weighted by its people. Without
    population a formula is enough: `y / trials ~ x + (1 | age) + (1 | area)`.

    Parameters
    ----------
    y
        Answers "yes" of each row, shape (rows,); a row may be a person or a cell of the survey.
    trials
        Answers of each row, shape (rows,).
    area
        Label of the area of each row, shape (rows,).
    factors
        Name of each other factor, such as age or region -> label of each row. For an interaction
        join the labels of two factors.
    population
        Data frame or mapping with a row for each cell of the population: "area", each factor by its
        name, and "count", the people of the cell. Areas and levels may be missing in the survey,
        but not in the population.
    area_x
        Predictors of areas, given for every row of `population`: a vector, a matrix, a data frame
        or a mapping of names to columns. They are centred at their mean over areas.
    mu_prior
        Prior of the overall logit `mu`; by default Normal(0, 2.5).
    b_sd
        Sd of the priors of coefficients of areas, for a predictor of sd 1.
    sd_prior
        Prior of all sds; by default HalfNormal(1).

    Returns
    -------
    Model
        Sites `mu`, `sd_<factor>` and `r_<factor>` for each factor, `b` (with predictors), `sd_area`
        and `r_area`, the `share` of each area computed from them, and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a count is missing, negative or not whole, a column is missing in
        `population`, an area or level of the survey is not in it, or an area has no people.
    ModelError
        A factor's name is taken.
    PriorError
        A prior is no distribution of one number.

    References
    ----------
    Gelman and Little (1997), Survey Methodology 23, 127-135; Park, Gelman and Bafumi (2004),
    Political Analysis 12, 375-385; Gelman and Hill (2007), section 14.1.
    """
    trials = counts("trials", trials)
    if (trials == 0).any():
        raise DataError(f"`trials` is zero in {rows_text(trials == 0)}: leave those rows out.")
    needed = ("area", "count", *factors)
    missing = [name for name in needed if name not in population]
    if missing:
        raise UnknownColumnError(f"`population` has no column {', '.join(map(repr, missing))}.")
    people = column("population['count']", population["count"])
    cells: dict[str, Any] = {"count": people}
    data: dict[str, Any] = {
        "y": counts("y", y, len(trials), most=trials),
        "trials": trials,
        "num_levels": {},
        "mu_prior": prior_of("mu_prior", mu_prior, dist.Normal(0.0, 2.5)),
        "sd_prior": prior_of("sd_prior", sd_prior, dist.HalfNormal(1.0), above_zero=True),
        "cells": cells,
    }
    taken = {*data, "area", "area_x", "num_areas", "b_sd", "rows", "count"}
    blocks, labels = {"mu": "coefficient", "sd_area": "level", "r_area": "effect"}, {}
    for name, values in {"area": area, **factors}.items():
        if name in taken and values is not area:
            raise ModelError(f"a factor cannot be called {name!r}; rename it.")
        cells[name], labels[name] = _levels(name, population[name], len(people))
        data[name] = _known(name, values, labels[name], len(trials))
        if name != "area":
            data["num_levels"][name] = len(labels[name])
            blocks |= {f"sd_{name}": "level", f"r_{name}": "effect"}
    _check_people(people, cells["area"], labels["area"])
    columns, terms = design_matrix("area_x", area_x, len(people))
    of_areas = by_group(columns, cells["area"], len(labels["area"]), terms, "area_x")
    data |= {
        "num_areas": len(labels["area"]),
        "area_x": of_areas - of_areas.mean(0) if terms else None,
        "b_sd": b_sd / spreads(of_areas, terms) if terms else None,
    }
    return Model(
        poststratification_model,
        data,
        labels=labels | ({"term": terms} if terms else {}),
        dims={"b": ("term",)} if terms else {},
        blocks=blocks | ({"b": "coefficient"} if terms else {}),
        name="poststratification",
    )


def _levels(name: str, values: Any, length: int) -> tuple[np.ndarray, list[Any]]:
    """Index and labels of a factor in the population."""
    if np.shape(values) != (length,):
        raise LengthError(f"`population` has {length} counts, but not as many rows of {name!r}.")
    index, labels = encode(values)
    return index, list(labels)


def _known(name: str, values: Any, labels: list[Any], length: int) -> np.ndarray:
    """Index of a factor in the survey, in the order of the population."""
    if np.shape(values) != (length,):
        raise LengthError(f"{name!r} has shape {np.shape(values)}, but `trials` {length} rows.")
    place = {label: number for number, label in enumerate(labels)}
    given = np.asarray(values, dtype=object)
    index = np.array([place.get(label, -1) for label in given.tolist()], dtype=np.int32)
    if (index < 0).any():
        raise DataError(
            f"{name!r} has levels that are not in `population`, in {rows_text(index < 0)}."
        )
    return index


def _check_people(people: np.ndarray, area: np.ndarray, labels: list[Any]) -> None:
    """Raise if a cell counts fewer than no people, or an area has none."""
    if (people < 0).any():
        raise DataError(f"`population['count']` is negative in {rows_text(people < 0)}.")
    empty = np.bincount(area, people, len(labels)) == 0
    if empty.any():
        raise DataError(f"area {labels[int(np.argmax(empty))]!r} has no people in `population`.")


def example() -> Model:
    """Return a small model: a simulated survey of 5 areas and 3 ages, with their people."""
    generator = np.random.default_rng(13)
    area, age = (part.ravel() for part in np.indices((5, 3)))
    income = np.linspace(-1.0, 1.0, 5)[area]
    chance = 1.0 / (1.0 + np.exp(-(0.3 + 0.5 * income + 0.4 * (age - 1.0))))
    asked = generator.integers(2, 15, size=15)
    population = {"area": area, "age": age, "count": generator.integers(100, 900, size=15)}
    return poststratification(
        generator.binomial(asked, chance), asked, area, {"age": age}, population, {"income": income}
    )
