"""Arguments of a model function for new data, checked before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hierjax.errors import ColumnTypeError, SettingsError, UnknownColumnError
from hierjax.level_checks import check_links
from hierjax.levels import read_levels
from hierjax.model import Model, NewData
from hierjax.names import responses
from hierjax.validation import check_finite


def new_data(
    model: Model, new: Any, groups: str, *, precision: bool, arrays: Mapping[str, Any]
) -> NewData:
    """Return the arguments for rows whose response is wanted.

    Parameters
    ----------
    model
        The model that was fitted.
    new
        Data frame or columns of a formula, arguments of a NumPyro function; None for the rows of
        the fit.
    groups
        What to do with new and missing groups.
    precision
        Whether weights and known standard errors matter.
    arrays
        New values of arguments that a formula was given as arrays.

    Raises
    ------
    DataError
        The new data lack something, or have it in another form (one subclass for each reason).
    """
    if new is None:
        if arrays:
            raise SettingsError(f"{', '.join(arrays)}: give new rows to go with the new values.")
        return NewData(model.data, {})
    if model.origin is not None:
        unknown = set(arrays) - {"trials", "weights", "offset", "known_sd"}
        if unknown:
            raise SettingsError(f"`predict` has no option {', '.join(sorted(unknown))}.")
        return model.origin.data_to_predict(new, groups, precision=precision, arrays=arrays)
    if arrays:
        raise SettingsError(
            f"{', '.join(arrays)}: `predict` has no such option. Arguments of the model function "
            "stand in the mapping of new data."
        )
    return NewData(_merged(model, new), {})


def _merged(model: Model, new: Any) -> dict[str, Any]:
    """Complete the new arguments of a NumPyro function by those that are single values."""
    if not isinstance(new, Mapping):
        raise ColumnTypeError(
            "the new data of a NumPyro function must map its arguments to values, as in "
            f"Model(fn, data); got {type(new).__name__}."
        )
    unknown = [name for name in new if name not in model.data]
    if unknown:
        raise UnknownColumnError(
            f"the model function has no argument {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(model.data)}."
        )
    observed = set(responses(model).values())
    found = {}
    for name, value in model.data.items():
        if name in new:
            found[name] = new[name]
        elif name in observed:
            found[name] = None
        elif isinstance(value, np.ndarray) and value.ndim:
            raise UnknownColumnError(
                f"the new data lack {name!r}, which has shape {value.shape} in the data of the "
                "fit. Only responses and single values can be left out."
            )
        else:
            found[name] = value
    found = dict(Model(model.fn, found).data)
    for name, value in found.items():
        found[name] = _like(name, model.data[name], value, response=name in observed)
    return found


def _like(name: str, old: Any, new: Any, *, response: bool) -> Any:
    """Return a value in the form of the fit's; another one would mean another model."""
    if response and new is None:
        return new
    if type(old) is int and isinstance(new, np.integer):
        return int(new)
    if _form(old) == "a number" and type(new) is int:
        return float(new)
    if _form(old) != _form(new):
        raise ColumnTypeError(
            f"data[{name!r}] is {_form(old)} in the data of the fit and {_form(new)} in the new "
            "data."
        )
    return new


def _form(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value):
        return f"an array with {np.ndim(value)} axes"
    if isinstance(value, float | np.ndarray | np.generic):
        return "a number"
    return "None" if value is None else f"of type {type(value).__name__}"


def check_new_data(model: Model, data: Mapping[str, Any]) -> None:
    """Refuse values that are not finite, and indexes of groups that are not there.

    Raises
    ------
    DataError
        Argument, rows and remedy are in the message (one subclass for each reason).
    """
    present = {name: value for name, value in data.items() if value is not None}
    observed = set(responses(model).values())
    check_finite(
        {name: value for name, value in present.items() if name not in observed},
        model.allow_missing,
    )
    check_links(read_levels(model.fn, data), data)
