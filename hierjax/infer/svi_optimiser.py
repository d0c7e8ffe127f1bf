"""Adam for steps measured in a guide's own standard deviations: bounded far out, gentle at the end.

References
----------
Kingma, Ba (2015), Adam: a method for stochastic optimization, ICLR, arXiv:1412.6980.
Zhang, Karimireddy, Veit, Kim, Reddi, Kumar, Sra (2020), Why are adaptive methods good for attention
models?, NeurIPS, arXiv:1912.03194 (clipping at a running moment).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

MEMORY = 0.99  # of the averages of squares
SPIKE = 5.0  # root mean squares beyond which a gradient is clipped
LOCATION_LIMIT = 30.0  # gradients above this many are shortened: a guide far out moves in leaps


def make_optimiser() -> optax.GradientTransformation:
    """Adam, but nearly plain gradient ascent for gradients that are small in the guide's own frame.

    A step is rate * g / (1 + |g| / limit), with g and |g| Adam's averages: Adam's division by |g|
    would keep steps large where the gradient vanishes.
    """

    def adam(limit: float) -> optax.GradientTransformation:
        steps = optax.scale_by_adam(b2=MEMORY, eps=limit)
        return optax.chain(_clip_spikes(), steps, optax.scale(limit))

    return optax.partition(
        {"location": adam(LOCATION_LIMIT), "shape": adam(1.0)},
        lambda step: {name: "location" if name == "location" else "shape" for name in step},
    )


def _clip_spikes() -> optax.GradientTransformation:
    """Clip each element at a multiple of its recent root mean square (Zhang et al. 2020).

    One draw far out in a funnel can have a gradient thousands of times the usual one, which Adam's
    averages would remember for tens of steps.
    """

    def init(params: Any) -> Any:
        return jax.tree_util.tree_map(jnp.zeros_like, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def clip(gradient: Array, square: Array) -> Array:
            limit = SPIKE * (1.0 + jnp.sqrt(square))
            return jnp.clip(gradient, -limit, limit)

        clipped = jax.tree_util.tree_map(clip, updates, state)
        squares = optax.tree.update_moment_per_elem_norm(clipped, state, MEMORY, 2)
        return clipped, squares

    return optax.GradientTransformation(init, update)
