"""Posteriors of normal responses in groups, as NumPyro functions or designs of the library."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd

import hierjax as hj
from hierjax.groups import take
from tests.helpers import reference
from tests.reference import cases
from tests.reference.expected import EXACT, PUBLISHED, Source
from tests.reference.row import Names, Row, every_element
from tests.reference.rows_formulas import GAUSSIAN
from tests.reference.rows_regressions import columns

RATS = "posteriordb/rats_data-rats_model"
LONG_TAIL = (
    "the variance between six batches has so long a tail that a mean and an sd of draws have no "
    "Monte Carlo error to speak of; its quantiles are compared, and those, mean and sd of its root"
)
MIDDLE_DAY = 22.0
# Rats (from, to) of Gelfand et al. (1990), and how many of their last weights they take away.
TAKEN_AWAY = {(6, 10): 1, (11, 20): 2, (21, 25): 3, (26, 30): 4}


def growth(weight, day, rat, num_rats, mean_sd, sd_prior):
    """A line for every rat, intercept at the middle day and slope independent of one another."""
    means = dist.Normal(0.0, mean_sd)
    mu_alpha = numpyro.sample("mu_alpha", means)
    mu_beta = numpyro.sample("mu_beta", means)
    sigma_alpha = numpyro.sample("sigma_alpha", sd_prior)
    sigma_beta = numpyro.sample("sigma_beta", sd_prior)
    sigma_y = numpyro.sample("sigma_y", sd_prior)
    with numpyro.plate("rat", num_rats):
        alpha = numpyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
        beta = numpyro.sample("beta", dist.Normal(mu_beta, sigma_beta))
    with numpyro.plate("rows", len(weight)):
        mean = take(alpha, rat) + take(beta, rat) * day
        numpyro.sample("weight", dist.Normal(mean, sigma_y), obs=weight)


def rats(mean_sd: float, sd_prior: dist.Distribution, missing: bool = False) -> "hj.Model":
    data = columns(RATS)
    weights = pd.DataFrame({"rat": data["rat"], "day": data["x"], "weight": data["y"]})
    if missing:
        weights = weights[weights.day <= weights.rat.map(last_day)]
    return hj.Model(
        growth,
        {
            "weight": weights.weight.to_numpy(float),
            "day": weights.day.to_numpy(float) - MIDDLE_DAY,
            "rat": weights.rat.to_numpy() - 1,
            "num_rats": 30,
            "mean_sd": mean_sd,
            "sd_prior": sd_prior,
        },
    )


def last_day(rat: int) -> int:
    """Last day on which a rat is weighed where weights were taken away."""
    taken = [number for (low, high), number in TAKEN_AWAY.items() if low <= rat <= high]
    return 36 - 7 * sum(taken)


def bugs_sd() -> dist.Distribution:
    """Prior of an sd whose precision is Gamma(0.001, 0.001)."""
    return hj.library.root(dist.InverseGamma(0.001, 0.001))


def rats_names(posterior: "hj.Posterior") -> Names:
    found = dict(every_element(posterior))
    found["alpha0"] = found["mu_alpha"] - MIDDLE_DAY * found["mu_beta"]
    return found | {"beta.c": found["mu_beta"], "sigma": found["sigma_y"]}


def missing_names(posterior: "hj.Posterior") -> Names:
    """Predict the weights of rat 26 on days 15 to 36, each with noise of its own."""
    found = dict(rats_names(posterior))
    noise = np.random.default_rng(5).normal(size=(4, *found["sigma"].shape))
    for k, day in enumerate((15.0, 22.0, 29.0, 36.0)):
        mean = found["alpha[26]"] + found["beta[26]"] * (day - MIDDLE_DAY)
        found[f"Y[26,{k + 2}]"] = mean + found["sigma"] * noise[k]
    return found


def dyes() -> "hj.Model":
    """Batches of dyestuff with the priors of the BUGS book."""
    frame = hj.load_data("dyestuff")
    tiny = dict.fromkeys(("sigma2_shape", "sigma2_scale", "tau2_shape", "tau2_scale"), 0.001)
    return hj.library.test_scores(frame.Yield, frame.Batch, mu_mean=0.0, mu_sd=1e5, **tiny)


def dyes_names(posterior: "hj.Posterior") -> Names:
    draws = posterior.draws
    between, within = draws["tau2"], draws["sigma2"]
    return {
        "theta": draws["mu"],
        "var_between": between,
        "var_within": within,
        "sd_between": between**0.5,
        "sd_within": within**0.5,
        "sigma2.btw": between,
        "sigma2.with": within,
    }


def schools(y, sigma):
    """Eight schools as the Inference Gym has them: a normal log of the sd."""
    average = numpyro.sample("avg_effect", dist.Normal(0.0, 10.0))
    log_sd = numpyro.sample("log_stddev", dist.Normal(5.0, 1.0))
    with numpyro.plate("school", len(y)):
        effects = numpyro.sample("school_effects", dist.Normal(average, np.e**log_sd))
        numpyro.sample("y", dist.Normal(effects, sigma), obs=y)


def gym_schools() -> "hj.Model":
    frame = pd.read_csv(reference("csv/eight_schools.csv"))
    return hj.Model(schools, {"y": frame.y.to_numpy(float), "sigma": frame.sigma.to_numpy(float)})


def contextual(log_radon, x, county, num_counties):
    """Radon with three predictors of houses and counties, and effects of counties."""
    mean = numpyro.sample("county_effect_mean", dist.Normal(0.0, 1.0))
    scale = numpyro.sample("county_effect_scale", dist.Uniform(0.0, 100.0))
    weight = numpyro.sample("weight", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    noise = numpyro.sample("log_radon_scale", dist.Uniform(0.0, 100.0))
    with numpyro.plate("county", num_counties):
        effect = numpyro.sample("county_effect", dist.Normal(mean, scale))
    with numpyro.plate("rows", len(county)):
        location = x @ weight + take(effect, county)
        numpyro.sample("log_radon", dist.Normal(location, noise), obs=log_radon)


def gym_radon() -> "hj.Model":
    frame = pd.read_csv(reference("csv/radon_mn.csv"))
    # The Inference Gym sorts ST LOUIS before STEARNS.
    spelt = frame.county.replace("STLOUIS", "ST LOUIS")
    counties, county = np.unique(spelt, return_inverse=True)
    return hj.Model(
        contextual,
        {
            "log_radon": frame.log_radon_gh.to_numpy(float),
            "x": frame[["log_uranium", "floor", "floor_by_county"]].to_numpy(float),
            "county": county,
            "num_counties": len(counties),
        },
    )


def from_zero(posterior: "hj.Posterior") -> Names:
    return every_element(posterior, first=0)


ROWS = {
    "eight_schools": Row(
        cases.eight_schools,
        cases.eight_schools_names,
        (Source(cases.EIGHT_SCHOOLS), Source(EXACT, "eight_schools (posteriordb priors)")),
        GAUSSIAN,
    ),
    "radon_variable_intercept": Row(
        cases.radon_variable, cases.radon_names, (Source(cases.RADON_VARIABLE),), GAUSSIAN
    ),
    "radon_hierarchical_intercept": Row(
        cases.radon_hierarchical, cases.radon_names, (Source(cases.RADON_HIERARCHICAL),), GAUSSIAN
    ),
    "rats": Row(
        # The reference took this for the flat priors of posteriordb.
        lambda: rats(100.0, dist.HalfNormal(1e5)),
        rats_names,
        (Source(RATS),),
        GAUSSIAN,
    ),
    "rats_bugs": Row(
        lambda: rats(1000.0, bugs_sd()), rats_names, (Source(PUBLISHED, "rats", 0),), GAUSSIAN
    ),
    "rats_missing": Row(
        lambda: rats(1000.0, bugs_sd(), missing=True),
        missing_names,
        (
            Source(
                PUBLISHED,
                "rats",
                1,
                left_out={"beta.c": ("mean", "q50", "q2.5", "q97.5")},
                because="the table has 6.576, a Gibbs sampler in NumPy 6.546 (`test_rats.py`): 12 "
                "of the table's standard errors; sd and predictions are as they should be",
            ),
        ),
        GAUSSIAN,
    ),
    "dyes": Row(
        dyes,
        dyes_names,
        (
            Source(
                EXACT,
                "bugs_dyes (theta~N(0,1e5), precisions Gamma(.001,.001))",
                left_out={"var_between": ("mean", "sd")},
                because=LONG_TAIL,
            ),
            Source(
                PUBLISHED,
                "dyes",
                0,
                left_out={"sigma2.btw": ("mean", "sd")},
                because=LONG_TAIL,
            ),
        ),
        {method: GAUSSIAN[method] for method in ("laplace", "gibbs")},
        {"nuts": "the log of the variance between batches has a flat tail with a wall at the end"},
    ),
    "schools_inference_gym": Row(
        gym_schools,
        from_zero,
        (Source("tfp_inference_gym/eight_schools.json"),),
        GAUSSIAN,
    ),
    "radon_inference_gym": Row(
        gym_radon,
        from_zero,
        (Source("tfp_inference_gym/radon_contextual_effects_minnesota.json"),),
        GAUSSIAN,
    ),
}
