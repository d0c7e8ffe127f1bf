"""Structured and dense must agree: values, gradients, Hessians, means, draws with the same key."""

import functools
import re

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.linalg import (
    conditional_draw,
    conditional_map,
    conditional_mean,
    draw_noise,
    factorise,
    least_squares,
    log_likelihood,
    log_likelihood_of,
)
from tests.linalg.cases import RECIPES, flat, make

# Compiled for a quick start, not for speed: most of these tests' time is compilation.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)

every_case = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def assert_close(ours, dense, rtol=1e-9):
    """Relative to the largest entry, which is what rounding errors are relative to."""
    scale = max(1.0, float(np.max(np.abs(dense), initial=0.0)))
    np.testing.assert_allclose(ours, dense, rtol=rtol, atol=rtol * scale)


@every_case
def test_log_likelihood_and_gradient_equal_the_dense_ones(name):
    case = make(name)
    statistics = case.statistics()
    point, back = flat(case.prior, case.sigma)

    def ours(vector):
        return log_likelihood(statistics, *back(vector))

    def dense(vector):
        return case.dense_log_likelihood(*back(vector))

    for mine, theirs in zip(
        quick_jit(jax.value_and_grad(ours))(point),
        quick_jit(jax.value_and_grad(dense))(point),
        strict=True,
    ):
        assert_close(mine, theirs)


@pytest.mark.parametrize(
    "name",
    [
        "scale per group",
        "nested, empty, zero",
        "three levels, reml",
        "crossed slopes",
        "crossed, empty, zero",
        "crossed, ml",
        "five effects",
    ],
)
def test_hessian_products_equal_the_dense_ones(name):
    case = make(name)
    statistics = case.statistics()
    point, back = flat(case.prior, case.sigma)
    # One generic direction sees every entry of the Hessian.
    direction = jnp.asarray(np.random.default_rng(0).normal(size=point.shape))

    def product(function):
        gradient = jax.grad(lambda vector: function(*back(vector)))
        return quick_jit(lambda vector: jax.jvp(gradient, (vector,), (direction,))[1])(point)

    ours = product(lambda prior, sigma: log_likelihood(statistics, prior, sigma))
    assert_close(ours, product(case.dense_log_likelihood))


@every_case
def test_mean_and_draw_equal_the_dense_ones(name):
    case = make(name, seed=1)
    statistics, key = case.statistics(), jax.random.key(3)

    def ours(prior):
        factorisation = factorise(statistics, prior, case.sigma)
        return conditional_mean(factorisation), conditional_draw(factorisation, key)

    def dense(prior):
        noise = draw_noise(case.structure, key, jnp.zeros(()).dtype)
        return (
            case.dense_conditional(prior, case.sigma),
            case.dense_conditional(prior, case.sigma, noise),
        )

    pairs = zip(quick_jit(ours)(case.prior), quick_jit(dense)(case.prior), strict=True)
    for ours, dense in pairs:
        assert len(ours.factors) == len(case.structure.factors)
        for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(dense), strict=True):
            assert mine.shape == theirs.shape
            assert_close(mine, theirs)


@every_case
def test_whitened_effects_equal_the_dense_ones_and_scale_back(name):
    case = make(name, seed=2)
    noise = draw_noise(case.structure, jax.random.key(5), jnp.zeros(()).dtype)

    def ours(prior):
        factorisation = factorise(case.statistics(), prior, case.sigma)
        plain = conditional_map(factorisation, noise)
        return plain, conditional_map(factorisation, noise, whitened=True)

    plain, white = quick_jit(ours)(case.prior)
    dense = quick_jit(lambda p: case.dense_conditional(p, case.sigma, noise, whitened=True))
    for mine, theirs in zip(*map(jax.tree.leaves, (white, dense(case.prior))), strict=True):
        assert_close(mine, theirs)
    means = case.prior.means or (None,) * len(case.prior.scales)
    for b, w, scale, mean in zip(
        plain.factors, white.factors, case.prior.scales, means, strict=True
    ):
        scale = scale[:, :, None] if scale.ndim == 2 else scale
        assert_close(jnp.sum(scale * w[None], 1) + (0.0 if mean is None else mean), b)


