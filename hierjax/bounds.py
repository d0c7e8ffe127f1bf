"""Supports whose bounds are static: those of priors that are data, such as Uniform(0, 10).

NumPyro makes bounds leaves of a pytree. In a prior that is an argument of a model they would be
traced, and a transform to the unconstrained scale, which is made from them, could not leave the
program that traces them. Static bounds are part of the structure of the arguments instead.
"""

from typing import Any

import numpy as np
from numpyro.distributions import biject_to, constraints

from hierjax.errors import PriorError

__all__ = ["check_bounds", "is_bounded", "with_static_bounds"]


class _Static:
    """Mixed into a constraint: its bounds are no leaves, but numbers and tuples that compare."""

    bounds: tuple[tuple[str, Any], ...]

    def __getattr__(self, name: str) -> Any:
        for bound, value in self.__dict__.get("bounds", ()):
            if bound == name:
                return np.asarray(value) if isinstance(value, tuple) else value
        raise AttributeError(name)

    def tree_flatten(self) -> tuple[Any, Any]:
        return (), ((), {"bounds": self.bounds})


class _StaticInterval(_Static, constraints.interval):
    pass


class _StaticOpenInterval(_Static, constraints.open_interval):
    pass


class _StaticGreaterThan(_Static, constraints.greater_than):
    pass


class _StaticGreaterThanEq(_Static, constraints.greater_than_eq):
    pass


class _StaticLessThan(_Static, constraints.less_than):
    pass


class _StaticLessThanEq(_Static, constraints.less_than_eq):
    pass


_STATIC: dict[type, type] = {each.__mro__[2]: each for each in _Static.__subclasses__()}


def is_bounded(node: Any) -> bool:
    """Whether a node of a pytree is a support whose bounds NumPyro traces."""
    return type(node) in _STATIC


def with_static_bounds(support: Any) -> Any:
    """Return the support with static bounds, which are numbers or arrays."""
    static: Any = _STATIC[type(support)]
    made = static.__new__(static)
    made.bounds = tuple((name, _nested(value)) for name, value in support.__dict__.items())
    return made


def check_bounds(prior: Any) -> None:
    """Check that the bounds of a distribution do not follow from parameters that are traced.

    Raises
    ------
    PriorError
        They do, as those of Pareto.
    """
    support = prior.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if is_bounded(support):
        raise PriorError(
            f"The prior {type(prior).__name__} has a bound that is one of its parameters, which "
            "has to be the same while a program runs. Use a distribution with bounds of its own, "
            "such as dist.TruncatedNormal or dist.Uniform, or write the prior with numbers into a "
            "NumPyro function."
        )


def _nested(value: Any) -> Any:
    """Return a number, or nested tuples, of the bound of a support."""
    array = np.asarray(value, dtype=np.float64)
    if not array.ndim:
        return float(array)
    return tuple(_nested(part) for part in array)


def _theirs(kind: Any, static: _Static) -> Any:
    support = kind.__new__(kind)
    for name, _ in static.bounds:
        setattr(support, name, getattr(static, name))
    return support


def _register() -> None:
    """Tell NumPyro that the transforms are those of its own supports."""
    for theirs, ours in _STATIC.items():
        biject_to.register(ours, lambda one, kind=theirs: biject_to(_theirs(kind, one)))


_register()
