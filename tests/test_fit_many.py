"""fit_many: every data set by itself, whatever its neighbours, its padding and the chunks."""

import numpy as np
import pandas as pd
import pytest

import hierjax as hj
from hierjax.batch.chunks import LANES
from hierjax.errors import FitError, SettingsError
from tests import models
from tests.batch.cases import NOT_PADDED, ragged, rows_data, varying_intercepts
from tests.helpers import Moment, assert_mean_within_error, effective_sample_size

SHORT = hj.NUTS(chains=2, warmup=60, draws=60)
BROKEN = {**models.known_variances_data(), "y": np.full(40, np.nan)}


@pytest.fixture(autouse=True, scope="module")
def few_lanes():
    """Programs for two data sets, so that a handful takes several blocks and compiles fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LANES, "cpu", 2)
        yield


def known(seed):
    return models.known_variances_data(seed)


def model():
    return hj.Model(models.known_variances, known(0), labels={"group": "ABCDEF"})


def fit(datasets, of=None, **options):
    options = {"method": SHORT, "effects": "centred", "progress": False, "retries": 0, **options}
    return hj.fit_many(of or model(), datasets, **options)


def changed(seed, **arguments):
    return {**known(seed), **arguments}


BAD = {
    3: (changed(3, y=np.full(40, np.nan)), r"data\['y'\].*NaN"),
    4: (changed(4, group=np.full(40, 6)), "which has 6 groups"),
    5: ({"y": np.zeros(3)}, r"has no \['group'"),
    6: (changed(6, num_groups=5), "which has 5 groups"),
    7: (changed(7, y=np.zeros(7)), "y"),
    8: ("text", "must map the arguments"),
}


@pytest.fixture(scope="module")
def batch():
    """Three good data sets, and one of each kind of bad ones."""
    return fit([known(0), known(1), known(2), *(data for data, _ in BAD.values())])


def test_bad_data_sets_are_reported_and_the_others_fitted(batch):
    report = batch.report()
    assert len(batch) == len(report) == 9
    assert (report["status"][:3] != "not fitted").all()
    assert (report["status"][3:] == "not fitted").all()
    for place, (_, message) in BAD.items():
        with pytest.raises(FitError, match=f"data set {place} was not fitted"):
            batch[place]
        assert pd.Series([report["message"][place]]).str.contains(message).all()
    assert "9 data sets, nuts" in repr(batch)
    assert "6 not fitted" in repr(batch)


def test_posteriors_are_labelled_and_judged_as_alone(batch):
    posterior = batch[-8]
    assert posterior.info.index == 1
    assert posterior.draws["effect"].shape == (2, 60, 6)
    assert "effect[A]" in posterior.summary(effects=True).index.get_level_values("parameter")
    facts, row = posterior.diagnostics(), batch.report().loc[1]
    assert facts.rhat is not None and facts.ess_bulk is not None
    np.testing.assert_allclose(facts.rhat.value, row["rhat"], rtol=1e-12)
    np.testing.assert_allclose(facts.ess_bulk.value, row["ess_bulk"], rtol=1e-12)
    assert facts.divergences == row["divergences"]


def test_draws_do_not_depend_on_neighbours(batch):
    alone = fit([BROKEN, BROKEN, known(2)])
    np.testing.assert_array_equal(alone[2].draws["effect"], batch[2].draws["effect"])
    assert not np.array_equal(batch[2].draws["mu"], batch[1].draws["mu"])


def test_draws_do_not_depend_on_chunks(batch):
    chunks = fit([known(0), known(1), known(2)], chunk=4)
    for place in range(3):
        np.testing.assert_array_equal(chunks[place].draws["mu"], batch[place].draws["mu"])


def test_stacked_arrays_are_the_same_data_sets(batch):
    stacked = fit({name: np.stack([known(n)[name] for n in range(3)]) for name in ("y", "group")})
    for place in range(3):
        np.testing.assert_array_equal(stacked[place].draws["mu"], batch[place].draws["mu"])


def test_effects_are_summarised_in_the_program(batch):
    hyper = fit([known(0), known(1)], keep="hyper")
    assert set(hyper[1].draws) == {"mu"}
    np.testing.assert_array_equal(hyper[1].draws["mu"], batch[1].draws["mu"])
    table, draws = hyper.effects(1), batch[1].draws["effect"].reshape(-1, 6)
    assert list(table.index) == [f"effect[{label}]" for label in "ABCDEF"]
    np.testing.assert_allclose(table["mean"], draws.mean(axis=0))
    np.testing.assert_allclose(table["sd"], draws.std(axis=0, ddof=1))
    for name, level in (("q5", 0.05), ("q50", 0.5), ("q95", 0.95)):
        np.testing.assert_allclose(table[name], np.quantile(draws, level, axis=0))
    assert batch.effects(1).empty


def frames():
    generator = np.random.default_rng(4)
    for labels, each in (("abcd", 6), ("uvwxy", 5), ("abcd", 7), ("z", 8)):
        group = np.repeat(list(labels), each)
        yield pd.DataFrame({"y": generator.normal(size=len(group)), "g": group})


def test_frames_have_groups_of_their_own():
    found = list(frames())
    of = hj.formula("y ~ 1 + (1 | g)", found[0])
    batch = fit([*found, found[0].rename(columns={"y": "z"})], of=of)
    assert batch[1].draws["r_g"].shape == (2, 60, 5)
    assert list(batch[1].to_arviz().posterior["g"]) == list("uvwxy")
    assert batch[2].model.origin.frame["y"].shape == (28,)
    report = batch.report()
    assert report["padded"][0] == report["padded"][1] != ""
    assert "only one" in report["message"][3] or "one group" in report["message"][3]
    assert "`y`" in report["message"][4] or "'y'" in report["message"][4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"datasets": []}, "is empty"),
        ({"datasets": 3}, "must be a list"),
        ({"datasets": pd.DataFrame({"y": [1.0]})}, "must be a list"),
        ({"datasets": {"z": np.zeros((2, 3))}}, "no argument of the model"),
        ({"datasets": {"y": np.zeros((2, 3, 4))}}, "has 3 axes"),
        ({"datasets": {"y": np.zeros(40)}}, "no stacked array"),
        ({"datasets": {"y": np.zeros((2, 40)), "group": np.zeros((3, 40), int)}}, "y: 2, group: 3"),
        ({"keep": "some"}, "`keep` must be one of"),
        ({"chunk": 0}, "`chunk`"),
        ({"retries": -1}, "`retries`"),
        ({"dtype": "float16"}, "`dtype` must be one of"),
        ({"effects": {"nothing": "centred"}}, "no latent site"),
        ({"model": "y ~ x"}, "must be a hierjax.Model"),
    ],
)
def test_wrong_options(arguments, message):
    given = {"model": model(), "datasets": [known(0)], **arguments}
    with pytest.raises(SettingsError, match=message):
        hj.fit_many(progress=False, **given)


@pytest.mark.slow
def test_padded_posteriors_are_those_of_fitting_alone():
    datasets = ragged(rows_data)
    of = hj.Model(varying_intercepts, datasets[0])
    method = hj.NUTS(chains=4, warmup=500, draws=1000)
    together = hj.fit_many(of, datasets, method=method, progress=False)
    assert (together.report()["padded"] == "group 8, rows 48").all()
    for place, data in enumerate(datasets):
        alone = hj.fit(of, data, method=method, seed=1, progress=False)
        assert together[place].draws["effect"].shape == alone.draws["effect"].shape
        for site in ("slope", "sd", "effect"):
            left = together[place].draws[site].reshape(4, 1000, -1)
            right = alone.draws[site].reshape(4, 1000, -1)
            for element in range(right.shape[-1]):
                values = right[..., element]
                error = values.std() / effective_sample_size(values, "mean") ** 0.5
                moment = Moment(values.mean(), values.std(), error)
                assert_mean_within_error(left[..., element], moment, name=f"{place} {site}")


@pytest.mark.slow
def test_a_model_that_cannot_be_padded_is_fitted_all_the_same():
    fn, reason = NOT_PADDED["standardised"]
    datasets = ragged(rows_data, ((5, 30), (6, 33)))
    found = fit(datasets, of=hj.Model(fn, datasets[0]))
    assert found.report()["note"].str.contains(reason, regex=False).all()
    assert found[1].draws["effect"].shape == (2, 60, 6)


@pytest.mark.slow
def test_what_went_wrong_is_tried_again():
    """Eight schools, centred: divergences, fewer with smaller steps."""
    data = {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA}
    of = hj.Model(models.eight_schools, data)
    method = hj.NUTS(chains=2, warmup=200, draws=200)
    once = fit([data] * 4, of=of, method=method, retries=0).report()
    twice = fit([data] * 4, of=of, method=method, retries=2).report()
    assert (once["retries"] == 0).all()
    tried = (once["divergences"] > 4) | (once["rhat"] > 1.05)
    assert tried.any()
    assert (twice["retries"][tried] > 0).all()
    assert (twice["retries"][~tried] == 0).all()
    assert twice["divergences"].sum() < once["divergences"].sum()


@pytest.mark.slow
def test_other_methods():
    found = hj.fit_many(model(), [known(0), known(1)], method="svi", progress=False)
    mean, covariance = models.known_variances_posterior(**known(1))
    report = found.report()
    assert not (report["k_hat"] > 0.7).any()  # none at all where the guide is exact
    assert (report["ess_bulk"] > 990).all()
    draws = found[1].draws["mu"]
    assert abs(draws.mean() - mean[0]) < 0.2 * covariance[0, 0] ** 0.5
