"""ADOPT for steps in units of a guide's own sds: bounded far out, gentle at the end.

Adam divides the average of gradients by the root of the average of their squares, which has the
newest one in it. Where gradients are skewed that is biased: the step is not zero on average where
the gradient is, at any learning rate. On the topics of six novels the evidence lower bound of
Adam's resting place was 25 lower (docs/notes/svi.md). ADOPT divides each gradient by the root of
the average before it.

References
----------
Taniguchi, Harada, Minegishi, Oshima, Jeong, Nagahara, Iiyama, Suzuki, Iwasawa, Matsuo (2024),
ADOPT: modified Adam can converge with any beta2 with the optimal rate, NeurIPS, arXiv:2411.02853.
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
    """ADOPT, but plain gradient ascent for gradients that are small in the guide's own frame.

    A step is rate times the average of g / max(1, |g| / limit), with |g| the root mean square of
    gradients before: division by |g| alone would keep steps large where the gradient vanishes.
    """

    def bounded(limit: float) -> optax.GradientTransformation:
        steps = optax.contrib.scale_by_adopt(b2=MEMORY, eps=limit, use_clipping=False)
        return optax.chain(_clip_spikes(), steps, optax.scale(limit))

    return optax.partition(
        {"location": bounded(LOCATION_LIMIT), "shape": bounded(1.0)},
        lambda step: {name: "location" if name == "location" else "shape" for name in step},
    )


def _clip_spikes() -> optax.GradientTransformation:
    """Clip each element at a multiple of its root mean square before (Zhang et al. 2020).

    One draw far out in a funnel can have a gradient thousands of times the usual one, which
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
