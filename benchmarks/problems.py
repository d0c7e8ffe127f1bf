"""The table of benchmark problems: real data, one set of priors, and the model written by hand.

A problem gives hierjax a formula or a library design, and NumPyro a function written as a careful
user would write it, centred or non-centred. Both have exactly the priors stated here.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

if TYPE_CHECKING:
    import pandas as pd

    import hierjax as hj


def frame(data: str, response: str, *, new: bool = False) -> "pd.DataFrame":
    """Load packaged data; `new` data of the same shape have a little noise in the response."""
    import hierjax as hj

    table = hj.load_data(data)
    if new:
        values = table[response].astype(float)
        noise = np.random.default_rng(1).normal(size=len(table))
        table[response] = values + 0.1 * values.std() * noise
    return table


@dataclasses.dataclass(frozen=True)
class Slopes:
    """Gaussian regression whose intercept and one slope vary together over one factor.

    Attributes
    ----------
    formula, data, response, covariates, slope, group
        The model, and the columns that it uses.
    priors
        Returns slot -> prior, in hierjax's words.
    """

    formula: str
    data: str
    response: str
    covariates: tuple[str, ...]
    slope: str
    group: str
    priors: Callable[[], dict[str, dist.Distribution]]

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the population coefficients."""
        return ("b_Intercept", *(f"b_{name}" for name in self.covariates))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Sites whose effective sample size counts."""
        of_groups = tuple(f"{kind}_{self.group}" for kind in ("sd", "cor", "r"))
        return (*self.coefficients, *of_groups, "sigma")

    def model(self, table: "pd.DataFrame") -> "hj.Model":
        """Return the hierjax model."""
        import hierjax as hj

        return hj.formula(self.formula, table, priors=self.priors())

    def arguments(self, table: "pd.DataFrame") -> dict[str, np.ndarray]:
        """Return the arrays that the function written by hand takes."""
        columns = [np.ones(len(table)), *(table[name] for name in self.covariates)]
        return {
            "y": table[self.response].to_numpy(float),
            "design": np.column_stack(columns),
            "slope": table[self.slope].to_numpy(float),
            "group": np.unique(table[self.group], return_inverse=True)[1],
        }

    def function(self, table: "pd.DataFrame", centred: bool) -> Callable[..., None]:
        """Return the NumPyro function written by hand."""
        group_name, coefficients = self.group, self.coefficients
        num_groups = table[self.group].nunique()

        def varying_slopes(y: Any, design: Any, slope: Any, group: Any) -> None:
            priors = self.priors()
            b = jnp.stack([numpyro.sample(name, priors[name]) for name in coefficients])
            sd = numpyro.sample(f"sd_{group_name}", priors[f"sd_{group_name}"].expand([2]))
            cholesky = numpyro.sample("cholesky", priors[f"cor_{group_name}"])
            numpyro.deterministic(f"cor_{group_name}", cholesky @ cholesky.T)
            sigma = numpyro.sample("sigma", priors["sigma"])
            scale, effect = sd[:, None] * cholesky, f"r_{group_name}"
            with numpyro.plate("groups", num_groups):
                if centred:
                    normal = dist.MultivariateNormal(jnp.zeros(2), scale_tril=scale)
                    r = numpyro.sample(effect, normal)
                else:
                    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
                    r = numpyro.deterministic(effect, z @ scale.T)
            mean = design @ b + r[group, 0] + r[group, 1] * slope
            numpyro.sample("y", dist.Normal(mean, sigma), obs=y)

        return varying_slopes


@dataclasses.dataclass(frozen=True)
class Schools:
    """Estimates with known standard errors: mu ~ N(0, 5^2), tau ~ half-Cauchy(5)."""

    data: str = "eight_schools"
    response: str = "y"
    parameters: tuple[str, ...] = ("mu", "tau", "theta")

    def model(self, table: "pd.DataFrame") -> "hj.Model":
        """Return the hierjax model."""
        import hierjax as hj

        return hj.library.eight_schools(table["y"], table["sigma"], mu_sd=5.0, tau_scale=5.0)

    def arguments(self, table: "pd.DataFrame") -> dict[str, np.ndarray]:
        """Return the arrays that the function written by hand takes."""
        return {name: table[name].to_numpy(float) for name in ("y", "sigma")}

    def function(self, table: "pd.DataFrame", centred: bool) -> Callable[..., None]:
        """Return the NumPyro function written by hand."""
        num_schools = len(table)

        def schools(y: Any, sigma: Any) -> None:
            mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
            tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
            with numpyro.plate("school", num_schools):
                if centred:
                    theta = numpyro.sample("theta", dist.Normal(mu, tau))
                else:
                    z = numpyro.sample("z", dist.Normal(0.0, 1.0))
                    theta = numpyro.deterministic("theta", mu + tau * z)
                numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

        return schools


def _radon_priors() -> dict[str, dist.Distribution]:
    return {
        "b_Intercept": dist.Normal(1.0, 2.5),
        "b_floor": dist.Normal(0.0, 2.5),
        "b_log_uranium": dist.Normal(0.0, 2.5),
        "sd_county": dist.HalfNormal(1.0),
        "cor_county": dist.LKJCholesky(2, 2.0),
        "sigma": dist.HalfNormal(1.0),
    }


def _sleepstudy_priors() -> dict[str, dist.Distribution]:
    return {
        "b_Intercept": dist.Normal(250.0, 100.0),
        "b_Days": dist.Normal(0.0, 20.0),
        "sd_Subject": dist.HalfNormal(50.0),
        "cor_Subject": dist.LKJCholesky(2, 2.0),
        "sigma": dist.HalfNormal(50.0),
    }


PROBLEMS: dict[str, Slopes | Schools] = {
    "radon": Slopes(
        formula="log_radon ~ floor + log_uranium + (1 + floor | county)",
        data="radon",
        response="log_radon",
        covariates=("floor", "log_uranium"),
        slope="floor",
        group="county",
        priors=_radon_priors,
    ),
    "sleepstudy": Slopes(
        formula="Reaction ~ Days + (1 + Days | Subject)",
        data="sleepstudy",
        response="Reaction",
        covariates=("Days",),
        slope="Days",
        group="Subject",
        priors=_sleepstudy_priors,
    ),
    "eight_schools": Schools(),
}
