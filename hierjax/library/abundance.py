"""Counts of species at sites, also over years: how species answer a gradient, and how they vary."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike

from hierjax import checks
from hierjax.groups import take
from hierjax.library.columns import column, counts, design_matrix, positive, spreads
from hierjax.library.factors import group_index
from hierjax.library.priors import hyper, hypers, prior_of
from hierjax.model import Model

FAMILIES = ("poisson", "negative_binomial")


def abundance_model(
    y: ArrayLike | None,
    x: ArrayLike,
    offset: ArrayLike,
    species: ArrayLike,
    site: ArrayLike,
    year: ArrayLike | None,
    num_species: int,
    num_sites: int,
    num_years: int | None,
    gamma_mean: ArrayLike,
    gamma_sd: ArrayLike,
    tau_sd: ArrayLike,
    correlation: ArrayLike,
    sd_prior: dist.Distribution,
    shape_prior: dist.Distribution | None,
) -> None:
    r"""Abundance of species, with effects of species, site and year.

    .. math::

        \log \lambda_{sit} = o_{sit} + x_{it}^\top \beta_s + u_i + v_t, \qquad
        \beta_s \sim N(\gamma, \operatorname{diag}(\tau) \Omega \operatorname{diag}(\tau)), \qquad
        u_i \sim N(0, \sigma_u^2), \quad v_t \sim N(0, \sigma_v^2)

    and :math:`y_{sit} \sim \text{Poisson}(\lambda_{sit})`, or negative binomial with variance
    :math:`\lambda + \lambda^2 / \phi`.

    Parameters
    ----------
    y
        Counts, shape (rows,); `None` draws them from the prior.
    x
        Predictors, the first one the constant 1, shape (rows, k).
    offset
        Log of the effort of each row, shape (rows,).
    species, site, year
        Index of the species, site and year of each row, shape (rows,); None for no years.
    num_species, num_sites, num_years
        Numbers of them.
    gamma_mean, gamma_sd
        Means and sds of the priors of the mean coefficients, shape (k,).
    tau_sd
        Scales of the half-normal priors of the sds between species, shape (k,).
    correlation
        Concentration of the LKJ prior of :math:`\Omega`.
    sd_prior
        Prior of the sds between sites and between years.
    shape_prior
        Prior of :math:`\phi`; None for Poisson counts.
    """
    gamma: Any = numpyro.sample("gamma", dist.Normal(gamma_mean, gamma_sd).to_event(1))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(tau_sd).to_event(1))
    cholesky: Any = numpyro.sample("L", dist.LKJCholesky(np.shape(tau_sd)[0], correlation))
    numpyro.deterministic("cor", cholesky @ cholesky.T)
    with numpyro.plate("species", num_species):
        prior = dist.MultivariateNormal(gamma[None], scale_tril=tau[:, None] * cholesky)
        beta = numpyro.sample("beta", prior)
    log_mean = offset + (take(beta, species) * x).sum(-1)
    log_mean = log_mean + _effect("site", site, num_sites, sd_prior)
    if year is not None and num_years is not None:
        log_mean = log_mean + _effect("year", year, num_years, sd_prior)
    counted = dist.Poisson(jnp.exp(log_mean))
    if shape_prior is not None:
        shape = numpyro.sample("shape", shape_prior)
        counted = dist.NegativeBinomial2(jnp.exp(log_mean), shape)
    with numpyro.plate("rows", np.shape(species)[0]):
        numpyro.sample("y", counted, obs=y)


def _effect(name: str, index: ArrayLike, size: int, prior: dist.Distribution) -> Any:
    """Effect of one factor on every row."""
    sd = numpyro.sample(f"sd_{name}", prior)
    with numpyro.plate(name, size):
        effect = numpyro.sample(f"r_{name}", dist.Normal(0.0, sd))
    return take(effect, index)


def abundance(
    y: Any,
    species: Any,
    site: Any,
    year: Any = None,
    x: Any = None,
    *,
    effort: Any = None,
    family: str = "negative_binomial",
    gamma_mean: Any = None,
    gamma_sd: Any = None,
    tau_sd: Any = None,
    correlation: float = 2.0,
    sd_prior: dist.Distribution | None = None,
    shape_prior: dist.Distribution | None = None,
) -> Model:
    """Model of counts `y` of species at sites (and in years), with a response of each to `x`.

    Each species has an intercept (how common it is) and a slope for each predictor, correlated,
    around the community's mean; sites and years have effects that all species share. One species
    alone is a formula: `y ~ x + (1 | site) + (1 | year)` with `family="negative_binomial"`.

    Parameters
    ----------
    y
        Counts, shape (rows,). Absences are rows with a count of zero.
    species, site, year
        Label of the species, site and year of each row, shape (rows,); `year` may be left out.
    x
        Predictors, such as a gradient of sites: a vector, a matrix (rows, k), a data frame or a
        mapping of names to columns.
    effort
        Area or time that was searched, above zero, shape (rows,); by default all equal.
    family
        "negative_binomial" or "poisson".
    gamma_mean, gamma_sd
        Means and sds of the normal priors of `gamma`, one or one each, the intercept first. By
        default the log of the mean count per effort for the intercept and zero for the rest, and
        2.5 over the sd of the predictor.
    tau_sd
        Scales of the half-normal priors of the sds between species; by default 1.5 over the sd of
        the predictor.
    correlation
        Concentration of the LKJ prior of the correlation of intercepts and slopes of species.
    sd_prior
        Prior of the sds of sites and years on the log scale; by default HalfNormal(1).
    shape_prior
        Prior of the negative binomial's `shape`; by default LogNormal(1, 1.5).

    Returns
    -------
    Model
        Sites `gamma`, `tau`, `L` and `cor`, `beta` (a row per species), `sd_site`, `r_site`,
        `sd_year` and `r_year` (with years), `shape` (negative binomial) and the observed `y`.

    Raises
    ------
    DataError
        Lengths differ, a count is missing, negative or not whole, a predictor is constant, or a
        factor has one level only; the message names argument and rows.
    PriorError
        A prior is no distribution of one positive number.

    References
    ----------
    Jamil, Ozinga, Kleyer and ter Braak (2013), Journal of Vegetation Science 24, 988-1000; Kery
    and Royle (2016), Applied Hierarchical Modeling in Ecology, chapter 11.
    """
    checks.one_of("family", family, FAMILIES)
    y = counts("y", y)
    columns, terms = design_matrix("x", x, len(y))
    effort = np.ones(len(y)) if effort is None else column("effort", effort, len(y))
    scale = 1.0 / np.concatenate([[1.0], spreads(columns, terms)])
    mean = np.zeros(len(terms) + 1)
    mean[0] = np.log(max(float(y.sum()), 0.5) / effort.sum())
    labels: dict[str, Any] = {}
    data: dict[str, Any] = {"year": None, "num_years": None, "shape_prior": None}
    factors = {"species": species, "site": site} | ({} if year is None else {"year": year})
    for name, values in factors.items():
        data[name], labels[name] = group_index(values, len(y), name)
    data |= {
        "y": y,
        "x": np.column_stack([np.ones(len(y)), columns]),
        "offset": np.log(positive("effort", effort)),
        "num_species": len(labels["species"]),
        "num_sites": len(labels["site"]),
        "gamma_mean": hypers("gamma_mean", gamma_mean, mean, above_zero=False),
        "gamma_sd": hypers("gamma_sd", gamma_sd, 2.5 * scale),
        "tau_sd": hypers("tau_sd", tau_sd, 1.5 * scale),
        "correlation": hyper("correlation", correlation),
        "sd_prior": prior_of("sd_prior", sd_prior, dist.HalfNormal(1.0), above_zero=True),
    }
    blocks = {"gamma": "coefficient", "tau": "level", "L": "hidden", "beta": "effect"}
    blocks |= {"sd_site": "level", "r_site": "effect"}
    if year is not None:
        data["num_years"] = len(labels["year"])
        blocks |= {"sd_year": "level", "r_year": "effect"}
    if family == "negative_binomial":
        default = dist.LogNormal(1.0, 1.5)
        data["shape_prior"] = prior_of("shape_prior", shape_prior, default, above_zero=True)
        blocks |= {"shape": "other"}
    vectors = {name: ("term",) for name in ("gamma", "tau", "beta")}
    return Model(
        abundance_model,
        data,
        labels=labels | {"term": ["Intercept", *terms]},
        dims=vectors | {"cor": ("term", "term")},
        blocks=blocks,
        name="abundance",
    )


def example() -> Model:
    """Return a small model: 6 simulated species at 8 sites in 3 years, along a gradient."""
    generator = np.random.default_rng(11)
    species, site, year = (part.ravel() for part in np.indices((6, 8, 3)))
    wet = np.linspace(-1.0, 1.0, 8)[site]
    lines = generator.normal([1.0, 0.0], [0.8, 0.8], size=(6, 2))[species]
    shared = 0.4 * generator.normal(size=8)[site] + 0.3 * generator.normal(size=3)[year]
    rate = np.exp(lines[:, 0] + lines[:, 1] * wet + shared)
    return abundance(
        generator.negative_binomial(3.0, 3.0 / (3.0 + rate)), species, site, year, {"wet": wet}
    )
