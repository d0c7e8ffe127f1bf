"""Likelihoods of several predictors an element, against dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.effects.coupling import Coupling, couples, mixes, semidefinite_root
from hierjax.effects.design import Design
from hierjax.effects.mode import condition, quadratic_at
from hierjax.linalg import Factor, Structure, Term
from hierjax.transforms.recentre_plan import make_recentre_plan

ELEMENTS, GROUPS = 40, 6
MIXED = Coupling((((1, 3),), ((0, 1), (2, 1))), ((25,), (ELEMENTS, 3), (25,)))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def two_responses(eta):
    """Choices among three, and normal values whose log sd is a predictor too."""
    location, utility, log_sd = eta[:25], eta[25:145].reshape(ELEMENTS, 3), eta[145:]
    choices = jax.nn.log_softmax(utility)[jnp.arange(ELEMENTS), jnp.arange(ELEMENTS) % 3]
    values = -log_sd - 0.5 * ((jnp.sin(jnp.arange(25.0)) - location) / jnp.exp(log_sd)) ** 2
    return jnp.sum(choices) + jnp.sum(values)


def predictors(seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=170))


def test_cut_and_join_are_inverse():
    eta = predictors()
    choices, values = MIXED.cut(eta)
    assert choices.shape == (ELEMENTS, 3) and values.shape == (25, 2)
    np.testing.assert_array_equal(choices, eta[25:145].reshape(ELEMENTS, 3))
    np.testing.assert_array_equal(values[:, 1], eta[145:])
    np.testing.assert_array_equal(MIXED.join([choices, values]), eta)


def test_hessian_has_the_blocks_of_the_right_coupling_only():
    eta, direction = predictors(), predictors(1)
    assert couples(two_responses, eta, direction, MIXED)
    assert mixes(two_responses, eta, MIXED)
    alone = Coupling((((1, 3),), ((0, 1),), ((2, 1),)), MIXED.shapes)
    assert not couples(two_responses, eta, direction, alone)
    assert not mixes(lambda eta: -jnp.sum(jnp.cosh(eta)), eta, MIXED)


@pytest.mark.parametrize("seed", range(5))
def test_root_of_semidefinite_blocks(seed):
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(30, 4, 4)) * np.exp(generator.normal(0, 3, size=(30, 1, 4)))
    root[:10, :, 3] = 0.0  # rank 3
    root[5:10, 2] = root[5:10, 0]  # a pivot of zero that is not the last
    whole = root @ root.swapaxes(1, 2)
    found, definite = semidefinite_root(jnp.asarray(whole))
    assert np.all(definite)
    size = np.abs(whole).max((1, 2), keepdims=True)
    np.testing.assert_allclose(found @ found.swapaxes(1, 2) / size, whole / size, atol=1e-6)
    whole[::3, 1, 1] *= -1.0
    assert np.array_equal(semidefinite_root(jnp.asarray(whole))[1], np.arange(30) % 3 != 0)


def test_gaussian_is_that_of_the_dense_hessian():
    """log|I + Z' W Z| and its inverse, W the Hessian by JAX, of choices at any predictors."""
    generator = np.random.default_rng(3)
    utilities = Coupling((((0, 3),),), ((ELEMENTS, 3),))
    group = np.repeat(generator.integers(GROUPS, size=ELEMENTS), 3)
    design = Design(
        (Term(jnp.asarray(group), jnp.asarray(generator.normal(size=(120, 2)))),),
        jnp.asarray(generator.normal(size=(120, 2))),
        jnp.asarray(generator.normal(size=120)),
    )
    structure = Structure((Factor("g", GROUPS, 2),), columns=2)

    def log_density(eta):
        utility = eta.reshape(ELEMENTS, 3)
        return jnp.sum(jax.nn.log_softmax(utility)[jnp.arange(ELEMENTS), jnp.arange(ELEMENTS) % 3])

    eta = design.start + 0.3
    near = quadratic_at(log_density, eta, design, utilities)
    found = condition(near, design, structure)
    dense = np.zeros((120, 2 * GROUPS + 2))
    for k in range(2):
        dense[np.arange(120), 2 * group + k] = design.terms[0].design[:, k]
    dense[:, 2 * GROUPS :] = design.columns
    hessian = -np.asarray(jax.hessian(log_density)(eta))
    precision = np.eye(dense.shape[1]) + dense.T @ hessian @ dense
    np.testing.assert_allclose(found.log_determinant, np.linalg.slogdet(precision)[1], rtol=1e-10)
    np.testing.assert_allclose(
        near.linear, near.slope + hessian @ (eta - design.start), rtol=1e-9, atol=1e-12
    )


