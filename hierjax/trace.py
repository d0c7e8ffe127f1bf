"""The one door to NumPyro's messages: what a model function does, read without computing an array.

The function runs once on abstract values. Every site and plate is marked in the program that this
leaves behind, and `hierjax.provenance` follows the marks: parents, plates of deterministic sites
and index arrays are read off the program and not off the source text.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from hierjax.arguments import Arguments, signature
from hierjax.cache import ProgramCache
from hierjax.provenance import Value, Walk, data_value
from hierjax.trace_recorder import READS_VALUES, Recorder, message_flows, naming_the_site
from hierjax.trace_sites import ModelTrace, Plate, Site, assemble

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ModelTrace",
    "Plate",
    "Site",
    "abstract_trace",
    "prior_table",
    "traced_arrays",
    "unused_plates",
]

_TRACES = ProgramCache(size=64)


def abstract_trace(fn: Callable[..., Any], data: Mapping[str, Any]) -> ModelTrace:
    """Read sites, plates and dependencies of `fn(**data)` without computing an array.

    Arrays in `data` are abstract; a function that reads their values in Python is run on the values
    instead, and index arrays are then recognised by their content.

    Parameters
    ----------
    fn
        Any NumPyro function.
    data
        Its arguments by name.

    Returns
    -------
    ModelTrace
        Also of plates that no site uses; see `unused_plates`.

    Raises
    ------
    ModelError
        The function fails; the message names the site, where known, and gives the error.
    """
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    precision = jnp.result_type(float).name
    identity = (fn, arguments, signature(arrays), precision)
    try:
        return _TRACES.get(identity, lambda: _read(fn, data, by_values=False))
    except READS_VALUES:
        return _read(fn, data, by_values=True)


def _read(fn: Callable[..., Any], data: Mapping[str, Any], *, by_values: bool) -> ModelTrace:
    """Run the function on abstract arrays, or on the values if it reads them in Python."""
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    recorder = Recorder(fn)

    def program(traced: tuple[Any, ...], allowed: tuple[type[Exception], ...]) -> Any:
        recorder.messages.clear()
        recorder.plates.clear()
        with naming_the_site(recorder, fn, allowed), handlers.seed(rng_seed=0):
            recorder(**arguments.rebuild(traced))
            return {name: message_flows(message) for name, message in recorder.messages.items()}

    names = _argument_names(data, arguments)
    if by_values:
        closed, shapes = jax.make_jaxpr(lambda: program(arrays, ()), return_shape=True)()
        inputs, constant = [], _constant(dict(zip(names, arrays, strict=True)))
    else:
        run = jax.make_jaxpr(lambda *traced: program(traced, READS_VALUES), return_shape=True)
        closed, shapes = run(*arrays)
        inputs, constant = _abstract_inputs(names, arrays), _constant({})
    walk = Walk(constant)
    consts = [constant(const) for const in closed.consts]
    leaves = walk.run(closed.jaxpr, consts, inputs)
    flows = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    return assemble(recorder, flows, walk.marked)


def traced_arrays(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays among the arguments by the names that traces use for them."""
    arguments = Arguments.of(data)
    return dict(zip(_argument_names(data, arguments), arguments.arrays(data), strict=True))


def unused_plates(trace: ModelTrace) -> tuple[str, ...]:
    """Return the plates that no site lives in."""
    used = {plate for site in trace.sites.values() for plate in site.plates}
    return tuple(plate for plate in trace.plates if plate not in used)


def prior_table(fn: Callable[..., Any], data: Mapping[str, Any]) -> "pd.DataFrame":
    """Return one row per latent site: its slot (the name), distribution and shape."""
    import pandas as pd

    sites = abstract_trace(fn, data).sites.values()
    rows = [(site.name, site.text, site.shape) for site in sites if site.kind == "latent"]
    return pd.DataFrame(rows, columns=["slot", "distribution", "shape"])


def _argument_names(data: Mapping[str, Any], arguments: Arguments) -> list[str]:
    """Return the name of each traced argument; entries of nested arguments have a path."""
    paths, _ = jax.tree_util.tree_flatten_with_path(dict(data), is_leaf=lambda leaf: leaf is None)
    names = [f"{path[0].key}{jax.tree_util.keystr(path[1:])}" for path, _ in paths]
    return list(arguments.of_arrays(names))


def _abstract_inputs(names: list[str], arrays: tuple[Any, ...]) -> list[Value]:
    return [data_value(name, np.ndim(array)) for name, array in zip(names, arrays, strict=True)]


def _constant(data: dict[str, Any]) -> Callable[[Any], Value]:
    """Return the reader of a program's constants, which recognises `data` by shape and content."""

    def read(constant: Any) -> Value:
        if not hasattr(constant, "dtype") or jnp.issubdtype(constant.dtype, jax.dtypes.extended):
            return Value(number=constant) if isinstance(constant, bool | int | float) else Value()
        array = np.asarray(constant)
        number = array.flat[0].item() if array.size and (array == array.flat[0]).all() else None
        if array.size > 1 and array.dtype.kind in "iuf":
            same = [
                name
                for name, value in data.items()
                if np.shape(value) == array.shape and np.allclose(value, array, equal_nan=True)
            ]
            if len(same) == 1:
                return dataclasses.replace(data_value(same[0], array.ndim), number=number)
        return dataclasses.replace(Value(number=number).forget(array.ndim), number=number)

    return read
