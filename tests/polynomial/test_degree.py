"""Degrees are never too low, and exact where the program is plainly polynomial."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from hierjax.groups import take
from hierjax.polynomial import NOT_POLYNOMIAL, split

INDEX = np.array([0, 0, 1, 2])
MATRIX = np.arange(12.0).reshape(4, 3) / 7.0
ROOT = np.linalg.cholesky(MATRIX @ MATRIX.T + np.eye(4))
Y = np.array([1.0, 0.0, 3.0, 2.0])


def scanned(u, h):
    return jax.lax.scan(lambda total, x: (total + h * x, None), jnp.zeros(()), u)[0]


def growing(u, h):
    return jax.lax.scan(lambda total, x: (total * x, None), jnp.ones(()), u)[0]


CASES = {  # function of effects u (3,) and a number h -> degree
    "constant": (lambda u, h: h * 3.0, 0),
    "sum": (lambda u, h: jnp.sum(u) + h, 1),
    "gather": (lambda u, h: (h * u[INDEX]).sum(), 1),
    "take": (lambda u, h: take(u, INDEX).sum(), 1),
    "matrix product": (lambda u, h: (MATRIX @ u).sum(), 1),
    "einsum": (lambda u, h: jnp.einsum("ij,j->", MATRIX, u) / h, 1),
    "where on data": (lambda u, h: jnp.where(Y > 1, u[INDEX], 0.0).sum(), 1),
    "triangular solve": (
        lambda u, h: jax.scipy.linalg.solve_triangular(ROOT, u[INDEX], lower=True).sum(),
        1,
    ),
    "scatter": (lambda u, h: jnp.zeros(5).at[INDEX].add(u[INDEX]).sum(), 1),
    "cumulative sum": (lambda u, h: jnp.cumsum(u)[2] - jnp.flip(u)[0], 1),
    "scan": (scanned, 1),
    "branch on data": (lambda u, h: jax.lax.cond(h > 0, jnp.sum, lambda v: v[0], u), 1),
    "inside jit": (lambda u, h: jax.jit(lambda v: v * h)(u).sum(), 1),
    "square": (lambda u, h: (u**2).sum(), 2),
    "product": (lambda u, h: u[0] * u[1] * h, 2),
    "inner product": (lambda u, h: u @ u, 2),
    "cube": (lambda u, h: (u**3).sum(), 3),
    "Normal": (lambda u, h: dist.Normal(u[INDEX], h).log_prob(Y).sum(), 2),
    "masked Normal": (
        lambda u, h: dist.Normal(u[INDEX], h).mask(Y > 0).log_prob(Y).sum(),
        2,
    ),
    "MultivariateNormal": (
        lambda u, h: dist.MultivariateNormal(u[INDEX], scale_tril=h * ROOT).log_prob(Y),
        2,
    ),
    "exponential": (lambda u, h: jnp.exp(u).sum(), NOT_POLYNOMIAL),
    "division by it": (lambda u, h: (h / u).sum(), NOT_POLYNOMIAL),
    "clip": (lambda u, h: jnp.clip(u, -9.0, 9.0).sum(), NOT_POLYNOMIAL),
    "absolute value": (lambda u, h: jnp.abs(u).sum(), NOT_POLYNOMIAL),
    "where on it": (lambda u, h: jnp.where(u > 0, u, 2 * u).sum(), NOT_POLYNOMIAL),
    "rounding": (lambda u, h: u.astype(int).sum() * 1.0, NOT_POLYNOMIAL),
    "index from it": (lambda u, h: u[jnp.argmax(u)], NOT_POLYNOMIAL),
    "while loop": (
        lambda u, h: jax.lax.while_loop(lambda v: v[0] < 9, lambda v: v + 1, u).sum(),
        NOT_POLYNOMIAL,
    ),
    "growing scan": (growing, NOT_POLYNOMIAL),
    "scale depends on it": (
        lambda u, h: dist.Normal(0.0, jnp.exp(u[0])).log_prob(Y).sum(),
        NOT_POLYNOMIAL,
    ),
    "Poisson": (lambda u, h: dist.Poisson(jnp.exp(u[INDEX])).log_prob(Y).sum(), NOT_POLYNOMIAL),
    "StudentT": (lambda u, h: dist.StudentT(4.0, u[INDEX], h).log_prob(Y).sum(), NOT_POLYNOMIAL),
}
U, H = jnp.array([0.3, -1.2, 0.7]), jnp.array(1.7)


@pytest.mark.parametrize("case", CASES)
def test_degree(case):
    fn, expected = CASES[case]
    assert split(fn, U, H).degrees == (expected,)


@pytest.mark.parametrize("case", [name for name, (_, degree) in CASES.items() if degree <= 2])
def test_differences_of_the_next_order_vanish(case):
    """What is called quadratic has third differences of zero, in a direction without structure."""
    fn, degree = CASES[case]
    along = jnp.array([1.1, -0.4, 0.9])
    values = np.array([fn(U + k * along, H) for k in range(int(degree) + 2)], float)
    differences = np.diff(values, n=int(degree) + 1)
    assert abs(differences[0]) < 1e-5 * (1 + np.abs(values).max())


@pytest.mark.parametrize("case", CASES)
def test_the_two_halves_compute_the_whole(case):
    fn, _ = CASES[case]
    cut = split(fn, U, H)
    whole, halves = fn(U, H), cut.rest(cut.predictors(U, H), H)
    np.testing.assert_allclose(halves, whole, rtol=1e-6)


def test_predictors_are_the_last_affine_values():
    def poisson(u, h):
        return dist.Poisson(jnp.exp(h + u[INDEX])).log_prob(Y).sum()

    cut = split(poisson, U, H)
    assert cut.shapes == ((4,),)
    np.testing.assert_allclose(cut.predictors(U, H)[0], H + U[INDEX], rtol=1e-6)


def test_degree_in_chosen_variables_alone():
    def product(variables, h):
        return h * variables["a"] * jnp.exp(variables["b"])

    variables = {"a": jnp.ones(()), "b": jnp.ones(())}
    only = split(product, variables, H, chosen=lambda path: path[0].key == "a")
    assert only.degrees == (1,)
    assert split(product, variables, H).degrees == (NOT_POLYNOMIAL,)
