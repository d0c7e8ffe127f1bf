"""The problems as functions written by hand in NumPyro, centred and non-centred.

Written as a careful user would, with NumPyro and JAX alone: nothing of hierjax is used, so that the
comparison is with the library and not with us.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

if TYPE_CHECKING:
    from hierjax.bench.problems import Priors


def schools(mu_sd: float, tau_scale: float, num_schools: int, centred: bool) -> Callable[..., None]:
    """Return the model of estimates with known standard errors."""

    def eight_schools(y: Any, sigma: Any) -> None:
        mu: Any = numpyro.sample("mu", dist.Normal(0.0, mu_sd))
        tau: Any = numpyro.sample("tau", dist.HalfCauchy(tau_scale))
        with numpyro.plate("school", num_schools):
            if centred:
                theta = numpyro.sample("theta", dist.Normal(mu, tau))
            else:
                z: Any = numpyro.sample("z", dist.Normal(0.0, 1.0))
                theta = numpyro.deterministic("theta", mu + tau * z)
            numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

    return eight_schools


def mixed_model(
    *,
    family: str,
    priors: "Priors",
    widths: Mapping[str, int | None],
    factors: tuple[tuple[str, bool], ...],
    sizes: tuple[int, ...],
    centred: bool,
) -> Callable[..., None]:
    """Return a regression with normal group effects.

    Parameters
    ----------
    family, priors
        As in the table of problems.
    widths
        Site of each coefficient -> its length, None for a single number.
    factors, sizes
        Name of each grouping factor and whether a slope varies with the intercept; its groups.
    centred
        Whether effects are sampled as they are, or as standardised deviations.
    """

    def regression(
        y: Any, design: Any, groups: tuple[Any, ...], slopes: tuple[Any, ...], trials: Any = None
    ) -> None:
        mean = design @ _coefficients(widths, priors)
        for (name, has_slope), size, group, slope in zip(
            factors, sizes, groups, slopes, strict=True
        ):
            if has_slope:
                effect = _slopes(name, size, priors, centred)[group]
                mean = mean + effect[:, 0] + effect[:, 1] * slope
            else:
                mean = mean + _intercepts(name, size, priors, centred)[group]
        _likelihood(family, mean, priors, y, trials)

    return regression


def _coefficients(widths: Mapping[str, int | None], priors: "Priors") -> Any:
    values = []
    for site, width in widths.items():
        prior = dist.Normal(0.0, priors.slopes)
        if site == "b_Intercept":
            prior = dist.Normal(*priors.intercept)
        if width is not None:
            prior = prior.expand([width]).to_event(1)
        values.append(jnp.atleast_1d(numpyro.sample(site, prior)))
    return jnp.concatenate(values)


def _intercepts(name: str, size: int, priors: "Priors", centred: bool) -> Any:
    """Return one normal effect of each group."""
    sd: Any = numpyro.sample(f"sd_{name}", dist.HalfNormal(priors.sd))
    with numpyro.plate(f"groups of {name}", size):
        if centred:
            return numpyro.sample(f"r_{name}", dist.Normal(0.0, sd))
        z: Any = numpyro.sample(f"z_{name}", dist.Normal(0.0, 1.0))
        return numpyro.deterministic(f"r_{name}", sd * z)


def _slopes(name: str, size: int, priors: "Priors", centred: bool) -> Any:
    """Return a correlated intercept and slope of each group."""
    sd: Any = numpyro.sample(f"sd_{name}", dist.HalfNormal(priors.sd).expand([2]).to_event(1))
    cholesky: Any = numpyro.sample(f"L_{name}", dist.LKJCholesky(2, priors.concentration))
    numpyro.deterministic(f"cor_{name}", cholesky @ cholesky.T)
    scale = sd[:, None] * cholesky
    with numpyro.plate(f"groups of {name}", size):
        if centred:
            normal = dist.MultivariateNormal(jnp.zeros(2), scale_tril=scale)
            return numpyro.sample(f"r_{name}", normal)
        z: Any = numpyro.sample(f"z_{name}", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        return numpyro.deterministic(f"r_{name}", z @ scale.T)


def _likelihood(family: str, mean: Any, priors: "Priors", y: Any, trials: Any) -> None:
    if family == "gaussian":
        sigma: Any = numpyro.sample("sigma", dist.HalfNormal(priors.sigma))
        likelihood = dist.Normal(mean, sigma)
    elif family == "binomial":
        likelihood = dist.Binomial(trials, logits=mean)
    else:
        likelihood = dist.Poisson(jnp.exp(mean))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", likelihood, obs=y)
