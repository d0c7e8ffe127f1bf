import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hierjax.linalg import blocks, definite, dense


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def definite_blocks(q, groups, seed=0):
    root = np.random.default_rng(seed).normal(size=(q, q + 2, groups))
    return jnp.asarray(np.einsum("abj,cbj->acj", root, root) + 0.5 * np.eye(q)[:, :, None])


def assert_same_derivatives(ours, theirs, *points):
    """Value, gradient, and the product of the Hessian with a generic direction."""
    flat, back = jax.flatten_util.ravel_pytree(points[0])
    direction = jnp.asarray(np.random.default_rng(9).normal(size=flat.shape))

    def everything(f):
        gradient = jax.value_and_grad(lambda v: f(back(v)))
        return jax.jit(lambda v: jax.jvp(gradient, (v,), (direction,)))

    both = everything(ours), everything(theirs)
    for point in points:
        found = (f(jax.flatten_util.ravel_pytree(point)[0]) for f in both)
        for a, b in zip(*map(jax.tree.leaves, found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def symmetric(a):
    return 0.5 * (a + jnp.swapaxes(a, 0, 1))


sizes = pytest.mark.parametrize(("q", "groups"), [(1, 5), (2, 7), (3, 1), (4, 3), (6, 3)])


@sizes
def test_cholesky_equals_the_dense_one_with_derivatives(q, groups):
    a = definite_blocks(q, groups)
    np.testing.assert_allclose(blocks.cholesky(a), dense.cholesky(a), rtol=1e-9, atol=1e-12)
    assert_same_derivatives(
        lambda a: jnp.sum(jnp.sin(blocks.cholesky(symmetric(a)))),
        lambda a: jnp.sum(jnp.sin(dense.cholesky(symmetric(a)))),
        a,
    )


@sizes
def test_inverse_and_log_determinant_equal_the_dense_ones_with_derivatives(q, groups):
    a = definite_blocks(q, groups)
    for ours, theirs in zip(
        blocks.inverse_and_log_determinant(a), dense.inverse_and_log_determinant(a), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

    def summary(function):
        def value(a):
            inverse, log_determinant = function(symmetric(a))
            return jnp.sum(jnp.sin(inverse)) + jnp.sum(log_determinant**2)

        return value

    assert_same_derivatives(
        summary(blocks.inverse_and_log_determinant), summary(dense.inverse_and_log_determinant), a
    )


@sizes
def test_triangular_solves_invert_the_factor(q, groups):
    factor = blocks.cholesky(definite_blocks(q, groups))
    b = jnp.asarray(np.random.default_rng(1).normal(size=(q, groups)))
    x = blocks.solve_lower(factor, b)
    np.testing.assert_allclose(jnp.einsum("abj,bj->aj", factor, x), b, rtol=1e-9, atol=1e-12)
    x = blocks.solve_upper(factor, b)
    np.testing.assert_allclose(jnp.einsum("baj,bj->aj", factor, x), b, rtol=1e-9, atol=1e-12)


@sizes
def test_products_equal_einsum_and_broadcast_over_groups(q, groups):
    rng = np.random.default_rng(2)
    a, b = (jnp.asarray(rng.normal(size=(q, q, j))) for j in (groups, 1))
    expected = jnp.einsum("abj,bcj->acj", a, jnp.broadcast_to(b, a.shape))
    np.testing.assert_allclose(blocks.multiply(a, b), expected, rtol=1e-9, atol=1e-12)
    expected = jnp.einsum("bai,bcj,cdi->adj", b, a, b)
    np.testing.assert_allclose(blocks.sandwich(b, a), expected, rtol=1e-9, atol=1e-12)


def test_a_block_that_is_not_definite_is_nan_alone():
    a = definite_blocks(2, 3).at[1, 1, 1].set(-1.0)
    found = jnp.isnan(blocks.inverse_and_log_determinant(a)[1])
    np.testing.assert_array_equal(found, [False, True, False])


def test_blocks_vmap():
    stacked = jnp.stack([definite_blocks(3, 4, seed) for seed in range(2)])
    together = jax.vmap(blocks.inverse_and_log_determinant)(stacked)
    alone = blocks.inverse_and_log_determinant(stacked[1])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-12)


@sizes
@pytest.mark.parametrize("shared", [True, False])
def test_shrink_equals_the_dense_one_with_derivatives(q, groups, shared):
    rng = np.random.default_rng(4)
    scale = jnp.asarray(rng.normal(size=(q, q, 1 if shared else groups)))
    information = definite_blocks(q, groups).at[:, :, 0].set(0.0)  # an empty group
    for ours, theirs in zip(
        blocks.shrink(scale, information), dense.shrink(scale, information), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

    def summary(function):
        def value(arguments):
            scale, information = arguments
            covariance, log_determinant = function(scale, symmetric(information))
            return jnp.sum(jnp.sin(covariance)) + jnp.sum(log_determinant**2)

        return value

    scales = (scale, scale.at[:, -1].set(0.0), jnp.zeros_like(scale))
    points = [(each, information) for each in scales]
    assert_same_derivatives(summary(blocks.shrink), summary(dense.shrink), *points)


@pytest.mark.parametrize("m", [0, 1, 4, 5, 30, 60])
def test_definite_forms_equals_the_dense_one_with_derivatives(m):
    bordered = definite_blocks(m + 1, 1)[:, :, 0]
    for ours, theirs in zip(
        definite.definite_forms(bordered), dense.definite_forms(bordered), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

    def summary(function):
        def value(bordered):
            log_determinant, form, inverse = function(symmetric(bordered))
            return log_determinant**2 + jnp.sin(form) + jnp.sum(jnp.cos(inverse))

        return value

    assert_same_derivatives(
        summary(definite.definite_forms), summary(dense.definite_forms), bordered
    )


def test_derivatives_of_definite_forms_equal_finite_differences():
    bordered = definite_blocks(7, 1)[:, :, 0]
    check_grads(lambda a: definite.definite_forms(symmetric(a)), (bordered,), order=2, rtol=1e-4)
