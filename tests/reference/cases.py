"""Posteriors computed elsewhere, as a table: the model with exactly the reference's priors.

A case is one row of `CASES`: how to build the model, how to sample it, and how the reference names
what hierjax calls its sites.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpyro
import numpyro.distributions as dist

import hierjax as hj
from tests.helpers import reference_json

Names = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Case:
    """One reference posterior.

    `folder` is its place in the reference folder; `names(posterior)` gives the draws (chain, draw)
    of every scalar under the reference's name; `slow` ones run with `pytest -m slow`.
    """

    folder: str
    build: Callable[[], "hj.Model"]
    method: "hj.NUTS"
    effects: str
    names: Callable[["hj.Posterior"], Names]
    slow: bool = False


def elements(name: str, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Split a vector site, counting from one: `theta[1]`, `theta[2]`, ..."""
    return {f"{name}[{i + 1}]": draws[..., i] for i in range(draws.shape[-1])}


def eight_schools() -> "hj.Model":
    data = reference_json(f"{EIGHT_SCHOOLS}/data.json")
    return hj.library.eight_schools(data["y"], data["sigma"], mu_sd=5.0, tau_scale=5.0)


def eight_schools_names(posterior: "hj.Posterior") -> Names:
    draws = posterior.draws
    return {"mu": draws["mu"], "tau": draws["tau"], **elements("theta", draws["theta"])}


def radon_variable_intercept(log_radon, floor, county, num_counties):
    """Stan's radon_variable_intercept of posteriordb, with centred county effects."""
    mu_alpha = numpyro.sample("mu_alpha", dist.Normal(0.0, 10.0))
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0))
    sigma_alpha = numpyro.sample("sigma_alpha", dist.HalfNormal(1.0))
    sigma_y = numpyro.sample("sigma_y", dist.HalfNormal(1.0))
    with numpyro.plate("county", num_counties):
        alpha = numpyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
    with numpyro.plate("rows", len(floor)):
        mean = alpha[county] + beta * floor
        numpyro.sample("log_radon", dist.Normal(mean, sigma_y), obs=log_radon)


def radon_hierarchical_intercept(log_radon, log_uppm, floor, county, num_counties):
    """Stan's radon_hierarchical_intercept of posteriordb, with centred county effects."""
    mu_alpha = numpyro.sample("mu_alpha", dist.Normal(0.0, 10.0))
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    sigma_alpha = numpyro.sample("sigma_alpha", dist.HalfNormal(1.0))
    sigma_y = numpyro.sample("sigma_y", dist.HalfNormal(1.0))
    with numpyro.plate("county", num_counties):
        alpha = numpyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
    with numpyro.plate("rows", len(floor)):
        mean = alpha[county] + beta[0] * log_uppm + beta[1] * floor
        numpyro.sample("log_radon", dist.Normal(mean, sigma_y), obs=log_radon)


def radon_data(folder: str) -> dict:
    """posteriordb's radon_mn, whose counties are numbered from one in an order of its own."""
    data = reference_json(f"{folder}/data.json")
    return {
        "log_radon": np.array(data["log_radon"], dtype=float),
        "floor": np.array(data["floor_measure"], dtype=float),
        "log_uppm": np.array(data["log_uppm"], dtype=float),
        "county": np.array(data["county_idx"]) - 1,
        "num_counties": data["J"],
    }


def radon_variable() -> "hj.Model":
    data = radon_data(RADON_VARIABLE)
    del data["log_uppm"]
    return hj.Model(radon_variable_intercept, data)


def radon_hierarchical() -> "hj.Model":
    return hj.Model(radon_hierarchical_intercept, radon_data(RADON_HIERARCHICAL))


def radon_names(posterior: "hj.Posterior") -> Names:
    draws = posterior.draws
    scalars = {name: draws[name] for name in ("mu_alpha", "sigma_alpha", "sigma_y")}
    beta = draws["beta"]
    slopes = {"beta": beta} if beta.ndim == 2 else elements("beta", beta)
    return {**scalars, **slopes, **elements("alpha", draws["alpha"])}


def sleepstudy() -> "hj.Model":
    priors = {
        "b_Intercept": dist.Normal(250.0, 100.0),
        "b_Days": dist.Normal(0.0, 20.0),
        "sd_Subject": dist.HalfNormal(50.0),
        "cor_Subject": dist.LKJCholesky(2, 2.0),
        "sigma": dist.HalfNormal(50.0),
    }
    return hj.formula(
        "Reaction ~ 1 + Days + (1 + Days | Subject)", hj.load_data("sleepstudy"), priors=priors
    )


