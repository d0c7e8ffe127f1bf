"""A program of a method that stops early, driven by hand."""

import jax
import jax.numpy as jnp

from hierjax.arguments import Arguments


class Runner:
    """A program compiled once, so that a test can change key and data."""

    def __init__(self, method, fn, data):
        self.arguments = Arguments.of(data)
        self.program = method.program(fn, data)
        self.start = jax.jit(self.program.start)
        self.traces = 0
        self.advance = jax.jit(self._advance)
        self.finish = jax.jit(lambda state, arrays: self.program.finish(state, None, arrays))

    def _advance(self, state, arrays):
        self.traces += 1  # runs when it is traced, so once for each program compiled
        return self.program.advance(state, arrays)

    def __call__(self, data, seed=0):
        arrays = tuple(map(jnp.asarray, self.arguments.arrays(data)))
        state = self.start(jax.random.key(seed), arrays)
        for _ in range(self.program.num_chunks):
            state, _ = self.advance(state, arrays)
            if bool(self.program.report(state)["done"]):
                break
        return jax.device_get(self.finish(state, arrays))
