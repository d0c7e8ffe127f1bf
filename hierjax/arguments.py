"""Which arguments of a model are traced and which are static, decided in one place.

Arrays and floats are traced: new values of the same shapes re-use a compiled program. Integers,
booleans, strings and None are static: they fix shapes and branches. Distributions are pytrees, so
a prior passed as data has its parameters traced, and the bounds of its support static.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from hierjax.bounds import check_bounds, is_bounded, with_static_bounds
from hierjax.errors import DataError


def _is_none(value: Any) -> bool:
    return value is None


def _nesting(value: Any) -> Any:
    return jax.tree_util.tree_structure(value, is_leaf=_is_none)


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
    order
        Place of each leaf, in an order that is the same in every process.
    """

    tree: Any
    static: tuple[Any, ...]
    traced: tuple[bool, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Arguments":
        """Read the structure of `data`."""
        leaves, tree = jax.tree_util.tree_flatten(dict(data), is_leaf=_is_none)
        traced = tuple(_is_traced(leaf) for leaf in leaves)
        static = tuple(
            None if is_traced else leaf for leaf, is_traced in zip(leaves, traced, strict=True)
        )
        return cls(tree, static, traced, tuple(_stable_order(dict(data), 0)[0]))

    def arrays(self, data: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the traced leaves of `data`, which must have this structure.

        Raises
        ------
        DataError
            An argument is missing, unknown or nested otherwise than in the model's own data.
        """
        leaves, tree = jax.tree_util.tree_flatten(dict(data), is_leaf=_is_none)
        if tree != self.tree:
            raise DataError(self._other(data))
        return self.of_arrays(leaves)

    def _other(self, data: Mapping[str, Any]) -> str:
        """Say in what way data have another structure."""
        expected = self.rebuild((None,) * sum(self.traced))
        missing = ", ".join(map(repr, sorted(set(expected) - set(data))))
        unknown = ", ".join(map(repr, sorted(set(map(str, data)) - set(expected))))
        parts = [f"{missing} missing"] * bool(missing) + [f"{unknown} unknown"] * bool(unknown)
        if not parts:
            here = (name for name in expected if _nesting(data[name]) != _nesting(expected[name]))
            parts = [f"{name!r} is nested otherwise" for name in here]
        return (
            f"the data do not have the arguments that the model was made with: {'; '.join(parts)}. "
            "Data of a formula are those of `model.with_data(table).data`."
        )

    def of_arrays(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """Return those of the leaves, or what is known of each, that are traced, in `order`."""
        return tuple(leaves[place] for place in self.order if self.traced[place])

    def static_values(self) -> tuple[Any, ...]:
        """Return the static leaves, in `order`."""
        return tuple(self.static[place] for place in self.order if not self.traced[place])

    def rebuild(self, arrays: tuple[Any, ...]) -> dict[str, Any]:
        """Put traced leaves back between the static ones: the inverse of `arrays`."""
        leaves, values = list(self.static), iter(arrays)
        for place in self.order:
            if self.traced[place]:
                leaves[place] = next(values)
        return jax.tree_util.tree_unflatten(self.tree, leaves)

    def call(self, fn: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Any]:
        """Return `fn` as a function of the traced leaves alone."""
        return lambda arrays: fn(**self.rebuild(arrays))


def _stable_order(tree: Any, start: int) -> tuple[list[int], int]:
    """Places of the leaves of a pytree, counted from `start`, and the place behind the last.

    NumPyro flattens the parameters of a distribution in the order of a set, which is another in
    every process; programs, and what is kept on disk, would differ. Here they are sorted by name.
    """
    if _is_none(tree):
        return [start], start + 1
    children, names = _children(tree)
    if children is None:
        return [start], start + 1
    places: list[list[int]] = []
    for child in children:
        found, start = _stable_order(child, start)
        places.append(found)
    chosen = range(len(places)) if names is None else np.argsort(names, kind="stable")
    return [place for number in chosen for place in places[number]], start


def _children(tree: Any) -> tuple[list[Any] | None, list[str] | None]:
    """Children of a node, and their names if their order is not settled; None for a leaf."""
    children = jax.tree_util.tree_leaves(tree, is_leaf=lambda node: node is not tree)
    if len(children) == 1 and children[0] is tree:
        return None, None
    if isinstance(tree, Distribution):
        names = list(type(tree).gather_pytree_data_fields())
        return children, names if len(names) == len(children) else None
    return children, None


def signature(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shape and type of each array: what a compiled program depends on."""
    return tuple((np.shape(array), jnp.result_type(array).str) for array in arrays)


def freeze(tree: Any) -> Any:
    """Move the numbers of a pytree, such as the parameters of a prior, to 64-bit NumPy arrays.

    So they are traced, and their precision is chosen when a fit starts and not before. Bounds of
    supports become static.

    Raises
    ------
    PriorError
        A bound of a prior is one of its parameters.
    """

    def leaf(value: Any) -> Any:
        if is_bounded(value):
            return with_static_bounds(value)
        numeric = isinstance(value, int | float | np.ndarray | np.generic | jax.Array)
        if isinstance(value, bool) or not numeric:
            return value
        return np.asarray(value, dtype=np.float64)

    frozen = jax.tree_util.tree_map(leaf, tree, is_leaf=is_bounded)
    if isinstance(frozen, Distribution):
        check_bounds(frozen)
    return frozen
