"""Plugin of pytest: JAX looks for values of a traced function that outlive it.

    pytest -p tests.tracer_leaks tests/test_fit.py

`hierjax.trace` keeps what it traces until it has read it, on purpose, and is not looked at.
"""

import functools

import jax

from hierjax import trace

FLAG = "jax_check_tracer_leaks"


def pytest_configure():
    """Look for leaks everywhere but while the abstract trace of a model is read."""
    jax.config.update(FLAG, True)
    read = trace._read

    @functools.wraps(read)
    def unseen(*arguments, **options):
        jax.config.update(FLAG, False)
        try:
            return read(*arguments, **options)
        finally:
            jax.config.update(FLAG, True)

    trace._read = unseen
