"""Calibration around a real data set: with its posterior in the place of the prior.

Parameters are drawn from the posterior of real data y, new data y' given them, and the posterior of
both data sets together is computed: the true values rank uniformly among its draws if the method is
right for data like y (Säilynoja, Schmitt, Bürkner and Vehtari 2025, arXiv:2502.03279). Where the
sum of two counts, or the mean of two estimates, is all that their likelihood depends on, both data
sets are one of the same shape with twice the trials; else their rows stand one after the other.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import hierjax as hj
from benchmarks import designs_models
from benchmarks.calibration_cases import NUTS
from hierjax.batch.run import Settings
from hierjax.fit_many import BUDGET
from hierjax.infer.program import Method
from hierjax.methods import as_method
from hierjax.sbc_quantities import LOG_DENSITY, choose_sites, log_densities, make_quantities
from hierjax.sbc_ranks import Ranking
from hierjax.sbc_result import Calibration
from hierjax.sbc_run import Task
from hierjax.sbc_simulate import Simulated, Simulator

LONG = hj.NUTS(chains=4, warmup=1000, draws=1500)


@dataclasses.dataclass(frozen=True)
class Together:
    """How two data sets of a design become one.

    Attributes
    ----------
    design
        Data of a model -> the same for both data sets, but for the response.
    response
        Real and new responses (..., rows) -> that of both.
    """

    design: Callable[[Mapping[str, Any]], dict[str, Any]]
    response: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _after(*names: str) -> Together:
    """Put rows one after the other; `names` are the arguments with one entry a row."""

    def design(data: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.concatenate([data[name], data[name]]) for name in names}

    def response(real: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.concatenate([np.broadcast_to(real, new.shape), new], axis=-1)

    return Together(design, response)


def _summed(name: str) -> Together:
    """Add counts; `name` is their exposure or number of trials."""
    return Together(lambda data: {name: 2 * data[name]}, lambda real, new: real + new)


AVERAGED = Together(
    lambda data: {"sigma": data["sigma"] / np.sqrt(2.0)}, lambda real, new: (real + new) / 2.0
)


@dataclasses.dataclass(frozen=True)
class Around:
    """A real data set to calibrate around.

    Attributes
    ----------
    design
        Name in `hierjax.library.MODELS`.
    model
        Builds the model with the real data.
    together
        How two data sets become one.
    first
        Method that draws the posterior of the real data.
    methods
        Word in the table -> method that is calibrated.
    simulations
        How many.
    """

    design: str
    model: Callable[[], hj.Model]
    together: Together
    first: str | Method
    methods: Mapping[str, str | Method]
    simulations: int = 200
    remark: str = "posterior of the real data in the place of the prior"


AUTO: Mapping[str, str | Method] = {"auto": "auto"}
AROUND: dict[str, Around] = {
    "around bcg": Around("eight_schools", designs_models.bcg, AVERAGED, "auto", AUTO),
    "around sleepstudy": Around(
        "varying_slopes", designs_models.sleepstudy, _after("x", "group"), "auto", AUTO
    ),
    "around surgical": Around(
        "binomial_groups", designs_models.surgical, _summed("trials"), LONG, NUTS
    ),
    "around pumps": Around("gamma_poisson", designs_models.pumps, _summed("exposure"), LONG, NUTS),
    "around bcg, by arms": Around(
        "meta_arms", designs_models.bcg_arms, _summed("trials"), LONG, NUTS
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class PosteriorSimulator(Simulator):
    """Simulations whose parameters are draws of a posterior: `draw` hands out what is there."""

    values: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    drawn: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def draw(self, seed: int, numbers: Sequence[int]) -> Simulated:
        """Return some of the simulations, with both data sets as one."""
        del seed
        places = list(numbers)
        sites = {name: values[places] for name, values in self.values.items()}
        densities = [self.log_densities({"y": self.drawn[n]}, self._latents(n))[0] for n in places]
        return Simulated(sites, {"y": self.drawn[places]}, np.stack(densities), {})

    def _latents(self, number: int) -> dict[str, np.ndarray]:
        return {name: self.values[name][[number]] for name in self.latents}


def simulate(around: Around, simulations: int, seed: int) -> PosteriorSimulator:
    """Draw parameters from the posterior of the real data, and new data given them."""
    model = around.model()
    post = hj.fit(model, method=around.first, seed=seed, progress=False)
    new = np.asarray(post.predict(kind="draw", seed=seed + 1))
    new = new.reshape(-1, new.shape[-1])
    places = np.linspace(0, len(new) - 1, simulations).astype(int)
    both = dataclasses.replace(
        model, data={**model.data, **around.together.design(model.data)}, labels={}
    )
    real = np.asarray(model.data["y"])
    responses = around.together.response(real, new[places].astype(real.dtype))
    both = dataclasses.replace(both, data={**both.data, "y": responses[0]})
    source = Simulator.of(both)
    values = {name: _flat(draws)[places] for name, draws in post.draws.items()}
    return PosteriorSimulator(
        source.model, source.trace, source.responses, source.latents, values, responses
    )


def _flat(draws: np.ndarray) -> np.ndarray:
    """Put chains one after the other."""
    return np.asarray(draws).reshape(-1, *np.shape(draws)[2:])


def calibrate_around(
    around: Around,
    method: str | Method,
    coverage: float,
    seed: int = 0,
    fitted: Callable[[hj.Model], hj.Model] = lambda model: model,
) -> Calibration:
    """Calibrate around one real data set; `fitted` changes the model of both data sets."""
    simulations, draws, chosen_method = around.simulations, 100, as_method(method)
    with jax.enable_x64(True):
        source = simulate(around, simulations, seed)
        chosen = choose_sites(source.model, source, None)
        settings = Settings(
            chosen_method, "auto", "all", seed, None, BUDGET, int(chosen_method.name == "auto")
        )
        task = Task(fitted(source.model), settings, Ranking(source, chosen, draws, seed))
        pieces = task.run(simulations, lambda done: None)
        whole = source.draw(seed, range(simulations))
        quantities = make_quantities(source, chosen, "pooled", whole)
    ranks = [each for piece in pieces for each in piece.ranks]
    truth = {name: whole.sites[name] for name in chosen} | {LOG_DENSITY: whole.log_densities}

    def column(name: str, what: str) -> np.ndarray:
        size = truth[name][0].size
        empty = np.full(size, np.nan if what == "transforms" else 0)
        return np.stack([empty if r is None else getattr(r[name], what) for r in ranks])

    return Calibration(
        name=source.model.name,
        method=chosen_method.name,
        coverage=coverage,
        draws=draws,
        seed=seed,
        dtype="float64",
        quantities=(*quantities, *log_densities()),
        transforms={name: column(name, "transforms") for name in truth},
        sizes={name: column(name, "draws") for name in truth},
        truth=truth,
        outcomes=tuple(outcome for piece in pieces for outcome in piece.outcomes),
    )
