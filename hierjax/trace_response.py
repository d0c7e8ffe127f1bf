"""Expected observations given draws of the latent sites: what a plot compares with raw means."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from numpyro import handlers

from hierjax.arguments import Arguments
from hierjax.errors import ModelError


def expected_response(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    draws: Mapping[str, np.ndarray],
    site: str,
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

    Returns
    -------
    NumPy array of shape (draw, *batch shape), on the scale of the response.

    Raises
    ------
    ModelError
        The distribution of the site has no mean.
    """
    arguments = Arguments.of(data)

    def mean(values: dict[str, Any], arrays: tuple[Any, ...]) -> Any:
        model = handlers.substitute(handlers.seed(fn, jax.random.key(0)), data=values)
        trace = handlers.trace(model).get_trace(**arguments.rebuild(arrays))
        return trace[site]["fn"].mean

    mapped = jax.jit(jax.vmap(mean, in_axes=(0, None)))
    try:
        means = np.asarray(mapped(dict(draws), arguments.arrays(data)))
    except NotImplementedError as error:
        raise ModelError(f"the distribution of site {site!r} has no mean.") from error
    if not np.isfinite(means).all():
        raise ModelError(f"the distribution of site {site!r} has no finite mean for some draws.")
    return means
