"""Leaves of a model's arguments come in one order, whatever order a process has for sets."""

import os
import subprocess
import sys

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.arguments import Arguments, freeze
from hierjax.errors import DataError, PriorError
from hierjax.trace import abstract_trace

DATA = {
    "prior": dist.StudentT(3.0, 0.5, 2.0),
    "priors": [dist.Normal(0.0, 1.5).expand([2]), None, {"n": 4, "x": np.arange(3.0)}],
    "normal": dist.Normal(1.0, 2.0),
}


def numbers(arguments):
    return [np.asarray(leaf).tolist() for leaf in arguments.arrays(DATA)]


def test_parameters_come_in_the_order_of_their_names(monkeypatch):
    before = numbers(Arguments.of(DATA))
    assert before[:2] == [1.0, 2.0]  # loc, scale of `normal`
    original = dist.Distribution.gather_pytree_data_fields.__func__
    for change in (sorted, lambda names: sorted(names, reverse=True)):
        with monkeypatch.context() as patch:
            reordered = classmethod(lambda cls, change=change: tuple(change(original(cls))))
            patch.setattr(dist.Distribution, "gather_pytree_data_fields", reordered)
            arguments = Arguments.of(DATA)
            assert numbers(arguments) == before
            rebuilt = arguments.rebuild(arguments.arrays(DATA))
            assert (rebuilt["prior"].df, rebuilt["prior"].scale) == (3.0, 2.0)
            assert rebuilt["priors"][1] is None
            assert rebuilt["priors"][2]["n"] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("normal"), "'normal' missing. "),
        (lambda data: data.update(sd=1.0), "'sd' unknown. "),
        (lambda data: data.update(normal=1.0), "'normal' is nested otherwise. "),
        (lambda data: data.update(prior=dist.Normal()), "'prior' is nested otherwise. "),
    ],
)
def test_other_arguments_are_named(change, message):
    arguments, data = Arguments.of(DATA), dict(DATA)
    change(data)
    with pytest.raises(DataError, match=message):
        arguments.arrays(data)


BOUNDED = {
    "uniform": (dist.Uniform(-1.0, 3.0), -1.0, 3.0),
    "truncated": (dist.TruncatedNormal(0.5, 2.0, low=-1.0, high=3.0), -1.0, 3.0),
    "left": (dist.TruncatedNormal(0.5, 2.0, low=-1.0), -1.0, np.inf),
    "right": (dist.TruncatedNormal(0.5, 2.0, high=3.0), -np.inf, 3.0),
}


def one_site(prior, y):
    x = numpyro.sample("x", prior)
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_of_a_prior_that_is_data_are_static(name):
    """A transform that is made from bounds outlives the program that traced the prior."""
    prior, low, high = BOUNDED[name]
    data = {"prior": freeze(prior), "y": np.float64(1.0)}
    support = abstract_trace(one_site, data).sites["x"].support
    values = np.asarray(dist.biject_to(support)(np.array([-50.0, 0.0, 50.0])))
    assert np.all((low <= values) & (values <= high))
    assert len(set(values)) == 3
    x = np.linspace(-0.9, 2.9, 5)
    log_density = jax.jit(lambda prior: prior.log_prob(x))(data["prior"])
    np.testing.assert_allclose(log_density, prior.log_prob(x), rtol=1e-5)


def test_other_bounds_are_another_structure():
    first, second = (Arguments.of({"prior": freeze(dist.Uniform(0.0, b))}) for b in (1.0, 2.0))
    assert first != second
    assert first == Arguments.of({"prior": freeze(dist.Uniform(0.0, 1.0))})


