"""The dense matrix that the elimination of the chain leaves, bordered by the response."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.linalg.definite import definite_forms
from hierjax.linalg.prior import Root, multiply_rest_transposed
from hierjax.linalg.structure import Structure


def scaled_rest(structure: Structure, rest: Array, root: Root) -> Array:
    """C Λ, for the bordered C and Λ, (m + 1, m + 1)."""
    return multiply_rest_transposed(structure, root, rest).T


def dense_system(
    structure: Structure, rest: Array, root: Root, right: Array | None = None
) -> Array:
    """[[S, r], [r', y'y left]] with S = I + Λ' C Λ, shape (m + 1, m + 1).

    Parameters
    ----------
    structure
        What is grouped in what; coefficients without prior have no identity in S.
    rest
        [[C, c], [c', y'y]].
    root
        Λ.
    right
        `scaled_rest`, if at hand.
    """
    right = scaled_rest(structure, rest, root) if right is None else right
    unit = np.ones(structure.rest_size + 1)
    unit[-1] = 0.0
    if not structure.has_prior:
        unit[structure.rest_effects :] = 0.0
    return multiply_rest_transposed(structure, root, right) + np.diag(unit).astype(right.dtype)


def dense_forms(structure: Structure, system: Array) -> tuple[Array, Array, Array, Array]:
    """Log-determinant, explained sum of squares, S^-1, and the derivative of the log-determinant.

    The last is S^-1, but for `Structure.fixed` "ml": there the log-determinant is that of the
    effects' part of S, and its derivative the inverse of that part, bordered by zeros.
    """
    log_determinant, explained, inverse = definite_forms(system)
    if structure.fixed != "ml":
        return log_determinant, explained, inverse, inverse
    keep = np.r_[0 : structure.rest_effects, structure.rest_size]
    log_determinant, _, part = definite_forms(system[keep][:, keep])
    return log_determinant, explained, inverse, jnp.pad(part, (0, structure.columns))