@pytest.mark.parametrize(
    "name", [name for name, recipe in RECIPES.items() if recipe.fixed == "prior"]
)
def test_log_jacobian_of_the_whitened_map_is_minus_half_the_log_determinant(name):
    case = make(name)
    point, back = jax.flatten_util.ravel_pytree(
        draw_noise(case.structure, jax.random.key(0), jnp.zeros(()).dtype)
    )

    def both(prior):
        factorisation = factorise(case.statistics(), prior, case.sigma)

        def white(vector):
            effects = conditional_map(factorisation, back(vector), whitened=True)
            return jax.flatten_util.ravel_pytree(effects)[0]

        jacobian = jax.jacfwd(white)(point)
        return jnp.linalg.slogdet(jacobian)[1], -0.5 * factorisation.log_determinant

    ours, expected = quick_jit(both)(case.prior)
    assert_close(ours, expected)


@pytest.mark.parametrize("name", ["crossed, ml"])
def test_hessians_by_both_modes_equal_the_dense_one(name):
    case = make(name)
    statistics = case.statistics()
    point, back = flat(case.prior, case.sigma)

    def ours(vector):
        return log_likelihood(statistics, *back(vector))

    dense = quick_jit(jax.hessian(lambda vector: case.dense_log_likelihood(*back(vector))))(point)
    assert_close(quick_jit(jax.hessian(ours))(point), dense)
    assert_close(quick_jit(jax.jacrev(jax.jacrev(ours)))(point), dense)


@pytest.mark.parametrize("name", ["nested and crossed", "five effects"])
def test_everything_vmaps_over_hyperparameters_and_keys(name):
    case = make(name)
    statistics = case.statistics()
    point, back = flat(case.prior, case.sigma)
    points = point[None] * jnp.linspace(0.5, 2.0, 3)[:, None]
    keys = jax.random.split(jax.random.key(0), 3)

    def one(vector, key):
        factorisation = factorise(statistics, *back(vector))
        return log_likelihood_of(factorisation), conditional_draw(factorisation, key)

    def gradient(vector):
        return jax.grad(lambda v: log_likelihood(statistics, *back(v)))(vector)

    together = quick_jit(jax.vmap(one))(points, keys), quick_jit(jax.vmap(gradient))(points)
    one, gradient = quick_jit(one), quick_jit(gradient)
    for i in range(3):
        alone = one(points[i], keys[i]), gradient(points[i])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            assert_close(a[i], b)


def test_draws_are_differentiable():
    case = make("nested and crossed")
    statistics, key = case.statistics(), jax.random.key(0)
    point, back = flat(case.prior, case.sigma)
    noise = draw_noise(case.structure, key, point.dtype)

    def ours(vector):
        return conditional_draw(factorise(statistics, *back(vector)), key)

    def dense(vector):
        return case.dense_conditional(*back(vector), noise)

    jacobians = [quick_jit(jax.jacrev(f))(point) for f in (ours, dense)]
    for mine, theirs in zip(*map(jax.tree.leaves, jacobians), strict=True):
        assert_close(mine, theirs, rtol=1e-8)


@pytest.mark.parametrize("name", ["slopes", "crossed slopes", "crossed, ml", "one factor, reml"])
def test_the_origin_changes_nothing_but_rounding(name):
    case = make(name)
    origin = least_squares(case.response - case.offset, case.columns, case.weights)
    results = []
    for options in ({}, {"origin": origin}):
        factorisation = factorise(case.statistics(**options), case.prior, case.sigma)
        results.append((log_likelihood_of(factorisation), conditional_mean(factorisation)))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        assert_close(a, b)


def test_a_response_far_from_zero_keeps_its_digits_with_an_origin():
    case = make("slopes")
    exact = factorise(case.statistics(), case.prior, case.sigma)
    far = make("slopes")
    shift = 1e6 * far.columns[:, 0]
    response = far.response + shift
    origin = least_squares(response, far.columns)
    moved = type(far)(
        far.structure,
        response,
        far.terms,
        far.columns,
        type(far.prior)(
            far.prior.scales,
            far.prior.column_scale,
            far.prior.means,
            far.prior.column_mean + jnp.array([1e6, 0.0]),
        ),
        far.sigma,
        None,
        0.0,
    )
    ours = factorise(moved.statistics(origin=origin), moved.prior, moved.sigma)
    assert_close(log_likelihood_of(ours), log_likelihood_of(exact), rtol=1e-8)


