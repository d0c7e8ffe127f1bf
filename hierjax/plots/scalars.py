"""Scalars that plots of draws show: named, varying, and none of them twice; and their densities."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from hierjax.errors import SettingsError
from hierjax.model import Model
from hierjax.names import blocks_of, scalar_names

SAME = 1e-5  # relative range below which draws are one number up to rounding
BLOCKS = ("coefficient", "level", "other")


@dataclasses.dataclass(frozen=True, eq=False)
class Scalar:
    """One element of a site: its name, and its draws (chain, draw)."""

    site: str
    name: str
    values: np.ndarray


def varying_scalars(
    model: Model, draws: Mapping[str, np.ndarray], sites: Sequence[str] | None = None
) -> list[Scalar]:
    """Return every scalar of some sites that varies; of a symmetric matrix one half.

    Parameters
    ----------
    model, draws
        As in a `Posterior`.
    sites
        By default all but effects of groups.

    Raises
    ------
    SettingsError
        `sites` names a site that has no draws, or nothing varies.
    """
    if sites is None:
        blocks = blocks_of(model)
        sites = [site for block in BLOCKS for site in draws if blocks.get(site) == block]
        sites = sites or list(draws)
    found = []
    for site in sites:
        if site not in draws:
            raise SettingsError(
                f"`sites`: there are no draws of {site!r}; there are of {[*draws]}."
            )
        values = np.asarray(draws[site], dtype=float)
        flat = values.reshape(*values.shape[:2], -1)
        is_matrix = values.ndim == 4 and values.shape[-1] == values.shape[-2]
        kept: list[np.ndarray] = []
        for place, name in enumerate(scalar_names(model, site)):
            column = flat[..., place]
            constant = np.ptp(column) <= SAME * np.abs(column).max()
            if not constant and not any(np.allclose(column, other) for other in kept):
                found.append(Scalar(site, name, column))
                kept += [column] if is_matrix else []
    if not found:
        raise SettingsError("`sites`: no scalar varies between draws, so there is nothing to show.")
    return found


def kernel_density(
    draws: np.ndarray, low: float, high: float, cells: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density on a grid: a histogram smoothed with Silverman's width.

    The kernel is reflected at the ends, so that the density of a scale does not fall off at zero.
    """
    counts, edges = np.histogram(draws, bins=cells, range=(low, high))
    spread = min(np.std(draws), np.subtract(*np.quantile(draws, (0.75, 0.25))) / 1.34)
    width = 0.9 * spread * len(draws) ** -0.2 / (edges[1] - edges[0])
    offsets = np.arange(-cells + 1, cells)
    kernel = np.exp(-0.5 * (offsets / max(width, 0.5)) ** 2)
    reflected = np.concatenate([counts[::-1], counts, counts[::-1]])
    smooth = np.convolve(reflected, kernel / kernel.sum(), mode="same")[cells : 2 * cells]
    return (edges[:-1] + edges[1:]) / 2, smooth
