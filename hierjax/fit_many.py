"""The same verb for thousands of data sets: few programs, each compiled once, for all of them."""

import concurrent.futures
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hierjax import checks
from hierjax.batch.bucket import Bucket, make_buckets
from hierjax.batch.check import check_all, support_error, unsupported
from hierjax.batch.checkpoint import batch_identity
from hierjax.batch.read import Read, read_datasets
from hierjax.batch.result import Batch, Fitted
from hierjax.batch.run import Settings, run_bucket
from hierjax.checkpoint import Checkpoint
from hierjax.errors import HierjaxError, SettingsError
from hierjax.fit import DTYPES
from hierjax.infer.empirical_bayes import EmpiricalBayes
from hierjax.infer.program import Method
from hierjax.methods import as_method
from hierjax.model import Model
from hierjax.programs import KEEP
from hierjax.progress import ProgressDisplay
from hierjax.threads import single_threaded_blas
from hierjax.transforms.coordinates import Effects

BUDGET = 2**30  # bytes on the device

Results = dict[int, Fitted | str]


def fit_many(
    model: Model,
    datasets: Any,
    *,
    method: str | Method = "auto",
    seed: int = 0,
    effects: Effects = "auto",
    keep: str = "all",
    progress: bool = True,
    dtype: str = "float64",
    chunk: int | None = None,
    budget: int = BUDGET,
    retries: int = 1,
    checkpoint: str | Path | None = None,
    executor: concurrent.futures.Executor | None = None,
) -> Batch:
    """Fit one model to many data sets, each on its own, by few compiled programs.

    Data sets of unequal sizes are padded to few sizes and their padding is masked, where that is
    proved to leave the posterior as it is; see `Batch.report`. Data set i is fitted with the key
    `fold_in(key(seed), i)`: its draws do not depend on its neighbours or on how the work is cut up.

    Parameters
    ----------
    model
        A `Model`, with data of its own, which give structure, design and priors.
    datasets
        A list with one entry for each data set: for a model of a formula data frames with the same
        columns, each with groups of its own; else mappings with the arguments of the function. Or
        one mapping of arrays stacked along a first axis; arguments without that axis are shared,
        and those left out are the model's own.
    method, seed, effects, dtype
        As for `hierjax.fit`; where "auto" is importance sampling, NUTS is the first retry of the
        data sets on which that failed.
    keep
        "all" keeps the draws of all sites; "hyper" those of sites outside plates, and of the others
        mean, sd and quantiles, computed in the program.
    progress
        Show a progress bar on standard error.
    chunk
        Data sets in one piece of work, rounded up to whole programs; None is one program's. Draws
        do not depend on it.
    budget
        Most bytes that one program may take on the device; models that need more for a data set are
        fitted one data set at a time. Where memory runs out nevertheless, a warning says so and
        half as many data sets are taken at a time, whose draws differ by rounding errors.
    retries
        Runs with more careful settings (longer warm-up, smaller steps) for data sets whose first
        went wrong: a chain that did not finish, R-hat above 1.05, more than 1% divergences.
    checkpoint
        Folder for finished chunks. A batch that was interrupted and is started again with the same
        arguments takes them from there and gives the draws that it would have given.
    executor
        Whose workers fit the chunks: any `concurrent.futures.Executor`, such as that of a Dask
        client (`client.get_executor()`) or `mpi4py.futures`. Draws are those of a batch without it.
        A chunk that is lost with its worker is fitted in this process.

    Returns
    -------
    Batch
        One result for each data set. A data set that cannot be fitted (missing values, one group)
        is reported with the reason, and the others are fitted.

    Raises
    ------
    SettingsError
        An option is out of range, or `datasets` are no data sets.
    FileError
        The folder of the checkpoint belongs to another batch, is damaged or cannot be written;
        finished chunks stay as they are.
    """
    settings = _settings(model, method, effects, keep, seed, chunk, budget, retries, executor)
    checks.one_of("dtype", dtype, DTYPES)
    with jax.enable_x64(dtype == "float64"), ProgressDisplay(progress) as display:
        with single_threaded_blas():
            read = read_datasets(model, datasets)
            if checkpoint is not None:
                chosen = {"method": settings.method, "effects": effects, "keep": keep, "seed": seed}
                identity = batch_identity(
                    model, read, {**chosen, "dtype": dtype, "retries": retries}
                )
                opened = Checkpoint.open(checkpoint, "batch", identity)
                settings = dataclasses.replace(settings, checkpoint=opened)
            results = _fit(read, settings, display)
    return Batch(
        name=model.name,
        results=tuple(results[place] for place in range(len(results))),
        method=settings.method.name,
        seed=seed,
        dtype=dtype,
    )


