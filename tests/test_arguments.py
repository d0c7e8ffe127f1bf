"""Leaves of a model's arguments come in one order, whatever order a process has for sets."""

import os
import subprocess
import sys

import numpy as np
import numpyro.distributions as dist
import pytest

from hierjax.arguments import Arguments

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
    assert len(found.pop().splitlines()) == 4
