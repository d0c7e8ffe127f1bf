"""Posteriors of counts of groups: plates of seeds, hospitals, pumps."""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist

import hierjax as hj
from hierjax.groups import take
from tests.helpers import reference_json
from tests.reference.expected import EXACT, PUBLISHED, Source
from tests.reference.row import Names, Row, elements, every_element
from tests.reference.rows_formulas import NOT_COVERED, NOT_NORMAL, NUTS, SAMPLERS
from tests.reference.rows_regressions import columns

SEEDS = "posteriordb/seeds_data-seeds_stanified_model"
SURGICAL = "posteriordb/surgical_data-surgical_model"


def germination(germinated, total, x, plate):
    """Binomial counts of plates, each with an effect of its own."""
    alpha = numpyro.sample("alpha", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(1.0))
    with numpyro.plate("plate", len(plate)):
        b = numpyro.sample("b", dist.Normal(0.0, sigma))
    with numpyro.plate("rows", len(plate)):
        logits = x @ alpha + take(b, plate)
        numpyro.sample("germinated", dist.Binomial(total, logits=logits), obs=germinated)


def seeds() -> "hj.Model":
    data = columns(SEEDS)
    x1, x2 = data["x1"], data["x2"]
    return hj.Model(
        germination,
        {
            "germinated": data["n"],
            "total": data["N"],
            "x": np.column_stack([np.ones(len(x1)), x1, x2, x1 * x2]),
            "plate": np.arange(len(x1)),
        },
    )


def seeds_names(posterior: "hj.Posterior") -> Names:
    alpha, b = posterior.draws["alpha"], posterior.draws["b"]
    words = ("alpha0", "alpha1", "alpha2", "alpha12")
    coefficients = {word: alpha[..., k] for k, word in enumerate(words)}
    return {**coefficients, **elements("b", b), "sigma": posterior.draws["sigma"]}


def hospitals() -> dict[str, np.ndarray]:
    """Deaths and operations of posteriordb."""
    data = reference_json(f"{SURGICAL}/data.json")
    return {"deaths": np.array(data["r"]), "operations": np.array(data["n"])}


def surgical() -> "hj.Model":
    data, designs = hospitals(), hj.library
    return designs.binomial_groups(
        data["deaths"],
        data["operations"],
        mu_prior=dist.Normal(0.0, 1000.0),
        sigma_prior=designs.root(dist.InverseGamma(0.001, 0.001)),
    )


def surgical_names(posterior: "hj.Posterior") -> Names:
    draws = posterior.draws
    return {
        "mu": draws["mu"],
        "sigma": draws["sigma"],
        "sigmasq": draws["sigma"] ** 2,
        "pop_mean": np.asarray(jax.nn.sigmoid(draws["mu"])),
        **elements("p", draws["p"]),
    }


def independent(deaths, operations):
    """Rates of hospitals that have nothing to do with one another."""
    with numpyro.plate("hospital", len(deaths)):
        p = numpyro.sample("p", dist.Beta(1.0, 1.0))
        numpyro.sample("deaths", dist.Binomial(operations, probs=p), obs=deaths)


def pumps() -> "hj.Model":
    """Pumps with the priors of the BUGS book, which are the defaults of the design."""
    return hj.library.gamma_poisson(
        y=[5, 1, 5, 14, 3, 19, 1, 1, 4, 22],
        exposure=[94.3, 15.7, 62.9, 126.0, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5],
        alpha_prior=dist.Exponential(1.0),
        beta_prior=dist.Gamma(0.1, 1.0),
    )


ROWS = {
    "seeds": Row(seeds, seeds_names, (Source(SEEDS),), SAMPLERS, NOT_NORMAL),
    "surgical": Row(
        surgical,
        surgical_names,
        (Source(SURGICAL), Source(PUBLISHED, "surgical", 1)),
        SAMPLERS,
        NOT_NORMAL,
    ),
    "surgical_independent": Row(
        lambda: hj.Model(independent, hospitals()),
        every_element,
        (Source(PUBLISHED, "surgical", 0),),
        SAMPLERS,
        NOT_NORMAL,
    ),
    "pumps": Row(
        pumps,
        every_element,
        (
            Source(EXACT, "pumps (alpha~Exp(1), beta~Gamma(.1,1))"),
            Source(PUBLISHED, "pumps", 0),
        ),
        {"nuts": NUTS},
        {**NOT_NORMAL, **NOT_COVERED},
    ),
}
