"""Data sets side by side on all devices of this process, and the results of several processes.

Every device runs the same program on lanes of its own: the axis of data sets is sharded over a mesh
by `shard_map`, so that no device waits for another within a step, and a data set is computed as it
would be on one device. Processes of `jax.distributed` share no arrays at all: each works off its
part of the jobs on its own devices, and they exchange the results at the end.
"""

import functools
import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data_sets"


def device_count() -> int:
    """Devices of this process."""
    return jax.local_device_count()


def on_all_devices(function: Callable[..., Any], shared: int = 0) -> Callable[..., Any]:
    """Return `function` run by each device on its part of the leading axis of its arguments.

    Parameters
    ----------
    function
        Takes and returns pytrees of arrays with a leading axis of data sets.
    shared
        This many first arguments are whole on each device instead.
    """
    mesh = _mesh()
    if mesh is None:
        return function

    def everywhere(*arguments: Any) -> Any:
        split = (PartitionSpec(AXIS),) * (len(arguments) - shared)
        specs = (PartitionSpec(),) * shared + split
        run = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False
        )
        return run(*arguments)

    return everywhere


def spread(tree: Any) -> Any:
    """Put arrays, or shapes, on all devices by their leading axis."""
    mesh = _mesh()
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))

    def placed(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return jax.device_put(leaf, sharding)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree_util.tree_map(placed, tree)


def is_mine(number: int) -> bool:
    """Whether this process is the one to do the job of that number."""
    return number % jax.process_count() == jax.process_index()


def from_all_processes(found: dict[int, Any]) -> dict[int, Any]:
    """Join what each process has found; all of it on every process."""
    if jax.process_count() == 1:
        return found
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(pickle.dumps(found), np.uint8)
    sizes = np.ravel(process_allgather(np.asarray(data.size, np.int32)))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: data.size] = data
    gathered = np.reshape(process_allgather(padded), (len(sizes), -1))
    joined: dict[int, Any] = {}
    for row, size in zip(gathered, sizes, strict=True):
        joined |= pickle.loads(row[:size].tobytes())
    return joined


@functools.cache
def _mesh() -> Mesh | None:
    devices = jax.local_devices()
    return Mesh(np.asarray(devices), (AXIS,)) if len(devices) > 1 else None
