"""Every design of the library as a problem of calibration: small data, and exact methods for it.

Responses are simulated, so that only the shape of those given here matters. Priors are narrower
than the defaults where data drawn from these would be absurd (rates of 0 or 1 throughout, counts
of millions): what is calibrated is the method on data of the kind that people have.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpyro.distributions as dist

import hierjax as hj
from hierjax.infer.program import Method

SHORT = hj.NUTS(chains=2, warmup=300, draws=300)
SHORTER = hj.NUTS(chains=2, warmup=200, draws=200)
SWEEPS = hj.Gibbs(chains=2, warmup=300, draws=1500)
EXACT_SWEEPS = dataclasses.replace(SWEEPS, updates="conjugate")
IN_TURN = dataclasses.replace(SWEEPS, blocks="factor")


@dataclasses.dataclass(frozen=True)
class Case:
    """One model to simulate from, and the methods that its posterior is drawn with.

    Attributes
    ----------
    design
        Name in `hierjax.library.MODELS`.
    model
        Builds it.
    methods
        Word in the table -> what `hierjax.sbc` is given.
    simulations
        How many.
    sites
        Sites that are ranked; None for all. The log densities always are.
    remark
        What is special; for the table.
    """

    design: str
    model: Callable[[], hj.Model]
    methods: Mapping[str, str | Method]
    simulations: int = 300
    sites: tuple[str, ...] | None = None
    remark: str = ""


def _grid(*sizes: int) -> list[np.ndarray]:
    """Index of each factor of a full crossing."""
    return [part.ravel() for part in np.indices(sizes)]


def _any(count: int) -> np.ndarray:
    """Return responses that vary, to be replaced by simulated ones."""
    return np.linspace(-1.0, 1.0, count)


def _test_scores() -> hj.Model:
    school = np.repeat(np.arange(6), [2, 3, 4, 5, 7, 9])
    return hj.library.test_scores(
        _any(30), school, mu_mean=0.0, mu_sd=2.0,
        sigma2_shape=4.0, sigma2_scale=3.0, tau2_shape=4.0, tau2_scale=3.0,
    )  # fmt: skip


def _basket_trial() -> hj.Model:
    return hj.library.basket_trial(
        [8, 0, 1, 1, 6, 2], [19, 10, 26, 8, 14, 7],
        mu_prior=dist.Normal(-0.5, 1.5),
        sigma_prior=hj.library.root(dist.InverseGamma(2.0, 1.0)),
    )  # fmt: skip


def _meta_arms() -> hj.Model:
    return hj.library.meta_arms(
        events=[4, 6, 12, 17, 3], total=[40, 30, 60, 50, 25],
        control_events=[11, 9, 18, 15, 5], control_total=[40, 35, 60, 45, 25],
        baseline_prior=dist.Normal(-1.0, 1.0), d_prior=dist.Normal(0.0, 1.0),
    )  # fmt: skip


def _gamma_poisson() -> hj.Model:
    return hj.library.gamma_poisson(
        [5, 1, 5, 14, 3, 19, 1, 1], [9.4, 1.6, 6.3, 12.6, 0.5, 3.1, 1.0, 0.2],
        alpha_prior=dist.Gamma(4.0, 2.0), beta_prior=dist.Gamma(4.0, 2.0),
    )  # fmt: skip


def _item_response(parameters: int) -> Callable[[], hj.Model]:
    def build() -> hj.Model:
        person, item = _grid(15, 6) if parameters == 1 else _grid(12, 5)
        given = {"sd_prior": dist.HalfNormal(1.0), "mu_prior": dist.Normal(0.0, 1.0)}
        if parameters == 1:
            given["ability_sd_prior"] = dist.HalfNormal(1.0)
        else:
            given["discrimination_sd_prior"] = dist.HalfNormal(0.5)
        return hj.library.item_response(
            (person + item) % 2, person, item, parameters=parameters, **given
        )

    return build


def _choice() -> hj.Model:
    generator = np.random.default_rng(1)
    person = np.repeat(np.arange(5), 5)
    price, wealth = generator.normal(size=(25, 3)), generator.normal(size=5)[person]
    return hj.library.choice(
        np.arange(25) % 3, {"price": price}, person, {"wealth": wealth},
        alternatives=[0, 1, 2], gamma_sd=1.0, tau_sd=0.7,
    )  # fmt: skip


def _abundance() -> hj.Model:
    species, site = _grid(5, 6)
    return hj.library.abundance(
        np.full(30, 3), species, site, x={"wet": np.linspace(-1.0, 1.0, 6)[site]},
        gamma_sd=0.7, tau_sd=0.5, sd_prior=dist.HalfNormal(0.5),
        shape_prior=dist.LogNormal(1.0, 0.7),
    )  # fmt: skip


def _n_mixture() -> hj.Model:
    species, site = _grid(4, 6)
    counted = np.full((24, 3), 2.0)
    counted[4, 2] = np.nan
    return hj.library.n_mixture(
        counted, species, {"shade": np.linspace(-1.0, 1.0, 6)[site]},
        {"rain": np.random.default_rng(12).normal(size=(24, 3))}, most=80,
        b_sd=0.4, a_sd=0.7, sd_prior=dist.HalfNormal(0.4), detection_sd_prior=dist.HalfNormal(0.4),
    )  # fmt: skip


def _topics() -> hj.Model:
    return hj.library.topics(np.full((8, 5), 5), 2, mixing=1.5, spread=1.5)


def _nested_topics() -> hj.Model:
    return hj.library.nested_topics(
        np.full((9, 5), 5), np.repeat(np.arange(3), 3), 2, mixing=1.5, novelty=1.0, spread=1.5,
        closeness_prior=dist.LogNormal(1.5, 0.5),
    )  # fmt: skip


def _example(name: str) -> Callable[[], hj.Model]:
    return lambda: hj.library.MODELS[name].example()


NUTS: Mapping[str, str | Method] = {"nuts": SHORT}
BOTH: Mapping[str, str | Method] = {"laplace": "laplace", "nuts": SHORT}
ORDER = "topics can be numbered in any order: what is ranked does not depend on it"

CASES: dict[str, Case] = {
    "hierarchical_linear": Case(
        "hierarchical_linear", _example("hierarchical_linear"), {"auto": "auto", "gibbs": SWEEPS}
    ),
    "test_scores": Case(
        "test_scores", _test_scores, {"auto": "auto", "gibbs, conjugate": EXACT_SWEEPS}
    ),
    "eight_schools": Case(
        "eight_schools", _example("eight_schools"),
        {"auto": "auto", "nuts": SHORT, "gibbs, conjugate": EXACT_SWEEPS},
    ),
    "anova": Case("anova", _example("anova"), {"auto": "auto", "gibbs, by factor": IN_TURN}),
    "three_level": Case("three_level", _example("three_level"), {"auto": "auto"}),
    "varying_slopes": Case(
        "varying_slopes", _example("varying_slopes"), {"auto": "auto", "gibbs": SWEEPS}
    ),
    "nested_slopes": Case("nested_slopes", _example("nested_slopes"), {"auto": "auto"}),
    "binomial_groups": Case("binomial_groups", _example("binomial_groups"), BOTH),
    "basket_trial": Case("basket_trial", _basket_trial, BOTH),
    "meta_arms": Case("meta_arms", _meta_arms, BOTH),
    "gamma_poisson": Case("gamma_poisson", _gamma_poisson, NUTS),
    "item_response": Case(
        "item_response", _item_response(1), NUTS, 200, remark="one parameter an item"
    ),
    "item_response, discriminating": Case(
        "item_response", _item_response(2), NUTS, 100, remark="two parameters an item"
    ),
    "choice": Case("choice", _choice, {"nuts": SHORTER}, 200),
    "abundance": Case("abundance", _abundance, NUTS, 200),
    "n_mixture": Case("n_mixture", _n_mixture, NUTS, 200, remark="one visit was not made"),
    "poststratification": Case("poststratification", _example("poststratification"), NUTS, 200),
    "topics": Case("topics", _topics, NUTS, 200, sites=(), remark=ORDER),
    "nested_topics": Case(
        "nested_topics", _nested_topics, NUTS, 200, sites=("closeness",), remark=ORDER
    ),
}  # fmt: skip
