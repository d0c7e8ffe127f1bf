"""How much memory the dense matrix of crossed factors takes: known before anything is computed."""

import jax.numpy as jnp

from hierjax.errors import ModelError
from hierjax.linalg.structure import Structure
from hierjax.memory import GB, device_memory

# Arrays of such sizes that a gradient by four chains needs at a time, as XLA reports them: 20 of
# the dense matrix (with a response that is not normal up to 40), 6 of its products with the groups
# that are eliminated, 8 numbers a pair of cells.
MATRICES, PRODUCTS, PAIRS = 20, 6, 8


def bytes_needed(structure: Structure) -> int:
    """Estimate the bytes that a gradient with these effects integrated out or recentred takes."""
    numbers = MATRICES * structure.rest_size**2
    if structure.crossing is not None:
        numbers += PAIRS * structure.crossing.pairs
    else:
        eliminated = sum(structure.factors[place].size for place in structure.chain)
        numbers += PRODUCTS * structure.rest_size * eliminated
    return numbers * jnp.result_type(float).itemsize


def is_too_large(structure: Structure) -> bool:
    """Whether that is more than there is."""
    return bytes_needed(structure) > device_memory()


def check_size(structure: Structure) -> None:
    """Refuse what does not fit into memory.

    Raises
    ------
    ModelError
        It does not; the message says why, and what does.
    """
    if not structure.rest or not is_too_large(structure):
        return
    crossed = ", ".join(
        f"{structure.factors[place].name!r} ({structure.factors[place].groups:,} groups)"
        for place in (*structure.chain, *structure.rest)
    )
    raise ModelError(
        f"the effects {crossed} are of crossed factors; integrated out or recentred together they "
        f"make a dense matrix with {structure.rest_size:,} rows, and a gradient takes about "
        f"{bytes_needed(structure) / GB:,.0f} GB where there are {device_memory() / GB:,.0f}. "
        'method="gibbs" does without it if the response is normal; effects="noncentred" samples '
        "them with any response."
    )
