"""Prior distributions taken apart into the numbers in them, to differentiate densities in those.

Distributions are made again by their own constructors: what they derive from their parameters and
keep beside them follows.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hierjax.formula.distributions import Elementwise

Numbers = dict[str, Any]
Rebuild = Callable[[Mapping[str, Any]], Any]


def taken_apart(distribution: Any) -> tuple[Numbers, Rebuild]:
    """Return the numbers that a distribution was made with, and what makes it from such numbers.

    Parameters
    ----------
    distribution
        Of NumPyro, without the wrappers of plates, events and masks. Distributions inside it, as
        that inside a truncated one, are taken apart too.

    Returns
    -------
    numbers
        Name of the parameter -> value, a number for each element at most; `base_dist.scale` for
        parameters of a distribution inside. Matrices stay as they are.
    rebuild
        Makes the distribution from such numbers. It raises TypeError or ValueError if its class
        does not take as arguments what it keeps as attributes.
    """
    if isinstance(distribution, Elementwise):
        inside = {str(place): part for place, part in enumerate(distribution.components)}
        own: Numbers = {}
        positive = distribution.support is constraints.positive

        def make(**parts: Any) -> Any:
            components = [parts[place] for place in inside]
            return Elementwise(components, positive=positive)

    else:
        own, inside, rest = _attributes(distribution)

        def make(**parts: Any) -> Any:
            return type(distribution)(**rest, **parts)

    nested = {name: taken_apart(part) for name, part in inside.items()}
    numbers = own | {
        f"{name}.{key}": value for name, (each, _) in nested.items() for key, value in each.items()
    }

    def rebuild(values: Mapping[str, Any]) -> Any:
        made = {name: again(_below(values, name)) for name, (_, again) in nested.items()}
        return make(**{name: values[name] for name in own}, **made)

    return numbers, rebuild


def _attributes(distribution: Any) -> tuple[Numbers, dict[str, Any], dict[str, Any]]:
    """Numbers, distributions and other things that the constructor was called with."""
    kept = vars(distribution)
    allowed = type(distribution).arg_constraints
    numbers, inside, rest = {}, {}, {}
    for name in inspect.signature(type(distribution).__init__).parameters:
        if name in ("self", "validate_args") or name not in kept:
            continue
        value = kept[name]
        if isinstance(value, dist.Distribution):
            inside[name] = value
        elif _is_number(value) and name in allowed and allowed[name].event_dim < 2:
            numbers[name] = jnp.asarray(value, float)
        else:
            rest[name] = value
    return numbers, inside, rest


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.generic | np.ndarray | jax.Array) and (
        not isinstance(value, bool)
    )


def _below(values: Mapping[str, Any], name: str) -> Numbers:
    start = f"{name}."
    return {key.removeprefix(start): each for key, each in values.items() if key.startswith(start)}
