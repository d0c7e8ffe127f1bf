"""Model functions whose levels are known by construction; rows of `CASES` in test_levels."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
from numpyro.infer.reparam import LocScaleReparam

from hierjax.groups import take

RNG = np.random.default_rng(0)
COUNTY = np.array([0, 0, 1, 1, 1, 2, 2, 3, 4, 4])
ITEM = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
X, Y = RNG.normal(size=10), RNG.normal(size=10)


def scale(name="tau"):
    return numpyro.sample(name, dist.HalfNormal(1.0))


def respond(mean, y, plate="rows"):
    sigma = scale("sigma")
    with numpyro.plate(plate, len(y)):
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def eight_schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = scale()
    with numpyro.plate("school", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def radon(county, floor, uranium, y, num_counties):
    gamma = numpyro.sample("gamma", dist.Normal(0, 1).expand([2]).to_event(1))
    tau = scale()
    beta = numpyro.sample("beta", dist.Normal(0, 1))
    with numpyro.plate("county", num_counties):
        alpha = numpyro.sample("alpha", dist.Normal(gamma[0] + gamma[1] * uranium, tau))
    respond(alpha[county] + beta * floor, y)


def correlated_slopes(county, floor, y, num_counties):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    chol = numpyro.sample("L", dist.LKJCholesky(2, 1.0))
    with numpyro.plate("county", num_counties):
        r = numpyro.sample("r", dist.MultivariateNormal(0.0, scale_tril=sd[:, None] * chol))
    numpyro.deterministic("cor", chol @ chol.T)
    respond(r[county, 0] + r[county, 1] * floor, y)


def taken(county, x, y, num_counties):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([2]).to_event(1))
    with numpyro.plate("county", num_counties):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    r = numpyro.deterministic("r", z * sd)
    design = jnp.stack([jnp.ones_like(x), x], -1)
    respond((take(r, county) * design).sum(-1), y)


def two_factors(first, second, y, num_first, num_second):
    tau_a = scale("tau_a")
    tau_b = scale("tau_b")
    with numpyro.plate("a", num_first):
        a = numpyro.sample("effect_a", dist.Normal(0, tau_a))
    with numpyro.plate("b", num_second):
        b = numpyro.sample("effect_b", dist.Normal(0, tau_b))
    respond(a[first] + b[second], y)


def chain(district_of_school, school, y):
    tau_district = scale("tau_district")
    tau_school = scale("tau_school")
    with numpyro.plate("district", 2):
        district = numpyro.sample("u_district", dist.Normal(0, tau_district))
    with numpyro.plate("school", len(district_of_school)):
        mean = district[district_of_school]
        effect = numpyro.sample("u_school", dist.Normal(mean, tau_school))
    respond(effect[school], y, "pupil")


def composed(district_of_school, school, y):
    tau_district = scale("tau_district")
    tau_school = scale("tau_school")
    with numpyro.plate("district", 2):
        district = numpyro.sample("u_district", dist.Normal(0, tau_district))
    with numpyro.plate("school", len(district_of_school)):
        effect = numpyro.sample("u_school", dist.Normal(0, tau_school))
    respond(effect[school] + district[district_of_school[school]], y)


def one_hot(membership, y):
    tau = scale()
    with numpyro.plate("group", 5):
        r = numpyro.sample("r", dist.Normal(0, tau))
    respond(membership @ r, y)


def computed_index(county, y):
    tau = scale()
    with numpyro.plate("group", 3):
        r = numpyro.sample("r", dist.Normal(0, tau))
    respond(r[county // 2], y)


def counted_from_one(county, y):
    tau = scale()
    with numpyro.plate("group", 5):
        r = numpyro.sample("r", dist.Normal(0, tau))
    respond(r[county - 1], y)


def index_by_value(county, y):
    tau = scale()
    num_groups = int(np.max(county)) + 1
    with numpyro.plate("county", num_groups):
        r = numpyro.sample("r", dist.Normal(0, tau))
    respond(r[county], y)


def nested_axes(y):
    tau_u = scale("tau_u")
    tau_v = scale("tau_v")
    with numpyro.plate("district", 2, dim=-3):
        u = numpyro.sample("u", dist.Normal(0, tau_u))
        with numpyro.plate("school", 3, dim=-2):
            v = numpyro.sample("v", dist.Normal(u, tau_v))
            with numpyro.plate("pupil", 4, dim=-1):
                numpyro.sample("y", dist.Normal(v, 1.0), obs=y)


def crossed_axes(y):
    tau_u = scale("tau_u")
    tau_v = scale("tau_v")
    with numpyro.plate("subject", 3, dim=-2):
        u = numpyro.sample("u", dist.Normal(0, tau_u))
    with numpyro.plate("item", 4, dim=-1):
        v = numpyro.sample("v", dist.Normal(0, tau_v))
    with numpyro.plate("subject", 3, dim=-2), numpyro.plate("item", 4, dim=-1):
        numpyro.sample("y", dist.Normal(u + v, 1.0), obs=y)


def no_plates(county, y):
    tau = scale()
    alpha = numpyro.sample("alpha", dist.Normal(0, tau).expand([5]))
    slope = numpyro.sample("slope", dist.Normal(0, tau).expand([5]))
    numpyro.sample("y", dist.Normal(alpha[county] + slope[county], 1.0), obs=y)


def duels(winner, loser, y):
    tau = scale()
    with numpyro.plate("player", 5):
        ability = numpyro.sample("ability", dist.Normal(0, tau))
    with numpyro.plate("duel", len(y)):
        numpyro.sample("y", dist.Normal(ability[winner] - ability[loser], 1.0), obs=y)


def subsampled(county, y):
    tau = scale()
    with numpyro.plate("county", 5):
        alpha = numpyro.sample("alpha", dist.Normal(0, tau))
    with numpyro.plate("rows", len(y), subsample_size=4) as rows:
        numpyro.sample("y", dist.Normal(alpha[county[rows]], 1.0), obs=y[rows])


def reparameterised(county, y):
    tau = scale()
    with (
        numpyro.handlers.reparam(config={"alpha": LocScaleReparam(0.0)}),
        numpyro.plate("county", 5),
    ):
        alpha = numpyro.sample("alpha", dist.Normal(0, tau))
    effects = jax.vmap(lambda which: alpha[which])(county)
    with (
        numpyro.handlers.mask(mask=y > 0),
        numpyro.handlers.scale(scale=2.0),
        numpyro.plate("rows", len(y)),
    ):
        numpyro.sample("y", dist.Normal(effects, 1.0), obs=y)


def random_walk(y):
    drift = scale("drift")

    def step(level, _):
        level = numpyro.sample("level", dist.Normal(level, drift))
        numpyro.sample("y", dist.Normal(level, 1.0))
        return level, None

    with numpyro.handlers.condition(data={"y": y}):
        scan(step, 0.0, None, length=len(y))


def mixture(y):
    tau = scale()
    with numpyro.plate("component", 3):
        mean = numpyro.sample("mean", dist.Normal(0, tau))
    with numpyro.plate("rows", len(y)):
        z = numpyro.sample("z", dist.Categorical(jnp.ones(3) / 3))
        numpyro.sample("y", dist.Normal(mean[z], 1.0), obs=y)


def factored(county, y):
    tau = scale()
    with numpyro.plate("county", 5):
        alpha = numpyro.sample("alpha", dist.Normal(0, tau))
    numpyro.factor("likelihood", -0.5 * jnp.sum((y - alpha[county]) ** 2))
