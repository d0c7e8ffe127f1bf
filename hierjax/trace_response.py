"""Expected observations given draws of the latent sites: what a plot compares with raw means."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from hierjax.arguments import Arguments
from hierjax.errors import ModelError
from hierjax.trace_recorder import CATEGORICAL, unwrapped


def expected_response(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    draws: Mapping[str, np.ndarray],
    site: str,
    pooled: Collection[str] = (),
) -> np.ndarray:
    """Mean of the distribution of an observed site, E[y | draw], for every draw.

    Parameters
    ----------
    fn, data
        The model function and its arguments.
    draws
        Latent site -> array of shape (draw, *site shape).
    site
        Name of the observed site.
    pooled
        Latent sites that are put at their prior mean given their parents, instead of at their
        draws: what the model expects of groups about which nothing is known.

    Returns
    -------
    NumPy array of shape (draw, *batch shape), on the scale of the response.

    Raises
    ------
    ModelError
        The distribution of the site, or of a pooled one, has no finite mean.
    """
    arguments = Arguments.of(data)

    def mean(values: dict[str, Any], arrays: tuple[Any, ...]) -> Any:
        model = handlers.substitute(
            handlers.seed(fn, jax.random.key(0)),
            substitute_fn=lambda message: _value_of(message, values, pooled),
        )
        trace = handlers.trace(model).get_trace(**arguments.rebuild(arrays))
        if isinstance(unwrapped(trace[site]["fn"]), CATEGORICAL):
            raise ModelError(
                f"{site!r} is in categories, which have no mean to compare. "
                "`post.predict()` has the probability of each."
            )
        return trace[site]["fn"].mean

    mapped = jax.jit(jax.vmap(mean, in_axes=(0, None)))
    try:
        means = np.asarray(mapped(dict(draws), arguments.arrays(data)))
    except NotImplementedError as error:
        raise ModelError(
            f"the distribution of {' or '.join(map(repr, (site, *pooled)))} has no mean."
        ) from error
    if not np.isfinite(means).all():
        raise ModelError(f"the distribution of site {site!r} has no finite mean for some draws.")
    return means


def _value_of(message: Any, values: Mapping[str, Any], pooled: Collection[str]) -> Any:
    """Return the value of a site in this run, None for those that NumPyro computes itself."""
    if message["name"] in pooled:
        return jnp.broadcast_to(message["fn"].mean, message["fn"].shape())
    return values.get(message["name"])
