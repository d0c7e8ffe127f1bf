"""blackjax is first imported while something of ours is traced, and holds no traced values."""

import subprocess
import sys

import pytest

WEIGHTS = "from hierjax.infer.laplace_weights import smoothed as f; a = jnp.zeros(50)"
NUTS = "from hierjax.infer.nuts import NUTS, _Adaptation; a = 1.0\n"
NUTS += "def f(a): return _Adaptation.of(NUTS(), 3).dual_averaging[0](a)"
CHECK = """
import jax, jax.numpy as jnp, sys
{}
assert "blackjax" not in sys.modules
jax.block_until_ready(jax.jit(f)(a))
from blackjax.adaptation.step_size import bisection_monotonic_fn
assert not isinstance(bisection_monotonic_fn.__defaults__[0], jax.core.Tracer), "leaked"
"""


@pytest.mark.parametrize("first", [WEIGHTS, NUTS], ids=["importance weights", "NUTS"])
def test_no_traced_value_is_left_in_blackjax(first):
    code = CHECK.format(first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
