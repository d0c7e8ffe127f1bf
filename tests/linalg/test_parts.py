"""Parts of a crossed structure, each conditional on the others, against the dense whole."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.distributions import MultivariateNormal

from hierjax.linalg import Factor, Structure, conditional_map, dense, factorise, zero_noise
from hierjax.linalg.conditional import Effects, draw_noise
from hierjax.linalg.eliminate import log_likelihood_of
from hierjax.linalg.parts import (
    log_density_of_effects,
    part_prior,
    part_structure,
    parts_of,
    summarise_parts,
    with_part,
)
from hierjax.linalg.shared import sharing_of
from tests.linalg.cases import make
from tests.linalg.test_core import quick_jit

CASES = (
    "crossed slopes",
    "crossed, no columns",
    "three crossed",
    "nested and crossed",
    "two children",
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_parts_are_lineages_and_cover_everything():
    factors = (Factor("h", 4, 2), Factor("a", 9, 2, "b"), Factor("b", 3, 1), Factor("c", 6, 1, "b"))
    structure = Structure(factors, 2)
    assert parts_of(structure) == ((1, 2), (0,), (3,))
    assert part_structure(structure, (3,)).factors == (Factor("c", 6, 1),)
    assert part_structure(structure, (1, 2)).rest == ()
    assert part_structure(structure, (1, 2)).columns == 2


def conditioned(case, part, effects, dense_pairs=False):
    """Factorisation of a part given the other effects, as a sampler makes it."""
    weights = np.ones(len(case.response)) if case.weights is None else case.weights
    factors, parts = case.structure.factors, parts_of(case.structure)
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(len(factors)), 2)
        if not any(a in each and b in each for each in parts)
    ]
    sharing = []
    for a, b in pairs:
        indexes = case.terms[a].index, case.terms[b].index
        each = sharing_of((a, b), (factors[a], factors[b]), indexes, weights > 0)
        assert each.cells is None  # all of these are small
        cells = len(set(zip(*indexes, strict=True)))
        sharing.append(each if dense_pairs else dataclasses.replace(each, cells=cells + 1))
    origin = jnp.linspace(0.5, 1.0, case.structure.columns)
    response = jnp.asarray(case.response) - case.offset
    columns, weights = jnp.asarray(case.columns), jnp.asarray(weights)
    summed = summarise_parts(
        case.structure, parts, sharing, response, case.terms, columns, weights, origin
    )
    statistics = summed.given(parts.index(part), effects)
    return factorise(statistics, part_prior(case.prior, part), jnp.asarray(case.sigma))


def in_rows(terms, effects):
    """Sum of Z b, shape (n,)."""
    return sum(
        jnp.sum(effect.T[np.asarray(term.index)] * term.design, 1)
        for term, effect in zip(terms, effects, strict=True)
    )


def some_effects(structure, seed):
    generator = np.random.default_rng(seed)
    factors = tuple(
        jnp.asarray(generator.normal(size=(factor.effects, factor.groups)))
        for factor in structure.factors
    )
    return Effects(factors, jnp.asarray(generator.normal(size=structure.columns)))


@pytest.mark.parametrize("dense_pairs", (True, False))
@pytest.mark.parametrize("name", CASES)
def test_a_part_given_the_others_equals_the_dense_one(name, dense_pairs):
    case = make(name)
    effects = some_effects(case.structure, 1)
    given = {"weights": case.weights, "offset": case.offset}
    for part in parts_of(case.structure):
        structure = part_structure(case.structure, part)
        noise = draw_noise(structure, jax.random.key(2), jnp.float64)
        others = [place for place in range(len(case.terms)) if place not in part]

        def ours(part=part, noise=noise):
            found = conditioned(case, part, effects, dense_pairs)
            return log_likelihood_of(found), conditional_map(found, noise)

        def twins(part=part, noise=noise, structure=structure, others=others):
            fitted = in_rows(
                [case.terms[place] for place in others],
                [effects.factors[place] for place in others],
            )
            arguments = (
                structure,
                case.response - fitted,
                [case.terms[place] for place in part],
                case.columns,
                part_prior(case.prior, part),
                case.sigma,
            )
            likelihood = dense.log_likelihood(*arguments, **given)
            return likelihood, dense.conditional(*arguments, noise, **given)

        found, expected = jax.tree.leaves(quick_jit(ours)()), jax.tree.leaves(quick_jit(twins)())
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ("crossed slopes", "nested and crossed"))
def test_what_a_part_leaves_is_the_distribution_of_the_others(name):
    """log p(y | others) + log p(others) = log p(y) + log p(others | y), the latter dense."""
    case = make(name)
    whole = case.structure
    part = parts_of(whole)[0]
    others = [place for place in range(len(whole.factors)) if place not in part]
    means = case.prior.means or (None,) * len(whole.factors)
    start, unravel = ravel_pytree(zero_noise(whole))

    def vector(effects):
        return jnp.concatenate([effects.factors[place].ravel() for place in others])

    def of_noise(noise):
        return vector(case.dense_conditional(case.prior, case.sigma, unravel(noise)))

    def both(effects):
        mean, root = of_noise(start), jax.jacobian(of_noise)(start)
        normal = MultivariateNormal(mean, covariance_matrix=root @ root.T)
        posterior = normal.log_prob(vector(effects))
        prior = sum(
            log_density_of_effects(
                case.prior.scales[place],
                effects.factors[place] - (0.0 if means[place] is None else means[place]),
            )
            for place in others
        )
        found = log_likelihood_of(conditioned(case, part, effects)) + prior
        return found, case.dense_log_likelihood(case.prior, case.sigma) + posterior

    found, expected = jax.jit(both)(some_effects(whole, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_a_drawn_part_is_put_in_its_place():
    structure = make("three crossed").structure
    old, new = some_effects(structure, 1), some_effects(structure, 2)
    part = parts_of(structure)[0]
    chosen = Effects(tuple(new.factors[place] for place in part), new.columns)
    found = with_part(old, part, chosen)
    for place in range(3):
        expected = new if place in part else old
        np.testing.assert_array_equal(found.factors[place], expected.factors[place])
    np.testing.assert_array_equal(found.columns, new.columns)
