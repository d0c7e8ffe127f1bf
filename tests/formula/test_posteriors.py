"""Models of groups on real data have the posterior of the same model written by hand in NumPyro.

The reference is NumPyro's own sampler on a non-centred model; allowed is 4 combined Monte Carlo
standard errors, or 0.1 posterior sd where that is larger.
"""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import numpy as jnp
from numpyro.infer import MCMC, NUTS

import hierjax as hj
from tests.helpers import Moment, assert_same_posterior, effective_sample_size

pytestmark = pytest.mark.slow


def effects(site, group, count, sd):
    """Effects of one row each, non-centred."""
    white = numpyro.sample(f"{site}_white", dist.Normal(0.0, 1.0).expand([count]).to_event(1))
    return sd * white[group]


def linear(x, group, count):
    """Linear predictor with the priors below."""
    start = numpyro.sample("b_Intercept", dist.Normal(0.0, 5.0))
    slope = numpyro.sample("b_x", dist.Normal(0.0, 2.0))
    sd = numpyro.sample("sd_g", dist.HalfNormal(1.0))
    return start + slope * x + effects("r", group, count, sd)


PRIORS = {
    "b_Intercept": dist.Normal(0.0, 5.0), "b": dist.Normal(0.0, 2.0), "sd": dist.HalfNormal(1.0)
}  # fmt: skip


def gamma(y, x, group, count):
    mean = jnp.exp(linear(x, group, count))
    shape = numpyro.sample("shape", dist.LogNormal(2.0, 2.0))
    numpyro.sample("y", dist.Gamma(shape, shape / mean), obs=y)


def lognormal(y, x, group, count):
    mean = linear(x, group, count)
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    numpyro.sample("log y", dist.Normal(mean, sigma), obs=jnp.log(y))


def beta(y, x, group, count):
    mean = jax.nn.sigmoid(linear(x, group, count))
    phi = numpyro.sample("phi", dist.LogNormal(2.0, 2.0))
    numpyro.sample("y", dist.BetaProportion(mean, phi), obs=y)


def zero_inflated_poisson(y, x, group, count):
    rate = jnp.exp(linear(x, group, count))
    zi = numpyro.sample("zi", dist.Beta(1.0, 1.0))
    numpyro.sample("y", dist.ZeroInflatedPoisson(zi, rate), obs=y)


def censored(y, x, group, count, top):
    mean = linear(x, group, count)
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    known = dist.Normal(mean, sigma).log_prob(y)
    beyond = jnp.log1p(-dist.Normal(mean, sigma).cdf(y))
    numpyro.factor("y", jnp.where(top, beyond, known).sum())


def ordered(y, x, group, count):
    slope = numpyro.sample("b_x", dist.Normal(0.0, 2.0))
    sd = numpyro.sample("sd_g", dist.HalfNormal(1.0))
    edges = dist.ImproperUniform(dist.constraints.ordered_vector, (), (2,))
    threshold = numpyro.sample("threshold", edges)
    numpyro.factor("prior", dist.Normal(0.0, 5.0).log_prob(threshold).sum())
    predictor = slope * x + effects("r", group, count, sd)
    numpyro.sample("y", dist.OrderedLogistic(predictor, threshold), obs=y)


def categorical(y, x, group, count):
    predictors = [jnp.zeros_like(x)]
    for name in ("1", "2"):
        start = numpyro.sample(f"b_{name}_Intercept", dist.Normal(0.0, 5.0))
        slope = numpyro.sample(f"b_{name}_x", dist.Normal(0.0, 2.0))
        sd = numpyro.sample(f"sd_{name}_g", dist.HalfNormal(1.0))
        predictors.append(start + slope * x + effects(f"r_{name}", group, count, sd))
    numpyro.sample("y", dist.Categorical(logits=jnp.stack(predictors, axis=-1)), obs=y)


def sleepstudy():
    frame = hj.load_data("sleepstudy")
    return frame.assign(x=frame.Days, g=frame.Subject, y=frame.Reaction / 300)


