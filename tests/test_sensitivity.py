"""Sensitivity to priors: against closed forms, quadrature, ArviZ and re-fits."""

import dataclasses

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import hierjax as hj
from hierjax import errors
from hierjax.draws import FitInfo
from hierjax.sensitivity_densities import evaluate, prior_slots
from hierjax.sensitivity_scaling import Weighting, power_sensitivity, scaled_weights

CHAINS, DRAWS = 2, 4000
SHAPE = (CHAINS, DRAWS)
INFO = FitInfo("nuts", {}, 0, "float64", {}, {}, (0,) * CHAINS, {})


def posterior(model, draws, stats=None, **info):
    return hj.Posterior(model, draws, stats or {}, dataclasses.replace(INFO, **info))


def conjugate(y, error, location, scale):
    mean = numpyro.sample("mean", dist.Normal(location, scale))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mean, error), obs=y)


@dataclasses.dataclass(frozen=True)
class Conjugate:
    """Normal data of known error with a normal prior on their mean; everything in closed form."""

    y: tuple = (4.0, 5.0, 6.0)
    error: float = 1.0
    location: float = 0.0
    scale: float = 1.0

    @property
    def model(self):
        return hj.Model(conjugate, dataclasses.asdict(self) | {"y": np.array(self.y)})

    def moments(self, prior=1.0, likelihood=1.0):
        """Mean and sd when prior and likelihood are raised to powers."""
        precisions = prior / self.scale**2, likelihood * len(self.y) / self.error**2
        total = sum(precisions)
        centre = (precisions[0] * self.location + precisions[1] * np.mean(self.y)) / total
        return centre, total**-0.5

    def fitted(self, wide=1.0, seed=0):
        """Exact draws; or ones of a wider proposal, with their weights."""
        centre, sd = self.moments()
        values = centre + wide * sd * np.random.default_rng(seed).normal(size=SHAPE)
        weight = stats.norm.logpdf(values, centre, sd) - stats.norm.logpdf(
            values, centre, wide * sd
        )
        given = {} if wide == 1.0 else {"log_weight": weight}
        return posterior(self.model, {"mean": values}, given)


def distance(first, second, values):
    """CJS distance of two normal distributions on the range of draws, by the trapezoid rule."""
    places = np.linspace(values.min(), values.max(), 20_001)
    found = []
    for sign in (1, -1):
        p, q = (stats.norm.cdf(sign * (places - centre) / sd) for centre, sd in (first, second))
        middle = (p + q) / 2
        parts = [a * np.log2(a / middle) for a in (p, q)]
        width = places[1] - places[0]
        found.append(np.sqrt(width * sum(map(np.sum, parts)) / (width * np.sum(p + q))))
    return max(found)


CONFLICT = Conjugate()


@pytest.mark.parametrize("wide", [1.0, 1.5], ids=["draws", "weighted draws"])
def test_derivatives_of_a_conjugate_model(wide):
    centre, sd = CONFLICT.moments()
    found = CONFLICT.fitted(wide).sensitivity().derivatives.loc["mean"].droplevel("parameter")
    pull = (CONFLICT.location - centre) * sd**2
    exact = {
        "loc": sd**2 / CONFLICT.scale**2,
        "scale": -2.0 * CONFLICT.scale**-3 * pull,
    }
    for name, derivative in exact.items():
        row = found.loc[name]
        assert row["value"] == getattr(CONFLICT, {"loc": "location"}.get(name, name))
        assert row["mcse"] < 0.03 * abs(derivative)
        assert abs(row["derivative"] - derivative) < 4 * row["mcse"]
        assert row["step"] == pytest.approx(0.1)  # a tenth of the scale
        assert row["change"] == pytest.approx(0.1 * derivative / sd, rel=0.1)


@pytest.mark.parametrize("wide", [1.0, 1.5], ids=["draws", "weighted draws"])
@pytest.mark.parametrize("power", [0.8, 1.2])
def test_weights_are_those_of_the_scaled_posterior(wide, power):
    post = CONFLICT.fitted(wide)
    (prior,), _ = evaluate(post.model, post.draws, post.info)
    log_weight = post.stats.get("log_weight", np.zeros(SHAPE))
    weights, k_hat = scaled_weights(prior.log_density, Weighting(log_weight), power)
    centre, sd = CONFLICT.moments(prior=power)
    values = post.draws["mean"].ravel()
    mean = weights @ values
    error = np.sqrt(np.sum((weights * (values - mean)) ** 2))
    assert abs(mean - centre) < 4 * error
    assert error < 0.05 * sd
    assert np.sqrt(weights @ (values - mean) ** 2) == pytest.approx(sd, rel=0.05)
    assert k_hat < 0.5


