"""The one verb: choose a method and a parametrisation, run, and hand back a Posterior."""

import dataclasses
import difflib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hierjax import checks
from hierjax.automatic import Auto, Choice, after_poor_weights, first_choice
from hierjax.checkpoint import Checkpoint, data_digest, identity_of
from hierjax.draws import FitInfo, Status
from hierjax.errors import FitError, SettingsError
from hierjax.fit_init import check_init, described, positions_of
from hierjax.infer.laplace import Laplace
from hierjax.infer.program import Method
from hierjax.memory import enough_memory
from hierjax.methods import METHODS, Problem, as_method
from hierjax.model import Model
from hierjax.pieces import Pieces
from hierjax.posterior import Posterior
from hierjax.programs import (
    KEEP,
    ONE_DEVICE,
    compile_program,
    prepared_data,
    recorded,
    run_program,
)
from hierjax.progress import ProgressDisplay
from hierjax.row_sharding import Devices
from hierjax.threads import single_threaded_blas
from hierjax.transforms.coordinates import Effects
from hierjax.validation import validate
from hierjax.versions import installed_versions

DTYPES = ("float64", "float32")
FIT_OPTIONS = (
    "method", "seed", "effects", "keep", "progress", "dtype", "checkpoint", "shard_rows", "init"
)  # fmt: skip
FORMULA_OPTIONS = ("family", "priors", "trials", "weights", "offset", "known_sd", "censored")


