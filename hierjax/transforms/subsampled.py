"""A model function on some of its rows, with the density of those scaled up to that of all.

The plate of the rows is made one of fewer rows, and arrays with an axis of rows are cut: what
NumPyro calls subsampling, for functions that were written without it. With weights w

    log p(h) + sum over the rows i at hand of w_i log p(y_i | h),

which is an unbiased estimate of the log density for rows drawn at random and w = all / drawn.
That a function is of this kind is tried out on its data before it is relied on.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.primitives import Messenger

from hierjax.arguments import Arguments
from hierjax.density import Arrays, make_density
from hierjax.density_rows import log_density_in_parts
from hierjax.errors import HierjaxError, ModelError, SettingsError
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.transforms.coordinates import NONCENTRED, Coordinates
from hierjax.transforms.noncentre import group_effects, noncentre

CENTRED = "centred"
MANY_ROWS = 20  # a group, from which on its effect is better left as the model writes it
SOME_ROWS = "to integrate or recentre them takes all rows, and minibatches have some"
PARTS = 3  # in which rows are cut up for the trial
CLOSE = {"float64": 1e-8, "float32": 1e-3}


@dataclasses.dataclass(frozen=True)
class Subsampled:
    """A model function whose rows can be taken in part; equal when its parts are equal.

    Attributes
    ----------
    fn
        The model function.
    plate
        Name of the plate of its rows.
    rows
        How many there are.
    """

    fn: Callable[..., Any]
    plate: str
    rows: int

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def local(self) -> tuple[str, ...]:
        """Names that sites in plates go by, if the function knows them."""
        return getattr(self.fn, "local", ())

    def __call__(self, **data: Any) -> Any:
        """Run the model on all rows."""
        return self.fn(**data)

    def take(self, arrays: Arrays, places: Array) -> Arrays:
        """Cut the rows at `places` out of the traced arrays of the data."""
        return tuple(
            jnp.asarray(array)[places] if np.shape(array)[:1] == (self.rows,) else array
            for array in arrays
        )

    def weighted(self, weights: Array) -> Callable[..., Any]:
        """Return the model function of as many rows as there are weights, on data cut to them."""

        def some_rows(**data: Any) -> None:
            with _SomeRows(self.plate, weights):
                self.fn(**data)

        return some_rows


class _SomeRows(Messenger):
    """Give the plate of the rows another size, and weigh the density of what is observed in it."""

    def __init__(self, plate: str, weights: Array) -> None:
        super().__init__(None)
        self.plate, self.weights = plate, weights
        self.scale = 1.0

    def process_message(self, msg: Any) -> None:
        """Cut the plate, or weigh a site in it."""
        if msg["type"] == "plate" and msg["name"] == self.plate:
            size, number = msg["args"][0], len(self.weights)
            msg["args"] = (size, number)
            msg["value"] = jnp.arange(number)
            self.scale = size / number  # by which NumPyro multiplies all that is in the plate
        if msg["type"] != "sample" or not msg["is_observed"]:
            return
        frames = [frame for frame in msg["cond_indep_stack"] if frame.name == self.plate]
        if frames:
            weights = jnp.reshape(self.weights, (-1, *(1,) * (-frames[0].dim - 1)))
            scale = 1.0 if msg["scale"] is None else msg["scale"]
            msg["scale"] = scale / self.scale * weights


def row_plate(trace: ModelTrace) -> tuple[str, int]:
    """Name and size of the plate of the rows: the first axis of the largest response.

    Raises
    ------
    ModelError
        No response has a plate along its first axis.
    """
    sites = [site for site in trace.sites.values() if site.kind == "observed" and site.shape]
    largest = max(sites, key=lambda site: site.shape[0], default=None)
    if largest is None or not largest.axes[0]:
        raise ModelError(
            "rows cannot be taken in part: no observed site has a plate along its first axis. Put "
            "the observations into numpyro.plate, or leave `minibatch` out."
        )
    return largest.axes[0], largest.shape[0]


def without_all_rows(fn: Callable[..., Any], data: Mapping[str, Any]) -> Coordinates:
    """Return coordinates that need no sums over rows, for a model whose data are many.

    Effects of groups of few rows are non-centred, the others left as they are: what the data say of
    them is then what they are, and not how they deviate from a level whose sd is known less well.

    Raises
    ------
    ModelError
        The model has no rows.
    """
    trace = abstract_trace(fn, data)
    _, rows = row_plate(trace)
    words = {
        name: CENTRED if rows >= MANY_ROWS * trace.sites[name].shape[0] else NONCENTRED
        for name in group_effects(trace)
    }
    few = tuple(name for name, word in words.items() if word == NONCENTRED)
    chosen, _ = noncentre(fn, data, few)
    return Coordinates(chosen, (), tuple((name, f"{w} ({SOME_ROWS})") for name, w in words.items()))


def subsampled(
    coordinates: Coordinates, fn: Callable[..., Any], data: Mapping[str, Any], number: int
) -> Coordinates:
    """Return coordinates whose function can be run on some of its rows.

    Parameters
    ----------
    coordinates
        Those of a model, which must not need all rows at once.
    fn, data
        NumPyro function and its (concrete) arguments.
    number
        Rows to be taken at a time.

    Raises
    ------
    SettingsError
        There are no more rows than that, or the coordinates need all of them.
    ModelError
        The log density is no sum over rows, or rows have latent sites of their own.
    """
    if coordinates.stages:
        raise SettingsError(
            "minibatches know some rows only, and effects are integrated out and recentred on all "
            'of them. Leave effects="auto", or use "noncentred" or "centred".'
        )
    trace = abstract_trace(fn, data)
    plate, rows = row_plate(trace)
    if number >= rows:
        raise SettingsError(
            f"`minibatch` must be less than the number of rows, {rows:,}; got {number:,}."
        )
    own = [s.name for s in trace.sites.values() if s.kind == "latent" and plate in s.plates]
    if own:
        raise ModelError(
            f"site {own[0]!r} has a value for each row, so that rows cannot be taken in part. "
            "Leave `minibatch` out."
        )
    found = Subsampled(coordinates.fn, plate, rows)
    _try_out(found, data)
    return dataclasses.replace(coordinates, fn=found)


def _try_out(function: Subsampled, data: Mapping[str, Any]) -> None:
    """Compare the log density of all rows with the sum over parts of them."""
    arguments = Arguments.of(data)
    density = make_density(function, arguments, dict(data))
    arrays = tuple(map(jnp.asarray, arguments.arrays(data)))
    number = -(-function.rows // PARTS)

    def both(position: Array, arrays: Arrays) -> tuple[Array, Array]:
        return density.log_density(position, arrays), log_density_in_parts(
            density, function, number, position, arrays
        )

    position = 0.1 * jnp.sin(jnp.arange(1.0, density.size + 1.0))
    try:
        whole, parts = jax.jit(both)(position, arrays)
    except (TypeError, ValueError, AssertionError, IndexError, HierjaxError) as error:
        raise _no_sum(function, f"it does not run on {number:,} of them ({error})") from error
    close = CLOSE[whole.dtype.name] * (1.0 + abs(float(whole)))
    if not abs(float(whole) - float(parts)) <= close:
        raise _no_sum(function, f"of all rows it is {whole:.6g}, of parts of them {parts:.6g}")


def _no_sum(function: Subsampled, reason: str) -> ModelError:
    return ModelError(
        f"the log density of {function.__name__} is no sum over the {function.rows:,} rows of "
        f"plate {function.plate!r}: {reason}. Observations must be in that plate, and all arrays "
        "that go by rows must have rows as their first axis, and others another length. Leave "
        "`minibatch` out for this model."
    )
