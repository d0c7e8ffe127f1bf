"""The one verb: choose a method and a parametrisation, run, and hand back a Posterior."""

import dataclasses
import difflib
import functools
import importlib.metadata
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import checks
from hierjax.arguments import Arguments, signature
from hierjax.automatic import Auto, Choice, after_poor_weights, first_choice
from hierjax.cache import ProgramCache
from hierjax.compiler import compile_for
from hierjax.density import map_in_batches
from hierjax.draws import STATUS_MESSAGE, Draws, FitInfo, Status
from hierjax.errors import FitError, SettingsError
from hierjax.infer.empirical_bayes import EmpiricalBayes
from hierjax.infer.gibbs import Gibbs
from hierjax.infer.laplace import Laplace
from hierjax.infer.nuts import NUTS
from hierjax.infer.program import Method, Program
from hierjax.infer.svi import SVI
from hierjax.model import Model
from hierjax.posterior import Posterior
from hierjax.progress import ProgressDisplay
from hierjax.threads import single_threaded_blas
from hierjax.trace import abstract_trace
from hierjax.transforms.coordinates import Coordinates, Effects, choose_coordinates
from hierjax.transforms.few import few_parameters
from hierjax.transforms.gibbs import gibbs_coordinates
from hierjax.transforms.point import point_coordinates
from hierjax.validation import validate

METHODS: Mapping[str, type[Any]] = {
    "auto": Auto,
    "nuts": NUTS,
    "laplace": Laplace,
    "svi": SVI,
    "empirical_bayes": EmpiricalBayes,
    "gibbs": Gibbs,
}
DTYPES = ("float64", "float32")
FIT_OPTIONS = ("method", "seed", "effects", "progress", "dtype")
FORMULA_OPTIONS = ("family", "priors", "trials", "weights", "offset", "known_sd")
VERSIONED = ("hierjax", "jax", "numpyro", "blackjax", "optax")
PROGRAMS = ProgramCache(size=16)
RECOVERY = 1 << 20  # keeps the keys of recovery apart from those of chains


def fit(
    model: Model | str,
    data: Any = None,
    *,
    method: str | Method = "auto",
    seed: int = 0,
    effects: Effects = "auto",
    progress: bool = True,
    dtype: str = "float64",
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
        `"auto"`, `"nuts"`, `"laplace"`, `"svi"`, `"empirical_bayes"` or `"gibbs"`, or a settings
        object such as `NUTS(chains=2, draws=500)`. `"auto"` is importance sampling (`Laplace`)
        where group effects are integrated out and at most 15 parameters are left, and NUTS for all
        other models and where importance sampling finds that it failed; the report says which and
        why.
    seed
        The same seed, model, data and settings give the same draws.
    effects
        How group effects are treated. `"auto"` integrates them out where the response is Gaussian
        given them, exactly, and draws them back; it recentres other group effects on what the data
        say of them, or, where they cannot be, samples them as standardised deviations from their
        level's mean. `"integrate"`, `"recentre"`, `"noncentred"` and `"centred"` (as the model
        writes them) force one treatment; a mapping of site to word forces single sites.
        Whatever is chosen, the posterior is that of the model as written, with all its sites.
    progress
        Show a progress bar on standard error.
    dtype
        `"float64"` (default) or `"float32"`, in JAX's scoped setting: no global flag changes.
    **formula_options
        `family`, `priors`, `trials`, `weights`, `offset`, `known_sd` of `hierjax.formula`.

    Returns
    -------
    Posterior
        Every site under its original name, with sampler statistics.

    Raises
    ------
    DataError, ModelError, FormulaError, SettingsError
        Before anything is compiled: what is wrong, where, and what to do.
    FitError
        No chain found a start with a finite log density.
    """
    model = _as_model(model, data, formula_options)
    chosen = as_method(method)
    checks.one_of("dtype", dtype, DTYPES)
    checks.positive_int("seed", seed, minimum=0)
    with jax.enable_x64(dtype == "float64"):
        validate(model)
        with ProgressDisplay(progress) as display, single_threaded_blas():
            task = _Task(_Problem(model, effects), seed, dtype, display, time.perf_counter())
            if not isinstance(chosen, Auto):
                return task.fit(Choice(chosen, ""))
            return _fit_automatically(task)


@dataclasses.dataclass(frozen=True)
class _Problem:
    """A model, and what its effects are to be treated as."""

    model: Model
    effects: Effects

    @functools.cached_property
    def coordinates(self) -> Coordinates:
        """Coordinates of methods that sample, chosen once."""
        return choose_coordinates(self.model.fn, self.model.data, self.effects)

    def coordinates_for(self, method: Method) -> Coordinates:
        """Coordinates in which a method works."""
        if isinstance(method, EmpiricalBayes):
            return _point_coordinates(self.model, method, self.effects)
        if isinstance(method, Gibbs):
            model, settings = self.model, (method.updates, method.blocks)
            return gibbs_coordinates(model.fn, model.data, self.effects, *settings)
        if isinstance(method, Laplace):
            return few_parameters(self.coordinates, self.model.fn, self.model.data)
        return self.coordinates


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is to be fitted, whatever the method."""

    problem: _Problem
    seed: int
    dtype: str
    display: ProgressDisplay
    started: float

    def fit(self, choice: Choice, before: Mapping[str, float] | None = None) -> Posterior:
        """Run one method; `before` are the seconds of what was tried first."""
        before = before or {}
        key, method = jax.random.key(self.seed), choice.method
        model, coordinates = self.problem.model, self.problem.coordinates_for(method)
        data = _prepared(coordinates, model.data)
        compiled = _compile(coordinates, method, model, data, key, self.display)
        ready = time.perf_counter()
        draws = jax.device_get(_run(compiled, key, data, self.display))
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
            versions={name: importlib.metadata.version(name) for name in VERSIONED},
            trace={name: recorded(values) for name, values in draws.trace.items()},
            estimates={name: np.asarray(values) for name, values in draws.estimates.items()},
            reason=choice.reason,
        )
        return Posterior(model, draws.sites, draws.stats, info)