@pytest.mark.parametrize("wide", [1.0, 1.5], ids=["draws", "weighted draws"])
def test_distances_of_the_scaled_posterior(wide):
    post = CONFLICT.fitted(wide)
    found = post.sensitivity().table.loc[("mean", "mean")]
    for part in ("prior", "likelihood"):
        sides = [
            distance(CONFLICT.moments(), CONFLICT.moments(**{part: power}), post.draws["mean"])
            for power in (0.99, 1.01)
        ]
        exact = np.sum(sides / np.abs(np.log2([0.99, 1.01]))) / 2
        assert found[part] == pytest.approx(exact, rel=0.05)
    centre, sd = CONFLICT.moments()
    shift = np.log(2) * (CONFLICT.location - centre) * sd / CONFLICT.scale**2
    assert found["shift"] == pytest.approx(shift, rel=0.05)


def test_numbers_are_those_of_arviz():
    import arviz_base
    import arviz_stats

    post = CONFLICT.fitted()
    (prior,), likelihood = evaluate(post.model, post.draws, post.info)
    np.testing.assert_allclose(
        prior.log_density, stats.norm.logpdf(post.draws["mean"], 0.0, 1.0), rtol=1e-10
    )
    other = np.random.default_rng(1).gamma(2.0, size=SHAPE) + post.draws["mean"] ** 2
    tree = arviz_base.from_dict(
        {
            "posterior": {"mean": post.draws["mean"], "other": other},
            "log_prior": {"mean": prior.log_density},
            "log_likelihood": {"y": likelihood[..., None]},
        }
    )
    values = np.stack([post.draws["mean"], other], axis=-1)
    found, _ = power_sensitivity(
        values, [prior.log_density, likelihood], Weighting(np.zeros(SHAPE))
    )
    for row, group in zip(found, ("prior", "likelihood"), strict=True):
        expected = arviz_stats.psense(tree, group=group)
        np.testing.assert_allclose(row, [float(expected[n]) for n in ("mean", "other")], rtol=1e-5)


@pytest.mark.parametrize(
    ("case", "verdict", "says"),
    [
        (
            CONFLICT,
            "prior-data conflict",
            "Normal(loc=0, scale=1) and the data disagree about mean",
        ),
        (Conjugate(error=100.0), "strong prior", "decides about mean more than the data do"),
        (Conjugate(scale=100.0), "", "Good: no prior decides (at most 0.00"),
    ],
)
def test_verdicts_say_what_to_do(case, verdict, says):
    found = case.fitted().sensitivity()
    assert found.table["verdict"].tolist() == [verdict]
    assert says in repr(found)
    assert ("Check:" in repr(found)) == bool(verdict)
    assert found.doubtful == []
    assert ("its mean would move by" in repr(found)) == bool(verdict)
    assert max(map(len, repr(found).splitlines())) <= 100
    if verdict == "prior-data conflict":
        assert "With scale 1.1 instead of 1 its mean would move by +0.19" in repr(found)


def test_untrustworthy_weights_are_named():
    found = CONFLICT.fitted().sensitivity()
    poor = dataclasses.replace(found, table=found.table.assign(k_hat=0.9))
    assert poor.doubtful == ["mean"]
    assert "the weights for mean cannot be trusted (k-hat up to 0.90)" in repr(poor)


SCHOOLS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(scale):
    """Means of mu and tau of the eight schools for a scale of tau's prior, and a grid's weights."""
    mu, tau = np.linspace(-20, 30, 401)[:, None], np.exp(np.linspace(-7, 5.5, 801))
    total = np.sqrt(tau[..., None] ** 2 + ERRORS**2)
    log = stats.norm.logpdf(SCHOOLS, mu[..., None], total).sum(-1) + stats.norm.logpdf(mu, 0.0, 5.0)
    log = log + stats.halfcauchy.logpdf(tau, scale=scale) + np.log(tau)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    return np.sum(weight * mu), np.sum(weight * tau), weight, mu.ravel(), tau


