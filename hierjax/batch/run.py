"""One bucket from data to judged draws: coordinates, chunks, verdicts, and another try."""

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments
from hierjax.automatic import Auto, Choice, first_choice, next_choice
from hierjax.batch.bucket import Bucket
from hierjax.batch.checkpoint import chunk_name, load_chunk, save_chunk
from hierjax.batch.chunks import Chunk, Spec, choose_lanes, prepare_all
from hierjax.batch.devices import device_count, from_all_processes
from hierjax.batch.jobs import Job, work_off
from hierjax.batch.judge import Verdict, judge
from hierjax.batch.result import Fitted
from hierjax.batch.sites import BucketSites
from hierjax.checkpoint import Checkpoint
from hierjax.errors import FileError, HierjaxError, SettingsError
from hierjax.infer.program import Method
from hierjax.methods import Problem
from hierjax.programs import recorded
from hierjax.ragged import Sizes
from hierjax.transforms.coordinates import Coordinates, Effects

PREPARED_TOGETHER = 32
OWN_STRUCTURE = "its rows and groups are structured otherwise than those of the data sets before it"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `fit_many` was asked for, as every bucket needs it."""

    method: Method
    effects: Effects
    keep: str
    seed: int
    chunk: int | None
    budget: int
    retries: int
    checkpoint: Checkpoint | None = None
    executor: concurrent.futures.Executor | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Lot:
    """Data sets of a bucket that share their coordinates, with their prepared data stacked."""

    places: tuple[int, ...]
    spec: Spec
    arrays: tuple[np.ndarray, ...]
    sites: BucketSites
    note: str
    reason: str = ""


Report = Callable[[float], None]


def run_bucket(bucket: Bucket, settings: Settings, report: Report) -> dict[int, Fitted | str]:
    """Fit the data sets of a bucket.

    Parameters
    ----------
    bucket, settings
        What to fit, and how.
    report
        Called with the number of data sets of this bucket that are finished, in parts.

    Returns
    -------
    dict
        Place of each data set -> its draws, or why it could not be fitted.

    Raises
    ------
    FileError
        A file of the checkpoint is damaged, or cannot be written.
    SettingsError
        The settings are wrong for every data set.
    """
    results: dict[int, Fitted | str] = {}
    pending, note = list(bucket.models), bucket.note
    while pending:
        done = len(results)
        places = pending[:1]
        try:
            lot = _next_lot(bucket, pending, settings, note)
            places = list(lot.places)
            results |= _run_lot(bucket, lot, settings, lambda n, done=done: report(done + n))
        except (FileError, SettingsError):
            raise
        except HierjaxError as error:
            results |= dict.fromkeys(places, str(error))
        pending = [place for place in pending if place not in results]
        note = bucket.note or OWN_STRUCTURE
    return results


def _next_lot(bucket: Bucket, pending: Sequence[int], settings: Settings, note: str) -> Lot:
    """Choose coordinates for the first of the data sets, and find all for which they hold.

    The prepared data of those for which they do not are NaN; they come later, with their own.
    """
    arguments, arrays = bucket.stacked(pending)
    first = bucket.data(pending[0])
    coordinates = Problem(bucket.fn, first, settings.effects).coordinates_for(settings.method)
    found = {**arguments.rebuild(arrays), **_prepared(coordinates, arguments, arrays)}
    valid = _is_valid(coordinates, found, len(pending))
    valid[0] = True  # if its own coordinates do not hold, none do; the chains will say so
    arguments = Arguments.of(found)
    leaves = tuple(np.asarray(leaf)[valid] for leaf in arguments.arrays(found))
    places = tuple(place for place, good in zip(pending, valid, strict=True) if good)
    model = dataclasses.replace(bucket.models[pending[0]], fn=bucket.fn, data=first)
    sites = BucketSites.of(model, bucket.padding, settings.keep)
    choice = Choice(settings.method, "")
    if isinstance(settings.method, Auto):
        choice = first_choice(coordinates, bucket.fn, first)
    spec = Spec(coordinates, choice.method, arguments, sites.kept, sites.summarised)
    return Lot(places, spec, leaves, sites, note, choice.reason)


def _prepared(
    coordinates: Coordinates, arguments: Arguments, arrays: tuple[np.ndarray, ...]
) -> dict[str, Any]:
    if not coordinates.stages:
        return {}
    blocks = prepare_all(coordinates, arguments, arrays, PREPARED_TOGETHER)
    return jax.tree_util.tree_map(lambda *parts: np.concatenate(parts), *blocks)


def _is_valid(coordinates: Coordinates, data: dict[str, Any], count: int) -> np.ndarray:
    """Whether the prepared data of each data set are numbers, and no check of theirs is False."""
    valid = np.ones(count, dtype=bool)
    for leaf in jax.tree_util.tree_leaves([data[stage.key] for stage in coordinates.stages]):
        each = np.reshape(leaf, (count, -1))
        if each.dtype.kind == "f":
            valid &= ~np.isnan(each).any(axis=1)
        elif each.dtype.kind == "b":
            valid &= each.all(axis=1)
    return valid


def _run_lot(bucket: Bucket, lot: Lot, settings: Settings, report: Report) -> dict[int, Fitted]:
    """Fit a lot, then again what went wrong."""
    found = _run_places(bucket, lot, settings, range(len(lot.places)), 0, report)
    for attempt in range(1, settings.retries + 1):
        choice = next_choice(settings.method, lot.spec.method)
        again = [n for n, place in enumerate(lot.places) if found[place].verdict.retry]
        if choice is None or not again:
            break
        spec = dataclasses.replace(lot.spec, method=choice.method)
        lot = dataclasses.replace(lot, spec=spec, reason=choice.reason or lot.reason)
        for place, new in _run_places(bucket, lot, settings, again, attempt).items():
            old = found[place]
            better = new if new.verdict.badness < old.verdict.badness else old
            found[place] = dataclasses.replace(better, retries=attempt)
    return found


def _run_places(
    bucket: Bucket,
    lot: Lot,
    settings: Settings,
    chosen: Sequence[int],
    attempt: int,
    report: Report = lambda _: None,
) -> dict[int, Fitted]:
    """Fit some data sets of a lot, chunk by chunk."""
    arrays = tuple(array[list(chosen)] for array in lot.arrays)
    places = [lot.places[n] for n in chosen]
    lanes = choose_lanes(lot.spec, arrays, settings.budget)
    width = lanes * device_count()
    size = width * max(1, -(-(settings.chunk or width) // width))
    keys = keys_of(settings.seed, places, attempt)
    double = jnp.result_type(float) == np.float64
    parts = [slice(first, first + size) for first in range(0, len(places), size)]
    names = [chunk_name(places[part], attempt, lanes) for part in parts]
    ready: dict[int, Chunk] = {}
    jobs: dict[int, Job] = {}
    for number, part in enumerate(parts):
        saved = load_chunk(settings.checkpoint, names[number]) if settings.checkpoint else None
        if saved is None:
            some = tuple(array[part] for array in arrays)
            jobs[number] = Job(lot.spec, some, keys[part], lanes, double)
        else:
            ready[number] = saved
    before, started = sum(len(places[parts[number]]) for number in ready), time.perf_counter()
    for number, chunk in work_off(jobs, settings.executor, lambda n: report(before + n)):
        ready[number] = chunk
        if settings.checkpoint:
            save_chunk(settings.checkpoint, names[number], chunk)
    seconds = (time.perf_counter() - started) / max(1, sum(job.size for job in jobs.values()))
    found = {}
    for number, chunk in sorted(from_all_processes(ready).items()):
        each = seconds if number in jobs else 0.0
        found |= _fitted(bucket, lot, places[parts[number]], chunk, each)
    return found


def keys_of(seed: int, places: Sequence[int], attempt: int = 0) -> np.ndarray:
    """Key data of each data set: a function of the seed and its own place, and of the attempt."""

    def one(place: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), place)
        return jax.random.key_data(jax.random.fold_in(key, attempt) if attempt else key)

    return np.asarray(jax.vmap(one)(np.asarray(places)))


def _fitted(
    bucket: Bucket, lot: Lot, places: Sequence[int], chunk: Chunk, seconds: float
) -> dict[int, Fitted]:
    """Cut the draws of a chunk to the true sizes of its data sets, and judge them."""
    sizes = [bucket.sizes[place] for place in places]
    verdicts = judge(chunk, lot.sites.judged(chunk.sites, sizes))
    return {
        place: _one(bucket, lot, chunk, position, place, verdicts[position], seconds)
        for position, place in enumerate(places)
    }


def _one(
    bucket: Bucket,
    lot: Lot,
    chunk: Chunk,
    position: int,
    place: int,
    verdict: Verdict,
    seconds: float,
) -> Fitted:
    true = bucket.sizes[place]

    def cut(name: str, values: np.ndarray, leading: int) -> np.ndarray:
        return _cut(lot.sites, name, true, values[position], leading)

    return Fitted(
        model=bucket.models[place],
        draws={name: cut(name, values, 2) for name, values in chunk.sites.items()},
        stats={name: values[position] for name, values in chunk.stats.items()},
        summaries={name: cut(name, values, 1) for name, values in chunk.summaries.items()},
        status=tuple(int(code) for code in chunk.status[position]),
        trace={name: recorded(values[position]) for name, values in chunk.trace.items()},
        verdict=verdict,
        settings=lot.spec.method,
        reason=lot.reason,
        effects=dict(lot.spec.coordinates.choices),
        retries=0,
        sizes=bucket.plates(true),
        padded=bucket.plates(bucket.padded),
        note=lot.note,
        seconds=seconds,
    )


def _cut(
    sites: BucketSites, name: str, true: Sizes, values: np.ndarray, leading: int
) -> np.ndarray:
    """Cut the padding off behind the leading axes."""
    ends = (slice(None),) * leading + tuple(slice(size) for size in sites.shape(name, true))
    return values[ends]