def model_of(likelihood, *, groups=GROUPS, shape=(ELEMENTS,)):
    """Return a function whose effects enter as `likelihood(effects of each row)` says."""

    def fn(y, group):
        sd = numpyro.sample("sd", dist.HalfNormal(1.0))
        with numpyro.plate("group", groups):
            prior = dist.Normal(jnp.zeros(3), sd).to_event(1)
            effect = numpyro.sample("effect", prior)
        numpyro.sample("y", likelihood(effect, group), obs=y)

    y = np.arange(int(np.prod(shape))).reshape(shape) % 3
    return fn, {"y": y, "group": np.arange(ELEMENTS) % groups}


def coupling_of(likelihood, **options):
    return make_recentre_plan(*model_of(likelihood, **options)).coupling


def test_coupling_is_read_off_the_model():
    found = coupling_of(lambda effect, group: dist.CategoricalLogits(effect[group]))
    assert found == Coupling((((0, 3),),), ((ELEMENTS, 3),))
    found = coupling_of(
        lambda effect, group: dist.Normal(effect[group, 0], jnp.exp(effect[group, 1])).to_event(1)
    )  # one element of 80 predictors: its Hessian is not laid out by the shape of its density
    assert found is None
    found = coupling_of(
        lambda effect, group: dist.Normal(effect[group, 0], jnp.exp(effect[group, 1]))
    )
    assert found is not None and [len(part) for part in found.parts] == [2]


def test_no_coupling_where_one_predictor_suffices():
    assert coupling_of(lambda effect, group: dist.Poisson(jnp.exp(effect[group, 0]))) is None
    twice = coupling_of(lambda effect, group: dist.GammaPoisson(2.0, jnp.exp(-effect[group, 0])))
    assert twice is None


def test_predictors_of_several_groups_have_a_diagonal():
    """An effect of each alternative: the utilities of one choice depend on three groups."""

    def likelihood(effect, group):
        return dist.CategoricalLogits(jnp.broadcast_to(effect[:, 0], (ELEMENTS, 3)))

    found = coupling_of(likelihood, groups=3)
    assert found is not None and not found.together


def test_recentred_choices_are_standard_normal_to_second_order():
    """At the pilot mode the negative Hessian of the log density by z is near the identity.

    With the row sums of the multinomial Hessian, which are zero, it is not (entries above 1).
    """
    from jax.flatten_util import ravel_pytree
    from numpyro import handlers
    from numpyro.infer.util import log_density

    model = hj.library.MODELS["choice"].example()
    function = hj.recentre(model.fn, data=model.data)
    prepared = function.prepare(model.data)
    latents = prepared["hierjax_recentred"]["latents"]
    white = {f"{s.name}_recentred": jnp.zeros(s.shape) for s in function.plan.sites}
    start, unravel = ravel_pytree(white)

    def density(vector):
        values = {**latents, **unravel(vector)}
        return log_density(handlers.seed(function, 0), (), dict(prepared), values)[0]

    slope, curved = jax.jit(lambda z: (jax.grad(density)(z), -jax.hessian(density)(z)))(start)
    assert np.abs(slope).max() < 0.3
    assert np.abs(curved - np.eye(len(start))).max() < 0.2