def fit(
    model: Model | str,
    data: Any = None,
    *,
    method: str | Method = "auto",
    seed: int = 0,
    effects: Effects = "auto",
    keep: str = "all",
    progress: bool = True,
    dtype: str = "float64",
    checkpoint: str | Path | None = None,
    shard_rows: bool = False,
    init: Posterior | None = None,
    **formula_options: Any,
) -> Posterior:
    """Fit a hierarchical model and return its posterior.

    Parameters
    ----------
    model
        A `Model`, or a formula such as `"y ~ x + (1 + x | g)"`, which needs `data`.
    data
        Data frame of a formula. For a `Model`: other data for the same model, or None.
    method
        `"auto"`, `"nuts"`, `"laplace"`, `"svi"`, `"deterministic_advi"`, `"empirical_bayes"` or
        `"gibbs"`, or a settings object such as `NUTS(chains=2, draws=500)`. `"auto"` is importance
        sampling (`Laplace`) where group effects are integrated out and at most 15 parameters are
        left, Gibbs sampling of large crossed factors with a normal response, and NUTS for all other
        models and where importance sampling finds that it failed; the report says which and why.
    seed
        The same seed, model, data and settings give the same draws.
    effects
        How group effects are treated. `"auto"` integrates them out where the response is Gaussian
        given them, exactly, and draws them back; it recentres other group effects on what the data
        say of them, or, where they cannot be, samples them as standardised deviations from their
        level's mean. `"integrate"`, `"recentre"`, `"noncentred"` and `"centred"` (as the model
        writes them) force one treatment; a mapping of site to word forces single sites.
        Whatever is chosen, the posterior is that of the model as written, with all its sites.
    keep
        "all" keeps the draws of all sites; "hyper" those of sites outside plates only. Draws of
        group effects are then not made, which saves time and memory where groups are many; plots
        and predictions that need them are not to be had.
    progress
        Show a progress bar on standard error.
    dtype
        `"float64"` (default) or `"float32"`, in JAX's scoped setting: no global flag changes.
    checkpoint
        Folder for finished pieces of the run. A fit that was interrupted, at any moment, and is
        started again with the same arguments goes on from there, and gives the draws that it would
        have given.
    shard_rows
        Divide the rows of the data among all devices of this process, for a data set that is too
        large for one of them.
    init
        Posterior of the same model, by any method, to start from: NUTS takes its first positions
        and its mass matrix from there (so that `NUTS(warmup=200)` is enough), other methods their
        start and first scales. Group effects may be missing in it. What is found does not depend on
        it.
    **formula_options
        `family`, `priors`, `trials`, `weights`, `offset`, `known_sd`, `censored` of
        `hierjax.formula`.

    Returns
    -------
    Posterior
        Every site under its original name, with sampler statistics.

    Raises
    ------
    DataError, ModelError, FormulaError, SettingsError
        Before anything is compiled: what is wrong, where, and what to do.
    FitError
        No chain found a start with a finite log density, or memory ran out.
    FileError
        The checkpoint belongs to another fit, is damaged or cannot be written; finished pieces stay
        as they are.
    """
    model = _as_model(model, data, formula_options)
    chosen = as_method(method)
    checks.one_of("keep", keep, KEEP)
    checks.one_of("dtype", dtype, DTYPES)
    checks.positive_int("seed", seed, minimum=0)
    with jax.enable_x64(dtype == "float64"), enough_memory():
        validate(model)
        with ProgressDisplay(progress) as display, single_threaded_blas():
            problem = Problem(model.fn, model.data, effects)
            task = _Task(model, problem, seed, dtype, display, time.perf_counter(), keep=keep)
            if shard_rows:
                task = dataclasses.replace(task, devices=Devices.for_rows_of(model))
            if init is not None:
                check_init(init, model)
                task = dataclasses.replace(task, init=init)
            if checkpoint is not None:
                task = dataclasses.replace(task, checkpoint=task.opened(checkpoint, chosen))
            if not isinstance(chosen, Auto):
                return task.fit(Choice(chosen, ""))
            return _fit_automatically(task)


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is to be fitted, whatever the method."""

    model: Model
    problem: Problem
    seed: int
    dtype: str
    display: ProgressDisplay
    started: float
    checkpoint: Checkpoint | None = None
    devices: Devices = ONE_DEVICE
    init: Posterior | None = None
    keep: str = "all"

    def opened(self, path: str | Path, method: Method) -> Checkpoint:
        """Open the checkpoint of this fit."""
        settings = {"method": method, "effects": self.problem.effects, "seed": self.seed}
        settings["shard_rows"] = self.devices.rows is not None
        data = {"data or priors": data_digest([self.model.data])}
        if self.init is not None:
            data["init"] = data_digest([self.init.draws])
        identity = identity_of(self.model, {**settings, "dtype": self.dtype}, data)
        return Checkpoint.open(path, "fit", identity)

    def fit(self, choice: Choice, before: Mapping[str, float] | None = None) -> Posterior:
        """Run one method; `before` are the seconds of what was tried first."""
        before = before or {}
        key, method = jax.random.key(self.seed), choice.method
        coordinates = self.problem.coordinates_for(method)
        devices, display = self.devices, self.display
        data = prepared_data(coordinates, self.model.data, devices)
        given: tuple[Any, ...] = (key,)
        if self.init is not None:
            given = (key, positions_of(self.init, self.model, coordinates, data))
        compiled = compile_program(
            coordinates, method, self.model, data, given, display, devices, keep=self.keep
        )
        ready = time.perf_counter()
        pieces = Pieces(self.checkpoint, method.name) if self.checkpoint else None
        draws = jax.device_get(run_program(compiled, given, data, display, pieces, devices))
        seconds = {"compile": ready - self.started - sum(before.values())}
        seconds["run"] = time.perf_counter() - ready
        info = FitInfo(
            method=method.name,
            settings=dataclasses.asdict(method),  # type: ignore[arg-type]
            seed=self.seed,
            dtype=self.dtype,
            effects=dict(coordinates.choices),
            seconds={**before, **seconds},
            status=tuple(int(code) for code in draws.status),
            versions=installed_versions(),
            trace={name: recorded(values) for name, values in draws.trace.items()},
            estimates={name: np.asarray(values) for name, values in draws.estimates.items()},
            reason=choice.reason,
            init="" if self.init is None else described(self.init),
        )
        return Posterior(self.model, draws.sites, draws.stats, info)


def _fit_automatically(task: _Task) -> Posterior:
    """Run the method chosen for the model, and NUTS where that fails."""
    problem = task.problem
    in_turn = problem.effects == "auto"
    choice = first_choice(problem.coordinates, problem.fn, problem.data, in_turn=in_turn)
    if not isinstance(choice.method, Laplace):
        return task.fit(choice)
    k_hat = math.nan
    try:
        posterior = task.fit(choice)
        if set(posterior.info.status) == {Status.OK}:
            return posterior
        k_hat = posterior.info.trace["k_hat"][-1]
    except FitError:  # its search found no mode; that of NUTS is another
        pass
    spent = {"importance sampling": time.perf_counter() - task.started}
    return task.fit(after_poor_weights(k_hat), spent)


def _as_model(model: Model | str, data: Any, formula_options: Mapping[str, Any]) -> Model:
    _check_options(formula_options)
    if isinstance(model, str):
        from hierjax.formula import formula

        if data is None:
            raise SettingsError(
                "a formula needs data: hierjax.fit(formula, frame), where frame is a data frame "
                "or a mapping of columns."
            )
        return formula(model, data, **formula_options)
    if not isinstance(model, Model):
        raise SettingsError(
            f"the first argument must be a formula or a hierjax.Model; got {type(model).__name__}. "
            "Wrap a NumPyro function as hierjax.Model(function, data)."
        )
    if formula_options:
        raise SettingsError(
            f"{sorted(formula_options)} belong to a formula; this model was made already. Give "
            "them to hierjax.formula(...)."
        )
    return model if data is None else model.with_data(data)


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in FORMULA_OPTIONS:
            continue
        settings = [kind for kind in METHODS.values() if name in kind.__dataclass_fields__]
        if settings:
            kind = settings[0].__name__
            remedy = f"It is a setting of a method: method=hierjax.{kind}({name}=...)."
        else:
            known = (*FIT_OPTIONS, *FORMULA_OPTIONS)
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean `{close[0]}`? " if close else ""
            remedy += f"Options are {', '.join(known)}."
        raise SettingsError(f"`fit` has no option `{name}`. {remedy}")
