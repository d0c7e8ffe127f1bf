"""Inference as a pure function of a key and data, for those who jit, vmap and shard themselves."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from hierjax.arguments import Arguments
from hierjax.draws import Draws
from hierjax.infer.program import Method
from hierjax.methods import Problem, as_method
from hierjax.model import Model
from hierjax.programs import named, recovered, site_names
from hierjax.transforms.coordinates import Effects


def sampler(
    model: Model, method: str | Method = "auto", *, effects: Effects = "auto"
) -> Callable[..., Draws]:
    """Return inference on a model as a pure function `run(key, data) -> Draws`.

    The function has no Python state, labels or callbacks: jit it, vmap it over keys and data, put
    it in a scan. `data` has the arguments of the model's own data; integers, strings and None in it
    are taken from the model, since they fix shapes. Data are not checked: call
    `hierjax.validation.validate` outside.

    Parameters
    ----------
    model, method, effects
        As for `fit`, but that "auto" is NUTS: here nobody looks at the outcome of a first method.

    Returns
    -------
    run
        `run(key, data=None)`; without data the model's own are used.
    """
    chosen = as_method(method)
    coordinates = Problem(model.fn, model.data, effects).coordinates_for(chosen)
    given = Arguments.of(model.data)
    keep = site_names(model)

    def run(key: jax.Array, data: Mapping[str, Any] | None = None) -> Draws:
        arrays = given.arrays(model.data if data is None else data)
        prepared = coordinates.prepare(given.rebuild(tuple(map(jnp.asarray, arrays))))
        program = chosen.program(coordinates.fn, prepared)
        arguments = Arguments.of(prepared)
        values = arguments.arrays(prepared)

        def chunk(state: Any, _: None) -> tuple[Any, Any]:
            return program.advance(state, values)

        def dropped_chunk(state: Any, _: None) -> tuple[Any, None]:
            return program.advance(state, values)[0], None

        state = program.start(key, values)
        state, _ = jax.lax.scan(dropped_chunk, state, length=program.num_discarded)
        kept = program.num_chunks - program.num_discarded
        state, records = jax.lax.scan(chunk, state, length=kept)
        draws = program.finish(state, records, values)
        return named(recovered(coordinates, draws, key, prepared), keep)

    return run
