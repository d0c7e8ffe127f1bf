"""What a trace says of a model: sites, plates and how they hang together, as frozen data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpyro import distributions

from hierjax.provenance import Alignment, Index, Lookup, Value, merge
from hierjax.trace_recorder import Recorder, unwrapped


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
    gaussian
        Whether the density of the site is that of a Normal or MultivariateNormal, unmasked and
        unscaled.
    scaled
        Whether the log density is multiplied by a number, as in a plate that subsamples.
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
    gaussian: bool = False
    scaled: bool = False


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


def assemble(
    recorder: Recorder, flows: Mapping[str, Any], marked: Mapping[str, Value]
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
        computed = message["type"] != "sample"
        flow = marked[name] if computed else merge([Value(), *flows[name]["parameters"]])
        sites[name] = _site(name, message, flow, flows[name]["named"], alignment, tuple(messages))
        lookups[name] = flow.lookups
        index = marked[name].index
        if sites[name].kind == "observed" and index and index == Index("data", index.name):
            response[name] = index.name
    return ModelTrace(sites, plates, lookups, response, alignment)


def _align(
    alignment: Alignment,
    name: str,
    message: Mapping[str, Any],
    flow: Mapping[str, Any],
    value: Value,
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
    message: Mapping[str, Any],
    flow: Value,
    named: Mapping[str, Value],
    alignment: Alignment,
    order: tuple[str, ...],
) -> Site:
    shape: tuple[int, ...] = tuple(np.shape(message["value"]))
    frames = sorted(message["cond_indep_stack"], key=lambda frame: frame.dim)
    fn: Any = message["fn"] if message["type"] == "sample" else None
    if fn is None:
        axes = _axes_of_computed(name, shape, frames, alignment)
        plates = tuple(plate for plate in axes if plate)
        event_shape = tuple(size for size, plate in zip(shape, axes, strict=True) if not plate)
    else:
        batch = len(shape) - fn.event_dim
        places = {batch + frame.dim: frame.name for frame in frames}
        axes = tuple(places.get(axis, "") for axis in range(len(shape)))
        plates, event_shape = tuple(frame.name for frame in frames), shape[batch:]
    bare = unwrapped(fn)
    return Site(
        name=name,
        kind=_kind(message, bare),
        distribution="" if fn is None else type(bare).__name__,
        shape=shape,
        event_shape=event_shape,
        dtype=str(message["value"].dtype),
        plates=plates,
        axes=axes,
        support=None if fn is None else fn.support,
        parents=tuple(parent for parent in order if parent in flow.sites and parent != name),
        text="" if fn is None else _distribution_text(bare, named),
        gaussian=fn is not None and _is_gaussian(message, bare),
        scaled=message.get("scale") is not None,
    )


def _is_gaussian(message: Mapping[str, Any], bare: Any) -> bool:
    fn = message["fn"]
    while isinstance(fn, distributions.ExpandedDistribution | distributions.Independent):
        fn = fn.base_dist
    if fn is not bare or message.get("scale") is not None:
        return False  # inside a mask, or a power of its density
    if type(bare) is distributions.MultivariateNormal:
        return message["fn"].event_dim == 1
    return type(bare) is distributions.Normal


def _axes_of_computed(
    name: str, shape: tuple[int, ...], frames: list[Any], alignment: Alignment
) -> tuple[str, ...]:
    """Return the plates along a deterministic value: from its program, else from its shape."""
    axes = tuple(alignment.plate({("site", name, axis)}) for axis in range(len(shape)))
    sizes = {frame.dim: frame.size for frame in frames}
    expected = tuple(sizes.get(dim, 1) for dim in range(min(sizes, default=0), 0))
    if any(axes) or shape != expected:
        return axes
    plates = {frame.dim: frame.name for frame in frames}
    return tuple(plates.get(axis - len(shape), "") for axis in range(len(shape)))


def _kind(message: Mapping[str, Any], bare: Any) -> str:
    if message["type"] != "sample":
        return message["type"]
    if isinstance(bare, distributions.Unit):
        return "factor"
    return "observed" if message["is_observed"] else "latent"


def _distribution_text(bare: Any, named: Mapping[str, Value]) -> str:
    """Write a distribution with its parameters: numbers, names, or what they are computed from."""

    def write(value: Value) -> str:
        if value.number is not None:
            return f"{value.number:g}"
        if value.index is not None:
            return str(value.index)
        return "f(" + ", ".join((*sorted(value.sites), *sorted(value.data))) + ")"

    complete = list(named) == list(bare.arg_constraints)
    parts = [write(each) if complete else f"{name}={write(each)}" for name, each in named.items()]
    return f"{type(bare).__name__}({', '.join(parts)})"
