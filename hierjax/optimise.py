"""A rough maximiser for pilots: it need not converge, and is quick to compile."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

STEPS = 120
FIRST_RATE, LAST_RATE = 0.2, 0.01


def climb(objective: Callable[[Any], jax.Array], start: Any) -> Any:
    """Move a pytree towards a maximum of `objective` by Adam with a decaying rate.

    A step where the gradient is not finite goes on with its last direction. Pure; the result is as
    good as 120 steps make it.
    """

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        place, state = carry
        slope = jax.grad(objective)(place)
        return ascend(slope, state, place), None

    (found, _), _ = jax.lax.scan(step, (start, begin(start)), length=STEPS)
    return found


def begin(start: Any) -> Any:
    """State of the optimiser before the first step."""
    return _adam().init(start)


def ascend(slope: Any, state: Any, place: Any) -> tuple[Any, Any]:
    """Take one step up along `slope`; returns the place and the state after it."""
    downhill = jax.tree.map(lambda each: jnp.where(jnp.isfinite(each), -each, 0.0), slope)
    change, state = _adam().update(downhill, state)
    return optax.apply_updates(place, change), state


def _adam() -> optax.GradientTransformation:
    rate = optax.exponential_decay(FIRST_RATE, STEPS, LAST_RATE / FIRST_RATE)
    return optax.adam(rate)
