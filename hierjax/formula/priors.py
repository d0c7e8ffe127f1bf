"""Prior slots: which distribution each site gets, by default or from the user.

Defaults are weakly informative and in the units of the data. With s the spread of the response
(its standard deviation for an identity link, 1 for logit and log links; without an intercept the
root mean square takes the place of the standard deviation, for response and columns alike):

- coefficients: Normal(0, 2.5 s / sd(x)), the rule of rstanarm (Goodrich et al., "Prior
  Distributions for rstanarm Models") and bambi (Capretto et al. 2022, doi:10.18637/jss.v103.i15);
- intercept, at x = 0 and so not at the mean of the predictors: Normal(c, sqrt((2.5 s)^2 +
  sum((2.5 s mean(x) / sd(x))^2))), c being the mean of the response on the link's scale; this is
  what bambi uses, and is as wide as a Normal(c, 2.5 s) on the intercept at the mean;
- standard deviations of effects: HalfNormal(2.5 s / sd(z)), z the column that varies (1 for an
  intercept), as bambi; brms has a half-Student-t of 3 degrees of freedom on the same scale, whose
  tail makes sampling slow when groups are few;
- correlations: LKJ(2) on the matrix, a mild pull towards 0 (brms has LKJ(1));
- sigma: Exponential(1 / s), as rstanarm; nu: Gamma(2, 0.1); shape of negative binomial responses:
  LogNormal(1, 1.5); shape of gamma responses and phi of beta responses: LogNormal(2, 2); zi:
  Beta(1, 1);
- thresholds between ordered categories: independent Student-t(3, 0, scale) in ascending order, with
  the scale of the intercept, whose place they take.

The spread of a log-normal response is that of its logarithm.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hierjax.arguments import freeze
from hierjax.errors import PriorError
from hierjax.formula.distributions import (
    Elementwise,
    OrderStatistics,
    describe,
    in_words,
    widen,
)
from hierjax.formula.distributions import rebuild_distribution as _rebuild_distribution
from hierjax.formula.frame import nearest

CORRELATION = 2.0
"""Concentration of the default LKJ prior."""


@dataclasses.dataclass(frozen=True)
class Variance:
    """A prior on the variance, the square of the standard deviation that a slot names.

    `priors={"sd_g": Variance(dist.InverseGamma(2.0, 1.0))}` samples the site `variance_g` and makes
    `sd_g` its square root.

    Parameters
    ----------
    distribution
        A NumPyro distribution over positive numbers.
    """

    distribution: dist.Distribution


@dataclasses.dataclass(frozen=True)
class Slot:
    """A site that needs a prior.

    Attributes
    ----------
    site
        Name of the site.
    kind
        "coefficient", "scale", "correlation", "parameter" (a positive one), "probability" or
        "thresholds".
    chains
        For each element, the slots that can set its prior, most specific first.
    default
        Default prior, of the shape of the site.
    applies_to
        What the prior is about, for each element.
    vector
        Whether the site is a vector.
    """

    site: str
    kind: str
    chains: tuple[tuple[str, ...], ...]
    default: dist.Distribution
    applies_to: tuple[str, ...]
    vector: bool


@dataclasses.dataclass(frozen=True)
class Prior:
    """The prior that a site was given, and the slot that each element took it from."""

    slot: Slot
    distribution: dist.Distribution
    variance: bool
    sources: tuple[str, ...]


def resolve(slots: Sequence[Slot], user: Mapping[str, Any] | None) -> tuple[Prior, ...]:
    """Give every slot its prior: the user's most specific one, else the default.

    Raises
    ------
    PriorError
        A name is no slot of this model, or a prior cannot serve its slot.
    """
    if not isinstance(user or {}, Mapping):
        raise PriorError(
            "`priors` is a mapping from slot to prior, such as {'b': dist.Normal(0, 1)}; got "
            f"{type(user).__name__}."
        )
    user = dict(user or {})
    known = list(dict.fromkeys(name for slot in slots for chain in slot.chains for name in chain))
    for name in user:
        if name not in known:
            raise PriorError(
                f"The model has no prior slot {name!r}.{nearest(name, known)} Slots: "
                f"{', '.join(known)}."
            )
    # 64-bit while priors are put together: NumPyro would round some parameters to 32 bits here.
    with jax.enable_x64(True):
        return tuple(_resolve(slot, user) for slot in slots)


def _resolve(slot: Slot, user: Mapping[str, Any]) -> Prior:
    sources = tuple(next((n for n in chain if n in user), "") for chain in slot.chains)
    if not any(sources):
        return Prior(slot, freeze(slot.default), False, sources)
    if slot.kind == "correlation":
        matrix = _correlation(slot, sources[0], user[sources[0]])
        return Prior(slot, freeze(matrix), False, sources)
    checked = {name: _check(slot, name, user[name]) for name in set(sources) if name}
    variances = {isinstance(user[name], Variance) if name else False for name in sources}
    if len(variances) > 1:
        raise PriorError(
            f"Some elements of `{slot.site}` have a prior on the variance and some on the standard "
            "deviation; use one kind for all of them, or make the terms independent with `||`."
        )
    if slot.kind == "thresholds":
        distribution = _thresholds(slot, sources[0], checked[sources[0]])
    elif not slot.vector:
        distribution = checked[sources[0]]
        if distribution.batch_shape:
            raise _bad_shape(slot, sources[0], distribution)
    elif len(set(sources)) == 1:
        distribution = widen(checked[sources[0]], len(sources))
    else:
        distribution = _mixed(slot, sources, checked)
    return Prior(slot, freeze(distribution), variances.pop(), sources)


def _thresholds(slot: Slot, name: str, given: dist.Distribution) -> dist.Distribution:
    if given.batch_shape or given.support is not constraints.real:
        raise PriorError(
            f"`priors[{name!r}]` is the prior of each of the thresholds, which are put in order: "
            f"it must be one distribution over all numbers, such as dist.Normal(0, 2); got "
            f"{in_words(given)}."
        )
    default = slot.default
    assert isinstance(default, OrderStatistics)
    return OrderStatistics(given, default.size)


def _mixed(
    slot: Slot, sources: tuple[str, ...], checked: Mapping[str, dist.Distribution]
) -> dist.Distribution:
    positive = slot.kind != "coefficient"
    parts = []
    for place, name in enumerate(sources):
        part = element(checked[name] if name else slot.default, place)
        allowed = constraints.positive if positive else constraints.real
        if part.support is not allowed:
            raise PriorError(
                f"The elements of `{slot.site}` have priors of different kinds, which is possible "
                f"on {'positive' if positive else 'all'} numbers only; {in_words(part)} is "
                "narrower. Set one prior for all of them, or make the terms independent with `||`."
            )
        parts.append(part)
    return Elementwise(parts, positive=positive)


def element(distribution: dist.Distribution, place: int) -> dist.Distribution:
    """One element of a distribution over a vector (or the scalar distribution itself)."""
    if isinstance(distribution, Elementwise):
        return distribution.components[place]
    if not distribution.batch_shape:
        return distribution
    if isinstance(distribution, dist.ExpandedDistribution):
        return distribution.base_dist
    parameters = {
        name: np.broadcast_to(np.asarray(getattr(distribution, name)), distribution.batch_shape)
        for name in type(distribution).arg_constraints
    }
    return type(distribution)(**{k: float(v[place]) for k, v in parameters.items()})


def _check(slot: Slot, name: str, given: Any) -> dist.Distribution:
    if isinstance(given, Variance):
        if slot.kind != "scale":
            raise PriorError(
                f"`priors[{name!r}]` is a prior on a variance, but `{slot.site}` is not a standard "
                "deviation."
            )
        given = given.distribution
    if not isinstance(given, dist.Distribution):
        raise PriorError(
            f"`priors[{name!r}]` must be a NumPyro distribution, such as dist.Normal(0, 1); got "
            f"{given!r}."
        )
    _check_support(slot, name, given)
    length = len(slot.chains)
    if given.event_shape or given.batch_shape not in ((), (length,)):
        raise _bad_shape(slot, name, given)
    if given.batch_shape and any(name not in chain for chain in slot.chains):
        raise _bad_shape(slot, name, given)
    return given


def _check_support(slot: Slot, name: str, given: dist.Distribution) -> None:
    support: Any = given.support
    if support.is_discrete or support.event_dim > len(given.event_shape):
        raise PriorError(
            f"`priors[{name!r}]` must be a distribution over numbers; {in_words(given)} is not."
        )
    if slot.kind in ("coefficient", "thresholds") or given.event_shape:
        return
    if any(bool(np.any(support(np.float64(value)))) for value in (-1e6, -1.0, -1e-3)):
        remedy = "dist.Beta(1, 1)" if slot.kind == "probability" else "dist.HalfNormal(1)"
        raise PriorError(
            f"`{slot.site}` is positive, but the prior {in_words(given)} of "
            f"`priors[{name!r}]` allows negative values; use for example {remedy}."
        )
    above = (1.001, 2.0, 1e6)
    if slot.kind == "probability" and any(bool(np.any(support(np.float64(v)))) for v in above):
        raise PriorError(
            f"`{slot.site}` is a probability, but the prior {in_words(given)} of "
            f"`priors[{name!r}]` allows values above 1; use for example dist.Beta(1, 1)."
        )


def _bad_shape(slot: Slot, name: str, given: dist.Distribution) -> PriorError:
    shape = given.batch_shape + given.event_shape
    wanted = f"scalar or of shape ({len(slot.chains)},)" if slot.vector else "scalar"
    return PriorError(
        f"`priors[{name!r}]` has shape {shape}, but a prior for `{slot.site}` must be {wanted}."
    )


def _correlation(slot: Slot, name: str, given: Any) -> dist.Distribution:
    size = slot.default.event_shape[0]
    if isinstance(given, dist.LKJ | dist.LKJCholesky):
        if given.dimension != size:
            raise PriorError(
                f"`priors[{name!r}]` is over {given.dimension} x {given.dimension} matrices, but "
                f"`{slot.chains[0][0]}` is {size} x {size}; give only the concentration, a number."
            )
        given = given.concentration
    number = isinstance(given, int | float | np.generic | np.ndarray | jax.Array)
    if isinstance(given, bool) or not number or np.ndim(given) or not float(given) > 0:
        raise PriorError(
            f"`priors[{name!r}]` must be dist.LKJ({size}, concentration) or a positive "
            f"concentration; got {given!r}."
        )
    return lkj_cholesky(size, float(given))


def lkj_cholesky(size: int, concentration: float) -> dist.LKJCholesky:
    """Return an LKJ prior made by one program: NumPyro's constructor alone would compile twelve."""
    return _lkj_program(size)(concentration)


@functools.cache
def _lkj_program(size: int) -> Callable[[float], dist.LKJCholesky]:
    return jax.jit(lambda concentration: dist.LKJCholesky(size, concentration))


def describe_user(user: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able description of the user's priors."""
    return {name: _describe_one(value) for name, value in user.items()}


def _describe_one(value: Any) -> Any:
    if isinstance(value, Variance):
        return {"variance": describe(value.distribution)}
    return describe(value) if isinstance(value, dist.Distribution) else float(value)


def rebuild_user(description: Mapping[str, Any]) -> dict[str, Any]:
    """Make the user's priors again from their description."""
    found: dict[str, Any] = {}
    for name, value in description.items():
        if not isinstance(value, Mapping):
            found[name] = value
        elif "variance" in value:
            found[name] = Variance(_rebuild_distribution(value["variance"]))
        else:
            found[name] = _rebuild_distribution(dict(value))
    return found
