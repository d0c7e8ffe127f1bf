"""A model function for padded data: rows that are padding have no density."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from numpyro.primitives import Messenger

SIZES = "hierjax_sizes"


@dataclasses.dataclass(frozen=True)
class Padded:
    """A model function whose plates are longer than the data; equal if its parts are equal.

    Called as `fn(**data)` with the true sizes as the additional argument `hierjax_sizes`. Observed
    sites and factors in a padded plate are masked beyond its true size. Latent sites there keep
    their prior, which integrates to one, so that the posterior of all others is unchanged.

    Attributes
    ----------
    fn
        The model function.
    plates
        Padded plate -> place of its true size in `hierjax_sizes`.
    """

    fn: Callable[..., Any]
    plates: tuple[tuple[str, int], ...]

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(self, **data: Any) -> None:
        """Run the model on padded data."""
        sizes = data.pop(SIZES)
        with _Mask(dict(self.plates), jnp.asarray(sizes)):
            self.fn(**data)


class _Mask(Messenger):
    """Mask observed sites beyond the true sizes of their plates.

    It stands outside the plates, which have therefore been entered in the message already.
    """

    def __init__(self, plates: dict[str, int], sizes: Array) -> None:
        super().__init__(None)
        self._plates, self._sizes = plates, sizes

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or not msg["is_observed"]:
            return
        for frame in msg["cond_indep_stack"]:
            if frame.name in self._plates:
                inside = jnp.arange(frame.size) < self._sizes[self._plates[frame.name]]
                msg["fn"] = msg["fn"].mask(jnp.reshape(inside, (-1,) + (1,) * (-frame.dim - 1)))
