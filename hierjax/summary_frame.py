"""The table of parameters: which elements are shown, in which block, with which numbers.

All elements of all sites are judged together, in one vectorised pass over one matrix.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.diagnostics import chain_summary
from hierjax.draws import FitInfo
from hierjax.importance_weights import weight_ess
from hierjax.model import Model
from hierjax.names import blocks_of, latent_sites, scalar_names
from hierjax.summary_point import POINT_COLUMNS, is_point, point_frame

if TYPE_CHECKING:
    import pandas as pd

BLOCK_TITLES = {
    "level": "level sds and correlations",
    "coefficient": "coefficients",
    "other": "other",
    "effect": "effects",
}
COLUMNS = ("mean", "sd", "q5", "q50", "q95", "mcse", "ess_bulk", "ess_tail", "rhat")
LARGEST_COMPUTED = 1000  # a computed site of more elements is a prediction, not a parameter

Draws = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Column:
    """One element of a site: a row of the table.

    Attributes
    ----------
    block, name
        Block of the summary, and what the element is called.
    place
        Its site, and its place there in C order.
    values
        Its draws, shape (chain, draw).
    """

    block: str
    name: str
    place: tuple[str, int]
    values: np.ndarray


def summary_table(
    model: Model,
    draws: Draws,
    *,
    effects: bool = False,
    info: FitInfo | None = None,
    stats: Draws | None = None,
) -> "pd.DataFrame":
    """One row a parameter, in three blocks: level sds and correlations, coefficients, other.

    A correlation matrix is shown by its elements below the diagonal, and hidden sites are left out.
    Draws of an approximation have no chains to compare: `rhat` is NaN, and both effective sizes are
    that of their importance weights. A method that estimates a point has other columns: `estimate,
    se, q5, q50, q95`, quantiles given the parameters that are constant in the draws.

    Parameters
    ----------
    model, draws
        The model and its draws, site -> (chain, draw, *shape).
    effects
        Add a block with the effect of every group.
    info, stats
        How the draws were made, and the sampler statistics; they tell approximations apart.

    Returns
    -------
    pandas.DataFrame
        Index (block, parameter), columns `mean, sd, q5, q50, q95, mcse, ess_bulk, ess_tail, rhat`.
    """
    return _frame(shown_columns(model, draws, effects=effects), info, stats or {})


def shown_columns(model: Model, draws: Draws, *, effects: bool = False) -> list[Column]:
    """Return the elements that the table of parameters shows, in its order."""
    blocks = blocks_of(model)

    def wanted(site: str) -> bool:
        return blocks[site] != "hidden" and (effects or blocks[site] != "effect")

    return _columns(model, draws, wanted)


def judged_table(model: Model, draws: Draws, info: FitInfo | None, stats: Draws) -> "pd.DataFrame":
    """Return the same table of everything that must have converged.

    Those are all sampled sites but the hidden ones (they are shown as what they stand for), and
    computed sites of up to 1,000 elements.
    """
    blocks, latents = blocks_of(model), latent_sites(model)

    def wanted(site: str) -> bool:
        size = int(np.prod(draws[site].shape[2:]))
        return blocks[site] != "hidden" and (site in latents or size <= LARGEST_COMPUTED)

    return _frame(_columns(model, draws, wanted), info, stats)


def is_approximate(info: FitInfo | None, stats: Draws) -> bool:
    """Whether the draws come from an approximation, which weights judge, and not from chains."""
    return "log_weight" in stats or (info is not None and info.method == "svi")


def weight_size(info: FitInfo | None, stats: Draws) -> float | None:
    """Return what weighted draws are worth together; None where nothing tells.

    Resampled draws have no weights any more: their method has recorded what they are worth.
    """
    recorded = () if info is None else info.trace.get("effective_draws", ())
    if recorded:
        return recorded[-1]
    return weight_ess(stats["log_weight"]) if "log_weight" in stats else None


def _columns(model: Model, draws: Draws, wanted: Callable[[str], bool]) -> list[Column]:
    blocks = blocks_of(model)
    # In the order of the model function: jitted programs return their sites sorted by name.
    chosen = [site for site in blocks if site in draws and wanted(site)]
    order = list(BLOCK_TITLES)
    found = []
    for site in sorted(chosen, key=lambda site: order.index(blocks[site])):
        values = np.asarray(draws[site])
        flat = values.reshape(*values.shape[:2], int(np.prod(values.shape[2:])))
        names = scalar_names(model, site)
        for element in np.flatnonzero(_informative(values)):
            place = (site, int(element))
            found.append(Column(blocks[site], names[element], place, flat[:, :, element]))
    return found


def _informative(values: np.ndarray) -> np.ndarray:
    """Mask over the elements of a site that are not fixed or repeated by its structure.

    Of a symmetric matrix with ones on the diagonal half of the rest is kept; of a lower triangular
    one the triangle, without a corner that is always 1.
    """
    shape = values.shape[2:]
    mask = np.ones(shape, dtype=bool)
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] < 2:
        return mask.ravel()
    diagonal = np.diagonal(values, axis1=-2, axis2=-1)
    upper = np.triu(np.ones(shape[-2:], dtype=bool), 1)
    if np.allclose(diagonal, 1.0, atol=1e-4) and np.allclose(
        values, np.swapaxes(values, -1, -2), atol=1e-4
    ):
        mask &= upper
    elif not values[..., upper].any():
        mask &= ~upper
        mask[..., 0, 0] = not np.all(values[..., 0, 0] == 1.0)
    return mask.ravel()


def _frame(columns: list[Column], info: FitInfo | None, stats: Draws) -> "pd.DataFrame":
    import pandas as pd

    index = pd.MultiIndex.from_tuples(
        [(BLOCK_TITLES[column.block], column.name) for column in columns],
        names=("block", "parameter"),
    )
    if not columns:
        names = POINT_COLUMNS if is_point(info) else COLUMNS
        return pd.DataFrame(columns=list(names), index=index, dtype=float)
    draws = np.stack([column.values for column in columns], axis=-1)
    if info is not None and is_point(info):
        return point_frame(index, [column.place for column in columns], draws, info)
    table = chain_summary(draws)
    quantiles = zip(("q5", "q50", "q95"), table.quantiles, strict=True)
    numbers: dict[str, Any] = dict(quantiles)
    for name in ("mean", "sd", "mcse", "ess_bulk", "ess_tail", "rhat"):
        numbers[name] = getattr(table, name)
    if is_approximate(info, stats):
        size = weight_size(info, stats)
        size = np.nan if size is None else size
        numbers |= {"ess_bulk": size, "ess_tail": size, "rhat": np.nan}
        numbers["mcse"] = table.sd / np.sqrt(size)
    return pd.DataFrame(numbers, index=index, columns=list(COLUMNS))
