"""Posteriors of models without groups: three regressions, and a Gaussian process of counts."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

import hierjax as hj
from tests.helpers import reference_json
from tests.reference.expected import Source
from tests.reference.row import Row, every_element
from tests.reference.rows_formulas import GAUSSIAN, NOT_COVERED, NOT_NORMAL, SAMPLERS

KIDIQ = "posteriordb/kidiq-kidscore_momhsiq"
KILPISJARVI = "posteriordb/kilpisjarvi_mod-kilpisjarvi"
NES = "posteriordb/nes2000-nes"
FLAT = {"gibbs": "no site has a normal prior (they are flat), so it is refused"}
GAUSSIAN_PROCESS = "posteriordb/gp_pois_regr-gp_pois_regr"


def columns(folder: str) -> dict[str, np.ndarray]:
    """Return data.json of a posterior as arrays."""
    return {
        name: np.array(values) for name, values in reference_json(f"{folder}/data.json").items()
    }


def flat(size: int) -> dist.Distribution:
    return dist.ImproperUniform(constraints.real_vector, (), (size,))


def flat_positive() -> dist.Distribution:
    return dist.ImproperUniform(constraints.positive, (), ())


def regression(y, x, sigma_prior):
    """Normal regression with flat coefficients."""
    beta = numpyro.sample("beta", flat(x.shape[1]))
    sigma = numpyro.sample("sigma", sigma_prior)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)


def kidiq() -> "hj.Model":
    data = columns(KIDIQ)
    x = np.column_stack([np.ones(data["N"]), data["mom_hs"], data["mom_iq"]])
    y = data["kid_score"].astype(float)
    return hj.Model(regression, {"y": y, "x": x, "sigma_prior": dist.HalfCauchy(2.5)})


def nes() -> "hj.Model":
    data = columns(NES)
    ages = [data["age_discrete"] == age for age in (2, 3, 4)]
    others = [data[name] for name in ("educ1", "gender", "income")]
    x = np.column_stack([np.ones(data["N"]), data["real_ideo"], data["race_adj"], *ages, *others])
    y = data["partyid7"].astype(float)
    return hj.Model(regression, {"y": y, "x": x, "sigma_prior": flat_positive()})


def line(y, x, alpha_mean, alpha_sd, beta_mean, beta_sd):
    """Normal regression on one predictor, far from zero."""
    alpha = numpyro.sample("alpha", dist.Normal(alpha_mean, alpha_sd))
    beta = numpyro.sample("beta", dist.Normal(beta_mean, beta_sd))
    sigma = numpyro.sample("sigma", flat_positive())
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(alpha + beta * x, sigma), obs=y)


def kilpisjarvi() -> "hj.Model":
    data = columns(KILPISJARVI)
    return hj.Model(
        line,
        {
            "y": data["y"],
            "x": data["x"].astype(float),
            "alpha_mean": float(data["pmualpha"]),
            "alpha_sd": float(data["psalpha"]),
            "beta_mean": float(data["pmubeta"]),
            "beta_sd": float(data["psbeta"]),
        },
    )


def gaussian_process(counts, x):
    """Counts whose log rates are a Gaussian process with a squared exponential kernel."""
    rho = numpyro.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2.0))
    standard = numpyro.sample("f_tilde", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1))
    squares = (x[:, None] - x[None, :]) ** 2
    kernel = alpha**2 * jnp.exp(-0.5 * squares / rho**2) + 1e-10 * jnp.eye(len(x))
    f = numpyro.deterministic("f", jnp.linalg.cholesky(kernel) @ standard)
    with numpyro.plate("rows", len(x)):
        numpyro.sample("counts", dist.Poisson(jnp.exp(f)), obs=counts)


def gaussian_process_counts() -> "hj.Model":
    data = columns(GAUSSIAN_PROCESS)
    return hj.Model(
        gaussian_process,
        {"counts": data["k"].astype(np.int64), "x": data["x"].astype(float)},
    )


ROWS = {
    "kidiq": Row(kidiq, every_element, (Source(KIDIQ),), SAMPLERS, FLAT),
    "kilpisjarvi": Row(kilpisjarvi, every_element, (Source(KILPISJARVI),), GAUSSIAN),
    "nes": Row(nes, every_element, (Source(NES),), SAMPLERS, FLAT),
    "gaussian_process": Row(
        gaussian_process_counts,
        every_element,
        (Source(GAUSSIAN_PROCESS),),
        {"nuts": hj.NUTS(target_accept=0.95, draws=1500)},
        {**NOT_NORMAL, **NOT_COVERED},
    ),
}