def _fit_automatically(task: _Task) -> Posterior:
    """Run the method chosen for the model, and NUTS where that fails."""
    coordinates = task.problem.coordinates_for(Laplace())
    choice = first_choice(coordinates, lambda: _prepared(coordinates, task.problem.model.data))
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


def sampler(
    model: Model, method: str | Method = "auto", *, effects: Effects = "auto"
) -> Callable[..., Draws]:
    """Return inference on a model as a pure function `run(key, data) -> Draws`.

    The function has no Python state, labels or callbacks: jit it, vmap it over keys and data, put
    it in a scan. `data` has the arguments of the model's own data; integers, strings and None in it
    are taken from the model, since they fix shapes. Data are not checked: call
    `hierjax.validation.validate` outside.

    Parameters
    ----------
    model, method, effects
        As for `fit`, but that "auto" is NUTS: here nobody looks at the outcome of a first method.

    Returns
    -------
    run
        `run(key, data=None)`; without data the model's own are used.
    """
    chosen = as_method(method)
    coordinates = _Problem(model, effects).coordinates_for(chosen)
    given = Arguments.of(model.data)
    keep = _site_names(model)

    def run(key: jax.Array, data: Mapping[str, Any] | None = None) -> Draws:
        arrays = given.arrays(model.data if data is None else data)
        prepared = coordinates.prepare(given.rebuild(tuple(map(jnp.asarray, arrays))))
        program = chosen.program(coordinates.fn, prepared)
        arguments = Arguments.of(prepared)
        values = arguments.arrays(prepared)

        def chunk(state: Any, _: None) -> tuple[Any, Any]:
            return program.advance(state, values)

        def dropped_chunk(state: Any, _: None) -> tuple[Any, None]:
            return program.advance(state, values)[0], None

        state = program.start(key, values)
        state, _ = jax.lax.scan(dropped_chunk, state, length=program.num_discarded)
        kept = program.num_chunks - program.num_discarded
        state, records = jax.lax.scan(chunk, state, length=kept)
        draws = program.finish(state, records, values)
        return named(recovered(coordinates, draws, key, prepared), keep)

    return run


@dataclasses.dataclass(frozen=True)
class _Compiled:
    """A program with its three functions compiled for one set of shapes.

    `records` are the shapes of the kept records, stacked.
    """

    program: Program
    start: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Any]
    records: Any


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
        kinds = (NUTS, Laplace, SVI, EmpiricalBayes, Gibbs)
        settings = [kind for kind in kinds if name in kind.__dataclass_fields__]
        if settings:
            kind = settings[0].__name__
            remedy = f"It is a setting of a method: method=hierjax.{kind}({name}=...)."
        else:
            known = (*FIT_OPTIONS, *FORMULA_OPTIONS)
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean `{close[0]}`? " if close else ""
            remedy += f"Options are {', '.join(known)}."
        raise SettingsError(f"`fit` has no option `{name}`. {remedy}")


def as_method(method: str | Method) -> Method:
    """Return the settings that a name stands for; settings stay what they are.

    Raises
    ------
    SettingsError
        An unknown name, or something else.
    """
    if isinstance(method, str):
        return METHODS[checks.one_of("method", method, METHODS)]()
    if isinstance(method, type) or not hasattr(method, "program"):
        raise SettingsError(
            f"`method` must be a name or a settings object such as hierjax.NUTS(draws=500); got "
            f"{method!r}."
        )
    return method


def _point_coordinates(model: Model, method: EmpiricalBayes, effects: Effects) -> Coordinates:
    if effects != "auto":
        raise SettingsError(
            'method "empirical_bayes" integrates all group effects out: leave effects="auto".'
        )
    return point_coordinates(model.fn, model.data, method.kind, method.order)


