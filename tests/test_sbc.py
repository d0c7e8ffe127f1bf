"""Calibration must find what is wrong, and nothing where nothing is; mostly with exact samplers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import hierjax as hj
from hierjax.arguments import Arguments
from hierjax.density import constrain_all, make_density
from hierjax.diagnostics import chain_summary
from hierjax.diagnostics_uniform import p_values
from hierjax.draws import Draws, Status
from hierjax.errors import ModelError, SettingsError
from hierjax.infer.program import Program
from hierjax.sbc_ranks import CAUTION, rank
from hierjax.sbc_simulate import Simulator
from tests import models

DATA = models.known_variances_data(num_groups=4, rows=12) | {"sd_group": 1.0, "sd_rows": 1.0}
MODEL = hj.Model(models.known_variances, DATA)
RIGHT = {"spread": 1.0, "shift": 0.0, "weights": np.ones(2), "limit": 1e9}
SIMULATIONS = 300


def misfitted(spread, shift, weights, limit, **data):
    """The same model; what else it is given tells the method below what to do wrong."""
    models.known_variances(**data)


@dataclasses.dataclass(frozen=True)
class Method:
    """What both exact methods below share: all work is done at once."""

    draws: int = 200

    @property
    def name(self) -> str:
        return "exact"

    def program(self, fn, data):
        return Program(
            start=lambda key, arrays: {"key": key},
            advance=lambda state, arrays: (state, None),
            finish=lambda state, records, arrays: self.drawn(state["key"], fn, data, arrays),
            num_chunks=1,
            num_discarded=1,
            report=lambda state: {},
        )

    def recorded(self, sites, status):
        return Draws(
            sites=sites,
            stats={"log_density": jnp.zeros((1, self.draws))},
            status=jnp.asarray(status)[None],
            trace={"effective_draws": jnp.full((1, 1), float(self.draws))},
        )


class Exact(Method):
    """Independent draws from the posterior of `known_variances`, wrong in a way that is asked for.

    Deviations from the posterior mean are multiplied by `spread`, and moved by `shift` posterior
    sds; `weights` are those of the first and the second half of the rows in the likelihood; data
    whose mean is above `limit` are reported as failed.
    """

    def drawn(self, key, fn, data, arrays):
        return self.posterior(key, **Arguments.of(data).rebuild(arrays))

    def posterior(
        self, key, y, group, num_groups, sd_group, sd_rows, spread, shift, weights, limit
    ):
        rows = len(y)
        weight = jnp.where(jnp.arange(rows) < rows // 2, weights[0], weights[1]) / sd_rows**2
        design = jnp.concatenate([jnp.zeros((rows, 1)), jnp.eye(num_groups)[group]], axis=1)
        contrast = jnp.concatenate([-jnp.ones((num_groups, 1)), jnp.eye(num_groups)], axis=1)
        precision = design.T @ (weight[:, None] * design) + contrast.T @ contrast / sd_group**2
        covariance = jnp.linalg.inv(precision.at[0, 0].add(1 / 10.0**2))
        mean = covariance @ (design.T @ (weight * y))
        noise = jax.random.normal(key, (self.draws, num_groups + 1))
        away = spread * noise @ jnp.linalg.cholesky(covariance).T
        found = mean + away + shift * jnp.sqrt(jnp.diag(covariance))
        status = jnp.where(jnp.mean(y) > limit, Status.NOT_CONVERGED, Status.OK)
        return self.recorded({"mu": found[None, :, 0], "effect": found[None, :, 1:]}, status)


class Grid(Method):
    """Independent draws of the one parameter of any model, by its log density on a grid."""

    def drawn(self, key, fn, data, arrays):
        density = make_density(fn, Arguments.of(data), dict(data))
        grid = jnp.linspace(-12.0, 4.0, 1601)
        heights = jax.vmap(lambda place: density.log_density(place[None], arrays))(grid)
        below = jnp.cumsum(jnp.exp(heights - heights.max()))
        uniform = jax.random.uniform(key, (self.draws,)) * below[-1]
        return self.recorded(
            constrain_all(density, jnp.interp(uniform, below, grid)[None, :, None], arrays),
            Status.OK,
        )


def calibrate(wrong=None, **options):
    fitted = hj.Model(misfitted, {**DATA, **RIGHT, **(wrong or {})})
    chosen = {"simulations": SIMULATIONS, "effects": "centred", "progress": False} | options
    return hj.sbc(fitted, Exact(), simulator=MODEL, **chosen)


@pytest.fixture(scope="module")
def exact():
    return calibrate()


def verdicts(calibration):
    return {finding.title: finding.verdict for finding in calibration.findings}


@pytest.mark.slow
def test_exact_draws_are_calibrated(exact):
    assert exact.ok, str(exact)
    assert str(exact).endswith("smaller errors may go unseen.")
    assert "Good: all 5 curves stay in their bands" in str(exact)
    assert exact.not_ranked == 0
    assert list(exact.table().index.get_level_values("quantity")) == [
        "mu",
        "effect, 4 groups pooled",
        next(f.title for f in exact.findings if f.worst_of),
        "log likelihood",
        "log joint density",
    ]


@pytest.mark.slow
def test_ranks_are_those_of_the_true_values(exact):
    """Counted again from the posterior of one simulation, whose data are made again."""
    place, key = 5, jax.random.fold_in(jax.random.key(0), 5)
    again = calibrate(simulations=10)
    np.testing.assert_array_equal(again.truth["effect"], exact.truth["effect"][:10])
    np.testing.assert_array_equal(again.transforms["mu"], exact.transforms["mu"][:10])
    with jax.enable_x64(True):
        simulated = Simulator.of(MODEL).draw(0, [place])
        drawn = Exact().posterior(key, **{**DATA, **RIGHT, "y": simulated.data["y"][0]})
    thinned = np.asarray(drawn.sites["mu"])[0, 1::2]
    below = int(np.sum(thinned < exact.truth["mu"][place]))
    assert exact.sizes["mu"][place, 0] == 100
    assert int(exact.transforms["mu"][place, 0] * 101) == below


WRONG = {
    "too narrow": {"spread": 0.6},
    "too wide": {"spread": 1.8},
    "biased up": {"shift": 0.6},
    "biased down": {"shift": -0.6},
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_draws_are_found_and_named(words):
    found = calibrate(WRONG[words])
    assert not found.ok
    assert verdicts(found)["mu"] == words
    assert verdicts(found)["effect, 4 groups pooled"] == words
    assert f"effect, 4 groups pooled ({words})" in str(found)
    row = found.table().xs("mu", level="quantity").iloc[0]
    assert row["adjusted"] < 1e-3
    expected = {"too narrow": 0.6, "too wide": 1.8}.get(words, 1.0)
    assert row["sd_ratio"] == pytest.approx(expected, rel=0.15)
    assert row["shift"] == pytest.approx(
        {"biased up": 0.6, "biased down": -0.6}.get(words, 0), abs=0.2
    )


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 0.0)], ids=["half", "all"])
def test_ignored_data_show_in_the_log_likelihood_alone(weights):
    """The posterior given a part of the data, or the prior, has uniform ranks in every margin."""
    found = verdicts(calibrate({"weights": np.array(weights)}))
    log_likelihood = found.pop("log likelihood")
    assert log_likelihood.startswith("draws fit the data worse than what made them")
    del found["log joint density"]
    assert set(found.values()) == {"calibrated"}


def test_data_that_count_twice_are_found():
    found = verdicts(calibrate({"weights": np.full(2, 2.0)}))
    assert found["effect, 4 groups pooled"] == "too narrow"


def test_failures_are_counted_and_leave_the_others_calibrated():
    """Whether a fit fails depends on the data alone, given which ranks stay uniform."""
    limit = 8.0
    found = calibrate({"limit": limit})
    failed = found.report()["status"] == "failed"
    assert 0.1 < failed.mean() < 0.4
    assert found.not_ranked == failed.sum()
    assert np.isnan(found.transforms["mu"][failed.to_numpy()]).all()
    assert all(finding.ok for finding in found.findings)
    assert not found.ok
    assert f"{SIMULATIONS - failed.sum()} of {SIMULATIONS} simulations ranked" in str(found)
    assert f"Without ranks: {failed.sum()} failed; most often: the method stopped" in str(found)


@pytest.mark.slow
def test_small_pieces_give_the_same_ranks(exact):
    found = calibrate(budget=40_000, simulations=70)
    for name, values in found.transforms.items():
        np.testing.assert_array_equal(values, exact.transforms[name][:70])


def test_groups_can_be_looked_at_each():
    found = calibrate(groups="each", simulations=20, sites=["effect"])
    names = list(found.table().index.get_level_values("quantity"))
    assert names == [*(f"effect[{n}]" for n in range(4)), "log likelihood", "log joint density"]


def test_plot_shows_curves_and_bands(exact, tmp_path):
    figure = exact.plot(tmp_path / "sbc.png", most=4)
    assert (tmp_path / "sbc.png").read_bytes().startswith(b"\x89PNG")
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert len(titles) == 4
    assert "1 calmer panels are not shown" in figure.get_supxlabel()


# -- thinning --------------------------------------------------------------------------------------


def test_thinning_takes_as_many_draws_as_they_are_worth():
    draws = np.stack([np.arange(1000.0), np.arange(1000.0)], axis=1)
    truth = np.array([499.5, 1e9])
    found = rank(draws, truth, np.array([1e6, 25.7]), 100, np.random.default_rng(0))
    assert found.draws.tolist() == [100, 25]
    assert int(found.transforms[0] * 101) == 50
    assert int(found.transforms[1] * 26) == 25


def test_ties_are_broken_at_random():
    draws = np.zeros((50, 4000))
    found = rank(draws, np.zeros(4000), np.full(4000, 50.0), 50, np.random.default_rng(0))
    assert found.transforms.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 4000))
    assert found.transforms.std() == pytest.approx(np.sqrt(1 / 12), rel=0.05)


def test_chains_are_thinned_by_their_effective_size():
    """Ranks of an autoregressive chain are uniform when thinned, and not when they are not."""
    generator, correlation = np.random.default_rng(1), 0.97
    chains = generator.normal(size=(600, 400))
    for place in range(1, 600):
        noise = np.sqrt(1 - correlation**2) * chains[place]
        chains[place] = correlation * chains[place - 1] + noise
    truth = generator.normal(size=400)
    table = chain_summary(chains[None])
    worth = np.minimum(table.ess_bulk, table.ess_tail) / CAUTION
    thinned = rank(chains, truth, worth, 100, np.random.default_rng(0))
    assert 3 <= np.median(thinned.draws) <= 10
    whole = rank(chains, truth, np.full(400, 1e9), 600, np.random.default_rng(0))
    assert p_values(thinned.transforms[:, None])[0] > 0.05
    assert p_values(whole.transforms[:, None])[0] < 1e-4


# -- planted mistakes in models --------------------------------------------------------------------


def scale(y, prior_sd):
    sd = numpyro.sample("sd", dist.HalfNormal(prior_sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(0.0, sd), obs=y)


def free_scale(y, prior_sd, jacobian):
    """The same by its logarithm, with the log-Jacobian multiplied by what should be one."""
    free = numpyro.sample("free", dist.ImproperUniform(constraints.real, (), ()))
    sd = numpyro.deterministic("sd", jnp.exp(free))
    numpyro.factor("prior", dist.HalfNormal(prior_sd).log_prob(sd) + jacobian * free)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(0.0, sd), obs=y)


SIMPLE = hj.Model(scale, {"y": np.zeros(2), "prior_sd": 1.0})
PLANTED = {
    "nothing": ({"prior_sd": 1.0, "jacobian": 1.0}, "calibrated"),
    "no Jacobian": ({"prior_sd": 1.0, "jacobian": 0.0}, "biased down"),
    "half the prior sd": ({"prior_sd": 0.5, "jacobian": 1.0}, "biased down"),
    "twice the prior sd": ({"prior_sd": 2.0, "jacobian": 1.0}, "biased up"),
}


def assert_found(mistake, method):
    given, words = PLANTED[mistake]
    fitted = hj.Model(free_scale, {"y": np.zeros(2), **given})
    found = hj.sbc(
        fitted, method, simulator=SIMPLE, simulations=300, effects="centred", progress=False
    )
    assert found.not_ranked <= 3
    assert words in verdicts(found)["sd"], str(found)
    assert all(finding.ok for finding in found.findings) == (mistake == "nothing"), str(found)


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_mistakes_are_found(mistake):
    assert_found(mistake, Grid())


@pytest.mark.slow
@pytest.mark.parametrize("mistake", PLANTED)
@pytest.mark.parametrize(
    "method",
    [hj.Laplace(draws=300, points=256), hj.NUTS(chains=2, warmup=200, draws=300)],
    ids=["laplace", "nuts"],
)
def test_planted_mistakes_are_found_by_sampling(mistake, method):
    assert_found(mistake, method)


# -- what cannot be simulated ----------------------------------------------------------------------


def improper(y):
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([len(y)]).to_event(1), obs=y)


def weighted(y, weight):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)), numpyro.handlers.scale(scale=weight):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def penalised(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.factor("penalty", -(mu**2))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([len(y)]).to_event(1), obs=y)


def transformed(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mu, 1.0).expand([len(y)]).to_event(1), obs=jnp.log(y))


def lagged(y, before):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(slope * jnp.roll(y, 1), 1.0), obs=y)


def data_dependent_prior(y):
    mu = numpyro.sample("mu", dist.Normal(y.mean(), 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def masked_where_missing(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)), numpyro.handlers.mask(mask=~jnp.isnan(y)):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=jnp.nan_to_num(y))


def observed_twice(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("first", dist.Normal(mu, 1.0), obs=y)
        numpyro.sample("second", dist.Normal(mu, 2.0), obs=y)


def nothing_observed(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", 3):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


Y = np.array([0.5, 1.0, 2.0])
REFUSED = {
    "improper prior": (improper, {"y": Y}, "site 'mu' cannot be drawn from"),
    "weights": (weighted, {"y": Y, "weight": 2.0 * Y}, "site 'y' is multiplied by weights"),
    "factor": (penalised, {"y": Y}, "factor 'penalty'"),
    "computed response": (transformed, {"y": Y}, "'y' are no data argument"),
    "lagged response": (lagged, {"y": Y, "before": Y}, "density of site 'y' depends"),
    "data in the prior": (data_dependent_prior, {"y": Y}, "density of site 'mu' depends"),
    "mask": (masked_where_missing, {"y": np.array([1.0, np.nan])}, "'y' are no data argument"),
    "two sites": (observed_twice, {"y": Y}, r"both observe data\['y'\]"),
    "no response": (nothing_observed, {"y": None}, "observes nothing"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_simulated_is_refused_with_the_reason(what):
    fn, data, message = REFUSED[what]
    model = hj.Model(fn, data, allow_missing=("y",))
    with pytest.raises(ModelError, match=message):
        hj.sbc(model, simulations=10, progress=False)


def other_sites(y):
    numpyro.sample("deviation", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


MISMATCHED = {
    "site": (other_sites, {"y": np.zeros(2)}, "site 'sd' is drawn from the prior, but is no site"),
    "length": (scale, {"y": np.zeros(3), "prior_sd": 1.0}, r"data\['y'\] is simulated, but is no"),
}


@pytest.mark.parametrize("what", MISMATCHED)
def test_simulators_of_other_models_are_refused(what):
    fn, data, message = MISMATCHED[what]
    with pytest.raises(ModelError, match=message):
        hj.sbc(hj.Model(fn, data), simulator=SIMPLE, simulations=10, progress=False)


OPTIONS = {
    "simulations": ({"simulations": 3}, "`simulations` must be an integer of at least 10"),
    "sims": ({"sims": 0}, "`simulations` must be an integer"),
    "draws": ({"draws": 0}, "`draws`"),
    "coverage": ({"coverage": 1.0}, "`coverage` must lie strictly between 0 and 1"),
    "groups": ({"groups": "mean"}, "`groups` must be one of 'pooled', 'each'"),
    "sites": ({"sites": ["tau"]}, "`sites` must be one of 'sd'; got 'tau'"),
    "a name": ({"sites": "sd"}, "`sites` must be a list"),
    "a point": ({"method": "empirical_bayes"}, "estimates a point"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_options_out_of_range_are_refused(what):
    options, message = OPTIONS[what]
    with pytest.raises(SettingsError, match=message):
        hj.sbc(SIMPLE, progress=False, **options)
    with pytest.raises(SettingsError, match=r"must be a hierjax.Model"):
        hj.sbc("y ~ x", progress=False)


# -- methods on hierarchical models: slow ----------------------------------------------------------


def varying(y, x, group, num_groups):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(effect[group] + slope * x, sigma), obs=y)


def counted(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    mu = numpyro.sample("mu", dist.Normal(0.5, 1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(mu, sd))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Poisson(jnp.exp(effect[group])), obs=y)


ROWS = {"group": np.arange(30) % 6, "num_groups": 6}
GAUSSIAN = hj.Model(varying, {"y": np.zeros(30), "x": np.linspace(-1, 1, 30), **ROWS})
COUNTS = hj.Model(counted, {"y": np.zeros(30, int), **ROWS})
SHORT = hj.NUTS(chains=2, warmup=300, draws=300)
SAMPLED = {
    "gaussian, auto": (GAUSSIAN, "auto", "auto"),
    "gaussian, NUTS integrated": (GAUSSIAN, SHORT, "integrate"),
    "gaussian, NUTS recentred": (GAUSSIAN, SHORT, "recentre"),
    "counts, NUTS recentred": (COUNTS, SHORT, "recentre"),
    "counts, NUTS non-centred": (COUNTS, SHORT, "noncentred"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", SAMPLED)
def test_methods_are_calibrated(what):
    model, method, effects = SAMPLED[what]
    found = hj.sbc(model, method, effects=effects, simulations=300, progress=False, coverage=0.999)
    assert all(finding.ok for finding in found.findings), str(found)
    assert found.not_ranked <= 6, str(found)


@pytest.mark.slow
def test_mean_field_is_found_too_narrow():
    model = hj.Model(models.known_variances, DATA)
    method = hj.SVI(guide="normal")
    found = hj.sbc(model, method, effects="centred", simulations=400, progress=False)
    assert "too narrow" in verdicts(found)["effect, 4 groups pooled"], str(found)
    assert found.method == "svi"
