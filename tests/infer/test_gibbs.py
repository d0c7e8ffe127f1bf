"""Gibbs sampling through the front door: posteriors that are known, refusals, and promises."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import hierjax as hj
from hierjax.errors import ModelError, SettingsError
from hierjax.infer import gibbs
from hierjax.programs import PROGRAMS
from hierjax.transforms.gibbs import gibbs_coordinates
from tests import models
from tests.helpers import (
    Moment,
    assert_mean_within_error,
    assert_same_posterior,
    effective_sample_size,
    reference_moments,
)
from tests.infer.gibbs_models import KERNELS
from tests.reference.cases import CASES
from tests.transforms import cases

SCORES = hj.library.test_scores(
    [52, 48, 61, 55, 70, 64, 58, 49, 45, 66, 71, 59, 50, 47, 62], list("aaabbbbcccddddd")
)


def by_quadrature(model):
    """Means of mu and of the logs of both variances, on a grid of the two: mu is integrated out."""
    data = model.data
    y, group = data["y"], data["group"]
    counts = np.bincount(group)
    means = np.bincount(group, y) / counts
    within = np.sum((y - means[group]) ** 2)
    rows, groups = len(y), len(counts)
    a, b = np.meshgrid(np.linspace(-1, 9, 400), np.linspace(-1, 9, 400), indexing="ij")
    sigma2, tau2 = np.exp(a), np.exp(b)
    variance = tau2[..., None] + sigma2[..., None] / counts
    precision = 1 / variance
    prior_mean, prior_sd = data["mu_mean"], data["mu_sd"]
    total = precision.sum(-1) + prior_sd**-2
    centre = ((precision * means).sum(-1) + prior_mean / prior_sd**2) / total
    distance = (precision * (means - centre[..., None]) ** 2).sum(-1)
    distance += (centre - prior_mean) ** 2 / prior_sd**2
    log_density = -0.5 * (np.log(variance).sum(-1) + distance + np.log(total))
    log_density += -0.5 * (rows - groups) * a - 0.5 * within / sigma2
    for name, value, log_value in (("sigma2", sigma2, a), ("tau2", tau2, b)):
        prior = stats.invgamma(data[f"{name}_shape"], scale=data[f"{name}_scale"])
        log_density += prior.logpdf(value) + log_value
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()

    def moment(value):
        mean = np.sum(weight * value)
        return Moment(mean, np.sqrt(np.sum(weight * (value - mean) ** 2)), 0.0)

    return {"log sigma2": moment(a), "log tau2": moment(b), "mu": moment(centre)}


def of_scores(post):
    draws = post.draws
    return {
        "log sigma2": np.log(draws["sigma2"]),
        "log tau2": np.log(draws["tau2"]),
        "mu": draws["mu"],
    }


@pytest.fixture(scope="module")
def scores():
    return hj.fit(SCORES, method="gibbs", progress=False)


@pytest.mark.slow
def test_test_scores_have_the_means_of_quadrature(scores):
    expected = by_quadrature(SCORES)
    for name, draws in of_scores(scores).items():
        error = np.std(draws) / effective_sample_size(draws, "mean") ** 0.5
        assert abs(draws.mean() - expected[name].mean) < 4 * error, name
        assert effective_sample_size(draws) > 2000, name


def test_a_fit_says_who_updated_what_and_can_be_saved(scores, tmp_path):
    assert scores.info.method == "gibbs"
    assert scores.info.effects == {
        "mu": "drawn together",
        "theta": "drawn together",
        "sigma2": "sliced",
        "tau2": "sliced",
    }
    report = scores.report()
    assert "sampled by slices, with effects integrated out: sigma2, tau2" in report
    assert "divergences" not in report
    assert scores.diagnostics().ok
    assert set(scores.draws) == {"mu", "sigma2", "tau2", "theta"}
    assert scores.draws["theta"].shape == (4, 1000, 4)
    assert scores.stats["num_steps"].mean() < 2 * 8
    loaded = hj.load(scores.save(tmp_path / "scores.nc"), model=SCORES)
    np.testing.assert_array_equal(loaded.draws["theta"], scores.draws["theta"])


def test_few_draws_are_answered_with_more_of_the_same_method(scores):
    from hierjax.summary import diagnose

    short = {name: value[:, :20] for name, value in scores.draws.items()}
    stats = {name: value[:, :20] for name, value in scores.stats.items()}
    verdict = diagnose(SCORES, short, stats, scores.info).verdict
    assert "Gibbs(draws=" in verdict or "Gibbs(warmup=" in verdict


def bernoulli(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        effect = numpyro.sample("effect", dist.Normal(0.0, sd))
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Bernoulli(logits=effect[group]), obs=y)


def test_a_response_that_is_not_normal_is_refused_with_reason_and_remedy():
    data = {"y": np.arange(12) % 2, "group": np.arange(12) % 4, "num_groups": 4}
    with pytest.raises(
        ModelError,
        match='method "gibbs" draws group effects from their normal distribution given all else, '
        r"and there is none: .*'y' \(BernoulliLogits.* Or use method=\"nuts\"",
    ):
        hj.fit(hj.Model(bernoulli, data), method="gibbs", progress=False)


def scale_alone(y):
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(0.0, sigma), obs=y)


def test_a_model_without_normal_priors_is_refused():
    with pytest.raises(ModelError, match=r"No site of this model has a normal prior\. Or use"):
        hj.fit(hj.Model(scale_alone, {"y": np.arange(5.0)}), method="gibbs", progress=False)


def test_other_treatments_of_effects_are_refused():
    with pytest.raises(SettingsError, match=r'method "gibbs" draws all group effects .* leave'):
        hj.fit(SCORES, method="gibbs", effects="noncentred", progress=False)


def test_factors_cannot_take_turns_where_rows_cannot_be_summed():
    data = {"y": np.arange(12.0), "group": np.arange(12) % 4, "half": np.arange(12) % 3}
    with pytest.raises(ModelError, match=r'blocks="factor" needs one Normal response .*="auto"'):
        gibbs_coordinates(crossed_unequal_scales, data, blocks="factor")


def crossed_unequal_scales(y, group, half):
    with numpyro.plate("half", 3):
        other = numpyro.sample("other", dist.Normal(0.0, 1.0))
    with numpyro.plate("group", 4):
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Normal(effect[group] + other[half], sigma[group]), obs=y)


def test_parameters_that_are_too_many_to_slice():
    def model(y, num_groups):
        with numpyro.plate("group", num_groups):
            sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
            effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
            numpyro.sample("y", dist.Normal(effect, sigma), obs=y)

    data = {"y": np.arange(101.0), "num_groups": 101}
    with pytest.raises(ModelError, match=r"101 parameters are left .* in site 'sigma'.*\"nuts\""):
        hj.fit(hj.Model(model, data), method="gibbs", progress=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"chains": 0}, "`chains` must be an integer of at least 1; got 0"),
        ({"warmup": 5}, "`warmup` must be an integer of at least 20"),
        ({"updates": "exact"}, "`updates` must be one of 'collapsed', 'conjugate'; got 'exact'"),
        ({"blocks": "s"}, "`blocks` must be one of 'auto', 'joint', 'factor'; got 's'"),
    ],
)
def test_settings_are_checked(option, message):
    with pytest.raises(SettingsError, match=message):
        hj.Gibbs(**option)


def test_blocks_of_a_crossed_model():
    """Each part updates the sites it depends on; the smallest one, what no effect depends on."""
    kernel = KERNELS["effects by factor"]
    with jax.enable_x64(True):
        stage = gibbs_coordinates(kernel.fn, kernel.data(), blocks="factor").fn
    names = [site.name for sites in stage.plan.layout.factors for site in sites]
    found = {names[block.part[0]]: block for block in stage.blocks}
    assert found["effect"].sites == ("common", "sd")
    assert set(found["other"].sites) == {"common", "sd", "sigma", "b"}
    assert found["effect"].shared == found["other"].part  # both depend on `common`
    assert found["other"].shared == found["effect"].part


# -- slow: against NUTS and published posteriors, and what a program promises ----------------------


@pytest.mark.slow
@pytest.mark.parametrize("updates", gibbs.UPDATES)
def test_test_scores_agree_with_nuts(updates):
    model = hj.library.test_scores(*dyestuff())
    ours = hj.fit(model, method=hj.Gibbs(updates=updates, draws=2000), progress=False)
    nuts = hj.fit(model, method=hj.NUTS(draws=2000), seed=1, progress=False)
    theirs = of_scores(nuts)
    for name, draws in of_scores(ours).items():
        size = effective_sample_size(draws, "mean"), effective_sample_size(theirs[name], "mean")
        assert min(size) > 400, name
        error = np.hypot(draws.std() / size[0] ** 0.5, theirs[name].std() / size[1] ** 0.5)
        assert abs(draws.mean() - theirs[name].mean()) < 4 * error, name
    effects = ours.draws["theta"].mean((0, 1)), nuts.draws["theta"].mean((0, 1))
    np.testing.assert_allclose(*effects, atol=0.1 * nuts.draws["theta"].std((0, 1)).min())


def dyestuff():
    table = hj.load_data("dyestuff")
    return table["Yield"], table["Batch"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("penicillin", {"updates": "conjugate", "draws": 4000}),
        ("penicillin", {"blocks": "factor", "draws": 4000}),
        ("eight_schools", {"updates": "conjugate", "draws": 8000}),
    ],
    ids=str,
)
def test_references_with_other_settings(name, settings):
    case = CASES[name]
    expected = reference_moments(case.folder)
    post = hj.fit(case.build(), method=hj.Gibbs(**settings), seed=4, progress=False)
    assert_same_posterior(dict(case.names(post)), expected)
    if settings.get("updates") == "conjugate":
        assert any("drawn exactly" in word for word in post.info.effects.values())
    if settings.get("blocks") == "factor":
        assert "drawn by factor" in post.info.effects.values()


@pytest.mark.slow
def test_without_hyperparameters_draws_are_independent():
    data = models.known_variances_data()
    mean, covariance = models.known_variances_posterior(**data)
    post = hj.fit(
        hj.Model(models.known_variances, data), method=hj.Gibbs(warmup=20), progress=False
    )
    flat = np.concatenate([post.draws["mu"][..., None], post.draws["effect"]], axis=-1)
    for i in range(len(mean)):
        draws, sd = flat[..., i], covariance[i, i] ** 0.5
        assert effective_sample_size(draws) > 3000
        assert_mean_within_error(draws, Moment(mean[i], 1e-9, 0.0))
        assert_mean_within_error((draws - mean[i]) ** 2, Moment(sd**2, 1e-9, 0.0))


@pytest.mark.slow
def test_rows_that_are_visited_at_every_evaluation_agree_with_nuts():
    """A residual sd for each group: effects are drawn, but rows cannot be summed once."""
    data = dict(cases.GROUPED)
    model = hj.Model(cases.different_scales, data)
    ours = hj.fit(model, method="gibbs", progress=False)
    nuts = hj.fit(model, method="nuts", progress=False)
    for site in ("tau", "sigma", "effect"):
        a, b = np.log(np.abs(ours.draws[site])), np.log(np.abs(nuts.draws[site]))
        for index in np.ndindex(a.shape[2:]):
            pair = a[(..., *index)], b[(..., *index)]
            sizes = [effective_sample_size(x, "mean") for x in pair]
            assert min(sizes) > 400
            errors = [x.std() / size**0.5 for x, size in zip(pair, sizes, strict=True)]
            assert abs(pair[0].mean() - pair[1].mean()) < 4 * np.hypot(*errors), (site, index)


@pytest.mark.slow
def test_draws_do_not_depend_on_the_length_of_a_chunk(monkeypatch):
    settings = hj.Gibbs(chains=2, warmup=60, draws=37)
    first = hj.fit(SCORES, method=settings, progress=False)
    monkeypatch.setattr(gibbs, "MAX_CHUNK", 17)
    PROGRAMS.clear()
    second = hj.fit(SCORES, method=settings, progress=False)
    assert first.draws["theta"].shape == (2, 37, 4)
    np.testing.assert_allclose(first.draws["theta"], second.draws["theta"], rtol=1e-9)


@pytest.mark.slow
def test_sampler_is_the_same_as_a_pure_function():
    settings = hj.Gibbs(chains=2, warmup=60, draws=50)
    post = hj.fit(SCORES, method=settings, seed=3, progress=False)
    run = hj.sampler(SCORES, settings)
    with jax.enable_x64(True):
        draws = jax.jit(run)(jax.random.key(3), dict(SCORES.data))
        both = jnp.stack([SCORES.data["y"], SCORES.data["y"] + 10.0])
        many = jax.jit(jax.vmap(lambda y: run(jax.random.key(3), {**SCORES.data, "y": y})))(both)
    np.testing.assert_allclose(draws.sites["theta"], post.draws["theta"], rtol=1e-6)
    np.testing.assert_allclose(many.sites["theta"][0], post.draws["theta"], rtol=1e-6)
    shift = np.subtract(*(np.asarray(many.sites["theta"][which]).mean() for which in (1, 0)))
    assert 5.0 < shift < 11.0


@pytest.mark.slow
@pytest.mark.parametrize("updates", gibbs.UPDATES)
def test_calibration_on_simulated_data(updates):
    """All chains of all data sets in one program; also what a batch makes of the method."""
    y, batch = dyestuff()
    model = hj.library.test_scores(
        y, batch, sigma2_shape=3.0, tau2_shape=3.0, mu_mean=0.0, mu_sd=1.0,
        sigma2_scale=2.0, tau2_scale=2.0,
    )  # fmt: skip
    settings = hj.Gibbs(chains=1, warmup=100, draws=400, updates=updates)
    found = hj.sbc(model, method=settings, simulations=300, progress=False)
    assert found.ok, found.verdict


@pytest.mark.slow
def test_a_batch_of_data_sets_of_unequal_sizes():
    generator = np.random.default_rng(2)
    sets = []
    for rows in (40, 52, 47):
        group = np.arange(rows) % 6
        y = generator.normal(size=6)[group] + generator.normal(size=rows)
        sets.append({"y": y, "group": group.astype(str)})
    model = hj.formula("y ~ 1 + (1 | group)", sets[0])
    settings = hj.Gibbs(chains=2, warmup=100, draws=500)
    batch = hj.fit_many(model, sets, method=settings, progress=False)
    assert [batch[place].info.method for place in range(3)] == ["gibbs"] * 3
    for place, table in enumerate(sets):
        alone = hj.fit(model.with_data(table), method=settings, progress=False)
        for site in ("sd_group", "sigma", "b_Intercept"):
            x, z = batch[place].draws[site], alone.draws[site]
            sizes = effective_sample_size(x, "mean"), effective_sample_size(z, "mean")
            error = np.hypot(x.std() / sizes[0] ** 0.5, z.std() / sizes[1] ** 0.5)
            assert abs(x.mean() - z.mean()) < 4 * error, (place, site)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [hj.Gibbs(), hj.Gibbs(blocks="factor", draws=4000)], ids=str)
def test_single_precision(settings):
    case = CASES["penicillin"]
    post = hj.fit(case.build(), method=settings, dtype="float32", progress=False)
    assert post.draws["sigma"].dtype == np.float32
    assert_same_posterior(dict(case.names(post)), reference_moments(case.folder))


@pytest.mark.slow
def test_large_crossed_factors_take_turns_by_themselves():
    generator = np.random.default_rng(5)
    rows, sizes = 4000, (900, 500)
    a, b = (generator.integers(0, size, rows) for size in sizes)
    y = generator.normal(0, 0.8, sizes[0])[a] + generator.normal(0, 0.5, sizes[1])[b]
    table = {"y": y + generator.normal(size=rows), "a": a.astype(str), "b": b.astype(str)}
    model = hj.formula("y ~ 1 + (1 | a) + (1 | b)", table)
    post = hj.fit(model, method=hj.Gibbs(chains=2, draws=1000), progress=False)
    assert post.info.effects["r_a"] == post.info.effects["r_b"] == "drawn by factor"
    assert post.diagnostics().ess_bulk.value > 200
    joint = hj.fit(model, method=hj.Gibbs(chains=1, warmup=100, draws=300, blocks="joint"))
    assert joint.info.effects["r_a"] == "drawn together"
    for site in ("sd_a", "sd_b", "sigma", "b_Intercept"):
        x, z = post.draws[site], joint.draws[site]
        sizes = effective_sample_size(x, "mean"), effective_sample_size(z, "mean")
        error = np.hypot(x.std() / sizes[0] ** 0.5, z.std() / sizes[1] ** 0.5)
        assert abs(x.mean() - z.mean()) < 4 * error, site