def test_derivatives_of_the_eight_schools_against_quadrature():
    _, _, weight, mu, tau = schools(5.0)
    generator = np.random.default_rng(0)
    chosen = generator.choice(weight.size, size=SHAPE, p=weight.ravel())
    at = {"mu": mu[chosen // len(tau)], "tau": tau[chosen % len(tau)]}
    model = hj.library.eight_schools(SCHOOLS, ERRORS, labels="ABCDEFGH")
    precision = 1 / ERRORS**2 + 1 / at["tau"][..., None] ** 2
    centre = (SCHOOLS / ERRORS**2 + (at["mu"] / at["tau"] ** 2)[..., None]) / precision
    at["theta"] = centre + generator.normal(size=centre.shape) / np.sqrt(precision)
    found = posterior(model, at).sensitivity()
    assert [slot.name for slot in found.priors] == ["mu", "tau"]
    rows = found.derivatives.loc[("tau", "scale")]
    low, high = schools(4.95)[:2], schools(5.05)[:2]
    for place, name in enumerate(("mu", "tau")):
        exact = (high[place] - low[place]) / 0.1
        assert abs(rows.loc[name, "derivative"] - exact) < 4 * rows.loc[name, "mcse"]
    assert rows.loc["tau", "derivative"] > 10 * rows.loc["tau", "mcse"]
    with_effects = posterior(model, at).sensitivity(effects=True)
    assert "theta[A]" in with_effects.table.loc["tau"].index


@pytest.mark.slow
def test_derivatives_of_the_eight_schools_against_fits():
    def fitted(scale):
        model = hj.library.eight_schools(SCHOOLS, ERRORS, tau_scale=scale)
        method = hj.NUTS(chains=4, warmup=1000, draws=40_000)
        return hj.fit(model, method=method, effects="integrate", progress=False)

    low, middle, high = (fitted(scale) for scale in (4.75, 5.0, 5.25))
    rows = middle.sensitivity().derivatives.loc[("tau", "scale")]
    moved = 0
    for name in ("mu", "tau"):
        tables = [post.summary().droplevel("block").loc[name] for post in (low, high)]
        change = (tables[1]["mean"] - tables[0]["mean"]) / 0.5
        error = np.hypot(tables[0]["mcse"], tables[1]["mcse"]) / 0.5
        combined = np.hypot(error, rows.loc[name, "mcse"])
        assert abs(change - rows.loc[name, "derivative"]) < 4 * combined
        moved += abs(change) > 4 * combined
    assert moved


@pytest.fixture(scope="module")
def sleep():
    priors = {"sd_Subject__Days": dist.HalfCauchy(3.0), "b_Days": dist.Uniform(-50.0, 50.0)}
    frame = hj.load_data("sleepstudy")
    model = hj.formula("Reaction ~ Days + (1 + Days | Subject)", frame, priors=priors)
    generator, shape = np.random.default_rng(0), (2, 100)
    rho = generator.uniform(-0.8, 0.8, shape)
    factor = np.zeros((*shape, 2, 2))
    factor[..., 0, 0], factor[..., 1, 0], factor[..., 1, 1] = 1.0, rho, np.sqrt(1 - rho**2)
    draws = {
        "b_Intercept": generator.normal(250.0, 5.0, shape), "b_Days": generator.normal(size=shape),
        "sd_Subject": generator.gamma(3.0, 5.0, (*shape, 2)), "L_Subject": factor,
        "cor_Subject": factor @ np.swapaxes(factor, -1, -2),
        "r_Subject": generator.normal(size=(*shape, 18, 2)),
        "sigma": generator.gamma(3.0, 9.0, shape),
    }  # fmt: skip
    return posterior(model, draws)


def test_priors_of_a_formula_go_by_their_slots(sleep):
    table = sleep.model.priors().set_index("slot")["distribution"]
    assert [(slot.name, slot.text) for slot in prior_slots(sleep.model)] == list(table.items())
    priors, likelihood = evaluate(sleep.model, sleep.draws, sleep.info)
    found = {prior.slot.name: prior for prior in priors}
    sds = sleep.draws["sd_Subject"]
    days = found["sd_Subject__Days"]
    np.testing.assert_allclose(
        days.log_density, stats.halfcauchy.logpdf(sds[..., 1], scale=3.0), rtol=1e-8
    )
    (scale,) = days.hyperparameters
    assert (scale.name, scale.value) == ("scale", 3.0)
    ratio = (sds[..., 1] / 3.0) ** 2
    np.testing.assert_allclose(scale.score, (ratio - 1) / (ratio + 1) / 3.0, rtol=1e-8)
    (first,) = found["sd_Subject__Intercept"].hyperparameters
    score = sds[..., 0] ** 2 / first.value**3 - 1 / first.value
    np.testing.assert_allclose(first.score, score, rtol=1e-8)
    assert [n.name for n in found["cor_Subject"].hyperparameters] == ["concentration"]
    assert [n.name for n in found["b_Intercept"].hyperparameters] == ["loc", "scale"]
    mean = sleep.predict().values
    expected = stats.norm.logpdf(
        sleep.model.data["Reaction"], mean, sleep.draws["sigma"][..., None]
    ).sum(-1)
    np.testing.assert_allclose(likelihood, expected, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # of these made-up draws
def test_flat_priors_do_not_matter_and_their_ends_are_no_numbers_to_change(sleep):
    found = sleep.sensitivity()
    assert (found.table.loc["b_Days", "prior"] == 0.0).all()
    assert "b_Days" not in found.derivatives.index.get_level_values("prior")
    first, *rest = found.table.index.get_level_values("prior").unique()
    assert (first, rest) == ("all priors", list(sleep.model.priors()["slot"]))
    assert "sd_Subject[Days]" in found.table.loc["sd_Subject__Days"].index


def test_numbers_of_other_priors():
    def function(y):
        top = numpyro.sample("top", dist.HalfNormal(2.0))
        numpyro.sample("below", dist.HalfNormal(top))
        numpyro.sample("cut", dist.TruncatedNormal(1.0, 2.0, low=0.0))
        numpyro.sample("three", dist.Normal(np.array([0.0, 1.0, 1.0]), 3.0).to_event(1))
        numpyro.sample("halved", dist.Gamma(2.0, 0.5).expand([2]).to_event(1))
        with numpyro.handlers.scale(scale=0.5):
            numpyro.sample("scaled", dist.Normal(0, 1))
        numpyro.sample("long", dist.Normal(np.arange(200.0), 1.0).to_event(1))
        numpyro.sample("y", dist.Normal(top, 1.0), obs=y)

    generator = np.random.default_rng(0)
    names = {"top": (), "below": (), "cut": (), "three": (3,), "halved": (2,), "scaled": ()}
    names["long"] = (200,)
    draws = {name: generator.gamma(2.0, size=(1, 50, *shape)) for name, shape in names.items()}
    priors, _ = evaluate(hj.Model(function, {"y": 1.0}), draws, INFO)
    found = {p.slot.name: {n.name: n for n in p.hyperparameters} for p in priors}
    assert {name: list(numbers) for name, numbers in found.items()} == {
        "top": ["scale"],
        "below": [],  # its scale is no number
        "cut": ["loc", "scale"],  # the support depends on the end
        "three": ["loc[0]", "loc[1]", "loc[2]", "scale"],
        "halved": ["concentration", "rate"],
        "scaled": ["loc", "scale"],
        "long": ["scale"],  # of too many locations
    }
    assert [prior.slot.text for prior in priors][:3] == [
        "HalfNormal(scale=2)", "HalfNormal(top)", "LeftTruncatedDistribution(0)",
    ]  # fmt: skip
    x = draws["three"]
    np.testing.assert_allclose(found["three"]["loc[1]"].score, (x[..., 1] - 1) / 9, rtol=1e-8)
    np.testing.assert_allclose(found["scaled"]["loc"].score, draws["scaled"] / 2, rtol=1e-8)
    rate = (4.0 - draws["halved"]).sum(-1)  # shape / rate - x, of both elements
    np.testing.assert_allclose(found["halved"]["rate"].score, rate, rtol=1e-8)


def test_what_cannot_be_weighted_is_refused(sleep):
    point = {"b_Days": np.zeros((2,))}
    with pytest.raises(errors.SettingsError, match="estimates a point"):
        posterior(sleep.model, sleep.draws, estimates=point).sensitivity()
    few = {name: values[:, :10] for name, values in sleep.draws.items()}
    with pytest.raises(errors.SettingsError, match="20 draws, too few"):
        posterior(sleep.model, few).sensitivity()
    hyper = {name: values for name, values in sleep.draws.items() if name != "r_Subject"}
    with pytest.raises(errors.ModelError, match="no draws of r_Subject"):
        posterior(sleep.model, hyper).sensitivity()
    with pytest.raises(errors.ModelError, match="has no priors"):
        prior_slots(hj.Model(only_effects, {"y": np.zeros(3)}))


def only_effects(y):
    with numpyro.plate("group", 3):
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(effect, 1.0), obs=y)