def _prepared(coordinates: Coordinates, data: Mapping[str, Any]) -> dict[str, Any]:
    """Let a compiled program add to the data what the coordinates make of them."""
    if not coordinates.stages:
        return dict(data)
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    keys = tuple(stage.key for stage in coordinates.stages)

    def build() -> Callable[..., Any]:
        def prepare(arrays: Any) -> dict[str, Any]:
            found = coordinates.prepare(arguments.rebuild(arrays))
            return {name: found[name] for name in keys}

        return compile_for(prepare, arrays)[0]

    precision = jnp.result_type(float).name
    identity = ("prepare", coordinates, arguments, signature(arrays), precision)
    return {**data, **PROGRAMS.get(identity, build)(arrays)}


def recovered(
    coordinates: Coordinates, draws: Draws, key: jax.Array, data: Mapping[str, Any]
) -> Draws:
    """Bring the sites that the coordinates removed back into every draw; pure."""
    if not coordinates.stages or coordinates.complete:
        return draws
    shape = next(iter(draws.stats.values())).shape[:2]
    count = shape[0] * shape[1]
    flat = {name: value.reshape(count, *value.shape[2:]) for name, value in draws.sites.items()}
    keys = jax.random.split(jax.random.fold_in(key, RECOVERY), count)
    sites = map_in_batches(lambda each: coordinates.recover(each[0], each[1], data), (keys, flat))
    shaped = {name: value.reshape(*shape, *value.shape[1:]) for name, value in sites.items()}
    return dataclasses.replace(draws, sites=shaped)


def _site_names(model: Model) -> frozenset[str]:
    """Sites whose draws a user sees: those of the model as it was written."""
    sites = abstract_trace(model.fn, model.data).sites.values()
    return frozenset(site.name for site in sites if site.kind in ("latent", "deterministic"))


def named(draws: Draws, keep: frozenset[str]) -> Draws:
    """Return the draws of the sites `keep` alone."""
    sites, estimates = (
        {name: value for name, value in values.items() if name in keep}
        for values in (draws.sites, draws.estimates)
    )
    return dataclasses.replace(draws, sites=sites, estimates=estimates)


def _compile(
    coordinates: Coordinates,
    method: Method,
    model: Model,
    data: Mapping[str, Any],
    key: jax.Array,
    display: ProgressDisplay,
) -> _Compiled:
    """Compile the program of a method, or find it compiled for the same shapes.

    The start is tried with `key` before the rest is compiled: a model that cannot start says so
    in a second.
    """
    arguments = Arguments.of(data)
    arrays = _device_arrays(arguments, data)
    precision = jnp.result_type(float).name

    def build() -> _Compiled:
        display.compiling()
        program = method.program(coordinates.fn, data)
        keep = _site_names(model)
        start, state = compile_for(program.start, key, arrays)
        _raise_if_failed(program, start(key, arrays))
        advance, (_, record) = compile_for(program.advance, state, arrays)
        kept = program.num_chunks - program.num_discarded

        records = jax.tree_util.tree_map(
            lambda leaf: jax.ShapeDtypeStruct((kept, *leaf.shape), leaf.dtype), record
        )

        def finish(key: Any, state: Any, records: Any, arrays: Any) -> Draws:
            draws = program.finish(state, records, arrays)
            return named(recovered(coordinates, draws, key, arguments.rebuild(arrays)), keep)

        compiled_finish, _ = compile_for(finish, key, state, records, arrays)
        return _Compiled(program, start, advance, compiled_finish, records)

    backend = jax.default_backend()
    identity = (coordinates, method, arguments, signature(arrays), precision, backend)
    return PROGRAMS.get(identity, build)


def _device_arrays(arguments: Arguments, data: Mapping[str, Any]) -> tuple[jax.Array, ...]:
    return tuple(map(jnp.asarray, arguments.arrays(data)))


def _run(
    compiled: _Compiled, key: jax.Array, data: Mapping[str, Any], display: ProgressDisplay
) -> Draws:
    """Drive a compiled program chunk by chunk from the host."""
    program = compiled.program
    arrays = _device_arrays(Arguments.of(data), data)
    state = compiled.start(key, arrays)
    chunks = []
    _raise_if_failed(program, state)
    for chunk in range(program.num_chunks):
        state, record = compiled.advance(state, arrays)
        if chunk >= program.num_discarded:
            chunks.append(jax.device_get(record))
        report = {name: np.asarray(value) for name, value in program.report(state).items()}
        display.advance(chunk + 1, program.num_chunks, report)
        _raise_if_failed(program, state)
        if bool(report.get("done", False)):
            break
    records = jax.tree_util.tree_map(
        lambda whole, *parts: np.reshape(parts, whole.shape).astype(whole.dtype),
        compiled.records,
        *chunks,
    )
    return compiled.finish(key, state, records, arrays)


def recorded(values: np.ndarray) -> tuple[float, ...]:
    """Return values of a record as plain numbers, without places that were never reached."""
    flat = np.ravel(values)
    return tuple(float(value) for value in flat[np.isfinite(flat)])


def _raise_if_failed(program: Program, state: Any) -> None:
    report = program.report(state)
    if bool(report.get("failed", False)):
        raise FitError(STATUS_MESSAGE[Status.NO_FINITE_START].capitalize() + ".")
