"""Empirical Bayes as a pure function of the data, for research code."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from hierjax.arguments import Arguments
from hierjax.errors import SettingsError
from hierjax.infer.empirical_bayes import EmpiricalBayes, Kind
from hierjax.infer.implicit import maximum
from hierjax.model import Model
from hierjax.trace import abstract_trace
from hierjax.transforms.point import differentiable, point_coordinates


def maximise(
    model: Model, kind: Kind = "ml", *, order: int | None = None, steps: int = 60
) -> Callable[..., dict[str, jax.Array]]:
    """Return the empirical Bayes estimate of a model as a pure function of its data.

        theta(d) = argmax over theta of log integral p(d | u, theta) p(u | theta) du

    Its derivatives are those of the maximum, by the implicit function theorem: the search is not
    unrolled. Jit it, vmap it over data sets, differentiate it, by forward or reverse mode, once.

    Parameters
    ----------
    model
        The model. The structure (which rows share a group) is read from its data.
    kind, order, steps
        As for `EmpiricalBayes`.

    Returns
    -------
    estimate
        `estimate(data=None)`: latent or deterministic site -> value (*shape of the site), effects
        at their conditional mean; NaN where the search has not converged. `data` has the arguments
        of the model's own data; integers, strings and None in it are taken from the model. Without
        data the model's own are used. Arrays, floats and the parameters of distributions among the
        arguments may be traced.

    Raises
    ------
    ModelError
        The model has nothing to maximise, or a site that cannot be integrated out.
    SettingsError
        An option is out of range, or "reml" where the response is not normal.

    Notes
    -----
    It has the precision of the program it is in: in float32 estimates are good to about three
    digits. A standard deviation whose maximum is zero has derivative zero.
    """
    if not isinstance(model, Model):
        raise SettingsError(
            f"`model` must be a hierjax.Model; got {type(model).__name__}. Make one of a NumPyro "
            "function by hierjax.Model(function, data), of a formula by hierjax.formula."
        )
    settings = EmpiricalBayes(kind, order=order, steps=steps)
    coordinates = point_coordinates(model.fn, model.data, kind, order)
    smooth = differentiable(coordinates).fn
    given = Arguments.of(model.data)
    sites = abstract_trace(model.fn, model.data).sites.values()
    keep = frozenset(site.name for site in sites if site.kind in ("latent", "deterministic"))

    @jax.jit
    def run(arrays: tuple[Any, ...]) -> dict[str, jax.Array]:
        prepared = coordinates.prepare(given.rebuild(arrays))
        found = maximum(settings, coordinates.fn, smooth, prepared)
        return {name: value for name, value in found.items() if name in keep}

    def estimate(data: Mapping[str, Any] | None = None) -> dict[str, jax.Array]:
        arrays = given.arrays(model.data if data is None else data)
        return run(tuple(map(jnp.asarray, arrays)))

    return estimate
