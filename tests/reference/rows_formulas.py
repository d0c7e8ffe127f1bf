"""Posteriors of formulas: those of the folder's generic mixed model, and the seeds of BUGS."""

import numpy as np
import numpyro.distributions as dist
import pandas as pd

import hierjax as hj
from tests.helpers import reference
from tests.reference import cases
from tests.reference.expected import EXACT, PUBLISHED, Source
from tests.reference.row import Names, Row

NOT_NORMAL = {"gibbs": "the response is not normal"}
NOT_COVERED = {"laplace": "with 12 parameters or more left it does not cover the posterior"}


def bcg_names(posterior: "hj.Posterior") -> Names:
    """Names of the sampled posterior, and those of the quadrature in another file."""
    found = dict(cases.bcg_names(posterior))
    found |= {"mu": found["b_Intercept"], "tau": found["sd_trial__Intercept"]}
    for trial in posterior.model.labels["trial"]:
        found[f"theta[{trial}]"] = found[f"b_Intercept+r_trial[{trial}]"]
    return found


def seeds() -> "hj.Model":
    """Plates of seeds with the priors of the BUGS book."""
    flat = dist.Normal(0.0, 1000.0)
    priors = {"b_Intercept": flat, "b": flat, "sd_plate": dist.Uniform(0.0, 10.0)}
    return hj.formula(
        "germinated / total ~ 1 + seed * extract + (1 | plate)",
        pd.read_csv(reference("csv/seeds.csv"), dtype={"plate": str}),
        family="binomial",
        priors=priors,
    )


def seeds_names(posterior: "hj.Posterior") -> Names:
    words = {
        "alpha0": "b_Intercept",
        "alpha1": "b_seed",
        "alpha2": "b_extract",
        "alpha12": "b_seed:extract",
        "sigma": "sd_plate",
    }
    return {theirs: np.asarray(posterior.draws[ours]) for theirs, ours in words.items()}


# So many draws that 4 standard errors of a quantile are hardly more than 0.1 sd: compilation takes
# most of the time.
NUTS, LAPLACE = hj.NUTS(draws=2500), hj.Laplace(points=3000, draws=10_000)
SAMPLERS = {"nuts": NUTS, "laplace": LAPLACE}
GAUSSIAN = {**SAMPLERS, "gibbs": hj.Gibbs(draws=2500)}


ROWS = {
    "sleepstudy": Row(
        cases.sleepstudy, cases.sleepstudy_names, (Source("bayes/sleepstudy"),), GAUSSIAN
    ),
    "penicillin": Row(
        cases.penicillin,
        cases.intercept_names,
        (
            Source("bayes/penicillin"),
            Source(EXACT, "penicillin (formula and priors: bayes/penicillin/info.json)"),
        ),
        GAUSSIAN,
    ),
    "pastes": Row(
        cases.pastes,
        cases.intercept_names,
        (
            Source("bayes/pastes"),
            Source(EXACT, "pastes (formula and priors: bayes/pastes/info.json)"),
        ),
        GAUSSIAN,
    ),
    "bcg": Row(
        cases.bcg,
        bcg_names,
        (
            Source("bayes/meta_bcg"),
            Source(EXACT, "meta_bcg (mu~N(0,1), tau~half-Normal(0,1))"),
        ),
        GAUSSIAN,
    ),
    "cbpp": Row(
        cases.cbpp,
        cases.intercept_names,
        (Source("bayes/cbpp"),),
        SAMPLERS,
        NOT_NORMAL,
    ),
    "seeds_bugs": Row(
        seeds,
        seeds_names,
        (
            Source(PUBLISHED, "seeds", 0),
            Source(
                PUBLISHED,
                "seeds",
                1,
                left_out={"sigma": ("q2.5",)},
                because="the two tables are of one posterior, and have 0.090 and 0.053: this one "
                "is of the sampler that sticks near zero, so its errors are larger than it says",
            ),
        ),
        SAMPLERS,
        NOT_NORMAL,
    ),
}
