"""Chunks of a batch as jobs: worked off here, by an executor's workers, or by several processes."""

import concurrent.futures
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from hierjax.batch.chunks import Chunk, Spec, run_chunk
from hierjax.batch.devices import is_mine
from hierjax.batch.memory import with_fewer_lanes
from hierjax.errors import HierjaxError
from hierjax.threads import single_threaded_blas

Report = Callable[[float], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """All that one chunk needs, wherever it is run; it can be pickled.

    Attributes
    ----------
    spec, arrays, keys, lanes
        As for `run_chunk`.
    double
        Whether in double precision, which a worker would not know otherwise.
    """

    spec: Spec
    arrays: tuple[np.ndarray, ...]
    keys: np.ndarray
    lanes: int
    double: bool

    @property
    def size(self) -> int:
        """Number of data sets."""
        return len(self.keys)

    def run(self, report: Report = lambda _: None) -> Chunk:
        """Fit the data sets of the chunk."""
        return self.run_within_memory(report)[0]

    def run_within_memory(self, report: Report = lambda _: None) -> tuple[Chunk, int]:
        """Fit the data sets, and return also how many at a time there was memory for."""

        def run(lanes: int) -> Chunk:
            return run_chunk(self.spec, self.arrays, self.keys, lanes=lanes, report=report)

        with jax.enable_x64(self.double), single_threaded_blas():
            return with_fewer_lanes(run, self.lanes)


def work_off(
    jobs: Mapping[int, Job], executor: concurrent.futures.Executor | None, report: Report
) -> Iterator[tuple[int, Chunk]]:
    """Run jobs, and yield each with its number as it is finished.

    Parameters
    ----------
    jobs
        By number. Of several processes of `jax.distributed` each takes its share.
    executor
        Whose workers to use, or None. A job that is lost there (a worker died, the pool broke) is
        run in this process, with a warning: the draws are the same wherever it is run.
    report
        Called with the number of data sets that are finished, in parts.
    """
    if executor is None:
        return _here({number: job for number, job in jobs.items() if is_mine(number)}, report)
    return _by_workers(jobs, executor, report)


def _here(jobs: Mapping[int, Job], report: Report) -> Iterator[tuple[int, Chunk]]:
    finished, lanes = 0, None
    for number, given in jobs.items():
        job = given if lanes is None else dataclasses.replace(given, lanes=min(given.lanes, lanes))
        chunk, lanes = job.run_within_memory(lambda n, done=finished: report(done + n))
        yield number, chunk
        finished += job.size


def _by_workers(
    jobs: Mapping[int, Job], executor: concurrent.futures.Executor, report: Report
) -> Iterator[tuple[int, Chunk]]:
    futures = {}
    finished, warned = 0, False
    try:
        for number, job in jobs.items():
            try:
                futures[executor.submit(Job.run, job)] = number
            except RuntimeError as error:  # the pool is broken, or shut down
                futures[_failed(error)] = number
        for future in concurrent.futures.as_completed(futures):
            number = futures[future]
            try:
                chunk = future.result()
            except HierjaxError:
                raise
            except (Exception, concurrent.futures.CancelledError) as error:
                if not warned:
                    _warn(error)
                warned, chunk = True, jobs[number].run()
            finished += jobs[number].size
            report(finished)
            yield number, chunk
    finally:
        for future in futures:
            future.cancel()


def _failed(error: Exception) -> concurrent.futures.Future[Chunk]:
    future: concurrent.futures.Future[Chunk] = concurrent.futures.Future()
    future.set_exception(error)
    return future


def _warn(error: BaseException) -> None:
    warnings.warn(
        f"a chunk was lost by the executor ({type(error).__name__}: {error}); it is fitted in this "
        "process, as will be any that follow it.",
        stacklevel=2,
    )
