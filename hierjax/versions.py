"""The packages that what a fit gives depends on, and their versions."""

import importlib.metadata

PACKAGES = ("hierjax", "jax", "numpyro", "blackjax", "optax")


def installed_versions() -> dict[str, str]:
    """Return the version of each package whose change may change draws."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
