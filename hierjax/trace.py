"""The one door to NumPyro's messages: what a model function does, read without computing an array.

The function runs once on abstract values. Every site and plate is marked in the program that this
leaves behind, and `hierjax.provenance` follows the marks: parents, plates of deterministic sites
and index arrays are read off the program and not off the source text.
"""

import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from numpyro import distributions, handlers
from numpyro.primitives import Messenger

from hierjax.arguments import Arguments
from hierjax.errors import HierjaxError, ModelError
from hierjax.provenance import (
    PLATE_MARK,
    SITE_MARK,
    Alignment,
    Index,
    Lookup,
    Value,
    Walk,
    data_value,
    merge,
)

if TYPE_CHECKING:
    import pandas as pd

# What JAX raises when a function reads the values of an abstract array.
READS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


@dataclasses.dataclass(frozen=True)
class Site:
    """One named statement of a model.

    Attributes
    ----------
    name
        Name of the site.
    kind
        "latent", "observed", "deterministic", "factor" or "param".
    distribution
        Class name of the distribution, without the wrappers of plates and masks; "" if none.
    shape
        Shape of the value: batch, then event.
    event_shape
        Trailing part of `shape`; for a deterministic site what no plate accounts for.
    dtype
        Type of the value.
    plates
        Plates that the site lives in, outermost first.
    axes
        For each axis of `shape` the plate that it runs along, "" for any other axis.
    support
        NumPyro constraint of a latent or observed site.
    parents
        Sites that this one depends on directly.
    text
        The distribution with its parameters, e.g. "Normal(mu, 2.5)".
    """

    name: str
    kind: str
    distribution: str
    shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    dtype: str
    plates: tuple[str, ...]
    axes: tuple[str, ...]
    support: Any
    parents: tuple[str, ...]
    text: str


@dataclasses.dataclass(frozen=True)
class Plate:
    """One plate: `size` units along axis `dim` (negative; None if no site uses the plate).

    `length` is the number of units in the program: less than `size` if the plate subsamples.
    """

    name: str
    size: int
    dim: int | None
    length: int


@dataclasses.dataclass(frozen=True)
class ModelTrace:
    """What a model function does.

    Attributes
    ----------
    sites, plates
        By name, in the order of the function.
    lookups
        Site name -> uses of other sites through an index, on the way to this one.
    response
        Observed site -> the data argument that it is, where that is known.
    alignment
        Which axes of sites, plates and data arguments run over the same units.
    """

    sites: dict[str, Site]
    plates: dict[str, Plate]
    lookups: dict[str, frozenset[Lookup]]
    response: dict[str, str]
    alignment: Alignment


