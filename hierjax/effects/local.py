"""Which latent sites have a value for each unit of something: many, and alike."""

from hierjax.trace import ModelTrace


def local_sites(trace: ModelTrace) -> tuple[str, ...]:
    """Names of the latent sites in plates, in the order of the model."""
    return tuple(
        site.name for site in trace.sites.values() if site.kind == "latent" and site.plates
    )
