"""Tell a method which sites of a model in its coordinates were in a plate."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hierjax.effects.local import local_sites
from hierjax.trace import abstract_trace
from hierjax.transforms.coordinates import Coordinates
from hierjax.transforms.noncentre import standard_name as decentred_name
from hierjax.transforms.recentre import standard_name as recentred_name


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A model function that knows what was in a plate by name; equal when its parts are equal.

    Attributes
    ----------
    fn
        The model function.
    local
        Names that sites in plates go by; some of them need not be sites of the function.
    """

    fn: Callable[..., Any]
    local: tuple[str, ...]

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(self, **data: Any) -> Any:
        """Run the model."""
        return self.fn(**data)


def labelled(
    coordinates: Coordinates, fn: Callable[..., Any], data: Mapping[str, Any]
) -> Coordinates:
    """Return coordinates whose function knows which of its sites were in a plate.

    Parameters
    ----------
    coordinates
        Those of a model.
    fn, data
        NumPyro function and its (concrete) arguments.
    """
    names = tuple(
        called
        for name in local_sites(abstract_trace(fn, data))
        for called in (name, recentred_name(name), decentred_name(name))
    )
    return dataclasses.replace(coordinates, fn=Labelled(coordinates.fn, names))
