"""An observed Normal site as rows: what was observed, locations, scales, and which rows count."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist


class NormalRows(NamedTuple):
    """Rows observed ~ N(location, scale^2), all but the scale in the shape of the site.

    Attributes
    ----------
    observed, location, scale
        The value of the site and the parameters of its distribution.
    present
        Where the mask of the site lets a row count; True without one.
    """

    observed: Array
    location: Array
    scale: Array
    present: Array


def normal_rows(fn: Any, observed: Any) -> NormalRows:
    """Look inside the wrappers of plates, `to_event` and masks of a Normal distribution."""
    shape = jnp.shape(observed)
    present = jnp.asarray(True)
    while not isinstance(fn, dist.Normal):
        if isinstance(fn, dist.MaskedDistribution):
            mask = jnp.asarray(fn._mask)
            present &= jnp.reshape(mask, (*mask.shape, *(1,) * fn.event_dim))
        fn = fn.base_dist
    location: Any = fn.loc
    return NormalRows(
        jnp.asarray(observed),
        jnp.broadcast_to(location, shape),
        jnp.asarray(fn.scale),
        jnp.broadcast_to(present, shape),
    )