def _settings(
    model: Model,
    method: str | Method,
    effects: Effects,
    keep: str,
    seed: int,
    chunk: int | None,
    budget: int,
    retries: int,
    executor: concurrent.futures.Executor | None,
) -> Settings:
    if not isinstance(model, Model):
        raise SettingsError(
            f"`model` must be a hierjax.Model; got {type(model).__name__}. Build one from a "
            "formula and one data frame: hierjax.formula(text, frame)."
        )
    checks.one_of("keep", keep, KEEP)
    checks.positive_int("seed", seed, minimum=0)
    checks.positive_int("budget", budget)
    checks.positive_int("retries", retries, minimum=0)
    if chunk is not None:
        checks.positive_int("chunk", chunk)
    if executor is not None and not hasattr(executor, "submit"):
        raise SettingsError(
            f"`executor` must have a method `submit`, as concurrent.futures.Executor; got "
            f"{type(executor).__name__}. Of a Dask client give client.get_executor()."
        )
    chosen = as_method(method)
    if isinstance(chosen, EmpiricalBayes):
        raise SettingsError(
            'method "empirical_bayes" has no batches yet: a batch keeps draws, and no estimates. '
            "For data sets of one shape use jax.vmap(hierjax.maximise(model)) over stacked data; "
            "for others hierjax.fit in a loop, which compiles once for each shape."
        )
    return Settings(chosen, effects, keep, seed, chunk, budget, retries, executor=executor)


def _fit(read: list[Read], settings: Settings, display: ProgressDisplay) -> Results:
    results: Results = {n: str(each) for n, each in enumerate(read) if not isinstance(each, Model)}
    models = {n: each for n, each in enumerate(read) if isinstance(each, Model)}
    if models:
        display.compiling()
    for bucket in make_buckets(models):
        sound = _checked(bucket, results)
        report = _reporting(display, len(results), len(read))
        results |= run_bucket(sound, settings, report)
    return results


def _checked(bucket: Bucket, results: Results) -> Bucket:
    """Note the data sets that cannot be fitted, and return the bucket without them."""
    sizes = {place: bucket.plates(bucket.sizes[place]) for place in bucket.models}
    errors = check_all(bucket.models, sizes)
    sound = bucket.without(list(errors))
    if sound.models:
        places = list(sound.models)
        try:
            wrong = [places[n] for n in unsupported(bucket.fn, *sound.stacked(places))]
        except HierjaxError as error:
            errors |= dict.fromkeys(places, error)
            wrong = []
        found = {place: support_error(bucket.models[place]) for place in wrong}
        errors |= {place: error for place, error in found.items() if error is not None}
    results |= {place: str(error) for place, error in errors.items()}
    return bucket.without(list(errors))


def _reporting(display: ProgressDisplay, before: int, total: int) -> Callable[[float], None]:
    """Show how many data sets are finished, counting those of earlier buckets."""

    def report(finished: float) -> None:
        done = before + finished
        words = {"phase": "fitting", "data sets": int(np.floor(done + 1e-9))}
        display.advance(done, total, words)

    return report
