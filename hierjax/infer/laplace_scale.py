"""Positive parameters on a scale that is logarithmic near zero and linear above.

No proposal of one width fits a log sd whose posterior reaches zero, with a long tail to the left.
In

    value = s log(1 + exp(y)),    s = 0.4 of the value at the mode,

y is log value below s and linear in it above, and its posterior is near to normal. NUTS uses the
same scale (`hierjax.transforms.rescale`), with s from a pilot fit; here the mode is found anyway.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import ExpTransform, IndependentTransform

from hierjax.density import Density
from hierjax.trace import abstract_trace

SHARE = 0.4
MODE = math.log(math.expm1(1 / SHARE))  # y at the mode
STRETCH = SHARE * math.exp(MODE) / (1 + math.exp(MODE))  # d log value / d y there


class Scale(NamedTuple):
    """Which elements of a position are logs of positive values, and the logs of their units.

    Attributes
    ----------
    bent
        Boolean (size,): elements that are on the scale of this module.
    log_unit
        log s, (size,); 0 elsewhere.
    """

    bent: Array
    log_unit: Array


def straight(size: int) -> Scale:
    """Return the scale that changes nothing."""
    return Scale(jnp.zeros(size, bool), jnp.zeros(size))


def bend(positive: np.ndarray, mode: Array) -> Scale:
    """Return the scale of `positive` elements (size,) with the mode at hand, (size,)."""
    return Scale(jnp.asarray(positive), jnp.where(positive, mode + math.log(SHARE), 0.0))


def position_of(scale: Scale, free: Array) -> tuple[Array, Array]:
    """Return the position of the density at `free` (..., size), and the log Jacobian (...)."""
    # Far below zero softplus is exp, and in single precision it would be no number's logarithm.
    low = free < -20.0
    log_value = jnp.where(low, free, jnp.log(jax.nn.softplus(jnp.where(low, 0.0, free))))
    log_slope = jax.nn.log_sigmoid(free) - log_value
    position = jnp.where(scale.bent, log_value + scale.log_unit, free)
    return position, jnp.sum(jnp.where(scale.bent, log_slope, 0.0), axis=-1)


def positive_elements(
    density: Density, fn: Callable[..., Any], data: Mapping[str, Any]
) -> np.ndarray:
    """Mask over a position: elements that are logs of positive values."""
    sites = abstract_trace(fn, data).sites
    masks = [np.full(slot.size, _is_log(sites[slot.name].support)) for slot in density.slots]
    return np.concatenate(masks)


def _is_log(support: Any) -> bool:
    transform = biject_to(support)
    while isinstance(transform, IndependentTransform):
        transform = transform.base_transform
    return isinstance(transform, ExpTransform)
