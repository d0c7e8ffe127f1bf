"""One data set on one device, or its rows divided among all devices of this process.

The program is the same either way: XLA cuts it at the rows and adds the sums over devices. Arrays
whose first axis is that of the rows are divided, all others are whole on each device. Rows that
cannot be divided evenly are filled up, and cut again inside the program, where that costs nothing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hierjax.errors import ModelError
from hierjax.model import Model
from hierjax.trace import abstract_trace

AXIS = "rows"


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where the arrays of a data set are.

    Attributes
    ----------
    rows
        Rows that are divided among all devices of this process; None leaves all on one device.
    """

    rows: int | None = None

    @classmethod
    def for_rows_of(cls, model: Model) -> "Devices":
        """Divide the rows of a model's data, the first axis of its largest response.

        Raises
        ------
        ModelError
            No response has rows.
        """
        sites = abstract_trace(model.fn, model.data).sites.values()
        rows = [site.shape[0] for site in sites if site.kind == "observed" and site.shape]
        if not rows:
            raise ModelError(
                "the rows of this model cannot be divided among devices: no observed site has an "
                "axis. Leave shard_rows=False."
            )
        return cls(max(rows)) if jax.local_device_count() > 1 else cls()

    @property
    def everywhere(self) -> NamedSharding | None:
        """Sharding of what is whole on each device; None where there is one."""
        if self.rows is None:
            return None
        return NamedSharding(self._mesh, PartitionSpec())

    def place(self, arrays: Sequence[Any]) -> tuple[jax.Array, ...]:
        """Put the leaves of data on the devices."""
        if self.rows is None:
            return tuple(map(jnp.asarray, arrays))
        divided = NamedSharding(self._mesh, PartitionSpec(AXIS))
        return tuple(
            jax.device_put(self._filled(array), divided)
            if np.shape(array)[:1] == (self.rows,)
            else jax.device_put(jnp.asarray(array), self.everywhere)
            for array in arrays
        )

    def cut(self, arrays: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
        """Return placed leaves without the rows that were filled up; for use inside a program."""
        if self.rows is None:
            return tuple(arrays)
        return tuple(
            array if np.shape(array) == shape else array[: self.rows]
            for array, shape in zip(arrays, shapes, strict=True)
        )

    def shapes(self, tree: Any) -> Any:
        """Shapes of results, as arguments that are whole on each device."""
        if self.rows is None:
            return tree
        return jax.tree_util.tree_map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.everywhere),
            tree,
        )

    def _filled(self, array: Any) -> Any:
        assert self.rows is not None
        missing = -self.rows % self._mesh.size
        if not missing:
            return array
        return np.concatenate([array, np.repeat(np.asarray(array)[-1:], missing, axis=0)])

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(jax.local_devices()), (AXIS,))
