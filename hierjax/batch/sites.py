"""The sites of a bucket of padded data sets: which are kept, which summarised, and their sizes."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from hierjax.batch.plan import Padding
from hierjax.model import Model
from hierjax.names import blocks_of, latent_sites
from hierjax.ragged import Sizes
from hierjax.summary_frame import LARGEST_COMPUTED, _informative
from hierjax.trace import Site, abstract_trace


@dataclasses.dataclass(frozen=True)
class BucketSites:
    """What happens to the sites of the data sets of one bucket.

    Attributes
    ----------
    sites
        Latent and deterministic sites of the padded model, by name.
    blocks
        Their blocks.
    latents
        Names of the latent sites.
    kept, summarised
        Sites whose draws are kept, and those of which only a summary is.
    """

    sites: Mapping[str, Site]
    blocks: Mapping[str, str]
    latents: frozenset[str]
    kept: frozenset[str]
    summarised: frozenset[str]
    padding: Padding

    @classmethod
    def of(cls, model: Model, padding: Padding, keep: str) -> "BucketSites":
        """Read the sites of the model on padded data."""
        found = {
            site.name: site
            for site in abstract_trace(model.fn, model.data).sites.values()
            if site.kind in ("latent", "deterministic")
        }
        blocks = blocks_of(model)
        effects = {n for n, s in found.items() if blocks[n] == "effect" or any(s.axes)}
        summarised = frozenset(effects if keep == "hyper" else ())
        kept = frozenset(found) - summarised
        return cls(found, blocks, latent_sites(model), kept, summarised, padding)

    def shape(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        """Shape of a site in a data set of given sizes."""
        site = self.sites[name]
        true = {
            plate: size
            for plates, size in zip(self.padding.classes, sizes, strict=True)
            for plate in plates
        }
        pairs = zip(site.shape, site.axes, strict=True)
        return tuple(true.get(plate, size) for size, plate in pairs)

    def judged(
        self, draws: Mapping[str, np.ndarray], sizes: Sequence[Sizes]
    ) -> dict[str, np.ndarray]:
        """Elements of each site that must have converged, (data set, elements).

        Those that `Posterior.diagnostics` judges: sampled sites, and computed ones of up to 1,000
        elements, without what is hidden or repeated.
        """
        found = {}
        for name in self.kept:
            shapes = [self.shape(name, each) for each in sizes]
            if self.blocks[name] == "hidden":
                continue
            values = np.asarray(draws[name])
            merged = np.reshape(values, (-1, *values.shape[2:]))
            counts = np.stack([_inside(values.shape[3:], shape) for shape in shapes])
            if name not in self.latents:
                small = np.array([np.prod(shape) <= LARGEST_COMPUTED for shape in shapes])
                counts &= small[:, None]
            found[name] = counts & _informative(merged)
        return {name: counts for name, counts in found.items() if counts.any()}


def _inside(padded: tuple[int, ...], true: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(padded, dtype=bool)
    inside[tuple(slice(size) for size in true)] = True
    return inside.ravel()