def schools():
    frame = hj.load_data("california_schools").query("random == 1")
    share = (frame.meals / 100 * (len(frame) - 1) + 0.5) / len(frame)
    return frame.assign(y=share, x=(frame.type == "H").astype(float), g=frame.county)


def salamanders():
    frame = hj.load_data("salamanders")
    return frame.assign(y=frame["count"], x=(frame.mined == "yes").astype(float), g=frame.site)


def scores():
    frame = hj.load_data("chem97").head(800)
    top = frame.score == 10
    return frame.assign(y=frame.score / 3, x=frame.gcsecnt, g=frame.school, top=top)


def answers():
    frame = hj.load_data("verbagg")
    frame = frame[frame.id.isin(frame.id.unique()[:30])]
    codes = frame.resp.map({"no": 0, "perhaps": 1, "yes": 2})
    wants = (frame["mode"] == "want").astype(float)
    return frame.assign(y=codes, x=wants, g=frame.id)


def brands():
    frame = hj.load_data("margarine")
    frame = frame[frame.hhid.isin(frame.hhid.unique()[:80])]
    frame = frame[frame.choice.isin(["Pk_Stk", "BB_Stk", "Fl_Stk"])]
    codes = frame.choice.map({"Pk_Stk": 0, "BB_Stk": 1, "Fl_Stk": 2})
    return frame.assign(y=codes, x=frame.Income / 30 - 1, g=frame.hhid)


SIGMA = {"sigma": dist.HalfNormal(1.0)}
CASES = {
    "gamma": (sleepstudy, gamma, {}, {}),
    "lognormal": (sleepstudy, lognormal, SIGMA, {}),
    "beta": (schools, beta, {}, {}),
    "zero_inflated_poisson": (salamanders, zero_inflated_poisson, {}, {}),
    "gaussian": (scores, censored, SIGMA, {"censored": "top"}),
    "categorical": (brands, categorical, {}, {}),
    "ordered": (answers, ordered, {"threshold": dist.Normal(0.0, 5.0)}, {}),
}


@pytest.mark.parametrize("family", CASES)
def test_posterior_is_that_of_numpyro(family):
    data, function, priors, options = CASES[family]
    frame = data()
    group, labels = hj.encode(frame["g"])
    given = {"y": frame["y"].to_numpy(), "x": frame["x"].to_numpy(float)}
    given |= {name: frame[name].to_numpy() for name in ("top",) if options}
    expected = sampled(function, group=np.asarray(group), count=len(labels), **given)
    shared = PRIORS if family != "ordered" else {"b": PRIORS["b"], "sd": PRIORS["sd"]}
    model = hj.formula("y ~ x + (1 | g)", frame, family, priors=shared | priors, **options)
    post = hj.fit(model, seed=3, progress=False)
    assert post.diagnostics().ok, str(post.diagnostics())
    draws = {name: post.draws[name.partition("[")[0]][..., *place_of(name)] for name in expected}
    assert_same_posterior(draws, expected)


def place_of(name):
    """Index of an element such as `threshold[1]`."""
    return [int(name.partition("[")[2][:-1])] if "[" in name else []


def sampled(function, **data):
    """Moments of all sites but the white noise, by NumPyro's NUTS."""
    with jax.enable_x64(True):
        sampler = MCMC(
            NUTS(function, target_accept_prob=0.9), num_warmup=1000, num_samples=2000,
            num_chains=2, chain_method="vectorized", progress_bar=False,
        )  # fmt: skip
        sampler.run(jax.random.key(1), **data)
        found = {name: np.asarray(each) for name, each in sampler.get_samples(True).items()}
    found = {name: each for name, each in found.items() if not name.endswith("_white")}
    scalars = {name: each for name, each in found.items() if each.ndim == 2}
    for name in set(found) - set(scalars):
        scalars |= {f"{name}[{k}]": found[name][..., k] for k in range(found[name].shape[-1])}
    return {
        name: Moment(each.mean(), each.std(), each.std() / np.sqrt(effective_sample_size(each)))
        for name, each in scalars.items()
    }
