"""Where the parameters that made a data set lie among the draws of its posterior.

Given the data, the true value and independent draws of an exact posterior cannot be told apart:
every rank of the true value is equally likely. Draws are therefore thinned, evenly over all chains,
until they are nearly independent, before the true value is ranked. Ranks among different numbers of
draws are put on one scale: (rank + U) / (draws + 1) with U uniform is uniform between 0 and 1.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hierjax.batch.result import Fitted
from hierjax.diagnostics import chain_summary
from hierjax.predict_program import flattened
from hierjax.sbc_quantities import LOG_DENSITY
from hierjax.sbc_simulate import Simulator

EVALUATED = 1_000  # draws of a posterior whose log densities are computed
# Draws of a chain that are thinned to their effective size still have correlations of e^-2, which
# shows in the outermost ranks; half as many have none to speak of.
CAUTION = 2.0

Values = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of one site in one simulation, each of shape (elements,).

    Attributes
    ----------
    transforms
        Uniform between 0 and 1 if the posterior is exact.
    draws
        Among how many draws the true values were ranked.
    """

    transforms: np.ndarray
    draws: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """How true values are ranked.

    Attributes
    ----------
    simulator
        Knows the log densities.
    sites
        Sites that are ranked.
    draws
        Most draws to rank among.
    seed
        Of what is added to ranks, and of ties.
    """

    simulator: Simulator
    sites: tuple[str, ...]
    draws: int
    seed: int

    def of(self, place: int, fitted: Fitted, truth: Values) -> dict[str, Ranks] | str:
        """Rank the true values of one simulation.

        Parameters
        ----------
        place
            Number of the simulation.
        fitted
            Draws of its posterior.
        truth
            Site -> value, and those of the log densities.

        Returns
        -------
        dict or str
            Site -> ranks, or why there are none.
        """
        if fitted.verdict.status == "failed":
            return fitted.verdict.message
        draws = {name: np.asarray(fitted.draws[name]) for name in self.sites}
        if not all(np.isfinite(values).all() for values in draws.values()):
            return "some draws are not finite"
        latents = {name: fitted.draws[name] for name in self.simulator.latents}
        flat, (chains, length) = flattened(latents, EVALUATED)
        data = {name: fitted.model.data[name] for name in self.simulator.responses}
        draws[LOG_DENSITY] = self.simulator.log_densities(data, flat).reshape(chains, length, 2)
        generator = np.random.default_rng([self.seed, place])
        return {
            name: self._of_site(values, truth[name], fitted, generator)
            for name, values in draws.items()
        }

    def _of_site(
        self, values: np.ndarray, truth: np.ndarray, fitted: Fitted, generator: np.random.Generator
    ) -> Ranks:
        chains, length = values.shape[:2]
        flat = values.reshape(chains * length, -1)
        sizes = independent_draws(values.reshape(chains, length, -1), fitted)
        return rank(flat, np.ravel(truth), sizes, self.draws, generator)


def independent_draws(values: np.ndarray, fitted: Fitted) -> np.ndarray:
    """How many nearly independent draws each parameter's can be thinned to; (elements,).

    Of chains half of the smaller of bulk and tail ESS; of resampled draws half of what their method
    recorded that they are worth. Draws from a guide are independent as they are.

    Parameters
    ----------
    values
        Shape (chain, draw, elements).
    fitted
        What they are the draws of.
    """
    recorded = [each for each in fitted.trace.get("effective_draws", ()) if np.isfinite(each)]
    if recorded:
        return np.full(values.shape[2], recorded[-1] / CAUTION)
    if "log_weight" in fitted.stats:
        return np.full(values.shape[2], values.shape[0] * values.shape[1])
    table = chain_summary(values)
    return np.nan_to_num(np.minimum(table.ess_bulk, table.ess_tail), nan=1.0) / CAUTION


def rank(
    draws: np.ndarray,
    truth: np.ndarray,
    sizes: np.ndarray,
    most: int,
    generator: np.random.Generator,
) -> Ranks:
    """Rank true values among draws that are thinned to their effective sizes.

    Parameters
    ----------
    draws
        Chains one after the other, (draw, elements).
    truth, sizes
        True values and effective sizes, (elements,).
    most
        Most draws to rank among.
    generator
        Breaks ties, and fills the steps between ranks.
    """
    total = len(draws)
    used = np.clip(np.floor(sizes), 1, min(most, total)).astype(int)
    order = np.arange(used.max())[:, None]
    places = np.minimum(((order + 0.5) * (total / used)).astype(int), total - 1)
    chosen, counts = np.take_along_axis(draws, places, axis=0), order < used
    below = np.sum(counts & (chosen < truth), axis=0)
    ties = np.sum(counts & (chosen == truth), axis=0)
    ranks = below + generator.integers(0, ties + 1)
    transforms = (ranks + generator.uniform(size=len(truth))) / (used + 1)
    known = np.isfinite(truth) & ~np.any(counts & np.isnan(chosen), axis=0)
    return Ranks(np.where(known, transforms, np.nan), used)
