"""Which latent sites are effects of groups: many, alike, and independent given what they share."""

from hierjax.trace import ModelTrace


def local_sites(trace: ModelTrace) -> tuple[str, ...]:
    """Names of the latent sites in a plate whose distribution depends on other latent sites."""
    return tuple(
        site.name
        for site in trace.sites.values()
        if site.kind == "latent"
        and site.plates
        and any(_is_random(trace, parent) for parent in site.parents)
    )


def _is_random(trace: ModelTrace, name: str) -> bool:
    return name in trace.sites and trace.sites[name].kind in ("latent", "deterministic")
