"""Supports whose bounds are static: those of priors that are data, such as Uniform(0, 10).

NumPyro makes bounds leaves of a pytree. In a prior that is an argument of a model they would be
traced, and a transform to the unconstrained scale, which is made from them, could not leave the
program that traces them. Static bounds are part of the structure of the arguments instead.
"""

from typing import Any

import numpy as np
from numpyro.distributions import biject_to, constraints

__all__ = ["is_bounded", "with_static_bounds"]


class _Static:
    """Mixed into a constraint: its bounds are no leaves."""

    def tree_flatten(self) -> tuple[Any, Any]:
        return (), ((), dict(self.__dict__))


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
    """Return the support with static bounds; as it is where they are not single numbers."""
    bounds = {name: np.asarray(value) for name, value in support.__dict__.items()}
    if any(value.ndim for value in bounds.values()):
        return support
    numbers = {name: float(value) for name, value in bounds.items()}
    return _made(_STATIC[type(support)], numbers)


def _made(kind: Any, bounds: dict[str, Any]) -> Any:
    support = kind.__new__(kind)
    support.__dict__.update(bounds)
    return support


def _register() -> None:
    """Tell NumPyro that the transforms are those of its own supports."""
    for theirs, ours in _STATIC.items():
        biject_to.register(ours, lambda one, kind=theirs: biject_to(_made(kind, one.__dict__)))


_register()
