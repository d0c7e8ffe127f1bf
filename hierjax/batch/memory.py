"""Work that does not fit into memory is tried again with fewer data sets at a time.

How much one data set takes is estimated before (`choose_lanes`), but not what XLA needs in between,
nor what other programs have left. Neither is a reason to lose a batch.
"""

import warnings
from collections.abc import Callable
from typing import TypeVar

import jax

from hierjax.errors import FitError
from hierjax.memory import ran_out

T = TypeVar("T")


def with_fewer_lanes(run: Callable[[int], T], lanes: int) -> tuple[T, int]:
    """Run some work, with half as many data sets at a time as long as memory runs out.

    Draws of a data set with fewer beside it are the same up to rounding errors, which chains
    enlarge: they are other draws from the same posterior.

    Parameters
    ----------
    run
        Takes the number of data sets that one device works on at a time.
    lanes
        That number, to begin with.

    Returns
    -------
    tuple
        What was computed, and the number it was computed with.

    Raises
    ------
    FitError
        There is too little memory even for one.
    """
    while True:
        try:
            return run(lanes), lanes
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if not ran_out(error):
                raise
            message = (str(error) or "MemoryError").splitlines()[0].rstrip(".")
        # Here the arrays that the traceback held are gone.
        if lanes == 1:
            raise FitError(
                f"memory ran out with one data set at a time ({message}). Keep less of it "
                '(keep="hyper", fewer draws or chains), or use a device with more memory.'
            )
        lanes //= 2
        many = "one data set" if lanes == 1 else f"{lanes} data sets"
        warnings.warn(
            f"memory ran out ({message}); going on with {many} at a time on each device. A smaller "
            "`budget` starts like that.",
            stacklevel=2,
        )
