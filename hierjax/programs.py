"""A method's program on one data set: compiled once for its shapes, driven from the host."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments, signature
from hierjax.cache import ProgramCache
from hierjax.compiler import Compiling, Use, compile_for, start_compiling, use_of
from hierjax.density import map_in_batches
from hierjax.draws import STATUS_MESSAGE, Draws, Status
from hierjax.errors import FitError, SettingsError
from hierjax.infer.program import Method, Program
from hierjax.low_discrepancy import Evenly
from hierjax.model import Model
from hierjax.names import blocks_of
from hierjax.pieces import Pieces
from hierjax.progress import ProgressDisplay
from hierjax.row_sharding import Devices
from hierjax.trace import abstract_trace
from hierjax.transforms.coordinates import Coordinates

PROGRAMS = ProgramCache(size=16)
ONE_DEVICE = Devices()
KEEP = ("all", "hyper")
RECOVERY = 1 << 20  # keeps the keys of recovery apart from those of chains


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program with its functions compiled for one set of shapes.

    Attributes
    ----------
    program
        What was compiled.
    start, advance, finish, report
        Its functions; `finish` takes the key too and brings effects back.
    state
        Shapes of the state.
    record
        Shapes of the record of one chunk.
    """

    program: Program
    start: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Any]
    report: Callable[[Any], dict[str, Any]]
    state: Any
    record: Any


def prepared_data(
    coordinates: Coordinates, data: Mapping[str, Any], devices: Devices = ONE_DEVICE
) -> dict[str, Any]:
    """Let a compiled program add to the data what the coordinates make of them."""
    if not coordinates.stages:
        return dict(data)
    arguments = Arguments.of(data)
    leaves = arguments.arrays(data)
    shapes, arrays = [np.shape(leaf) for leaf in leaves], devices.place(leaves)
    keys = tuple(stage.key for stage in coordinates.stages)

    def build() -> Callable[..., Any]:
        def prepare(arrays: Any) -> dict[str, Any]:
            found = coordinates.prepare(arguments.rebuild(devices.cut(arrays, shapes)))
            return {name: found[name] for name in keys}

        return compile_for(prepare, arrays, sharding=devices.everywhere, use=use_of(arrays))[0]

    precision = jnp.result_type(float).name
    identity = ("prepare", coordinates, arguments, signature(arrays), precision, devices)
    return {**data, **PROGRAMS.get(identity, build)(arrays)}


def compile_program(
    coordinates: Coordinates,
    method: Method,
    model: Model,
    data: Mapping[str, Any],
    given: tuple[Any, ...],
    display: ProgressDisplay,
    devices: Devices = ONE_DEVICE,
    *,
    keep: str = "all",
) -> Compiled:
    """Compile the program of a method, or find it compiled for the same shapes.

    The start is tried with what is `given` to it, a key and perhaps positions near which to start,
    while the rest is being compiled: a model that cannot start says so within seconds. What is not
    to `keep` is no output of the program, which then need not compute it.

    Raises
    ------
    FitError
        No chain found a start with a finite log density.
    SettingsError
        The method cannot start near positions.
    """
    arguments = Arguments.of(data)
    leaves = arguments.arrays(data)
    shapes, arrays = [np.shape(leaf) for leaf in leaves], devices.place(leaves)
    precision = jnp.result_type(float).name

    def compiling(function: Callable[..., Any], *arguments: Any, use: Use) -> Compiling:
        def on_true_rows(*arguments: Any) -> Any:
            return function(*arguments[:-1], devices.cut(arguments[-1], shapes))

        given = (*arguments, arrays)
        return start_compiling(on_true_rows, *given, sharding=devices.everywhere, use=use)

    def build() -> Compiled:
        display.compiling()
        program = method.program(coordinates.fn, data)
        kept = site_names(model) if keep == "all" else outside_plates(model)
        start = compiling(_start_of(program, method, given), *given, use=use_of(arrays))
        state = devices.shapes(start.shapes)
        report = start_compiling(program.report, state, sharding=devices.everywhere, use=Use.BRIEF)
        advance = compiling(program.advance, state, use=program.use)
        record = devices.shapes(advance.shapes[1])
        _raise_if_failed(report.future.result()(start.future.result()(*given, arrays)))
        records = jax.tree_util.tree_map(
            lambda leaf: jax.ShapeDtypeStruct((_kept(program), *leaf.shape), leaf.dtype), record
        )

        def finish(key: Any, state: Any, records: Any, arrays: Any) -> Draws:
            draws = program.finish(state, records, arrays)
            return named(recovered(coordinates, draws, key, arguments.rebuild(arrays)), kept)

        last = compiling(finish, given[0], state, devices.shapes(records), use=program.use)
        started, advanced, finished, reported = (
            each.future.result() for each in (start, advance, last, report)
        )
        return Compiled(program, started, advanced, finished, reported, state, record)

    backend = jax.default_backend()
    near = tuple(map(np.shape, given[1:]))
    identity = (coordinates, method, arguments, signature(arrays), precision, backend, devices)
    return PROGRAMS.get((*identity, near, keep), build)


