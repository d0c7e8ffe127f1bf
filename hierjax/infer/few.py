"""Methods that are for few parameters say so before they start."""

from hierjax.density import Density
from hierjax.errors import ModelError


def check_few(density: Density, method: str, most: int, others: str) -> None:
    """Check that few enough parameters are left for a method.

    Parameters
    ----------
    density
        Log density over the parameters that are left to sample.
    method
        The word for the method in `hierjax.fit(method=...)`.
    most
        How many parameters it is for.
    others
        What to use instead, such as `'method="nuts"'`.

    Raises
    ------
    ModelError
        There are more; the message names the largest site and what to do.
    """
    if density.size <= most:
        return
    largest = max(density.slots, key=lambda slot: slot.size)
    raise ModelError(
        f"{density.size:,} parameters are left to sample, {largest.size:,} of them in site "
        f'{largest.name!r}; method "{method}" is for {most:,} at most. Use {others}, or let group '
        "effects of a Gaussian response be integrated out."
    )
