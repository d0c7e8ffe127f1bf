"""A chunk of data sets as a pure job: stacked arrays and keys in, arrays out.

A chunk is worked off in blocks of a fixed number of lanes, each a vmapped program that is compiled
once. The number of lanes depends on the model and its padded sizes only, so that draws do not
depend on how many data sets there are, how they are cut into chunks, or where a chunk is run.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments, signature
from hierjax.batch.devices import device_count, on_all_devices, spread
from hierjax.cache import ProgramCache
from hierjax.compiler import compile_for
from hierjax.draws import Draws
from hierjax.infer.program import Method, Program
from hierjax.programs import named, recovered
from hierjax.transforms.coordinates import Coordinates

QUANTILES = (0.05, 0.5, 0.95)
LANES = {"cpu": 16}  # more cost as much for each data set there, and a few data sets more
ACCELERATOR_LANES = 256
_PROGRAMS = ProgramCache(size=32)

Arrays = tuple[Any, ...]
Report = Callable[[float], None]


@dataclasses.dataclass(frozen=True)
class Spec:
    """Everything that the program of a chunk is made from, beside shapes; hashable.

    Attributes
    ----------
    coordinates
        Chosen for one data set of the bucket, used for all.
    method
        Settings of the method.
    arguments
        Structure of the padded and prepared data.
    sites
        Sites whose draws are kept.
    summarised
        Sites of which only mean, sd and quantiles are kept.
    """

    coordinates: Coordinates
    method: Method
    arguments: Arguments
    sites: frozenset[str]
    summarised: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Draws of the data sets of a chunk; every array has a leading axis of data sets.

    Attributes
    ----------
    sites, stats, status, trace
        As in `Draws`.
    summaries
        Site -> "mean", "sd", "q5", "q50", "q95" along axis 1.
    """

    sites: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    status: np.ndarray
    trace: Mapping[str, np.ndarray]
    summaries: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Block:
    """The compiled functions of one block of lanes."""

    program: Program
    start: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Any]
    done: Callable[..., Any]
    records: Any


def run_chunk(
    spec: Spec, arrays: Arrays, keys: np.ndarray, *, lanes: int, report: Report = lambda _: None
) -> Chunk:
    """Fit the data sets of a chunk.

    Parameters
    ----------
    spec
        What to run.
    arrays
        Traced leaves of the data, each with a leading axis of data sets.
    keys
        Key data of each data set, shape (data sets, ...).
    lanes
        Data sets that one device takes at once.
    report
        Called with the number of data sets that are finished, in parts.
    """
    blocks, count, width = [], len(keys), lanes * device_count()
    for first in range(0, count, width):
        places = np.minimum(np.arange(first, first + width), count - 1)
        inputs = tuple(jnp.asarray(np.asarray(array)[places]) for array in arrays)
        block = _compiled(spec, inputs, lanes)
        used = min(width, count - first)
        finished = _run_block(
            block, inputs, keys[places], lambda p, f=first, u=used: report(f + p * u)
        )
        # The first of every device's come first, then the second ones.
        order = np.arange(width).reshape(-1, lanes).T.ravel().tolist()
        found = {n: _summarised(spec, draws) for n, draws in zip(order, finished, strict=True)}
        blocks += [found[n] for n in range(used)]
    draws, summaries = jax.tree_util.tree_map(lambda *parts: np.stack(parts), *blocks)
    return Chunk(draws.sites, draws.stats, draws.status, draws.trace, summaries)


def _run_block(
    block: _Block, arrays: Arrays, key_data: np.ndarray, report: Callable[[float], None]
) -> Iterator[Draws]:
    """Drive the compiled program of a block from the host; the draws, one data set after another.

    Sites that are to be summarised may be large: no two data sets' are there at once.
    """
    program, arrays = block.program, spread(arrays)
    keys = jax.random.wrap_key_data(spread(jnp.asarray(key_data)))
    state, records = block.start(keys, arrays), []
    for chunk in range(program.num_chunks):
        state, record = block.advance(state, arrays)
        if chunk >= program.num_discarded:
            records.append(jax.device_get(record))
        report((chunk + 1) / program.num_chunks)
        if np.all(block.done(state)):
            break
    stacked = jax.tree_util.tree_map(
        lambda whole, *parts: np.stack(parts, axis=1) if parts else np.zeros(whole.shape),
        block.records,
        *records,
    )
    stacked = spread(jax.tree_util.tree_map(jnp.asarray, stacked))
    for place in range(len(key_data) // device_count()):
        draws = jax.device_get(block.finish(jnp.asarray(place), keys, state, stacked, arrays))
        for device in range(device_count()):
            yield jax.tree_util.tree_map(lambda leaf, device=device: leaf[device], draws)


def _compiled(spec: Spec, arrays: Arrays, lanes: int) -> _Block:
    """Compile the program of a block, or find it compiled for the same shapes."""
    precision = jnp.result_type(float).name
    identity = (spec, signature(arrays), lanes, precision, jax.default_backend())
    return _PROGRAMS.get(identity, lambda: _compile(spec, arrays, lanes))


def _compile(spec: Spec, arrays: Arrays, lanes: int) -> _Block:
    program, arrays = bound_program(spec, arrays), spread(arrays)
    keys = jax.random.split(jax.random.key(0), lanes * device_count())
    keys = jax.random.wrap_key_data(spread(jax.random.key_data(keys)))
    start, state = compile_for(on_all_devices(jax.vmap(program.start)), keys, arrays)
    state = spread(state)
    advance, result = compile_for(on_all_devices(jax.vmap(program.advance)), state, arrays)
    records = spread(_stacked_records(program, result[1]))

    def finish(place: Any, *lanes: Any) -> Draws:
        draws = _finish(spec, program, *jax.tree_util.tree_map(lambda leaf: leaf[place], lanes))
        return jax.tree_util.tree_map(lambda leaf: leaf[None], draws)

    def done(state: Any) -> jax.Array:
        return jnp.asarray(program.report(state).get("done", False))

    compiled_finish, _ = compile_for(
        on_all_devices(finish, shared=1), jnp.asarray(0), keys, state, records, arrays
    )
    compiled_done, _ = compile_for(on_all_devices(jax.vmap(done)), state)
    return _Block(program, start, advance, compiled_finish, compiled_done, records)


def bound_program(spec: Spec, arrays: Arrays) -> Program:
    """Bind the method to one data set of the stacked `arrays`."""
    first = tuple(np.asarray(array)[0] for array in arrays)
    return spec.method.program(spec.coordinates.fn, spec.arguments.rebuild(first))


def _stacked_records(program: Program, record: Any) -> Any:
    """Shapes of the kept records of all lanes, (lanes, kept chunks, ...)."""
    kept = program.num_chunks - program.num_discarded
    return jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0], kept, *leaf.shape[1:]), leaf.dtype),
        record,
    )


