"""Response distributions: one row of a table each, holding all that is special about a family.

Nothing else in the package asks which family a model has: it reads the row. A new family is one
new row. The linear predictor always enters through a distribution that is parametrised by the
link's scale (logits, log rate), which neither over- nor underflows.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax import Array
from jax import numpy as jnp
from jax.scipy.special import gammaln
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hierjax.errors import FormulaError
from hierjax.formula.frame import nearest

Default = Callable[[float], dist.Distribution]


class LogRatePoisson(dist.Poisson):
    """Poisson distribution given its log rate; NumPyro's takes the rate, whose log can underflow.

    Parameters
    ----------
    log_rate
        Logarithm of the mean.
    """

    arg_constraints = {"log_rate": constraints.real}  # noqa: RUF012 (NumPyro's protocol)
    pytree_data_fields = ("rate",)

    def __init__(self, log_rate: Any, *, validate_args: bool | None = None) -> None:
        self.log_rate = log_rate
        super().__init__(jnp.exp(log_rate), validate_args=validate_args)

    def log_prob(self, value: Any) -> Array:
        """Log probability of the count `value`."""
        value = jnp.asarray(value, dtype=jnp.result_type(float))
        return value * self.log_rate - gammaln(value + 1.0) - self.rate


@dataclasses.dataclass(frozen=True)
class Family:
    """One response distribution.

    Attributes
    ----------
    name, aliases
        Words by which `hierjax.formula(family=...)` knows it.
    link
        Name of the link function.
    parameters
        Parameter beside the mean -> its default prior as a function of the spread of the response.
    distribution
        `distribution(predictor, parameters, trials)`; `parameters` holds arrays.
    outside
        `outside(response, trials)` -> mask of impossible responses.
    support
        What a response must be, in words.
    centre
        `centre(response, offset)` -> middle of the response on the link's scale.
    scaled
        Whether default priors are in units of the response (identity link).
    whole
        Whether responses are whole numbers.
    trials
        Whether each response has a number of trials.
    """

    name: str
    aliases: tuple[str, ...]
    link: str
    parameters: Mapping[str, Default]
    distribution: Callable[[Any, Mapping[str, Any], Any], dist.Distribution]
    outside: Callable[[np.ndarray, Any], np.ndarray]
    support: str
    centre: Callable[[np.ndarray, np.ndarray], float]
    scaled: bool = False
    whole: bool = True
    trials: bool = False

    @property
    def residual_scale(self) -> bool:
        """Whether rows have a residual scale `sigma` of their own, to tell from group effects."""
        return "sigma" in self.parameters


def _exponential(spread: float) -> dist.Distribution:
    """Exponential prior with the spread of the response as its mean (as rstanarm)."""
    return dist.Exponential(1.0 / spread)


def _degrees_of_freedom(_: float) -> dist.Distribution:
    """Gamma(2, 0.1) of Juarez and Steel (2010), as brms and rstanarm."""
    return dist.Gamma(2.0, 0.1)


def _shape(_: float) -> dist.Distribution:
    """95% of its mass from 0.14 (far overdispersed) to 51 (nearly Poisson).

    brms's inverse-gamma(0.4, 0.3) has no mean: where counts are nearly Poisson the posterior
    inherits that tail, and samplers wander in it.
    """
    return dist.LogNormal(1.0, 1.5)


def _nowhere(response: np.ndarray, _: Any) -> np.ndarray:
    return np.zeros(response.shape, dtype=bool)


def _not_binary(response: np.ndarray, _: Any) -> np.ndarray:
    return (response != 0) & (response != 1)


def _not_count(response: np.ndarray, _: Any) -> np.ndarray:
    return (response < 0) | (response != np.floor(response))


def _not_successes(response: np.ndarray, trials: Any) -> np.ndarray:
    return _not_count(response, None) | (response > trials)


def _mean(response: np.ndarray, offset: np.ndarray) -> float:
    return float(np.mean(response - offset))


def _zero(response: np.ndarray, offset: np.ndarray) -> float:
    return 0.0


def _log_mean(response: np.ndarray, offset: np.ndarray) -> float:
    """Log of events per unit of exposure; half an event where there was none."""
    exposure = offset - np.max(offset)
    events = max(float(np.sum(response)), 0.5)
    return float(np.log(events) - np.log(np.sum(np.exp(exposure))) - np.max(offset))


FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        Family(
            name="gaussian",
            aliases=("normal",),
            link="identity",
            parameters={"sigma": _exponential},
            distribution=lambda mean, p, _: dist.Normal(mean, p["sigma"]),
            outside=_nowhere,
            support="any number",
            centre=_mean,
            scaled=True,
            whole=False,
        ),
        Family(
            name="student_t",
            aliases=("student", "t"),
            link="identity",
            parameters={"nu": _degrees_of_freedom, "sigma": _exponential},
            distribution=lambda mean, p, _: dist.StudentT(p["nu"], mean, p["sigma"]),
            outside=_nowhere,
            support="any number",
            centre=_mean,
            scaled=True,
            whole=False,
        ),
        Family(
            name="bernoulli",
            aliases=("logistic",),
            link="logit",
            parameters={},
            distribution=lambda logits, p, _: dist.BernoulliLogits(logits),
            outside=_not_binary,
            support="0 or 1",
            centre=_zero,
        ),
        Family(
            name="binomial",
            aliases=(),
            link="logit",
            parameters={},
            distribution=lambda logits, p, trials: dist.BinomialLogits(logits, trials),
            outside=_not_successes,
            support="a whole number from 0 to its number of trials",
            centre=_zero,
            trials=True,
        ),
        Family(
            name="poisson",
            aliases=(),
            link="log",
            parameters={},
            distribution=lambda log_rate, p, _: LogRatePoisson(log_rate),
            outside=_not_count,
            support="a whole number, 0 or more",
            centre=_log_mean,
        ),
        Family(
            name="negative_binomial",
            aliases=("negbinomial", "negbin", "neg_binomial_2"),
            link="log",
            parameters={"shape": _shape},
            distribution=lambda log_mean, p, _: dist.NegativeBinomialLogits(
                p["shape"], log_mean - jnp.log(p["shape"])
            ),
            outside=_not_count,
            support="a whole number, 0 or more",
            centre=_log_mean,
        ),
    )
}


def find_family(name: str) -> Family:
    """Look up a family by its name or another package's name for it.

    Raises
    ------
    FormulaError
        No family has this name.
    """
    known = {alias: row for row in FAMILIES.values() for alias in (row.name, *row.aliases)}
    if not isinstance(name, str) or name not in known:
        raise FormulaError(
            f"There is no family {name!r}; families are {', '.join(FAMILIES)}."
            f"{nearest(str(name), known)}"
        )
    return known[name]
