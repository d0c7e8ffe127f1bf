"""Which arguments of a model are traced and which are static, decided in one place.

Arrays and floats are traced: new values of the same shapes re-use a compiled program. Integers,
booleans, strings and None are static: they fix shapes and branches. Distributions are pytrees, so
a prior passed as data has its parameters traced.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.errors import DataError


def _is_none(value: Any) -> bool:
    return value is None


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.generic | jax.Array | float)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Structure of a model's arguments: everything about the data except the traced values.

    Hashable and comparable, so that it can be part of the key of a cache of compiled programs.

    Attributes
    ----------
    tree
        Pytree structure of the data.
    static
        Leaf of each static argument; `None` stands at the traced ones.
    traced
        Whether each leaf is traced.
    """

    tree: Any
    static: tuple[Any, ...]
    traced: tuple[bool, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Arguments":
        """Read the structure of `data`."""
        leaves, tree = jax.tree_util.tree_flatten(dict(data), is_leaf=_is_none)
        traced = tuple(_is_traced(leaf) for leaf in leaves)
        static = tuple(
            None if is_traced else leaf for leaf, is_traced in zip(leaves, traced, strict=True)
        )
        return cls(tree, static, traced)

    def arrays(self, data: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the traced leaves of `data`, which must have this structure.

        Raises
        ------
        DataError
            An argument is missing, unknown or nested otherwise than in the model's own data.
        """
        leaves, tree = jax.tree_util.tree_flatten(dict(data), is_leaf=_is_none)
        if tree != self.tree:
            raise DataError(
                "the data do not have the arguments that the model was made with: "
                f"expected {self.tree}, got {tree}."
            )
        pairs = zip(leaves, self.traced, strict=True)
        return tuple(leaf for leaf, is_traced in pairs if is_traced)

    def rebuild(self, arrays: tuple[Any, ...]) -> dict[str, Any]:
        """Put traced leaves back between the static ones: the inverse of `arrays`."""
        values = iter(arrays)
        leaves = [
            next(values) if is_traced else leaf
            for leaf, is_traced in zip(self.static, self.traced, strict=True)
        ]
        return jax.tree_util.tree_unflatten(self.tree, leaves)

    def call(self, fn: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Any]:
        """Return `fn` as a function of the traced leaves alone."""
        return lambda arrays: fn(**self.rebuild(arrays))


def signature(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shape and type of each array: what a compiled program depends on."""
    return tuple((np.shape(array), jnp.result_type(array).str) for array in arrays)


def freeze(tree: Any) -> Any:
    """Move the numbers of a pytree, such as the parameters of a prior, to 64-bit NumPy arrays.

    So they are traced, and their precision is chosen when a fit starts and not before.
    """

    def leaf(value: Any) -> Any:
        numeric = isinstance(value, int | float | np.ndarray | np.generic | jax.Array)
        if isinstance(value, bool) or not numeric:
            return value
        return np.asarray(value, dtype=np.float64)

    return jax.tree_util.tree_map(leaf, tree)
