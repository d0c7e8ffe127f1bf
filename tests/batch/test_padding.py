"""Padding: what grows with what is found, densities stay, and what cannot be padded is seen."""

import jax
import numpy as np
import pytest

import hierjax as hj
from hierjax.arguments import Arguments
from hierjax.batch.bucket import make_buckets
from hierjax.batch.plan import Padding, find_padding
from hierjax.batch.verify import difference
from hierjax.density import make_density
from hierjax.errors import LengthError
from hierjax.ragged import FILLS
from tests.batch.cases import NOT_PADDED, PADDED, ragged, rows_data, varying_intercepts


def test_classes_are_found():
    padding = find_padding(varying_intercepts, ragged(rows_data))
    assert isinstance(padding, Padding)
    assert padding.classes == (("group",), ("rows",))
    assert padding.sizes(rows_data(0, 9, 40)) == (9, 40)
    padded = padding.apply(rows_data(0, 5, 30), (8, 32))
    assert padded["num_groups"] == 8
    assert [len(padded[name]) for name in ("y", "x", "group")] == [32, 32, 32]
    assert padded["hierjax_sizes"].tolist() == [5, 30]


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("fill", FILLS)
def test_padded_density_less_the_prior_of_the_padding_is_the_density(name, fill):
    """Independently of `verify`: the unconstrained density, the padded effects put at 0."""
    fn, make = PADDED[name]
    datasets = ragged(make)
    padding = find_padding(fn, datasets)
    assert isinstance(padding, Padding)
    generator = np.random.default_rng(3)
    with jax.enable_x64(True):
        data = datasets[1]
        padded = padding.apply(data, (8, 48), fill)
        arguments, more = Arguments.of(data), Arguments.of(padded)
        density = make_density(fn, arguments, data)
        larger = make_density(padding.function(fn), more, padded)
        gaps = []
        for _ in range(2):
            position = generator.normal(size=density.size)
            values = density.split(position)
            wide = {
                slot.name: np.pad(values[slot.name], widths(values[slot.name], slot.shape))
                if slot.shape
                else values[slot.name]
                for slot in larger.slots
            }
            small = density.log_density(position, arguments.arrays(data))
            large = larger.log_density(larger.join(wide), more.arrays(padded))
            prior = padded_prior(name, values, padded)
            gaps.append(float(large - small - prior))
        np.testing.assert_allclose(gaps, 0.0, atol=1e-10)


def widths(value, shape):
    return [(0, size - own) for own, size in zip(value.shape, shape, strict=True)]


def padded_prior(name, values, padded):
    """Log prior density of two padded groups whose effects are 0 (six groups made eight)."""
    from scipy import stats

    if name == "grouped_predictor":
        mean = np.asarray(values["gamma"]) * padded["u"][6:]
        return stats.norm.logpdf(0.0, mean, 1.0).sum()
    if name == "correlated_slopes":
        from numpyro.distributions import LKJCholesky, biject_to

        cholesky = biject_to(LKJCholesky(2, 2.0).support)(values["cholesky"])
        scale = np.exp(values["sd"])[:, None] * np.asarray(cholesky)
        normal = stats.multivariate_normal(np.asarray(values["b"]), scale @ scale.T)
        return 2 * normal.logpdf(np.zeros(2))
    return 2 * stats.norm.logpdf(0.0, 0.0, np.exp(float(values["sd"])))


@pytest.mark.parametrize("name", PADDED)
def test_what_can_be_padded_is_one_bucket(name):
    fn, make = PADDED[name]
    datasets = ragged(make)
    model = hj.Model(fn, datasets[0])
    (bucket,) = make_buckets({n: model.with_data(data) for n, data in enumerate(datasets)})
    assert bucket.note == ""
    assert set(bucket.models) == {0, 1, 2, 3}
    assert bucket.plates(bucket.padded) == {"group": 8, "rows": 48}


@pytest.mark.parametrize("name", NOT_PADDED)
def test_what_cannot_be_padded_is_fitted_in_its_own_shapes(name):
    fn, reason = NOT_PADDED[name]
    datasets = [*ragged(rows_data), rows_data(9, *(5, 30))]
    model = hj.Model(fn, datasets[0])
    found = make_buckets({n: model.with_data(data) for n, data in enumerate(datasets)})
    assert [list(bucket.models) for bucket in found] == [[0, 4], [1], [2], [3]]
    assert all(reason in bucket.note for bucket in found)


def test_a_mask_that_is_missing_is_seen(monkeypatch):
    """Without the mask, padded rows count; the check must say so."""
    datasets = ragged(rows_data)
    padding = find_padding(varying_intercepts, datasets)
    assert isinstance(padding, Padding)
    assert difference(varying_intercepts, padding, datasets[0], (8, 48)) == ""
    monkeypatch.setattr("hierjax.batch.mask._Mask.process_message", lambda self, msg: None)
    monkeypatch.setattr("hierjax.batch.verify._PROGRAMS", type(_programs())(8))
    assert "'y'" in difference(varying_intercepts, padding, datasets[0], (8, 48))


def _programs():
    from hierjax.batch.verify import _PROGRAMS

    return _PROGRAMS


def test_a_data_set_whose_lengths_differ_is_named():
    padding = find_padding(varying_intercepts, ragged(rows_data))
    assert isinstance(padding, Padding)
    wrong = {**rows_data(0), "x": np.zeros(7)}
    with pytest.raises(LengthError, match=r"plate 'rows'.*data\['x'\] is 7"):
        padding.sizes(wrong)
