"""Runs a model function with abstract values and keeps what it says, message by message."""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.ad_checkpoint import checkpoint_name
from numpyro import distributions
from numpyro.primitives import Messenger

from hierjax.errors import HierjaxError, ModelError
from hierjax.provenance import COMPUTED_MARK, PLATE_MARK, SITE_MARK

# What JAX raises when a function reads the values of an abstract array.
READS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


class Recorder(Messenger):
    """Outermost handler: gives latent sites an abstract value, and marks and keeps every site."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__(fn)
        self.messages: dict[str, dict[str, Any]] = {}
        self.plates: dict[str, tuple[int, int]] = {}
        self.current = ""
        self.last = ""

    def process_message(self, msg: Any) -> None:
        """Give a latent site a value of the right shape instead of a draw."""
        self.current = msg.get("name") or ""
        fn: Any = msg["fn"] if msg["type"] == "sample" else None
        if fn is not None and msg["value"] is None:
            shape = fn.shape(msg["kwargs"].get("sample_shape", ()))
            kind = int if getattr(fn.support, "is_discrete", False) else float
            # A draw would take longer to trace, and improper priors cannot be drawn from.
            msg["value"] = jnp.zeros(shape, jnp.result_type(kind))

    def postprocess_message(self, msg: Any) -> None:
        """Mark the value of a site or plate in the program and keep the message."""
        name, kind = msg.get("name"), msg["type"]
        if kind == "plate":
            msg["value"] = checkpoint_name(msg["value"], PLATE_MARK + name)
            self.plates.setdefault(name, (msg["args"][0], len(msg["value"])))
        elif kind in ("sample", "deterministic", "param"):
            if name in self.messages:
                raise ModelError(f"two sites are called {name!r}; site names must be unique.")
            mark = SITE_MARK if kind == "sample" else COMPUTED_MARK
            msg["value"] = checkpoint_name(jnp.asarray(msg["value"]), mark + name)
            self.messages[name] = dict(msg)
        self.current, self.last = "", name or self.last


@contextlib.contextmanager
def naming_the_site(
    recorder: Recorder, fn: Callable[..., Any], allowed: tuple[type[Exception], ...]
) -> Iterator[None]:
    """Turn a failure of the user's function, unless `allowed`, into an error that says where."""
    recorder.current = recorder.last = ""
    try:
        yield
    except (HierjaxError, *allowed):
        raise
    except Exception as error:
        site = recorder.current or _site_of(error)
        if site:
            place = f"at site {site!r}"
        elif recorder.last:
            place = f"after site {recorder.last!r}"
        else:
            place = "before its first site"
        name = getattr(fn, "__name__", type(fn).__name__)
        raise ModelError(
            f"the model function {name!r} failed {place}{_line_of(fn, error)}: "
            f"{type(error).__name__}: {_in_words(error)}"
        ) from error


REMEDIES = {  # words of an error that beginners meet -> what to do
    "Indexer must have integer": "Group indexes are whole numbers: make them by "
    "`index, labels = hj.encode(values)`.",
    "boolean conversion of traced array": "A model function cannot branch on the value of a site "
    "or of an array: write jnp.where(condition, a, b).",
    "unexpected keyword argument": "The data of a model are the arguments of its function.",
    "required positional argument": "The data of a model are the arguments of its function.",
}


def _in_words(error: Exception) -> str:
    """Return the message of an error; of one with a remedy its first line, and the remedy."""
    for words, remedy in REMEDIES.items():
        if words in str(error):
            first = str(error).splitlines()[0].rstrip(".")
            return f"{first}. {remedy}"
    return _first_part(error)


def _site_of(error: Exception) -> str:
    """Return the site whose statement was running, "" if none: a plate fails before we see it."""
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code in (numpyro.sample.__code__, numpyro.deterministic.__code__):
            found = str(frame.f_locals.get("name", ""))
    return found


def _first_part(error: Exception) -> str:
    """Return the message without what JAX appends about its own frames."""
    return str(error).split("\n-----")[0]


def _line_of(fn: Callable[..., Any], error: Exception) -> str:
    """Return the last line of the user's own file on the way to the error."""
    code = getattr(fn, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    return f", line {own[-1].lineno} (`{own[-1].line}`)" if own else ""


def message_flows(message: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays that tell what a site depends on and how its axes line up."""
    if message["type"] != "sample":
        return {"parameters": [], "named": {}, "aligned": [], "density": jnp.zeros(())}
    distribution = unwrapped(message["fn"])
    named = {
        name: vars(distribution)[name]
        for name in distribution.arg_constraints
        if isinstance(vars(distribution).get(name), jax.Array | np.ndarray | float | int)
    }
    density = _log_density(message)
    if isinstance(distribution, distributions.Unit):
        leaves = [density]  # one that is computed when asked for has no parameter
    else:
        leaves = [leaf for leaf in jax.tree.leaves(message["fn"]) if isinstance(leaf, jax.Array)]
    return {
        "parameters": leaves,
        "named": named,
        "aligned": _aligned(distribution, named, np.shape(message["value"])),
        "density": density,
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
            f"{type(unwrapped(fn)).__name__} with batch shape {fn.batch_shape} and event shape "
            f"{fn.event_shape}: {_first_part(error)}"
        ) from error


CATEGORICAL = (distributions.CategoricalLogits, distributions.CategoricalProbs)


def unwrapped(fn: Any) -> Any:
    """Return the distribution inside the wrappers of plates, `to_event` and masks."""
    wrappers = (
        distributions.ExpandedDistribution,
        distributions.Independent,
        distributions.MaskedDistribution,
    )
    while isinstance(fn, wrappers):
        fn = fn.base_dist
    return fn
