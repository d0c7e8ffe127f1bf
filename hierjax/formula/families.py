"""Response distributions: one row of a table each, holding all that is special about a family.

Nothing else in the package asks which family a model has: it reads the row. A new family is one
new row and what the row names: a likelihood, a residual variance.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpyro import distributions as dist

from hierjax.errors import FormulaError
from hierjax.formula import likelihoods, residuals, supports
from hierjax.formula.frame import nearest
from hierjax.formula.residuals import Residual

OTHER_FAMILY = "Correct those rows or choose another family."


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a family beside the linear predictor.

    Attributes
    ----------
    default
        Default prior as a function of the spread of the response.
    kind
        "scale" (a standard deviation), "parameter" (another positive number), "probability", or
        "thresholds" (ascending numbers between ordered categories; the default is that of one of
        them as a function of the scale of an intercept).
    """

    default: Callable[[float], dist.Distribution]
    kind: str = "parameter"


@dataclasses.dataclass(frozen=True)
class Family:
    """One response distribution.

    Attributes
    ----------
    name, aliases
        Words by which `hierjax.formula(family=...)` knows it.
    link
        Name of the link function.
    likelihood
        Function of `hierjax.formula.likelihoods`: the predictor, and by name the parameters and
        (for `trials`) the numbers of trials.
    outside
        `outside(response, trials)` -> mask of impossible responses.
    support, remedy
        What a response must be, in words, and what to do about one that is not.
    centre
        `centre(response, offset)` -> middle of the response on the link's scale.
    parameters
        Parameters beside the mean by name.
    on_scale
        For default priors in units of the response: the response on the scale of the predictor.
    whole
        Whether responses are whole numbers.
    trials
        Whether each response has a number of trials.
    known_sd
        Whether standard errors of the responses may be known.
    censored
        Likelihood of responses of which some are limits; None if there is no such thing.
    categories
        "ordered" where responses are categories with an order, "unordered" where they are others,
        each with a predictor but the first; "" where they are numbers.
    residual
        Variance of a row around its predictor, or the reason why there is none.
    """

    name: str
    aliases: tuple[str, ...]
    link: str
    likelihood: Callable[..., dist.Distribution]
    outside: Callable[[np.ndarray, Any], np.ndarray]
    support: str
    centre: Callable[[np.ndarray, np.ndarray], float]
    residual: Residual | str
    parameters: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
    on_scale: Callable[[np.ndarray], np.ndarray] | None = None
    whole: bool = False
    trials: bool = False
    known_sd: bool = False
    censored: Callable[..., dist.Distribution] | None = None
    categories: str = ""
    remedy: str = OTHER_FAMILY

    @property
    def residual_scale(self) -> bool:
        """Whether rows have a residual scale `sigma` of their own, to tell from group effects."""
        return "sigma" in self.parameters

    def distribution(self, predictor: Any, given: Mapping[str, Any]) -> dist.Distribution:
        """Distribution of the responses given the predictor, parameters, trials and marks."""
        likelihood = self.censored if "censored" in given else self.likelihood
        assert likelihood is not None
        return likelihood(predictor, **given)


def _as_is(response: np.ndarray) -> np.ndarray:
    return response


def _exponential(spread: float) -> dist.Distribution:
    """Exponential prior with the spread of the response as its mean (as rstanarm)."""
    return dist.Exponential(1.0 / spread)


def _degrees_of_freedom(_: float) -> dist.Distribution:
    """Gamma(2, 0.1) of Juarez and Steel (2010), as brms and rstanarm."""
    return dist.Gamma(2.0, 0.1)


def _overdispersion(_: float) -> dist.Distribution:
    """95% of its mass from 0.14 (far overdispersed) to 51 (nearly Poisson).

    brms's inverse-gamma(0.4, 0.3) has no mean: where counts are nearly Poisson the posterior
    inherits that tail, and samplers wander in it.
    """
    return dist.LogNormal(1.0, 1.5)


def _precision(_: float) -> dist.Distribution:
    """95% of its mass from 0.15 to 370: for a gamma response variation of 2.6 to 0.05 of the mean.

    brms has gamma(0.01, 0.01), half of whose mass lies below 1e-28.
    """
    return dist.LogNormal(2.0, 2.0)


def _uniform(_: float) -> dist.Distribution:
    """Beta(1, 1), as brms: standard logistic on the scale of the log odds."""
    return dist.Beta(1.0, 1.0)


def _threshold(scale: float) -> dist.Distribution:
    """Student-t(3, 0, scale) as brms, whose tails let rare categories be rare."""
    return dist.StudentT(3.0, 0.0, scale)


