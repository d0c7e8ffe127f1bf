"""Pieces of a calibration: simulate, fit all data sets together, rank, and let the draws go."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from hierjax.batch.bucket import Bucket
from hierjax.batch.check import support_error, unsupported
from hierjax.batch.plan import Padding
from hierjax.batch.result import Fitted
from hierjax.batch.run import Settings, run_bucket
from hierjax.model import Model
from hierjax.sbc_quantities import LOG_DENSITY
from hierjax.sbc_ranks import Ranking, Ranks
from hierjax.sbc_result import Outcome
from hierjax.sbc_simulate import Simulated

FIRST = 32  # simulations of the first piece, which shows how much memory each takes
LEAST = 16  # pieces are a multiple of this

Report = Callable[[float], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Some simulations.

    Attributes
    ----------
    simulated
        What they were drawn from.
    ranks
        Of each; None for those that were not ranked.
    outcomes
        What became of each.
    largest
        Bytes that the largest of them took.
    """

    simulated: Simulated
    ranks: list[dict[str, Ranks] | None]
    outcomes: list[Outcome]
    largest: int


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A calibration.

    Attributes
    ----------
    model
        What is fitted.
    settings
        How.
    ranking
        What is simulated and ranked.
    """

    model: Model
    settings: Settings
    ranking: Ranking

    def run(self, simulations: int, report: Report) -> list[Piece]:
        """Work off all simulations, as many at a time as the budget has room for their draws.

        `report` is called with the number of simulations that are finished, in parts.
        """
        pieces: list[Piece] = []
        first, size = 0, FIRST
        while first < simulations:
            numbers = range(first, min(first + size, simulations))
            pieces.append(self.piece(numbers, lambda n, done=first: report(done + n)))
            first = numbers.stop
            room = self.settings.budget // max(pieces[-1].largest, 1)
            size = max(LEAST, room // LEAST * LEAST)
        return pieces

    def piece(self, numbers: range, report: Report) -> Piece:
        """Work off some simulations."""
        simulated = self.ranking.simulator.draw(self.settings.seed, numbers)
        outcomes, models = self._models(simulated, numbers)
        ranks: dict[int, dict[str, Ranks]] = {}
        largest = 0
        for number, result in _fitted(models, self.settings, report).items():
            truth = _truth(simulated, number - numbers.start)
            outcomes[number], found = self._ranked(number, result, truth)
            ranks |= {number: found} if found else {}
            largest = max(largest, _bytes(result))
        report(len(numbers))
        return Piece(
            simulated,
            [ranks.get(number) for number in numbers],
            [outcomes[number] for number in numbers],
            largest,
        )

    def _models(
        self, simulated: Simulated, numbers: range
    ) -> tuple[dict[int, Outcome], dict[int, Model]]:
        """Return the models on the simulated data, and why some of those cannot be fitted."""
        outcomes, models = {}, {}
        for place, (number, good) in enumerate(zip(numbers, simulated.is_finite(), strict=True)):
            if good:
                new = {name: _entry(values[place]) for name, values in simulated.data.items()}
                models[number] = dataclasses.replace(self.model, data={**self.model.data, **new})
            else:
                words = "parameters or data drawn from the prior are not finite"
                outcomes[number] = Outcome("not simulated", words)
        for number in _unsupported(models):
            error = support_error(models.pop(number))
            outcomes[number] = Outcome("not simulated", str(error))
        return outcomes, models

    def _ranked(
        self, number: int, result: Fitted | str, truth: Mapping[str, np.ndarray]
    ) -> tuple[Outcome, dict[str, Ranks] | None]:
        if isinstance(result, str):
            return Outcome("not fitted", result), None
        found, method = self.ranking.of(number, result, truth), result.settings.name
        if isinstance(found, str):
            return Outcome("failed", found, method, result.retries), None
        verdict = result.verdict
        return Outcome(verdict.status, verdict.message, method, result.retries), found


def _bucket(models: Mapping[int, Model]) -> Bucket:
    """All simulations: they are equal in shape."""
    return Bucket(next(iter(models.values())).fn, Padding(), (), models, dict.fromkeys(models, ()))


def _fitted(
    models: Mapping[int, Model], settings: Settings, report: Report
) -> dict[int, Fitted | str]:
    return run_bucket(_bucket(models), settings, report) if models else {}


def _unsupported(models: Mapping[int, Model]) -> list[int]:
    """Find the simulations with values that the model that is fitted cannot produce."""
    if not models:
        return []
    bucket, numbers = _bucket(models), list(models)
    return [numbers[place] for place in unsupported(bucket.fn, *bucket.stacked(numbers))]


def _truth(simulated: Simulated, place: int) -> dict[str, np.ndarray]:
    truth = {name: values[place] for name, values in simulated.sites.items()}
    return {**truth, LOG_DENSITY: simulated.log_densities[place]}


def _entry(value: Any) -> Any:
    """One simulated response; a number stays a number."""
    return float(value) if np.ndim(value) == 0 else value


def _bytes(result: Fitted | str) -> int:
    """Bytes of the draws of a data set, and of the data, which are copied when they are stacked."""
    if isinstance(result, str):
        return 0
    data = jax.tree_util.tree_leaves(dict(result.model.data))
    arrays = [*result.draws.values(), *result.stats.values(), *data, *data]
    return sum(np.asarray(array).nbytes for array in arrays)
