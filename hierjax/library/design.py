"""What a classic design consists of."""

import dataclasses
from collections.abc import Callable

from hierjax.model import Model


@dataclasses.dataclass(frozen=True)
class Design:
    """One row of the table of designs.

    Attributes
    ----------
    fn
        The NumPyro function, written with centred effects.
    build
        Checks the user's data and returns a `Model` of `fn`.
    example
        Returns a small model of the design, for the test grid and a first look.
    """

    fn: Callable[..., None]
    build: Callable[..., Model]
    example: Callable[[], Model]
