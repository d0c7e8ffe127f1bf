"""Proof that padding changes nothing: densities of padded and true data sets are compared.

A model may do with its rows what no mask sees (standardise by their mean, count them); then the
log density or a computed site of the padded data differs from that of the true data, and the data
sets are fitted in their own shapes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from hierjax.arguments import Arguments, signature
from hierjax.batch.plan import Data, Padding
from hierjax.cache import ProgramCache
from hierjax.density import Density, make_density
from hierjax.errors import HierjaxError
from hierjax.ragged import FILLS, Sizes
from hierjax.trace import abstract_trace

TOLERANCE = 1e-10
_PROGRAMS = ProgramCache(size=8)

Parts = dict[str, tuple[str, Any, Any]]  # site -> kind, log density by unit, value


def difference(fn: Callable[..., Any], padding: Padding, data: Data, sizes: Sizes) -> str:
    """Say how padding a data set changes the model; "" if it does not.

    At a random point of the padded model, the log density less the prior of the padded units must
    be that of the true data at the same point, whatever the padding is filled with, and so must
    every computed site.
    """
    with jax.enable_x64(True):
        try:
            found = _padded_parts(padding.function(fn), padding, data, sizes)
            trace = abstract_trace(fn, data)
            values = {
                name: jnp.asarray(crop(value, trace.sites[name].shape))
                for name, (kind, _, value) in found[0].items()
                if kind == "latent"
            }
            expected = _Parts(fn, Arguments.of(data)).at(values, Arguments.of(data).arrays(data))
            reasons = (_compare(expected, each) for each in found)
            return next((reason for reason in reasons if reason), "")
        except (HierjaxError, IndexError, KeyError, TypeError, ValueError) as error:
            return f"the model function cannot take padded data ({type(error).__name__}: {error})"


def crop(value: Any, shape: tuple[int, ...]) -> Any:
    """Cut the padding off the end of every axis.

    Raises
    ------
    ValueError
        The value has another number of axes.
    """
    if np.ndim(value) != len(shape):
        raise ValueError(f"a value of shape {np.shape(value)} cannot be cut to {shape}")
    return value[tuple(slice(size) for size in shape)]


def _padded_parts(
    fn: Callable[..., Any], padding: Padding, data: Data, sizes: Sizes
) -> list[Parts]:
    """Parts of the padded model at one point, for each way to fill the padding."""
    padded = [padding.apply(data, sizes, fill) for fill in FILLS]
    arguments = Arguments.of(padded[0])

    def build() -> tuple[Density, _Parts, Any]:
        density = make_density(fn, arguments, padded[0])
        return density, _Parts(fn, arguments), jax.jit(density.constrain)

    arrays = [tuple(map(jnp.asarray, arguments.arrays(each))) for each in padded]
    # Plates may have the length of an array, so the latent sites depend on shapes.
    density, parts, constrain = _PROGRAMS.get((fn, arguments, signature(arrays[0])), build)
    position = 0.5 * np.random.default_rng(9).normal(size=density.size)
    values = constrain(jnp.asarray(position), arrays[0])
    latents = {slot.name: values[slot.name] for slot in density.slots}
    return [parts.at(latents, each) for each in arrays]


class _Parts:
    """A compiled program for log density and value of every site of a model."""

    def __init__(self, fn: Callable[..., Any], arguments: Arguments) -> None:
        self._fn, self._arguments = fn, arguments
        self._kinds: dict[str, str] = {}
        self._run = jax.jit(self._trace)

    def at(self, values: Mapping[str, Any], arrays: tuple[Any, ...]) -> Parts:
        """Run the model with its latent sites at `values`."""
        found = jax.device_get(self._run(tuple(map(jnp.asarray, arrays)), dict(values)))
        return {name: (self._kinds[name], *each) for name, each in found.items()}

    def _trace(self, arrays: Any, values: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        model = handlers.substitute(handlers.seed(self._fn, jax.random.key(0)), data=dict(values))
        data, found = self._arguments.rebuild(arrays), {}
        for name, site in handlers.trace(model).get_trace(**data).items():
            if site["type"] == "sample":
                self._kinds[name] = "observed" if site["is_observed"] else "latent"
                found[name] = (_log_density(site), site["value"])
            elif site["type"] == "deterministic":
                self._kinds[name] = "deterministic"
                found[name] = (jnp.zeros(()), site["value"])
        return found


def _log_density(site: Mapping[str, Any]) -> Any:
    log_density = site["fn"].log_prob(site["value"])
    return log_density if site["scale"] is None else site["scale"] * log_density


def _compare(expected: Parts, found: Parts) -> str:
    if set(expected) != set(found):
        return f"padded data give other sites: {sorted(set(expected) ^ set(found))}"
    for name, (kind, log_density, value) in expected.items():
        _, padded_density, padded_value = found[name]
        if kind == "latent":
            padded_density = crop(padded_density, np.shape(log_density))
        if not _close(np.sum(log_density), np.sum(padded_density), np.sum(np.abs(log_density))):
            return f"the log density of {name!r} changes if rows are added that do not count"
        if kind == "deterministic":
            padded_value = crop(padded_value, np.shape(value))
            if not _close(value, padded_value, np.max(np.abs(value), initial=0.0)):
                return f"{name!r} changes if rows are added that do not count"
    return ""


def _close(left: Any, right: Any, size: Any) -> bool:
    gap = np.max(np.abs(np.asarray(left, float) - np.asarray(right, float)), initial=0.0)
    return bool(gap <= TOLERANCE * (1.0 + float(size)))
