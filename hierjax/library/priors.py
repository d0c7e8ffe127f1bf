"""Priors that builders are given: numbers and distributions as data, checked."""

from typing import Any

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.transforms import PowerTransform

from hierjax.arguments import freeze
from hierjax.errors import PriorError

_EXAMPLE = {False: "Normal(0, 1)", True: "HalfNormal(1)"}


def hyper(name: str, value: Any, *, above_zero: bool = True) -> np.ndarray:
    """Return a prior's parameter as a traced scalar, so that changing it re-uses the program.

    Raises
    ------
    PriorError
        It is not a finite number, or not above zero where it must be.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise PriorError(f"`{name}` must be a number; got {value!r}.") from None
    if not np.isfinite(number) or (above_zero and number <= 0):
        bound = " above zero" if above_zero else ""
        raise PriorError(f"`{name}` must be a finite number{bound}; got {value!r}.")
    return np.asarray(number)


def hypers(name: str, given: Any, default: np.ndarray, *, above_zero: bool = True) -> np.ndarray:
    """Return parameters of the priors of a vector or matrix: one for all, one each, or `default`.

    Raises
    ------
    PriorError
        They are not as many as elements, or one is not finite, or not above zero where it must be.
    """
    if given is None:
        return default
    values = np.asarray(given, dtype=object)
    if values.shape not in ((), default.shape):
        raise PriorError(
            f"`{name}` must be one number or have shape {default.shape}; got {values.shape}."
        )
    checked = [hyper(name, value, above_zero=above_zero) for value in values.ravel()]
    return np.broadcast_to(np.reshape(checked, values.shape), default.shape).astype(float)


def prior_of(
    name: str, given: Any, default: dist.Distribution, *, above_zero: bool = False
) -> dist.Distribution:
    """Return a prior as data: the one given, or the default, with traced parameters.

    Raises
    ------
    PriorError
        It is no distribution of a single number, or allows negative numbers where it must not.
    """
    prior = default if given is None else given
    if not isinstance(prior, dist.Distribution):
        raise PriorError(
            f"`{name}` must be a NumPyro distribution, such as dist.{_EXAMPLE[above_zero]}; got "
            f"{prior!r}."
        )
    support: Any = prior.support
    if prior.batch_shape or prior.event_shape or support.is_discrete:
        raise PriorError(f"`{name}` must be a distribution of one real number; got {prior!r}.")
    if above_zero and any(bool(np.any(support(np.float64(x)))) for x in (-1e6, -1.0, -1e-3)):
        raise PriorError(
            f"`{name}` is the prior of a positive number but allows negative ones; use for "
            f"example dist.{_EXAMPLE[True]}."
        )
    return freeze(prior)


def root(variance: dist.Distribution) -> dist.Distribution:
    r"""Prior of a standard deviation whose square has the distribution `variance`.

    The density at an sd s is :math:`2 s\, p(s^2)`, p being the density of the variance. For example
    `root(dist.InverseGamma(0.001, 0.001))` is the prior of an sd in the examples of BUGS.

    Parameters
    ----------
    variance
        A NumPyro distribution over positive numbers.
    """
    return dist.TransformedDistribution(variance, PowerTransform(0.5))