def _start_of(program: Program, method: Method, given: tuple[Any, ...]) -> Callable[..., Any]:
    """Return the function that starts from a key, or from a key and positions."""
    if len(given) == 1:
        return program.start
    if program.start_near is None:
        raise SettingsError(
            f"method {method.name!r} cannot start from a posterior: leave `init` out."
        )
    return program.start_near


def run_program(
    compiled: Compiled,
    given: tuple[Any, ...],
    data: Mapping[str, Any],
    display: ProgressDisplay,
    pieces: Pieces | None = None,
    devices: Devices = ONE_DEVICE,
) -> Draws:
    """Drive a compiled program chunk by chunk from the host.

    Parameters
    ----------
    compiled, given, data
        What to run, and from where: a key, and perhaps positions near which to start.
    display
        Shows how far it is.
    pieces
        Where finished chunks are found and kept.
    devices
        Where the data are.

    Raises
    ------
    FitError
        No chain found a start with a finite log density.
    FileError
        A finished chunk is damaged, or cannot be written.
    """
    program = compiled.program
    arrays = devices.place(Arguments.of(data).arrays(data))
    state = compiled.start(*given, arrays)
    _raise_if_failed(compiled.report(state))
    records = []
    for chunk in range(program.num_chunks):
        kept = chunk >= program.num_discarded
        shapes = compiled.state, compiled.record if kept else None
        found = pieces.load(chunk, shapes) if pieces else None
        if found is None:
            state, record = compiled.advance(state, arrays)
            found = state, jax.device_get(record) if kept else None
            if pieces:
                pieces.save(chunk, found)
        state, record = found
        if kept:
            records.append(record)
        report = {name: np.asarray(value) for name, value in compiled.report(state).items()}
        done = bool(report.get("done", False))
        finished = program.num_chunks if done else chunk + 1
        display.advance(finished, program.num_chunks, {"phase": program.phase, **report})
        _raise_if_failed(report)
        if done:
            break
    stacked = jax.tree_util.tree_map(
        lambda leaf, *parts: np.reshape(parts, (_kept(program), *leaf.shape)).astype(leaf.dtype),
        compiled.record,
        *records,
    )
    return compiled.finish(given[0], state, stacked, arrays)


def recovered(
    coordinates: Coordinates, draws: Draws, key: jax.Array, data: Mapping[str, Any]
) -> Draws:
    """Bring the sites that the coordinates removed back into every draw; pure."""
    if not coordinates.stages or coordinates.complete:
        return dataclasses.replace(draws, places=None)
    shape = next(iter(draws.stats.values())).shape[:2]
    count = shape[0] * shape[1]
    flat = {name: value.reshape(count, *value.shape[2:]) for name, value in draws.sites.items()}
    shared = jax.random.fold_in(key, RECOVERY)
    keys = jax.random.split(shared, count)
    places = None if draws.places is None else draws.places.reshape(count)

    def one(each: tuple[jax.Array, jax.Array | None, dict[str, jax.Array]]) -> dict[str, jax.Array]:
        own, place, sites = each
        randomness = own if place is None else Evenly(own, shared, place)
        return coordinates.recover(randomness, sites, data)

    sites = map_in_batches(one, (keys, places, flat))
    shaped = {name: value.reshape(*shape, *value.shape[1:]) for name, value in sites.items()}
    return dataclasses.replace(draws, sites=shaped, places=None)


def site_names(model: Model) -> frozenset[str]:
    """Sites whose draws a user sees: those of the model as it was written."""
    sites = abstract_trace(model.fn, model.data).sites.values()
    return frozenset(site.name for site in sites if site.kind in ("latent", "deterministic"))


def outside_plates(model: Model) -> frozenset[str]:
    """Sites that are no effects of groups: those that have a value for the whole population.

    Raises
    ------
    SettingsError
        There are none.
    """
    blocks = blocks_of(model)
    sites = abstract_trace(model.fn, model.data).sites.values()
    found = {site.name for site in sites if site.kind in ("latent", "deterministic")}
    found -= {site.name for site in sites if any(site.axes)}
    kept = frozenset(name for name in found if blocks[name] != "effect")
    if not kept:
        raise SettingsError(
            'keep="hyper" leaves nothing: every site is in a plate. Leave keep="all".'
        )
    return kept


def named(draws: Draws, keep: frozenset[str]) -> Draws:
    """Return the draws of the sites `keep` alone."""
    sites, estimates = (
        {name: value for name, value in values.items() if name in keep}
        for values in (draws.sites, draws.estimates)
    )
    return dataclasses.replace(draws, sites=sites, estimates=estimates)


def recorded(values: np.ndarray) -> tuple[float, ...]:
    """Return values of a record as plain numbers, without places that were never reached."""
    flat = np.ravel(values)
    return tuple(float(value) for value in flat[np.isfinite(flat)])


def _kept(program: Program) -> int:
    return program.num_chunks - program.num_discarded


def _raise_if_failed(report: Mapping[str, Any]) -> None:
    if bool(report.get("failed", False)):
        raise FitError(STATUS_MESSAGE[Status.NO_FINITE_START].capitalize() + ".")
