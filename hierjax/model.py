"""Model: a NumPyro function, its data and the names of things; nothing is computed here."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from hierjax.errors import DataError, ModelError
from hierjax.levels import LevelGraph, read_levels

if TYPE_CHECKING:
    import pandas as pd

BLOCKS = ("level", "coefficient", "other", "effect", "hidden")


@dataclasses.dataclass(frozen=True, eq=False)
class NewData:
    """Arguments of a model function for data that it was not fitted to.

    Attributes
    ----------
    data
        Argument name -> value; groups of the fit come first, new ones after them.
    labels
        Plate -> labels along it, also those of the new groups.
    rows
        For every row of `data` the row of the user's table that it belongs to, ascending; None if
        they are the same. A row whose group is not known stands there once for each candidate.
    """

    data: Mapping[str, Any]
    labels: Mapping[str, Sequence[Any]]
    rows: np.ndarray | None = None


class Origin(Protocol):
    """What a front end (the formula language, the library) knows beyond the NumPyro function."""

    def priors(self) -> "pd.DataFrame":
        """Table of prior slots."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what `rebuild` of the same front end makes the model from again, JSON-able."""
        ...

    def data_for(self, new: Any) -> Mapping[str, Any]:
        """Return the data arguments of the same model for new data (same design, same levels)."""
        ...

    def data_to_predict(
        self, new: Any, groups: str, *, precision: bool, arrays: Mapping[str, Any]
    ) -> NewData:
        """Return the data arguments for rows whose response is wanted; groups may be new."""
        ...

    def effect_terms(self) -> Mapping[str, tuple[str, ...]]:
        """Return the site of each block of group effects with the labels of its terms."""
        ...

    def source(self) -> str:
        """Write the model as a module that needs jax and numpyro only."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A NumPyro model function with its data.

    Parameters
    ----------
    fn
        Any NumPyro function, called as `fn(**data)`.
    data
        Argument name -> array, number, None, or a pytree of those. Arrays and floats are traced
        (new values of the same shapes re-use compiled programs); everything else is static.
    labels
        Plate or dimension name -> the labels along it, e.g. county names.
    dims
        Site name -> names of its event dimensions (those that no plate gives).
    blocks
        Site name -> block of the summary: "level", "coefficient", "other", "effect" or "hidden".
        Sites left out are placed by reading the model's structure.
    allow_missing
        Names of arguments that may hold NaN or infinities (because the function masks them).
    name
        Shown in reports.
    origin
        The front end that made the model, if any.

    Raises
    ------
    ModelError
        `fn` is not callable, or a block is not a known one.
    DataError
        `data` is not a mapping, or holds text that no model can use as a number.
    """

    fn: Callable[..., Any]
    data: Mapping[str, Any]
    labels: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    dims: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    blocks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    allow_missing: tuple[str, ...] = ()
    name: str = ""
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ModelError(f"`fn` must be a NumPyro function; got {type(self.fn).__name__}.")
        if not isinstance(self.data, Mapping):
            raise DataError(
                "`data` must map argument names of the model function to arrays; "
                f"got {type(self.data).__name__}. For a data frame write "
                "hierjax.formula(formula, frame)."
            )
        for site, block in self.blocks.items():
            if block not in BLOCKS:
                raise ModelError(f"`blocks[{site!r}]` must be one of {BLOCKS}; got {block!r}.")
        object.__setattr__(self, "data", _host_arrays(self.data))
        if not self.name:
            object.__setattr__(self, "name", getattr(self.fn, "__name__", type(self.fn).__name__))

    def __repr__(self) -> str:
        shapes = {
            name: getattr(value, "shape", value)
            for name, value in self.data.items()
            if not isinstance(value, Mapping)
        }
        described = ", ".join(f"{name}={shape}" for name, shape in shapes.items())
        return f"Model({self.name}; {described})"

    def levels(self) -> LevelGraph:
        """Levels of the model, read from its plates, dependencies and index arrays."""
        return read_levels(self.fn, self.data, labels=self.labels)

    def priors(self) -> "pd.DataFrame":
        """Table of every prior slot and its distribution, before any fitting."""
        if self.origin is not None:
            return self.origin.priors()
        from hierjax.trace import prior_table

        return prior_table(self.fn, self.data)

    def source(self) -> str:
        """Standalone NumPyro source text of a formula model.

        Returns
        -------
        str
            A module with imports of jax and numpyro only and a function `model`, whose sites and
            log density are those of this model. Its docstring says which arguments it takes.

        Raises
        ------
        ModelError
            The model was not made by `hierjax.formula`.
        PriorError
            A prior is not one of NumPyro's own distributions.
        """
        if self.origin is None:
            raise ModelError(
                f"the model {self.name!r} is a NumPyro function already, not a formula: "
                "`inspect.getsource(model.fn)` shows its source."
            )
        return self.origin.source()

    def with_data(self, data: Any) -> "Model":
        """Return the same model on other data.

        Formula models take a data frame or a mapping of its columns (or their own arguments, as in
        `data`); other models take the arguments of their function.
        """
        own = isinstance(data, Mapping) and set(data) == set(self.data)
        if self.origin is not None and not own:
            data = self.origin.data_for(data)
        return dataclasses.replace(self, data=data)


def _host_arrays(data: Mapping[str, Any]) -> dict[str, Any]:
    """Move arrays to NumPy, so that the precision is chosen when a fit starts and not before."""

    def leaf(path: Any, value: Any) -> Any:
        if isinstance(value, list | tuple) or hasattr(value, "to_numpy"):
            value = np.asarray(value)
        if isinstance(value, jax.Array):
            value = np.asarray(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "OUSM":
            name = jax.tree_util.keystr(path[:1])[2:-2]
            raise DataError(
                f"data[{name!r}] holds text or objects, which a model cannot compute with. "
                "Turn group labels into indexes with `index, labels = hj.encode(values)`."
            )
        return value

    def is_leaf(value: Any) -> bool:
        return value is None or _is_nested_list(value) or hasattr(value, "to_numpy")

    return jax.tree_util.tree_map_with_path(leaf, dict(data), is_leaf=is_leaf)


def _is_nested_list(value: Any) -> bool:
    """Whether `value` is a list of numbers or text, and not, say, a distribution's transforms."""
    if not isinstance(value, list | tuple):
        return False
    return all(
        part is None or jax.tree_util.all_leaves([part]) or _is_nested_list(part) for part in value
    )