class _Recorder(Messenger):
    """Outermost handler: gives latent sites an abstract value, and marks and keeps every site."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__(fn)
        self.messages: dict[str, dict[str, Any]] = {}
        self.plates: dict[str, tuple[int, int]] = {}
        self.current = ""
        self.last = ""

    def process_message(self, msg: Any) -> None:
        self.current = msg.get("name") or ""
        if msg["type"] == "sample" and msg["value"] is None:
            shape = msg["fn"].shape(msg["kwargs"].get("sample_shape", ()))
            kind = int if getattr(msg["fn"].support, "is_discrete", False) else float
            # Drawing would need a sampler, which improper priors do not have, and time.
            msg["value"] = jnp.zeros(shape, jnp.result_type(kind))

    def postprocess_message(self, msg: Any) -> None:
        name, kind = msg.get("name"), msg["type"]
        if kind == "plate":
            msg["value"] = checkpoint_name(msg["value"], PLATE_MARK + name)
            self.plates.setdefault(name, (msg["args"][0], len(msg["value"])))
        elif kind in ("sample", "deterministic", "param"):
            if name in self.messages:
                raise ModelError(f"two sites are called {name!r}; site names must be unique.")
            msg["value"] = checkpoint_name(jnp.asarray(msg["value"]), SITE_MARK + name)
            self.messages[name] = dict(msg)
        self.current, self.last = "", name or self.last


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
    recorder = _Recorder(handlers.seed(fn, rng_seed=0))

    def program(*traced: Any) -> Any:
        recorder.messages.clear()
        recorder.plates.clear()
        with _naming_the_site(recorder, fn):
            recorder(**arguments.rebuild(traced))
        return {name: _flows(message) for name, message in recorder.messages.items()}

    names = _argument_names(data, arguments)
    try:
        closed, shapes = jax.make_jaxpr(program, return_shape=True)(*arrays)
        inputs, constant = _abstract_inputs(names, arrays), _constant({})
    except READS_VALUES:
        closed, shapes = jax.make_jaxpr(lambda: program(*arrays), return_shape=True)()
        inputs, constant = [], _constant(dict(zip(names, arrays, strict=True)))
    walk = Walk(constant)
    consts = [constant(const) for const in closed.consts]
    leaves = walk.run(closed.jaxpr, consts, inputs)
    flows = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    return _assemble(recorder, flows, walk.marked)


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


@contextlib.contextmanager
def _naming_the_site(recorder: _Recorder, fn: Callable[..., Any]) -> Iterator[None]:
    """Turn a failure of the user's function into a `ModelError` that says where it happened."""
    recorder.current = recorder.last = ""
    try:
        yield
    except READS_VALUES:
        raise
    except HierjaxError:
        raise
    except Exception as error:
        if recorder.current:
            place = f"at site {recorder.current!r}"
        elif recorder.last:
            place = f"after site {recorder.last!r}"
        else:
            place = "before its first site"
        name = getattr(fn, "__name__", type(fn).__name__)
        raise ModelError(
            f"the model function {name!r} failed {place}{_line_of(fn, error)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _line_of(fn: Callable[..., Any], error: Exception) -> str:
    """Return the last line of the user's own file on the way to the error."""
    code = getattr(fn, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    return f", line {own[-1].lineno} (`{own[-1].line}`)" if own else ""


def _flows(message: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays that tell what a site depends on and how its axes line up."""
    if message["type"] != "sample":
        return {"parameters": [], "named": {}, "aligned": [], "density": jnp.zeros(())}
    distribution = _unwrapped(message["fn"])
    named = {
        name: vars(distribution)[name]
        for name in distribution.arg_constraints
        if isinstance(vars(distribution).get(name), jax.Array | np.ndarray | float | int)
    }
    leaves = [leaf for leaf in jax.tree.leaves(message["fn"]) if isinstance(leaf, jax.Array)]
    return {
        "parameters": leaves,
        "named": named,
        "aligned": _aligned(distribution, named, np.shape(message["value"])),
        "density": _log_density(message),
    }


def _aligned(bare: Any, named: dict[str, Any], shape: tuple[int, ...]) -> list[Any]:
    """Return the parameters whose elements are one to one with those of the site's value."""
    constraints = bare.arg_constraints
    return [
        jnp.broadcast_to(value, shape)
        for name, value in named.items()
        if constraints[name].event_dim == bare.event_dim and np.ndim(value) <= len(shape)
    ]


def _log_density(message: dict[str, Any]) -> Any:
    """Return the log density of a site: its batch axes are where value and parameters meet."""
    fn, name = message["fn"], message["name"]
    while isinstance(fn, distributions.MaskedDistribution):
        fn = fn.base_dist
    try:
        return fn.log_prob(message["value"])
    except NotImplementedError:
        return jnp.zeros(())
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"site {name!r}: values of shape {np.shape(message['value'])} do not fit "
            f"{type(_unwrapped(fn)).__name__} with batch shape {fn.batch_shape} and event shape "
            f"{fn.event_shape}: {error}"
        ) from error


def _unwrapped(fn: Any) -> Any:
    """Return the distribution inside the wrappers of plates, `to_event` and masks."""
    wrappers = (
        distributions.ExpandedDistribution,
        distributions.Independent,
        distributions.MaskedDistribution,
    )
    while isinstance(fn, wrappers):
        fn = fn.base_dist
    return fn


def _argument_names(data: Mapping[str, Any], arguments: Arguments) -> list[str]:
    """Return the name of each traced argument; entries of nested arguments have a path."""
    paths, _ = jax.tree_util.tree_flatten_with_path(dict(data), is_leaf=lambda leaf: leaf is None)
    names = [f"{path[0].key}{jax.tree_util.keystr(path[1:])}" for path, _ in paths]
    return [name for name, traced in zip(names, arguments.traced, strict=True) if traced]


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


def _assemble(
    recorder: _Recorder, flows: dict[str, dict[str, Any]], marked: dict[str, Value]
) -> ModelTrace:
    """Put together what the handler saw and what the walk found."""
    alignment, messages = Alignment(), recorder.messages
    for name, message in messages.items():
        _align(alignment, name, message, flows[name], marked[name])
    dims = {
        frame.name: frame.dim
        for message in messages.values()
        for frame in message["cond_indep_stack"]
    }
    plates = {
        name: Plate(name, size, dims.get(name), length)
        for name, (size, length) in recorder.plates.items()
    }
    sites, lookups, response = {}, {}, {}
    for name, message in messages.items():
        own = message["type"] != "sample"
        flow = marked[name] if own else merge([Value(), *flows[name]["parameters"]])
        sites[name] = _site(name, message, flow, flows[name]["named"], alignment, tuple(messages))
        lookups[name] = flow.lookups
        index = marked[name].index
        if sites[name].kind == "observed" and index == Index("data", index.name if index else ""):
            response[name] = index.name
    return ModelTrace(sites, plates, lookups, response, alignment)


def _align(
    alignment: Alignment, name: str, message: dict[str, Any], flow: dict[str, Any], value: Value
) -> None:
    """Join the labels that meet on each axis of a site."""
    shape, density = np.shape(message["value"]), flow["density"]
    batch = len(shape) - (message["fn"].event_dim if message["type"] == "sample" else 0)
    labels = [{("site", name, axis)} | value.axes[axis] for axis in range(len(shape))]
    if message["type"] == "sample":
        for frame in message["cond_indep_stack"]:
            if 0 <= batch + frame.dim:
                labels[batch + frame.dim].add(("plate", frame.name, 0))
        for axis, met in enumerate(density.axes if len(density.axes) == batch else ()):
            labels[axis] |= met
    for parameter in flow["aligned"]:
        labels = [old | met for old, met in zip(labels, parameter.axes, strict=True)]
    for axis, (size, together) in enumerate(zip(shape, labels, strict=True)):
        if size > 1:
            alignment.join(together)
        else:  # an axis of length one may have been broadcast: only its own plate is certain
            own = {("site", name, axis)}
            alignment.join(own | {label for label in together if label[0] == "plate"})


def _site(
    name: str,
    message: dict[str, Any],
    flow: Value,
    named: dict[str, Value],
    alignment: Alignment,
    order: tuple[str, ...],
) -> Site:
    shape, fn = tuple(np.shape(message["value"])), message.get("fn")
    is_sample = message["type"] == "sample"
    frames = sorted(message["cond_indep_stack"], key=lambda frame: frame.dim)
    axes = [alignment.plate({("site", name, axis)}) for axis in range(len(shape))]
    if is_sample:
        batch = len(shape) - fn.event_dim
        places = {batch + frame.dim: frame.name for frame in frames}
        axes = [places.get(axis, "") for axis in range(len(shape))]
        plates, event_shape = tuple(frame.name for frame in frames), shape[batch:]
    else:
        if not any(axes) and shape == _plate_shape(frames):
            axes = [
                {f.dim: f.name for f in frames}.get(a - len(shape), "") for a in range(len(shape))
            ]
        plates = tuple(plate for plate in axes if plate)
        event_shape = tuple(size for size, plate in zip(shape, axes, strict=True) if not plate)
    bare = _unwrapped(fn) if is_sample else None
    return Site(
        name=name,
        kind=_kind(message, bare),
        distribution=type(bare).__name__ if is_sample else "",
        shape=shape,
        event_shape=event_shape,
        dtype=str(message["value"].dtype),
        plates=plates,
        axes=tuple(axes),
        support=fn.support if is_sample else None,
        parents=tuple(parent for parent in order if parent in flow.sites and parent != name),
        text=_distribution_text(bare, named) if is_sample else "",
    )


def _plate_shape(frames: list[Any]) -> tuple[int, ...]:
    sizes = {frame.dim: frame.size for frame in frames}
    return tuple(sizes.get(dim, 1) for dim in range(min(sizes, default=0), 0))


def _kind(message: dict[str, Any], bare: Any) -> str:
    if message["type"] != "sample":
        return message["type"]
    if isinstance(bare, distributions.Unit):
        return "factor"
    return "observed" if message["is_observed"] else "latent"


def _distribution_text(bare: Any, named: dict[str, Value]) -> str:
    """Write a distribution with its parameters: numbers, names, or what they are computed from."""

    def write(value: Value) -> str:
        if value.number is not None:
            return f"{value.number:g}"
        if value.index is not None:
            return str(value.index)
        return "f(" + ", ".join(sorted(value.sites) + sorted(value.data)) + ")"

    names = list(named)
    complete = names == list(bare.arg_constraints)
    parts = [
        write(value) if complete else f"{name}={write(value)}" for name, value in named.items()
    ]
    return f"{type(bare).__name__}({', '.join(parts)})"
