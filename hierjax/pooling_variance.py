"""Where the variance lies: shares of the levels, intraclass correlations, R squared.

Everything is computed at every draw, so that it has the uncertainty of the posterior. The variance
of a group term with slopes depends on the predictors; it is averaged over the rows of the data.

References
----------
Nakagawa and Schielzeth (2013), doi:10.1111/j.2041-210x.2012.00261.x. Johnson (2014),
doi:10.1111/2041-210X.12225. Nakagawa, Johnson and Schielzeth (2017), doi:10.1098/rsif.2017.0213.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hierjax.errors import ModelError
from hierjax.formula.families import FAMILIES
from hierjax.formula.function import Effects, FormulaFunction, Group
from hierjax.model import Model

if TYPE_CHECKING:
    import pandas as pd

MOST_ELEMENTS = 2**22  # of one array in memory, over the draws that go together
POPULATION, RESIDUAL = "population effects", "residual"

Draws = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Shares:
    """Shares of the variance at every draw.

    Attributes
    ----------
    title
        What the shares are of.
    scale
        The scale of the variances, "response" or "latent", and how the residual one is meant.
    variances
        Component -> its variance, shape (chain, draw).
    shares
        Component -> its share, shape (chain, draw).
    """

    title: str
    scale: str
    variances: Mapping[str, np.ndarray]
    shares: Mapping[str, np.ndarray]

    def summary(self) -> "pd.DataFrame":
        """Mean variance, and mean, sd and quantiles of the share of each component."""
        import pandas as pd

        rows = {}
        for name, values in self.shares.items():
            low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
            numbers = {"mean": values.mean(), "sd": values.std(ddof=1)}
            rows[name] = numbers | {"q5": low, "q50": middle, "q95": high}
            if name in self.variances:
                rows[name] = {"variance": self.variances[name].mean()} | rows[name]
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        return f"{self.title}, {self.scale}\n{self.summary().round(3).to_string()}"


def variance_partition(model: Model, draws: Draws) -> Shares:
    """Share of each grouping factor in the variance that population effects leave.

    Parameters
    ----------
    model, draws
        The parts of a posterior, see `Posterior.variance_partition`.
    """
    fn = _formula_of(model)
    _, groups, residual = _variances(model, fn, draws)
    parts = groups | {RESIDUAL: residual}
    total = sum(parts.values())
    shares = {name: values / total for name, values in parts.items()}
    return Shares("share of the variance that population effects leave", _scale(fn), parts, shares)


def r2(model: Model, draws: Draws) -> Shares:
    """Share of the variance that population effects, and they and the groups, account for.

    Parameters
    ----------
    model, draws
        The parts of a posterior, see `Posterior.r2`.
    """
    fn = _formula_of(model)
    population, groups, residual = _variances(model, fn, draws)
    parts = {POPULATION: population} | groups | {RESIDUAL: residual}
    total = sum(parts.values())
    shares = {"marginal": population / total, "conditional": 1.0 - residual / total}
    shares |= {f"of which {name}": values / total for name, values in groups.items()}
    return Shares("R squared", _scale(fn), parts, shares)


def _formula_of(model: Model) -> FormulaFunction:
    if not isinstance(model.fn, FormulaFunction):
        raise ModelError(
            "which variances make up the response can be read from formula models only. For a "
            "NumPyro function compute the shares from `post.draws`."
        )
    residual = FAMILIES[model.fn.family].residual
    if isinstance(residual, str):
        raise ModelError(
            f"there is no residual variance for the family {model.fn.family}: {residual}. The "
            "standard deviations of the groups are in `post.summary()`."
        )
    return model.fn


def _scale(fn: FormulaFunction) -> str:
    residual = FAMILIES[fn.family].residual
    return residual if isinstance(residual, str) else residual.scale


def _variances(
    model: Model, fn: FormulaFunction, draws: Draws
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Variance of population effects, of each grouping factor, and of the residual."""
    groups = {group.plate: _group_variance(model, group, draws) for group in fn.groups}
    shape = next(iter(draws.values())).shape[:2]
    total = sum(groups.values(), start=np.zeros(shape))
    population, log_mean = _population(model, fn, draws, total)
    residual = _residual(model, fn, draws, log_mean)
    return population, groups, np.broadcast_to(residual, shape)


def _group_variance(model: Model, group: Group, draws: Draws) -> np.ndarray:
    """Variance of the effects of a group in the predictor, averaged over the rows.

    mean over i of z_i' S z_i = sum over j, k of S_jk M_jk, with M = Z'Z / n, S = D R D.
    """
    return sum(
        (_block_variance(model, part, draws) for part in group.effects),
        start=np.zeros(next(iter(draws.values())).shape[:2]),
    )


def _block_variance(model: Model, part: Effects, draws: Draws) -> np.ndarray:
    scale = np.asarray(draws[part.scale.site], dtype=float)
    if part.design is None:
        return scale**2
    design = np.asarray(model.data[part.design], dtype=float)
    if part.width is None:
        return scale**2 * np.mean(design**2)
    moments = design.T @ design / len(design)
    if part.correlation is None:
        return scale**2 @ np.diagonal(moments)
    root = scale[..., None] * np.asarray(draws[part.correlation.cholesky], dtype=float)
    return np.einsum("...ja,...ka,jk->...", root, root, moments)


def _population(
    model: Model, fn: FormulaFunction, draws: Draws, group_variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Variance over the rows of X b + offset, and log of the mean of exp(X b + offset + group)."""
    names, rows = fn.arguments, int(model.data[fn.arguments.num_rows])
    shape = group_variance.shape
    offset = np.asarray(model.data.get(names.offset, 0.0), dtype=float)
    columns = [np.asarray(draws[each.site], dtype=float) for each in fn.coefficients]
    flat = [values.reshape(shape[0] * shape[1], -1) for values in columns]
    design = np.asarray(model.data[names.design], dtype=float) if flat else np.zeros((rows, 0))
    vectors = np.concatenate(flat, axis=1) if flat else np.zeros((shape[0] * shape[1], 0))
    variances, log_means = [], []
    step = max(1, MOST_ELEMENTS // rows)
    for start in range(0, len(vectors), step):
        fixed = vectors[start : start + step] @ design.T + offset
        top = fixed.max(axis=1)
        variances.append(fixed.var(axis=1))
        log_means.append(top + np.log(np.mean(np.exp(fixed - top[:, None]), axis=1)))
    log_mean = np.concatenate(log_means).reshape(shape) + group_variance / 2
    return np.concatenate(variances).reshape(shape), log_mean


def _residual(model: Model, fn: FormulaFunction, draws: Draws, log_mean: np.ndarray) -> np.ndarray:
    """Variance of rows around their predictors, as the family of the model has it."""
    found = FAMILIES[fn.family].residual
    assert not isinstance(found, str)
    parameters = {name: np.asarray(draws[scale.site], dtype=float) for name, scale in fn.parameters}
    weights = model.data.get(fn.arguments.weights)
    if fn.arguments.known_sd in model.data:
        known = np.asarray(model.data[fn.arguments.known_sd], dtype=float)
        parameters["sigma"] = np.sqrt(np.mean(known**2))
    elif "sigma" in parameters and weights is not None and not fn.replicates:
        parameters["sigma"] = parameters["sigma"] * np.sqrt(np.mean(1.0 / np.asarray(weights)))
    return found.variance(parameters, log_mean)