def _finish(
    spec: Spec, program: Program, key: Any, state: Any, records: Any, arrays: Arrays
) -> Draws:
    """Draws of one data set."""
    draws = program.finish(state, records, arrays)
    whole = recovered(spec.coordinates, draws, key, spec.arguments.rebuild(arrays))
    return named(whole, spec.sites | spec.summarised)


def _summarised(spec: Spec, draws: Draws) -> tuple[Draws, dict[str, np.ndarray]]:
    """Put summaries in the place of the draws of sites that are not kept.

    By NumPy, which has the quantiles of 4,000 draws in an eighth of the time that XLA sorts them.
    """
    summaries = {name: _summary(np.asarray(draws.sites[name])) for name in sorted(spec.summarised)}
    return named(draws, spec.sites), summaries


def _summary(values: np.ndarray) -> np.ndarray:
    """Mean, sd and quantiles over chains and draws, along a new leading axis."""
    flat = np.reshape(values, (-1, *values.shape[2:]))
    moments = [np.mean(flat, axis=0), np.std(flat, axis=0, ddof=1)]
    return np.stack([*moments, *np.quantile(flat, QUANTILES, axis=0)])


def choose_lanes(spec: Spec, arrays: Arrays, budget: int) -> int:
    """Count the data sets that fit into one program: a power of two, within `budget` bytes.

    What a data set takes are its arrays, the state, the records and what is kept of them.

    Parameters
    ----------
    arrays
        Traced leaves of some data sets, stacked.
    """
    each = bytes_of_one(spec, arrays)
    lanes = LANES.get(jax.default_backend(), ACCELERATOR_LANES)
    while lanes > 1 and lanes * each > budget:
        lanes //= 2
    return lanes


def bytes_of_one(spec: Spec, arrays: Arrays) -> int:
    """Bytes that one data set takes on the device."""
    program = bound_program(spec, arrays)
    single = tuple(
        jax.ShapeDtypeStruct(np.shape(array)[1:], jnp.result_type(array)) for array in arrays
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(program.start, key, single)
    _, record = jax.eval_shape(program.advance, state, single)
    lifted = jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), record
    )
    records = jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
        _stacked_records(program, lifted),
    )
    result = jax.eval_shape(
        lambda *each: named(_finish(spec, program, *each), spec.sites), key, state, records, single
    )
    return sum(_bytes(tree) for tree in (single, state, records, result))


def _bytes(tree: Any) -> int:
    leaves = jax.tree_util.tree_leaves(tree)
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in leaves if _is_plain(leaf))


def _is_plain(leaf: Any) -> bool:
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)


def prepare_all(
    coordinates: Coordinates, arguments: Arguments, arrays: Arrays, lanes: int
) -> Iterator[dict[str, Any]]:
    """Make what the coordinates add to the data, block after block of data sets.

    Yields
    ------
    dict
        Key of the stage -> pytree of arrays with a leading axis of data sets.
    """
    count = len(arrays[0])
    keys = tuple(stage.key for stage in coordinates.stages)

    def prepare(arrays: Arrays) -> dict[str, Any]:
        found = coordinates.prepare(arguments.rebuild(arrays))
        return {name: found[name] for name in keys}

    def build() -> Any:
        return jax.jit(jax.vmap(prepare))

    precision = jnp.result_type(float).name
    run = _PROGRAMS.get(("prepare", coordinates, arguments, precision), build)
    for first in range(0, count, lanes):
        places = np.minimum(np.arange(first, first + lanes), count - 1)
        found = jax.device_get(run(tuple(jnp.asarray(array[places]) for array in arrays)))
        used = min(lanes, count - first)
        yield jax.tree_util.tree_map(lambda leaf, used=used: leaf[:used], found)