@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_bounds_of_vectors_are_static_too(shape):
    low, high = np.zeros(shape), np.broadcast_to([1.0, 2.0], shape)
    prior = freeze(dist.Uniform(low, high))
    np.testing.assert_array_equal(prior.support.upper_bound, high)
    assert jax.tree.leaves(prior.support) == []
    assert Arguments.of({"prior": prior}) == Arguments.of(
        {"prior": freeze(dist.Uniform(low, high))}
    )
    assert Arguments.of({"prior": prior}) != Arguments.of({"prior": freeze(dist.Uniform(low, 2.0))})
    values = jax.jit(lambda prior: dist.biject_to(prior.support)(np.full(shape, 50.0)))(prior)
    np.testing.assert_allclose(values, high, rtol=1e-6)


@pytest.mark.parametrize("name", ["sd", "sd_g"])
def test_uniform_priors_of_several_sds(name):
    """Gelman (2006) has them: one prior for all sds of a factor, or one of each."""
    high = {"sd": 20.0, "sd_g": np.array([20.0, 3.0])}[name]
    generator = np.random.default_rng(1)
    frame = {"x": np.tile([-1.0, 0.0, 1.0], 20), "g": np.repeat(np.arange(10), 6)}
    truth = np.array([2.0, 1.0]) * generator.normal(size=(10, 2))
    frame["y"] = truth[frame["g"], 0] + truth[frame["g"], 1] * frame["x"]
    frame["y"] = frame["y"] + generator.normal(size=60)
    priors = {name: dist.Uniform(0.0 * np.asarray(high), high)}
    post = hj.fit("y ~ x + (x | g)", frame, priors=priors, method="laplace", progress=False)
    assert post.info.status == (0,)
    assert np.all((post.draws["sd_g"] >= 0.0) & (post.draws["sd_g"] <= high))
    np.testing.assert_allclose(post.draws["sd_g"].mean((0, 1)), truth.std(0), rtol=0.5)


@pytest.mark.parametrize("prior", [dist.Pareto(1.0, 2.0), dist.Pareto(1.0, np.array([2.0, 3.0]))])
def test_a_bound_that_is_a_parameter_is_refused(prior):
    frame = {"y": np.arange(12.0), "x": np.tile([0.0, 1.0, 3.0], 4), "g": list("aaabbb") * 2}
    with pytest.raises(PriorError, match="Pareto has a bound that is one of its parameters"):
        hj.formula("y ~ x + (x | g)", frame, priors={"sd_g": prior})


@pytest.mark.parametrize(
    "method",
    ["laplace", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nuts", "gibbs", "svi"))],
)
def test_models_with_bounded_priors_are_fitted_within_the_bounds(method):
    frame = {"y": np.arange(12.0), "g": list("abcabcabcabc")}
    priors = {
        "b_Intercept": dist.Uniform(-5.0, 5.0),
        "sd_g": dist.Uniform(0.0, 7.0),
        "sigma": dist.TruncatedNormal(3.0, 1.0, low=0.0),
    }
    post = hj.fit("y ~ 1 + (1 | g)", frame, priors=priors, method=method, progress=False)
    assert post.info.status == (0,) * len(post.info.status)
    assert np.all(np.abs(post.draws["b_Intercept"]) <= 5.0)
    assert np.all((post.draws["sd_g"] >= 0.0) & (post.draws["sd_g"] <= 7.0))


PROGRAM = """
import hashlib
import hierjax as hj, jax
from hierjax import programs
from hierjax.checkpoint import data_digest, identity_of
model = hj.formula("Reaction ~ Days + (Days | Subject)", hj.load_data("sleepstudy"))
with jax.enable_x64(True):
    print(identity_of(model, {}, {"data": data_digest([model.data])}))
def printed(function, *arguments, **options):
    text = jax.jit(function).lower(*arguments).as_text()
    print(hashlib.sha256(text.encode()).hexdigest())
    return original(function, *arguments, **options)
original, programs.start_compiling = programs.start_compiling, printed
hj.fit(model, method=hj.Laplace(draws=100, points=100), progress=False)
"""


@pytest.mark.slow
def test_checkpoints_and_programs_are_the_same_in_every_process():
    found = set()
    for seed in ("0", "1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert (
        len(found.pop().splitlines()) >= 4
    )  # what identifies the work, and three programs or more