SIGMA = Parameter(_exponential, "scale")

FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        Family(
            name="gaussian",
            aliases=("normal",),
            link="identity",
            parameters={"sigma": SIGMA},
            likelihood=likelihoods.gaussian,
            censored=likelihoods.censored_gaussian,
            outside=supports.nowhere,
            support="any number",
            centre=supports.mean,
            on_scale=_as_is,
            known_sd=True,
            residual=residuals.NORMAL,
        ),
        Family(
            name="student_t",
            aliases=("student", "t"),
            link="identity",
            parameters={"nu": Parameter(_degrees_of_freedom), "sigma": SIGMA},
            likelihood=likelihoods.student_t,
            outside=supports.nowhere,
            support="any number",
            centre=supports.mean,
            on_scale=_as_is,
            known_sd=True,
            residual=residuals.STUDENT,
        ),
        Family(
            name="lognormal",
            aliases=("log_normal",),
            link="log",
            parameters={"sigma": SIGMA},
            likelihood=likelihoods.lognormal,
            censored=likelihoods.censored_lognormal,
            outside=supports.not_positive,
            support="greater than 0",
            centre=supports.mean,
            on_scale=np.log,
            residual=residuals.LOG_NORMAL,
        ),
        Family(
            name="gamma",
            aliases=(),
            link="log",
            parameters={"shape": Parameter(_precision)},
            likelihood=likelihoods.gamma,
            outside=supports.not_positive,
            support="greater than 0",
            centre=supports.log_ratio,
            residual=residuals.GAMMA,
        ),
        Family(
            name="beta",
            aliases=(),
            link="logit",
            parameters={"phi": Parameter(_precision)},
            likelihood=likelihoods.beta,
            outside=supports.not_share,
            support="greater than 0 and less than 1",
            remedy="Move exact zeros and ones inwards, for example to (y * (rows - 1) + 0.5) / "
            "rows; for successes out of known trials use family='binomial'.",
            centre=supports.zero,
            residual="the variance of a beta response on the scale of its log odds has no simple "
            "form",
        ),
        Family(
            name="bernoulli",
            aliases=("logistic",),
            link="logit",
            likelihood=likelihoods.bernoulli,
            outside=supports.not_binary,
            support="0 or 1",
            centre=supports.zero,
            whole=True,
            residual=residuals.LOGISTIC,
        ),
        Family(
            name="binomial",
            aliases=(),
            link="logit",
            likelihood=likelihoods.binomial,
            outside=supports.not_successes,
            support="a whole number from 0 to its number of trials",
            centre=supports.zero,
            whole=True,
            trials=True,
            residual=residuals.LOGISTIC,
        ),
        Family(
            name="poisson",
            aliases=(),
            link="log",
            likelihood=likelihoods.poisson,
            outside=supports.not_count,
            support="a whole number, 0 or more",
            centre=supports.log_event_rate,
            whole=True,
            residual=residuals.POISSON,
        ),
        Family(
            name="zero_inflated_poisson",
            aliases=("zip",),
            link="log",
            parameters={"zi": Parameter(_uniform, "probability")},
            likelihood=likelihoods.zero_inflated_poisson,
            outside=supports.not_count,
            support="a whole number, 0 or more",
            centre=supports.log_event_rate,
            whole=True,
            residual="extra zeros and counts vary by two processes, which one variance of a row "
            "does not describe",
        ),
        Family(
            name="negative_binomial",
            aliases=("negbinomial", "negbin", "neg_binomial_2"),
            link="log",
            parameters={"shape": Parameter(_overdispersion)},
            likelihood=likelihoods.negative_binomial,
            outside=supports.not_count,
            support="a whole number, 0 or more",
            centre=supports.log_event_rate,
            whole=True,
            residual=residuals.NEGATIVE_BINOMIAL,
        ),
        Family(
            name="ordered",
            aliases=("cumulative", "ordinal", "ordered_logistic"),
            link="logit, cumulative",
            parameters={"threshold": Parameter(_threshold, "thresholds")},
            likelihood=likelihoods.ordered,
            outside=supports.nowhere,
            support="a category",
            centre=supports.zero,
            whole=True,
            categories="ordered",
            residual=residuals.LOGISTIC,
        ),
        Family(
            name="categorical",
            aliases=("multinomial_logistic", "softmax"),
            link="logit, against the first category",
            likelihood=likelihoods.categorical,
            outside=supports.nowhere,
            support="a category",
            centre=supports.zero,
            whole=True,
            categories="unordered",
            residual="each category has a predictor of its own",
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