def test_conditional_draws_have_the_conditional_moments():
    case = make("nested and crossed")
    factorisation = factorise(case.statistics(), case.prior, case.sigma)
    size = 40_000
    keys = jax.random.split(jax.random.key(1), size)
    draws = quick_jit(jax.vmap(lambda key: conditional_draw(factorisation, key)))(keys)
    mean = conditional_mean(factorisation)
    for drawn, expected in zip(jax.tree.leaves(draws), jax.tree.leaves(mean), strict=True):
        error = (drawn.mean(0) - expected) / (drawn.std(0) / np.sqrt(size))
        assert np.abs(error).max() < 5.0  # 31 checks at 6e-7


def test_likelihood_times_conditional_is_the_joint_density():
    """Var(b | y) from draws is not needed: at any b, p(y) = p(y | b) p(b) / p(b | y)."""
    case = make("one factor")
    prior, sigma = case.prior, case.sigma
    scale, columns = float(prior.scales[0][0, 0]), case.columns
    statistics = case.statistics()
    factorisation = factorise(statistics, prior, sigma)
    mean = conditional_mean(factorisation)
    effects, beta = mean.factors[0][0], mean.columns
    residual = case.response - columns @ beta - effects[case.terms[0].index]
    beta_scale = np.asarray(prior.column_scale)

    def log_normal(x, scale):
        return jnp.sum(-0.5 * (x / scale) ** 2 - jnp.log(jnp.abs(scale) * jnp.sqrt(2 * jnp.pi)))

    joint = log_normal(residual, sigma) + log_normal(effects, scale)
    joint += log_normal(beta - prior.column_mean - 0.0, beta_scale)
    joint -= log_normal(prior.means[0][0] if prior.means[0] is not None else jnp.zeros(0), 1.0)
    # log p(b | y) at its mode: -1/2 log|2 pi A^-1| in units where the prior is standard normal.
    count = effects.size + beta.size
    at_mode = 0.5 * factorisation.log_determinant - 0.5 * count * jnp.log(2 * jnp.pi)
    at_mode -= effects.size * jnp.log(abs(scale)) + jnp.sum(jnp.log(beta_scale))
    assert_close(log_likelihood_of(factorisation), joint - at_mode)


def test_a_tiny_scale_is_as_stable_as_zero():
    case = make("crossed slopes")
    statistics = case.statistics()

    def value(size):
        scales = tuple(size * scale for scale in case.prior.scales)
        prior = type(case.prior)(scales, case.prior.column_scale)
        return log_likelihood(statistics, prior, case.sigma)

    assert_close(value(1e-200), value(0.0), rtol=1e-14)
    assert abs(jax.grad(value)(1e-200)) < 1e-12


def test_the_gradient_factorises_once_and_not_per_row():
    case = make("nested and crossed")
    statistics = case.statistics()

    def value(prior, sigma):
        return log_likelihood(statistics, prior, sigma)

    text = str(jax.make_jaxpr(jax.grad(value))(case.prior, case.sigma))
    assert len(re.findall(r"= cholesky\b", text)) == 1
    assert f"f64[{len(case.response)}]" not in text


@pytest.mark.parametrize("name", ["slopes", "zero scale", "nested and crossed"])
def test_single_precision_keeps_four_digits(name):
    case = make(name)

    def single(tree):
        return jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, tree)

    def results(statistics, prior, sigma):
        def value(prior, sigma):
            return log_likelihood(statistics, prior, sigma)

        factorisation = factorise(statistics, prior, sigma)
        noise = jax.tree.map(
            lambda a: a.astype(sigma.dtype),
            draw_noise(case.structure, jax.random.key(0), jnp.zeros(()).dtype),
        )
        gradient = jax.value_and_grad(value, argnums=(0, 1))(prior, sigma)
        return gradient, conditional_map(factorisation, noise)

    inputs = (case.statistics(), case.prior, jnp.asarray(case.sigma))
    exact = quick_jit(results)(*inputs)
    rough = quick_jit(results)(*single(inputs))
    for mine, theirs in zip(*map(jax.tree.leaves, (rough, exact)), strict=True):
        assert mine.dtype == jnp.float32
        assert_close(mine, theirs, rtol=1e-4)
