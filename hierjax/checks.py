"""Validators for arguments that recur; each names the argument and the value it got."""

from collections.abc import Iterable
from typing import Any

from hierjax.errors import SettingsError


def positive_int(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` as an int, or raise `SettingsError` if it is not an integer >= `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < minimum:
        raise SettingsError(f"`{name}` must be an integer of at least {minimum}; got {value!r}.")
    return int(value)


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float strictly between 0 and 1, or raise `SettingsError`."""
    if not isinstance(value, int | float) or not 0.0 < float(value) < 1.0:
        raise SettingsError(f"`{name}` must lie strictly between 0 and 1; got {value!r}.")
    return float(value)


def one_of(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is among `choices`, or raise `SettingsError` listing them."""
    choices = tuple(choices)
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise SettingsError(f"`{name}` must be one of {listed}; got {value!r}.")
    return value