def sleepstudy_names(posterior: "hj.Posterior") -> Names:
    draws, terms = posterior.draws, ("Intercept", "Days")
    found = {name: draws[name] for name in ("b_Intercept", "b_Days", "sigma")}
    for k, term in enumerate(terms):
        found[f"sd_Subject__{term}"] = draws["sd_Subject"][..., k]
        for j, subject in enumerate(posterior.model.labels["Subject"]):
            found[f"r_Subject[{subject},{term}]"] = draws["r_Subject"][..., j, k]
    return found | {"cor_Subject__Intercept__Days": draws["cor_Subject"][..., 0, 1]}


def intercept_names(posterior: "hj.Posterior") -> Names:
    """Names of a formula model whose groups have varying intercepts alone."""
    found = {}
    for site, draws in posterior.draws.items():
        kind, _, factor = site.partition("_")
        if kind == "sd":
            found[f"{site}__Intercept"] = draws
        elif kind == "r":
            for j, label in enumerate(posterior.model.labels[factor]):
                found[f"{site}[{label},Intercept]"] = draws[..., j]
        elif draws.ndim == 3:
            for k, level in enumerate(posterior.model.labels[factor]):
                found[f"{site}{level}"] = draws[..., k]
        else:
            found[site] = draws
    return found


def cbpp() -> "hj.Model":
    priors = {
        "b_Intercept": dist.Normal(0.0, 2.5),
        "b_period": dist.Normal(0.0, 2.5),
        "sd_herd": dist.HalfNormal(1.0),
    }
    return hj.formula(
        "incidence / size ~ 1 + period + (1 | herd)",
        hj.load_data("cbpp"),
        family="binomial",
        priors=priors,
    )


def bcg() -> "hj.Model":
    frame = hj.load_data("bcg")
    priors = {"b_Intercept": dist.Normal(0.0, 1.0), "sd_trial": dist.HalfNormal(1.0)}
    return hj.formula("yi ~ 1 + (1 | trial)", frame, known_sd="sei", priors=priors)


def bcg_names(posterior: "hj.Posterior") -> Names:
    """Quadrature also gives the effect of each trial, which mixes better than its two parts."""
    found = dict(intercept_names(posterior))
    for trial in posterior.model.labels["trial"]:
        effect = found["b_Intercept"] + found[f"r_trial[{trial},Intercept]"]
        found[f"b_Intercept+r_trial[{trial}]"] = effect
    return found


def penicillin() -> "hj.Model":
    half_t = dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 2.5))
    priors = {"b_Intercept": dist.Normal(20.0, 10.0), "sd": half_t, "sigma": half_t}
    return hj.formula(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", hj.load_data("penicillin"), priors=priors
    )


def pastes() -> "hj.Model":
    priors = {
        "b_Intercept": dist.Normal(60.0, 20.0),
        "sd": dist.HalfNormal(5.0),
        "sigma": dist.HalfNormal(5.0),
    }
    return hj.formula(
        "strength ~ 1 + (1 | batch) + (1 | batch:cask)", hj.load_data("pastes"), priors=priors
    )


EIGHT_SCHOOLS = "posteriordb/eight_schools-eight_schools_noncentered"
RADON_VARIABLE = "posteriordb/radon_mn-radon_variable_intercept_noncentered"
RADON_HIERARCHICAL = "posteriordb/radon_mn-radon_hierarchical_intercept_noncentered"

STEADY = hj.NUTS(target_accept=0.95, draws=2000)

CASES = {
    "eight_schools": Case(
        EIGHT_SCHOOLS,
        eight_schools,
        STEADY,
        "noncentred",
        eight_schools_names,
    ),
    "radon_variable_intercept": Case(
        RADON_VARIABLE, radon_variable, hj.NUTS(), "centred", radon_names
    ),
    "radon_hierarchical_intercept": Case(
        RADON_HIERARCHICAL, radon_hierarchical, hj.NUTS(), "noncentred", radon_names
    ),
    "sleepstudy": Case("bayes/sleepstudy", sleepstudy, hj.NUTS(), "noncentred", sleepstudy_names),
    "cbpp": Case("bayes/cbpp", cbpp, hj.NUTS(), "noncentred", intercept_names, slow=True),
    "bcg": Case("bayes/meta_bcg", bcg, STEADY, "noncentred", bcg_names, slow=True),
    "penicillin": Case(
        "bayes/penicillin", penicillin, STEADY, "noncentred", intercept_names, slow=True
    ),
    "pastes": Case("bayes/pastes", pastes, STEADY, "noncentred", intercept_names, slow=True),
}
