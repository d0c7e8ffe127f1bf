"""The mode of effects against a dense Newton search, and its derivatives."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from jax.scipy.special import gammaln

from hierjax.effects.design import Design
from hierjax.effects.mode import find_mode, predict, separates
from hierjax.linalg import Effects, Factor, Structure, Term

HYPER = np.array([0.3, -0.4, 0.7])  # log scale of the effects, shift, log shape


def poisson(eta, y, shape):
    return jnp.sum(y * eta - shape * jnp.exp(eta) - gammaln(y + 1.0))


def bernoulli(eta, y, shape):
    return jnp.sum((y > 0) * eta - shape * jax.nn.softplus(eta))


def student(eta, y, shape):
    return -2.5 * jnp.sum(jnp.log1p((3.0 * (y - eta)) ** 2 / (4.0 * shape)))


@dataclasses.dataclass(frozen=True)
class Case:
    likelihood: object
    factors: tuple[Factor, ...]
    columns: int = 0
    rows: int = 30


CASES = {
    "slopes, poisson": Case(poisson, (Factor("g", 6, 2),)),
    "nested and crossed, bernoulli": Case(
        bernoulli, (Factor("h", 4, 1), Factor("a", 9, 1, "b"), Factor("b", 3, 1)), columns=1
    ),
    "not concave": Case(student, (Factor("g", 6, 1),), columns=1),
}


def rows_of(case, seed=0):
    """Response, index and design per factor, and columns; child groups lie in one parent."""
    generator = np.random.default_rng(seed)
    index = {}
    for factor in sorted(case.factors, key=lambda each: -each.groups):
        child = next((each for each in case.factors if each.parent == factor.name), None)
        if child is None:
            index[factor.name] = generator.permutation(np.arange(case.rows) % factor.groups)
        else:
            index[factor.name] = index[child.name] % factor.groups
    terms = []
    for factor in case.factors:
        design = generator.normal(size=(case.rows, factor.effects))
        design[:, 0] = 1.0
        terms.append(Term(jnp.asarray(index[factor.name]), jnp.asarray(design)))
    columns = generator.normal(size=(case.rows, case.columns))
    return generator.poisson(1.0, case.rows).astype(float), terms, jnp.asarray(columns)


def model_of(case, hyper, rows):
    """Log density of the predictors, and the design, at given hyperparameters."""
    y, terms, columns = rows
    scale, shape = jnp.exp(hyper[0]), jnp.exp(hyper[2])
    scaled = tuple(Term(term.index, scale * term.design) for term in terms)
    design = Design(scaled, columns, hyper[1] * jnp.ones(case.rows))
    return lambda eta: case.likelihood(eta, y, shape), design


def structure_of(case):
    return Structure(case.factors, case.columns)


def dense_matrix(case, terms, columns):
    """E with one column an effect, in the order of `ravel_pytree` of `Effects`."""
    wide = []
    for factor, term in zip(case.factors, terms, strict=True):
        member = np.asarray(term.index)[:, None] == np.arange(factor.groups)
        wide += [np.asarray(term.design)[:, [k]] * member for k in range(factor.effects)]
    return np.concatenate([*wide, np.asarray(columns)], axis=1)


def dense_laplace(case, rows):
    """Function of hyperparameters: mode of the dense objective, and its Laplace value there."""

    def objective(v, hyper):
        log_density, design = model_of(case, hyper, rows)
        matrix = dense_matrix(case, rows[1], rows[2])
        groups = sum(factor.size for factor in case.factors)
        scaled = v.at[:groups].multiply(jnp.exp(hyper[0]))
        return log_density(design.start + matrix @ scaled) - 0.5 * v @ v

    evaluate = jax.jit(
        lambda v, hyper: (
            objective(v, hyper),
            jax.grad(objective)(v, hyper),
            jax.hessian(objective)(v, hyper),
        )
    )

    def run(hyper):
        v = np.zeros(sum(factor.size for factor in case.factors) + case.columns)
        for _ in range(60):
            value, slope, hessian = map(np.asarray, evaluate(v, hyper))
            values, vectors = np.linalg.eigh(-hessian)
            step = vectors @ ((vectors.T @ slope) / np.maximum(np.abs(values), 0.5))
            if np.max(np.abs(step)) < 1e-13:
                break
            while not evaluate(v + step, hyper)[0] >= value and np.max(np.abs(step)) > 1e-12:
                step = step / 2
            v = v + step
        return v, float(value - 0.5 * np.linalg.slogdet(-hessian)[1])

    return run


def laplace(case, rows, **options):
    def run(hyper):
        log_density, design = model_of(case, hyper, rows)
        return find_mode(log_density, design, structure_of(case), **options)

    return run


@pytest.mark.parametrize(
    "name",
    [
        "slopes, poisson",
        "not concave",
        pytest.param("nested and crossed, bernoulli", marks=pytest.mark.slow),
    ],
)
def test_mode_determinant_and_derivative_are_those_of_the_dense_objective(name):
    case = CASES[name]
    with jax.enable_x64(True):
        rows = rows_of(case)
        run = laplace(case, rows)
        mode, gradient = jax.jit(
            lambda hyper: (run(hyper), jax.grad(lambda each: run(each).laplace)(hyper))
        )(HYPER)
        assert mode.converged
        twin = dense_laplace(case, rows)
        expected, value = twin(HYPER)
        np.testing.assert_allclose(ravel_pytree(mode.effects)[0], expected, atol=1e-8)
        np.testing.assert_allclose(mode.laplace, value, rtol=1e-10)
        for k, step in enumerate(1e-4 * np.eye(3)):
            after, before = (twin(HYPER + s * step)[1] for s in (1, -1))
            assert gradient[k] == pytest.approx((after - before) / 2e-4, rel=1e-6, abs=1e-6)


@pytest.mark.slow
def test_second_derivatives_are_exact_with_two_steps():
    case = CASES["slopes, poisson"]
    with jax.enable_x64(True):
        rows = rows_of(case)
        run = laplace(case, rows, derivatives=2)
        gradient = jax.jit(jax.grad(lambda hyper: run(hyper).laplace))
        hessian = jax.jit(jax.hessian(lambda hyper: run(hyper).laplace))(HYPER)
        for k, step in enumerate(1e-4 * np.eye(3)):
            numeric = (gradient(HYPER + step) - gradient(HYPER - step)) / 2e-4
            np.testing.assert_allclose(hessian[k], numeric, rtol=1e-6, atol=1e-6)


HARD = {
    "counts of millions": (poisson, np.array([0.0, 3e6, 0.0, 40.0, 1e5, 2.0]), 1.0),
    "all one, all zero, wide prior": (bernoulli, np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0]), 60.0),
    "no counts, wide prior": (poisson, np.zeros(6), 60.0),
    "outliers": (student, np.array([0.0, 1e4, -1e4, 30.0, 0.1, -20.0]), 20.0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", HARD)
def test_hard_likelihoods_converge_from_zero(name, dtype):
    likelihood, y, scale = HARD[name]
    with jax.enable_x64(dtype == "float64"):
        design = Design(
            (Term(jnp.arange(6) // 2, jnp.full((6, 1), scale)),), jnp.zeros((6, 0)), jnp.zeros(6)
        )
        structure = Structure((Factor("g", 3, 1),))
        found = jax.jit(
            lambda y: find_mode(lambda eta: likelihood(eta, y, 1.0), design, structure)
        )(jnp.asarray(y))
        assert found.converged, found
        assert found.iterations < 50
        v = found.effects.factors[0][0]
        slope = scale * np.add.reduceat(np.asarray(found.slope), [0, 2, 4])
        size = 1.0 + scale * np.add.reduceat(np.abs(np.asarray(found.slope)), [0, 2, 4])
        assert np.all(np.abs(slope - v) <= (1e-6 if dtype == "float64" else 1e-2) * size)


def test_failure_is_a_status_and_never_silent():
    structure = Structure((Factor("g", 3, 1),))
    design = Design((Term(jnp.arange(3), jnp.ones((3, 1))),), jnp.zeros((3, 0)), jnp.zeros(3))
    for likelihood in (
        lambda eta: jnp.sum(eta**2),  # rises without end
        lambda eta: jnp.sum(jnp.log(-1.0 - eta**2)),  # nowhere finite
    ):
        found = jax.jit(lambda f=likelihood: find_mode(f, design, structure))()
        assert not found.converged


def test_a_start_is_used_and_a_bad_one_is_not():
    case = CASES["slopes, poisson"]
    with jax.enable_x64(True):
        rows = rows_of(case)
        log_density, design = model_of(case, jnp.asarray(HYPER), rows)

        @jax.jit
        def run(start):
            return find_mode(log_density, design, structure_of(case), start)

        zeros = Effects((jnp.zeros((2, 6)),), jnp.zeros(0))
        cold = run(zeros)
        warm = run(cold.effects)
        bad = run(jax.tree.map(lambda each: each + 1e4, zeros))
        assert warm.iterations == 1 < cold.iterations
        assert bad.iterations == cold.iterations
        np.testing.assert_allclose(warm.predictors, cold.predictors, atol=1e-8)


def test_vmap_equals_a_loop():
    case = CASES["slopes, poisson"]
    with jax.enable_x64(True):
        run = jax.value_and_grad(lambda hyper: laplace(case, rows_of(case))(hyper).laplace)
        many = HYPER + np.linspace(-1.0, 1.0, 4)[:, None]
        together = jax.jit(jax.vmap(run))(many)
        alone = jax.jit(run)
        apart = [alone(each) for each in many]
        np.testing.assert_allclose(together[0], [value for value, _ in apart], rtol=1e-12)
        np.testing.assert_allclose(together[1], [slope for _, slope in apart], rtol=1e-9)


def test_zeros_of_numpyro_bernoulli_do_not_stop_the_search():
    """Its slope is that of a clip where a logit is exactly 0: zeros would look like a maximum."""
    structure = Structure((Factor("g", 2, 1),))
    design = Design((Term(jnp.arange(2), jnp.ones((2, 1))),), jnp.zeros((2, 0)), jnp.zeros(2))

    @jax.jit
    def run(y):
        return find_mode(
            lambda eta: jnp.sum(dist.Bernoulli(logits=eta).log_prob(y)), design, structure
        ).effects.factors[0]

    np.testing.assert_allclose(run(jnp.zeros(2)), -run(jnp.ones(2)), rtol=1e-5)
    assert np.all(run(jnp.ones(2)) > 0.3)


@pytest.mark.parametrize(
    ("log_density", "expected"),
    [
        (lambda eta: jnp.sum(jnp.sin(eta)), True),
        (lambda eta: jnp.sum(jnp.sin(eta)) + eta[0] * eta[3], False),
        (lambda eta: -jnp.sum(jnp.exp(eta[:3]) * eta[3:] ** 2), False),
    ],
)
def test_likelihoods_that_couple_predictors_are_found(log_density, expected):
    eta, direction = np.random.default_rng(0).normal(size=(2, 6))
    assert separates(log_density, jnp.asarray(eta), jnp.asarray(direction)) == expected


def test_predictors_are_start_plus_effects():
    case = CASES["nested and crossed, bernoulli"]
    with jax.enable_x64(True):
        _, design = model_of(case, jnp.asarray(HYPER), rows_of(case))
        generator = np.random.default_rng(0)
        effects = Effects(
            tuple(jnp.asarray(generator.normal(size=(f.effects, f.groups))) for f in case.factors),
            jnp.asarray(generator.normal(size=case.columns)),
        )
        matrix = dense_matrix(case, design.terms, design.columns)
        expected = design.start + matrix @ ravel_pytree(effects)[0]
        np.testing.assert_allclose(predict(design, effects), expected, rtol=1e-12)
