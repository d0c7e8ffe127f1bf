"""Factors and solves in pieces: values, derivatives and batches are those of JAX's functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import solve_triangular as library_solve
from jax.test_util import check_grads

from hierjax.linalg import lapack


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=[True, False], ids=["in pieces", "at once"])
def pieces(request, monkeypatch):
    monkeypatch.setattr(lapack, "_locks_up", lambda: request.param)
    monkeypatch.setattr(lapack, "MOST_OPERATIONS", 500)


def matrices(*shape, size=6):
    a = np.random.default_rng(0).normal(size=(*shape, size, size))
    return jnp.asarray(a @ a.swapaxes(-1, -2) + size * np.eye(size))


@pytest.mark.parametrize("shape", [(), (3,), (50,), (7, 11)])
@pytest.mark.usefixtures("pieces")
def test_values(shape):
    a, b = matrices(*shape), jnp.asarray(np.random.default_rng(1).normal(size=(*shape, 6, 2)))
    factor = jax.jit(lapack.cholesky)(a)
    np.testing.assert_allclose(factor, jnp.linalg.cholesky(a), rtol=1e-12, atol=1e-14)
    for transposed in (False, True):
        solve = functools.partial(lapack.solve_triangular, transposed=transposed)
        matrix = jnp.swapaxes(factor, -1, -2) if transposed else factor
        np.testing.assert_allclose(matrix @ solve(factor, b), b, atol=1e-10)
        vector = solve(factor, b[..., 0])
        np.testing.assert_allclose(vector, solve(factor, b)[..., 0], rtol=1e-12)
    upper = jnp.swapaxes(factor, -1, -2)
    identity = np.broadcast_to(np.eye(6), a.shape)
    np.testing.assert_allclose(lapack.inverse_of_upper(upper) @ upper, identity, atol=1e-10)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.usefixtures("pieces")
def test_batches_of_batches(axes):
    """Two axes of `vmap`, of which the factor or the right-hand side may have none."""
    a, b = matrices(9, 8), jnp.asarray(np.random.default_rng(1).normal(size=(9, 8, 6)))
    a, b = (a if axes[0] == 0 else a[0, 0]), (b if axes[1] == 0 else b[0, 0])

    def ours(a, b):
        factor = lapack.cholesky(a)
        return factor, lapack.solve_triangular(factor, b, transposed=True)

    def theirs(a, b):
        factor = jnp.linalg.cholesky(a)
        return factor, library_solve(factor, b, lower=True, trans=1)

    for function in (jax.vmap, jax.jit):
        twice = [function(jax.vmap(jax.vmap(f, axes), axes)) if function is jax.jit
                 else jax.vmap(jax.vmap(f, axes), axes) for f in (ours, theirs)]  # fmt: skip
        found, expected = (f(a, b) for f in twice)
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("pieces")
def test_derivatives_of_second_order_in_both_modes():
    a = matrices(3, size=4)
    b = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)))

    def function(root, b):
        symmetric = root + jnp.swapaxes(root, -1, -2)
        factor = lapack.cholesky(symmetric)
        solved = lapack.solve_triangular(factor, b)
        back = lapack.solve_triangular(factor, jnp.sin(solved), transposed=True)
        return jnp.sum(jnp.cos(back)) + jnp.sum(factor**2 * jnp.arange(4.0)[None, None])

    check_grads(function, (a, b), order=2, modes=["fwd", "rev"], rtol=1e-4)
    hessian = jax.jit(jax.vmap(jax.hessian(function), in_axes=(0, None)))
    many = hessian(jnp.stack([a, 1.1 * a]), b)
    np.testing.assert_allclose(many[1], jax.hessian(function)(1.1 * a, b), rtol=1e-9)


def test_what_is_not_definite_is_not_a_number():
    assert np.isnan(lapack.cholesky(jnp.array([[1.0, 2.0], [2.0, 1.0]]))).any()


def test_no_batch_is_large_enough_to_be_split(monkeypatch):
    """Sizes of all factorisations and solves in a program with two axes of `vmap`."""
    monkeypatch.setattr(lapack, "_locks_up", lambda: True)

    def function(a, b):
        factor = lapack.cholesky(a)
        return lapack.solve_triangular(factor, b), lapack.inverse_of_upper(factor.T)

    a, b = matrices(40, 30, size=12), jnp.ones((40, 30, 12, 12))
    text = jax.jit(jax.vmap(jax.vmap(function))).lower(a, b).as_text()
    sizes = [
        line for line in text.splitlines() if "lapack_dpotrf" in line or "lapack_dtrsm" in line
    ]
    assert len(sizes) >= 3
    for line in sizes:
        shape = line.split("(tensor<")[-1].split("xf64>")[0].split("x")
        count = int(np.prod([int(each) for each in shape[:-2]])) if len(shape) > 2 else 1
        assert count == 1 or count * 12**3 // 3 <= lapack.MOST_OPERATIONS, line


@pytest.mark.parametrize(
    ("version", "before"), [("0.10.2", True), ("0.11.1", True), ("0.11.2", False), ("1.0", False)]
)
def test_versions_that_split_batches(monkeypatch, version, before):
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    lapack._is_before_mended.cache_clear()
    assert lapack._is_before_mended() is before
    lapack._is_before_mended.cache_clear()
