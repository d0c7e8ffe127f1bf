"""The prior of deviations, or of standard normals, as the conditional-Gaussian core wants it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.effects.design import Layout
from hierjax.effects.gaussian import EffectSite, Gaussian
from hierjax.linalg import Prior, Structure


def unit_prior(structure: Structure) -> Prior:
    """Prior of standard normal effects and coefficients."""
    scales = tuple(jnp.eye(factor.effects) for factor in structure.factors)
    return Prior(scales, jnp.ones(structure.columns) if structure.columns else None)


def deviation_prior(
    layout: Layout, gaussians: Mapping[str, Gaussian], known: Mapping[str, Any]
) -> Prior:
    """Prior of the deviations of Gaussian sites from their location.

    Parameters
    ----------
    layout
        Factors and columns.
    gaussians
        Location and root of each Gaussian site.
    known
        Values of the columns that are not Gaussian sites: they get a scale of zero.
    """
    scales = tuple(
        _block_diagonal([gaussians[site.name].scale() for site in sites])
        for sites in layout.factors
    )
    if not layout.columns:
        return Prior(scales)
    scale, mean = column_scale(layout, gaussians, known)
    return Prior(scales, scale, column_mean=mean)


def column_scale(
    layout: Layout, gaussians: Mapping[str, Gaussian], known: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Root of the prior covariance of all columns, (p,) or (p, p), and their prior mean (p,)."""
    scales, means = [], []
    for site in layout.columns:
        if site.name in gaussians:
            scales.append(_column_scale(site, gaussians[site.name]))
            means.append(jnp.zeros(site.size))
        else:
            scales.append(jnp.zeros(site.size))
            means.append(jnp.ravel(known[site.name]))
    mean = jnp.concatenate(means)
    if all(scale.ndim == 1 for scale in scales):
        return jnp.concatenate(scales), mean
    square = [jnp.diag(scale) if scale.ndim == 1 else scale for scale in scales]
    return jax.scipy.linalg.block_diag(*square), mean


def _column_scale(site: EffectSite, gaussian: Gaussian) -> Array:
    root = gaussian.root
    if root.ndim == 2:
        return jnp.ravel(jnp.broadcast_to(root, (site.groups, site.width)))
    blocks = jnp.broadcast_to(root, (site.groups, site.width, site.width))
    return jax.scipy.linalg.block_diag(*blocks)


def _block_diagonal(scales: list[Array]) -> Array:
    """Put the scales of several sites on one factor together, (q, q) or (q, q, J)."""
    if len(scales) == 1:
        return scales[0]
    if all(scale.ndim == 2 for scale in scales):
        return jax.scipy.linalg.block_diag(*scales)
    groups = max(scale.shape[-1] for scale in scales if scale.ndim == 3)
    full = [
        jnp.broadcast_to(
            scale[:, :, None] if scale.ndim == 2 else scale, (*scale.shape[:2], groups)
        )
        for scale in scales
    ]
    return jax.vmap(jax.scipy.linalg.block_diag, in_axes=-1, out_axes=-1)(*full)
