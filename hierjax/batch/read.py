"""Data sets as they come (frames, mappings, stacked arrays), each as the model on its own data."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hierjax.errors import DataError, HierjaxError, SettingsError
from hierjax.model import Model
from hierjax.validation import check_finite

Read = Model | HierjaxError


def read_datasets(model: Model, datasets: Any) -> list[Read]:
    """Put every data set into the model; what is wrong with one stands in its place.

    Parameters
    ----------
    model
        The model, with some data.
    datasets
        Data sets as `hierjax.fit_many` takes them.

    Raises
    ------
    SettingsError
        `datasets` are no data sets at all.
    """
    if isinstance(datasets, Mapping):
        each: Iterable[Any] = _unstacked(model, datasets)
    elif hasattr(datasets, "columns") or isinstance(datasets, str) or not _is_list(datasets):
        raise SettingsError(
            "`datasets` must be a list with one data set each, or a mapping of arrays stacked "
            f"along a first axis; got {type(datasets).__name__}. To fit each part of one data "
            "frame, pass [part for _, part in frame.groupby(column)]."
        )
    else:
        each = datasets
    found = [_read(model, data) for data in each]
    if not found:
        raise SettingsError("`datasets` is empty: there is nothing to fit.")
    return found


def _is_list(datasets: Any) -> bool:
    return isinstance(datasets, Sequence) or hasattr(datasets, "__iter__")


def _read(model: Model, data: Any) -> Read:
    try:
        read = _with_data(model, data)
        check_finite(read.data, read.allow_missing)
    except HierjaxError as error:
        return error
    return read


def _with_data(model: Model, data: Any) -> Model:
    own = isinstance(data, Mapping) and set(data) == set(model.data)
    if model.origin is not None and not own:
        return _with_groups(model, data)
    if not isinstance(data, Mapping):
        raise DataError(
            f"a data set must map the arguments of the model function to arrays; got "
            f"{type(data).__name__}."
        )
    if not own:
        missing, unknown = set(model.data) - set(data), set(data) - set(model.data)
        listed = [f"no {sorted(missing)}"] * bool(missing)
        listed += [f"{sorted(unknown)}, which the model does not have"] * bool(unknown)
        raise DataError(f"the data set has {' and '.join(listed)}.")
    return model.with_data(data)


def _with_groups(model: Model, frame: Any) -> Model:
    """Take a data frame with groups of its own, where the front end knows how."""
    regroup = getattr(model.origin, "regrouped", None)
    return model.with_data(frame) if regroup is None else regroup(model, frame)


def _unstacked(model: Model, stacked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cut stacked arrays into data sets; what is not stacked is shared."""
    lengths: dict[str, int] = {}
    for name, value in stacked.items():
        if name not in model.data:
            raise SettingsError(
                f"`datasets` has {name!r}, which is no argument of the model; those are "
                f"{', '.join(model.data)}."
            )
        if isinstance(model.data[name], Mapping):
            continue
        extra = np.ndim(value) - np.ndim(model.data[name])
        if extra not in (0, 1):
            raise SettingsError(
                f"datasets[{name!r}] has {np.ndim(value)} axes; one data set has "
                f"{np.ndim(model.data[name])}, and data sets are stacked along one more, the first."
            )
        if extra:
            lengths[name] = len(value)
    if len(set(lengths.values())) != 1:
        described = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise SettingsError(
            "`datasets` as a mapping needs arrays stacked along a first axis of one length; got "
            f"{described or 'no stacked array'}."
        )
    shared = {**model.data, **{n: v for n, v in stacked.items() if n not in lengths}}
    arrays = {name: np.asarray(stacked[name]) for name in lengths}
    count = next(iter(lengths.values()))
    return [
        {**shared, **{name: _entry(value[place]) for name, value in arrays.items()}}
        for place in range(count)
    ]


def _entry(value: Any) -> Any:
    """One entry of a stacked array; a scalar stays a number of its type."""
    if isinstance(value, np.integer):
        return int(value)
    return float(value) if isinstance(value, np.floating) else value
