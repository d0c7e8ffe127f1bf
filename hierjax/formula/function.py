"""The model function of a formula: a hashable value that says which sites there are, no numbers.

Two formulas of one structure make equal functions, whatever their data and priors, so a compiled
program made for one serves the other.
"""

import dataclasses
from typing import Any

import numpyro
from jax import numpy as jnp
from numpyro import distributions as dist

from hierjax.formula.families import FAMILIES
from hierjax.groups import take


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Names of the data arguments (they step aside when a column has the same name)."""

    design: str
    offset: str
    weights: str
    trials: str
    known_sd: str
    censored: str
    priors: str
    num_rows: str


@dataclasses.dataclass(frozen=True)
class Coefficient:
    """Coefficients of one term in one predictor; `width` is None for a single number."""

    site: str
    width: int | None
    predictor: int = 0


@dataclasses.dataclass(frozen=True)
class Scale:
    """A standard deviation; sampled itself, or the root of a sampled variance."""

    site: str
    variance: str | None

    def sample(self, priors: dict[str, Any], width: int | None = None) -> Any:
        """Sample the site (or its variance) from its prior in `priors`."""
        value = _sample(self.variance or self.site, priors, width)
        if self.variance is None:
            return value
        return numpyro.deterministic(self.site, jnp.sqrt(value))


@dataclasses.dataclass(frozen=True)
class Correlation:
    """The Cholesky factor of a correlation matrix, and the matrix itself."""

    cholesky: str
    matrix: str

    def sample(self, priors: dict[str, Any]) -> Any:
        """Sample the factor from its prior in `priors`, and record the matrix."""
        cholesky: Any = numpyro.sample(self.cholesky, priors[self.cholesky])
        numpyro.deterministic(self.matrix, cholesky @ cholesky.T)
        return cholesky


@dataclasses.dataclass(frozen=True)
class Effects:
    """Effects of one group term in one predictor; `width` is None for one effect a group."""

    site: str
    scale: Scale
    width: int | None
    design: str | None
    correlation: Correlation | None
    predictor: int = 0


@dataclasses.dataclass(frozen=True)
class Group:
    """A grouping factor: its plate (and index argument), size argument and blocks of effects."""

    plate: str
    size: str
    effects: tuple[Effects, ...]


@dataclasses.dataclass(frozen=True)
class FormulaFunction:
    """NumPyro model function of a formula, called as `fn(**data)`.

    The linear predictor is `offset + X @ b + sum over group terms of Z[i] . r[group[i]]`; effects
    are written centred. Every prior comes in through the data argument `priors`.

    Attributes
    ----------
    family
        Row of `hierjax.formula.families.FAMILIES`.
    response, rows
        Observed site (and its data argument), and the plate it lies in.
    arguments
        Names of the other data arguments.
    coefficients
        Sites of the common part, in the order of the columns of the design.
    groups
        Grouping factors with their effects.
    parameters
        Parameter of the family -> its site.
    replicates
        Whether weights multiply the log likelihood; if not, they are relative precisions.
    predictors
        How many linear predictors a row has, side by side; 0 for one that has no axis of its own.
    name
        Text of the formula; two functions that differ in it alone are equal.
    """

    family: str
    response: str
    rows: str
    arguments: Arguments
    coefficients: tuple[Coefficient, ...]
    groups: tuple[Group, ...]
    parameters: tuple[tuple[str, Scale], ...]
    replicates: bool = False
    predictors: int = 0
    name: str = dataclasses.field(default="", compare=False)

    @property
    def __name__(self) -> str:
        """Text of the formula, for reports."""
        return self.name

    def __call__(self, **data: Any) -> None:
        """Run the model on `data`; without the response, it is sampled."""
        names, priors = self.arguments, data[self.arguments.priors]
        if self.predictors:
            each = [self._predictor(data, priors, number) for number in range(self.predictors)]
            predictor = jnp.stack(each, axis=-1)
        else:
            predictor = self._predictor(data, priors, 0)
        parameters = {name: scale.sample(priors) for name, scale in self.parameters}
        weights = data.get(names.weights)
        if names.known_sd in data:
            parameters["sigma"] = data[names.known_sd]
        elif weights is not None and not self.replicates:
            # A weight is a relative precision: the variance of a row is sigma^2 / weight.
            parameters["sigma"] = parameters["sigma"] / jnp.sqrt(weights)
        for role, argument in (("trials", names.trials), ("censored", names.censored)):
            if argument in data:
                parameters[role] = data[argument]
        likelihood = FAMILIES[self.family].distribution(predictor, parameters)
        with numpyro.plate(self.rows, data[names.num_rows]):
            if weights is not None and self.replicates:
                with numpyro.handlers.scale(scale=weights):
                    numpyro.sample(self.response, likelihood, obs=data.get(self.response))
            else:
                numpyro.sample(self.response, likelihood, obs=data.get(self.response))

    def _predictor(self, data: dict[str, Any], priors: dict[str, Any], number: int) -> Any:
        names = self.arguments
        parts = [data[names.offset]] if names.offset in data else []
        own = [part for part in self.coefficients if part.predictor == number]
        if own:
            values = [_sample(part.site, priors, part.width) for part in own]
            vector = jnp.concatenate([jnp.atleast_1d(value) for value in values])
            parts.append(data[names.design] @ vector)
        parts += [
            self._effects(group, effects, data, priors)
            for group in self.groups
            for effects in group.effects
            if effects.predictor == number
        ]
        return (
            sum(parts[1:], start=jnp.asarray(parts[0]))
            if parts
            else jnp.zeros(data[names.num_rows])
        )

    def _effects(
        self, group: Group, part: Effects, data: dict[str, Any], priors: dict[str, Any]
    ) -> Any:
        """Contribution of one block of effects to the predictor, shape (rows,)."""
        scale = part.scale.sample(priors, part.width)
        prior = self._effects_prior(part, scale, priors)
        with numpyro.plate(group.plate, data[group.size]):
            effect: Any = numpyro.sample(part.site, prior)
        each = take(effect, data[group.plate])
        if part.design is None:
            return each
        product = each * data[part.design]
        return product if part.width is None else product.sum(-1)

    def _effects_prior(
        self, part: Effects, scale: Any, priors: dict[str, Any]
    ) -> dist.Distribution:
        if part.width is None:
            return dist.Normal(0.0, scale)
        if part.correlation is None:
            return dist.Normal(jnp.zeros((1, part.width)), jnp.expand_dims(scale, 0)).to_event(1)
        cholesky = part.correlation.sample(priors)
        # A leading axis of 1 keeps NumPyro from promoting ranks (some users forbid that). NumPyro
        # would validate the root, which is right by construction, by twenty small programs.
        return dist.MultivariateNormal(
            jnp.zeros((1, part.width)),
            scale_tril=jnp.expand_dims(scale, -1) * cholesky,
            validate_args=False,
        )


def _sample(site: str, priors: dict[str, Any], width: int | None) -> Any:
    """Sample a number, or a vector as one event, from its prior."""
    return numpyro.sample(site, priors[site] if width is None else priors[site].to_event(1))
