"""Simulation-based calibration, the one verb: whether a method recovers what data came from."""

from collections.abc import Sequence

import jax
import numpy as np

from hierjax import checks
from hierjax.batch.run import Settings
from hierjax.errors import ModelError, SettingsError
from hierjax.fit import DTYPES
from hierjax.fit_many import BUDGET
from hierjax.infer.empirical_bayes import EmpiricalBayes
from hierjax.infer.program import Method
from hierjax.levels import check_indexes
from hierjax.methods import as_method
from hierjax.model import Model
from hierjax.names import responses
from hierjax.progress import ProgressDisplay
from hierjax.sbc_quantities import (
    GROUPS,
    LOG_DENSITY,
    choose_sites,
    log_densities,
    make_quantities,
)
from hierjax.sbc_ranks import Ranking, Ranks
from hierjax.sbc_result import Calibration
from hierjax.sbc_run import Task
from hierjax.sbc_simulate import Simulated, Simulator
from hierjax.sbc_verdict import FEWEST_RANKED
from hierjax.threads import single_threaded_blas
from hierjax.transforms.coordinates import Effects


def sbc(
    model: Model,
    method: str | Method = "auto",
    *,
    simulations: int = 500,
    draws: int = 100,
    seed: int = 0,
    sites: Sequence[str] | None = None,
    groups: str = "pooled",
    simulator: Model | None = None,
    coverage: float = 0.95,
    effects: Effects = "auto",
    retries: int = 1,
    budget: int = BUDGET,
    progress: bool = True,
    dtype: str = "float64",
    sims: int | None = None,
) -> Calibration:
    """Simulate from the prior, fit all data sets by one batched program, and rank what made them.

    Parameters are drawn from the model's prior and data given them. If the draws of a posterior are
    exact, the rank of a true value among them is uniform over simulations. Beside sites the log
    likelihood and the log joint density of parameters and data are ranked: they show what marginal
    ranks cannot, such as a posterior that ignores part of the data.

    Parameters
    ----------
    model
        The model. Of its own responses only shapes and types matter; all other data are kept:
        predictors, groups, trials, known standard errors.
    method, effects, dtype
        As for `hierjax.fit_many`.
    simulations
        Number of simulations; the more, the smaller the errors that show.
    draws
        Draws to rank a true value among: those of the posterior, thinned evenly to so many. Where
        draws are worth less by their effective size, fewer are taken.
    seed
        Simulation i depends on the seed and i only.
    sites
        Sites to rank; by default all that a summary shows. The log densities are always ranked.
    groups
        "pooled": ranks of all groups of a site are looked at together, counted for as many
        independent ones as their spread between simulations says, and so is the group that is
        furthest off. "each": every group on its own.
    simulator
        Model to simulate from, if not the one that is fitted: the same parameters and responses,
        written otherwise. The log densities are those of this model.
    coverage
        Probability with which the curves of an exact method all stay in their bands.
    retries, budget
        As for `hierjax.fit_many`; the budget also bounds the draws in memory at a time.
    progress
        Show a progress bar on standard error.
    sims
        Short for `simulations`.

    Returns
    -------
    Calibration
        Print it for a report; `table()`, `report()` by simulation, `plot(path)`.

    Raises
    ------
    ModelError
        No data can be simulated from the model: an improper prior, a factor, a weighted likelihood,
        a response that is no argument or is used in other places. Or parameters of the simulator
        are no sites of the model.
    SettingsError
        An option is out of range, or the method estimates a point.

    References
    ----------
    Talts, Betancourt, Simpson, Vehtari and Gelman (2018), arXiv:1804.06788. Modrák, Moon, Kim,
    Bürkner, Huurre, Faltejsková, Gelman and Vehtari (2023), doi:10.1214/23-BA1404. Säilynoja,
    Bürkner and Vehtari (2022), doi:10.1007/s11222-022-10090-6.
    """
    simulations = simulations if sims is None else sims
    settings = _settings(model, method, effects, seed, budget, retries)
    _check_options(simulations, draws, groups, coverage, dtype)
    with jax.enable_x64(dtype == "float64"), ProgressDisplay(progress) as display:
        with single_threaded_blas():
            source = Simulator.of(model if simulator is None else simulator)
            _check_arguments(model, source)
            check_indexes(model.levels(), model.data)
            chosen = choose_sites(model, source, sites)
            task = Task(model, settings, Ranking(source, chosen, draws, seed))
            display.compiling()

            def report(done: float) -> None:
                words = {"phase": "calibrating", "simulations": int(np.floor(done + 1e-9))}
                display.advance(done, simulations, words)

            pieces = task.run(simulations, report)
            drawn = _joined([piece.simulated for piece in pieces])
            quantities = make_quantities(source, chosen, groups, drawn)
    truth = {name: np.asarray(drawn.sites[name]) for name in chosen}
    truth[LOG_DENSITY] = np.asarray(drawn.log_densities)
    ranks = [each for piece in pieces for each in piece.ranks]
    return Calibration(
        name=model.name,
        method=settings.method.name,
        coverage=coverage,
        draws=draws,
        seed=seed,
        dtype=dtype,
        quantities=(*quantities, *log_densities()),
        transforms={
            name: _column(ranks, name, value, "transforms") for name, value in truth.items()
        },
        sizes={name: _column(ranks, name, value, "draws") for name, value in truth.items()},
        truth=truth,
        outcomes=tuple(outcome for piece in pieces for outcome in piece.outcomes),
    )


