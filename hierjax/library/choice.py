"""Choices among alternatives: a multinomial logit whose part-worths vary between persons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax.errors import DataError, LengthError, UnknownLevelError
from hierjax.groups import take
from hierjax.library.columns import by_group, design_matrix, rows_text, spreads
from hierjax.library.factors import group_index
from hierjax.library.priors import hyper
from hierjax.model import Model


def choice_model(
    y: ArrayLike | None,
    x: ArrayLike,
    person: ArrayLike,
    person_x: ArrayLike,
    num_persons: int,
    correlation: ArrayLike,
    gamma_sd: ArrayLike,
    tau_sd: ArrayLike,
) -> None:
    r"""Multinomial logit with part-worths of each person around what their predictors say.

    .. math::

        P(y_n = j) = \frac{\exp(x_{nj}^\top \beta_{h(n)})}{\sum_l \exp(x_{nl}^\top \beta_{h(n)})},
        \qquad
        \beta_h \sim N(\Gamma z_h, \operatorname{diag}(\tau) \Omega \operatorname{diag}(\tau))

    with :math:`\Omega = L L^\top \sim \text{LKJ}(\eta)`, half-normal :math:`\tau` and normal
    :math:`\Gamma`, a row for each part-worth and a column for each predictor of persons.

    Parameters
    ----------
    y
        Number of the chosen alternative, shape (rows,); `None` draws them from the prior.
    x
        Attributes of the alternatives in each choice, shape (rows, alternatives, k).
    person
        Index of the person of each choice, shape (rows,).
    person_x
        Predictors z of persons, the first one the constant 1, shape (persons, q).
    num_persons
        Number of persons.
    correlation
        Concentration :math:`\eta`.
    gamma_sd
        Sds of the prior of :math:`\Gamma`, shape (k, q).
    tau_sd
        Scales of the half-normal priors of :math:`\tau`, shape (k,).
    """
    gamma: Any = numpyro.sample("gamma", dist.Normal(0.0, gamma_sd).to_event(2))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(tau_sd).to_event(1))
    cholesky: Any = numpyro.sample("L", dist.LKJCholesky(np.shape(tau_sd)[0], correlation))
    numpyro.deterministic("cor", cholesky @ cholesky.T)
    with numpyro.plate("person", num_persons):
        prior = dist.MultivariateNormal(person_x @ gamma.T, scale_tril=tau[:, None] * cholesky)
        beta = numpyro.sample("beta", prior)
    with numpyro.plate("rows", np.shape(person)[0]):
        utility = (x * take(beta, person)[:, None, :]).sum(-1)
        numpyro.sample("y", dist.CategoricalLogits(utility), obs=y)


def choice(
    y: Any,
    attributes: Mapping[str, Any],
    person: Any,
    person_x: Any = None,
    *,
    alternatives: Sequence[Any],
    correlation: float = 2.0,
    gamma_sd: float = 2.5,
    tau_sd: float = 1.5,
) -> Model:
    """Model of repeated choices among alternatives, such as brands, with part-worths of persons.

    Each alternative but the first has a constant (how much it is liked, other things equal), and
    each attribute, such as the log of the price, a part-worth. All of them vary between persons, in
    a correlated way, around means that depend on predictors of persons.

    Parameters
    ----------
    y
        Label of the chosen alternative, shape (rows,).
    attributes
        Name of each attribute -> its value for each alternative in each choice, shape (rows,
        alternatives).
    person
        Label of the person who chose, shape (rows,).
    person_x
        Predictors of persons, given for every row: a vector, a matrix, a data frame or a mapping of
        names to columns. They are centred at their mean over persons.
    alternatives
        Labels of the alternatives, in the order of the columns of `attributes`; the first is the
        one that others are compared with.
    correlation
        Concentration of the LKJ prior of the correlation of part-worths.
    gamma_sd
        Sd of the normal prior of the mean of a part-worth, for an attribute and predictors
        of sd 1.
    tau_sd
        Scale of the half-normal prior of the sd of a part-worth, for an attribute of sd 1.

    Returns
    -------
    Model
        Sites `gamma` (part-worths by predictors of persons), `tau`, `L` and `cor`, `beta` (one row
        of part-worths per person) and the observed `y`.

    Raises
    ------
    DataError
        Shapes differ, a value is missing or infinite, a choice is no alternative, an attribute or a
        predictor is constant, or a predictor varies within a person; the message names it.
    PriorError
        A prior's parameter is not a finite number above zero.

    References
    ----------
    McFadden (1974); Allenby and Rossi (1991), Marketing Science 10, 185-204; Rossi, Allenby and
    McCulloch (2005), Bayesian Statistics and Marketing, chapter 5.
    """
    names = list(alternatives)
    chosen = _chosen(y, names)
    index, labels = group_index(person, len(chosen), "person")
    columns, predictors = design_matrix("person_x", person_x, len(chosen))
    of_persons = by_group(columns, index, len(labels), predictors, "person_x")
    person_sd = spreads(of_persons, predictors)
    shape = (len(chosen), len(names))
    values = [_attribute(name, given, shape) for name, given in attributes.items()]
    constants = np.broadcast_to(np.eye(len(names))[:, 1:], (*shape, len(names) - 1))
    terms = [*(str(name) for name in names[1:]), *attributes]
    inverse = np.array([1.0] * (len(names) - 1) + [1.0 / np.std(each) for each in values])
    data = {
        "y": chosen,
        "x": np.concatenate([constants, *(each[..., None] for each in values)], axis=-1),
        "person": index,
        "person_x": np.column_stack([np.ones(len(labels)), of_persons - of_persons.mean(0)]),
        "num_persons": len(labels),
        "correlation": hyper("correlation", correlation),
        "gamma_sd": hyper("gamma_sd", gamma_sd)
        * np.outer(inverse, 1.0 / np.concatenate([[1.0], person_sd])),
        "tau_sd": hyper("tau_sd", tau_sd) * inverse,
    }
    return Model(
        choice_model,
        data,
        labels={"person": labels, "part_worth": terms, "predictor": ["mean", *predictors]},
        dims={
            "gamma": ("part_worth", "predictor"),
            "tau": ("part_worth",),
            "beta": ("part_worth",),
            "cor": ("part_worth", "part_worth"),
        },
        blocks={"gamma": "coefficient", "tau": "level", "L": "hidden", "beta": "effect"},
        name="choice",
    )


def _chosen(y: Any, alternatives: list[Any]) -> np.ndarray:
    """Return the number of the chosen alternative of each row."""
    if len(alternatives) < 2 or len(set(alternatives)) < len(alternatives):
        raise DataError("`alternatives` must be two or more different labels.")
    place = {label: number for number, label in enumerate(alternatives)}
    given = np.asarray(y).tolist()
    found = np.array([place.get(label, -1) for label in given], dtype=np.int64)
    if found.ndim != 1 or not found.size:
        raise LengthError("`y` must be one chosen alternative a row.")
    if (found < 0).any():
        raise UnknownLevelError(f"`y` is none of the alternatives in {rows_text(found < 0)}.")
    return found


def _attribute(name: str, values: Any, expected: tuple[int, int]) -> np.ndarray:
    """One attribute of all alternatives, checked, (rows, alternatives)."""
    shape = np.shape(values)
    if shape != expected:
        raise LengthError(
            f"`attributes[{name!r}]` has shape {shape}, but there are {expected[0]} choices among "
            f"{expected[1]} alternatives."
        )
    matrix, names = design_matrix(f"attributes[{name!r}] ", np.asarray(values), expected[0])
    spreads(matrix.reshape(-1, 1), names[:1])
    return matrix


def example() -> Model:
    """Return a small model: 15 simulated households choose 8 times each among 3 brands."""
    generator = np.random.default_rng(9)
    household = np.repeat(np.arange(15), 8)
    income = generator.normal(size=15)[household]
    price = generator.normal(size=(120, 3))
    worth = generator.normal([0.0, 0.8, -0.5], 0.7, size=(15, 3))[household]
    utility = worth - (1.5 - 0.4 * income)[:, None] * price + generator.gumbel(size=(120, 3))
    brands = ["house", "spread", "stick"]
    chosen = [brands[number] for number in utility.argmax(-1)]
    return choice(chosen, {"log price": price}, household, {"income": income}, alternatives=brands)
