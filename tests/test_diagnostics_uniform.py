import numpy as np
import pytest
from scipy import special

from hierjax import diagnostics_uniform as uniform

SAMPLES = 4000


def inside(values, low, high):
    """Whether the curve of each column stays in a band, counted without the code under test."""
    places = np.arange(1, 100) / 100
    shares = np.stack([(values <= place).mean(axis=0) for place in places], axis=1)
    return np.all((shares - places >= low - 1e-12) & (shares - places <= high + 1e-12), axis=1)


@pytest.mark.parametrize("count", [12, 60, 400])
def test_bands_hold_whole_curves_with_their_probability(count):
    low, high = uniform.band(count, 0.9)
    values = np.random.default_rng(count).uniform(size=(count, SAMPLES))
    found = inside(values, low, high).mean()
    # Counts are whole numbers, so that a band holds a little more than was asked for.
    error = np.sqrt(0.9 * 0.1 / SAMPLES)
    assert 0.9 - 4 * error < found < 0.93 + 4 * error


def test_probability_of_staying_inside_is_exact_for_two_values():
    """Of two values, all counts 0 to 2 are inside while 2 min(z, 1 - z)^2 stays above the tail."""
    assert uniform.stays_inside(2, 1e-9) == pytest.approx(1.0, abs=1e-12)
    # A tail of 0.01^2 rules out two values at or below 0.01, and two above 0.99.
    assert uniform.stays_inside(2, 0.01**2 * 1.0001) == pytest.approx(1 - 2 * 0.01**2, abs=1e-12)


def test_p_values_are_uniform_and_agree_with_bands():
    values = np.random.default_rng(1).uniform(size=(150, 600))
    found = uniform.p_values(values)
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / 600)
        assert np.mean(found <= level) == pytest.approx(level, abs=4 * error + 0.02)
    low, high = uniform.band(150, 0.8)
    np.testing.assert_array_equal(inside(values, low, high), found > 0.2)


def test_p_values_of_wrong_distributions_are_small():
    values = np.random.default_rng(2).uniform(size=(300, 1))
    assert uniform.p_values(values)[0] > 0.01
    wrong = {
        "shifted": special.ndtr(special.ndtri(values) + 0.5),
        "too narrow": special.ndtr(special.ndtri(values) * 1.6),
        "too wide": special.ndtr(special.ndtri(values) / 1.6),
        "a lump": np.where(values < 0.2, 0.5, values),
    }
    for name, each in wrong.items():
        assert uniform.p_values(each)[0] < 1e-4, name


def dependent(generator, units, width, correlation):
    common = generator.normal(size=(units, 1)) * np.sqrt(correlation)
    return special.ndtr(common + np.sqrt(1 - correlation) * generator.normal(size=(units, width)))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.98])
def test_pooled_values_count_for_as_many_as_their_dependence_allows(correlation):
    generator, pooled, independent = np.random.default_rng(3), [], []
    for _ in range(150):
        values = dependent(generator, 100, 12, correlation)
        pooled.append(uniform.Pooled.of(values).p_value())
        independent.append(uniform.p_values(values.reshape(-1, 1))[0])
    # 7.5 of 150 are expected, and 17 exceeded once in a thousand times.
    assert np.sum(np.array(pooled) <= 0.05) <= 17
    if correlation:
        assert np.sum(np.array(independent) <= 0.05) > 40


def test_pooling_shows_what_single_groups_do_not():
    """A small error of every group: 15% too narrow, 100 simulations of 40 groups."""
    generator = np.random.default_rng(4)
    values = special.ndtr(1.15 * special.ndtri(generator.uniform(size=(100, 40))))
    assert uniform.Pooled.of(values).p_value() < 1e-4
    assert np.median(uniform.p_values(values)) > 0.05
