"""Finished chunks of a single fit on disk, each with the state of the program behind it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.checkpoint import Checkpoint
from hierjax.errors import FileError


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The chunks of one method in a checkpoint.

    Attributes
    ----------
    checkpoint
        The folder.
    method
        The word for the method: with "auto" there may be two in a folder.
    """

    checkpoint: Checkpoint
    method: str

    def load(self, chunk: int, shapes: Any) -> Any:
        """Read what was saved of a chunk, with the structure of `shapes`; None if nothing was.

        Raises
        ------
        FileError
            The file is damaged, or holds something else.
        """
        arrays = self.checkpoint.load(self._name(chunk))
        if arrays is None:
            return None
        leaves, structure = jax.tree_util.tree_flatten(shapes)
        if len(arrays) != len(leaves):
            raise self._of_another_kind(chunk)
        restored = [_restored(arrays[(str(place),)], leaf) for place, leaf in enumerate(leaves)]
        if any(np.shape(a) != b.shape for a, b in zip(restored, leaves, strict=True)):
            raise self._of_another_kind(chunk)
        return jax.tree_util.tree_unflatten(structure, restored)

    def save(self, chunk: int, values: Any) -> None:
        """Write the state and the record behind a chunk, whole or not at all."""
        leaves = jax.tree_util.tree_leaves(values)
        self.checkpoint.save(
            self._name(chunk),
            {(str(place),): _plain(leaf) for place, leaf in enumerate(leaves)},
        )

    def _of_another_kind(self, chunk: int) -> FileError:
        return FileError(
            f"{self.checkpoint.folder / self._name(chunk)}: does not hold what this fit would have "
            "saved there. Give another path, or delete the folder."
        )

    def _name(self, chunk: int) -> str:
        return f"{self.method}-{chunk:05d}.chunk"


def _plain(leaf: Any) -> np.ndarray:
    """Turn a leaf into numbers: random keys have a type of their own."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _restored(values: np.ndarray, shape: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(values)) if _is_key(shape) else values


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
