"""Slice sampling of densities that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats as densities
from scipy import stats

from hierjax.infer.slice import MOST_SHRINKS, slice_sweep

CHAINS, STEPS = 50, 400


def runner(log_density, coordinates, steps=STEPS, chains=CHAINS):
    """Compiled function of start and widths: positions after each sweep, (chain, step, size)."""

    def run(start, widths):
        def chain(key):
            def sweep(position, step):
                key_now = jax.random.fold_in(key, step)
                found = slice_sweep(log_density, position, coordinates, widths, key_now)
                return found.position, found

            return jax.lax.scan(sweep, start, jnp.arange(steps))[1]

        return jax.vmap(chain)(jax.random.split(jax.random.key(0), chains))

    return jax.jit(run)


@pytest.mark.slow
def test_any_width_gives_the_distribution():
    """A skewed density, a bounded one, and one coordinate that stays; widths decide on cost."""

    def log_density(x):
        inside = densities.uniform.logpdf(x[2])  # -inf outside
        return densities.gamma.logpdf(x[0], 3.0) - 0.5 * (x[1] - x[0]) ** 2 + inside

    with jax.enable_x64(True):
        run = runner(log_density, np.array([2, 0, 1]))
        start = jnp.array([1.0, 0.0, 0.5, 7.0])
        for width in (0.2, 3.0, 40.0):
            position, value, evaluations = jax.device_get(run(start, jnp.full(4, width)))
            at_end = jax.vmap(log_density)(jnp.asarray(position[:, -1]))
            np.testing.assert_allclose(value[:, -1], at_end)
            last = position[:, 100::25].reshape(-1, 4)  # 600 nearly independent draws
            assert stats.kstest(last[:, 0], stats.gamma(3.0).cdf).pvalue > 1e-4
            assert stats.kstest(last[:, 1] - last[:, 0], stats.norm.cdf).pvalue > 1e-4
            assert stats.kstest(last[:, 2], stats.uniform.cdf).pvalue > 1e-4
            assert (position[..., 3] == 7.0).all()
            assert evaluations.min() >= 3 * 3 + 1


def test_no_coordinates_are_one_evaluation():
    found = slice_sweep(
        lambda x: -jnp.sum(x**2), jnp.ones(2), np.zeros(0, int), jnp.ones(2), jax.random.key(0)
    )
    assert found.evaluations == 1
    assert found.log_density == -2.0


def test_a_density_that_is_no_number_ends_and_says_so():
    def log_density(x):
        return x[0] * jnp.nan

    run = runner(log_density, np.array([0]), steps=1, chains=1)
    position, value, evaluations = jax.device_get(run(jnp.ones(1), jnp.ones(1)))
    assert np.isnan(value).all()
    assert (position == 1.0).all()
    assert evaluations.max() <= MOST_SHRINKS + 4