def _settings(
    model: Model,
    method: str | Method,
    effects: Effects,
    seed: int,
    budget: int,
    retries: int,
) -> Settings:
    if not isinstance(model, Model):
        raise SettingsError(
            f"`model` must be a hierjax.Model; got {type(model).__name__}. Build one with "
            "hierjax.formula(text, frame) or hierjax.Model(function, data)."
        )
    checks.positive_int("seed", seed, minimum=0)
    checks.positive_int("budget", budget)
    checks.positive_int("retries", retries, minimum=0)
    chosen = as_method(method)
    if isinstance(chosen, EmpiricalBayes):
        raise SettingsError(
            'method "empirical_bayes" estimates a point: there are no draws of a posterior to rank '
            'parameters among. Calibrate "auto", "nuts", "laplace" or "svi".'
        )
    return Settings(chosen, effects, "all", seed, None, budget, retries)


def _check_options(simulations: int, draws: int, groups: str, coverage: float, dtype: str) -> None:
    checks.positive_int("simulations", simulations, minimum=FEWEST_RANKED)
    checks.positive_int("draws", draws)
    checks.one_of("groups", groups, GROUPS)
    checks.fraction("coverage", coverage)
    checks.one_of("dtype", dtype, DTYPES)


def _check_arguments(model: Model, simulator: Simulator) -> None:
    """Refuse a simulator whose responses are not those of the model that is fitted."""
    own = set(responses(model).values())
    for name in simulator.responses:
        if name not in model.data or np.shape(model.data[name]) != np.shape(
            simulator.model.data[name]
        ):
            raise ModelError(
                f"data[{name!r}] is simulated, but is no argument of that shape of the model that "
                f"is fitted; its arguments are {', '.join(model.data)}."
            )
    unknown = sorted(own - set(simulator.responses))
    if unknown:
        raise ModelError(
            f"data[{unknown[0]!r}] is a response of the model that is fitted, but is not simulated."
        )


def _joined(parts: Sequence[Simulated]) -> Simulated:
    return jax.tree_util.tree_map(lambda *each: np.concatenate(each), *parts)


def _column(
    ranks: Sequence[dict[str, Ranks] | None], name: str, truth: np.ndarray, what: str
) -> np.ndarray:
    """Return transforms or draws of one site, (simulation, elements)."""
    found = np.full((len(truth), truth[0].size), np.nan)
    for place, each in enumerate(ranks):
        if each is not None:
            found[place] = getattr(each[name], what)
    return found if what == "transforms" else np.nan_to_num(found).astype(int)
