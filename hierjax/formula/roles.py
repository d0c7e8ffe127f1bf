"""Who plays which part: response, trials, weights, offset, known standard errors, censoring.

Each may stand in the formula or in an argument, as a column, an expression, an array or a number.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import FormulaError
from hierjax.formula.calls import Expression
from hierjax.formula.check import check_length
from hierjax.formula.families import FAMILIES, Family
from hierjax.formula.frame import column_names, used_columns
from hierjax.formula.terms import Factor, Formula

if TYPE_CHECKING:
    import pandas as pd


def collect(
    parsed: Formula, row: Family, data: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Factor], "pd.DataFrame"]:
    """Find the factor of every role, and the columns that all parts of the model use."""
    _check_terms(parsed, row)
    roles, arrays = _roles(parsed, row, data, given)
    factors = [*roles.values(), *parsed.offsets]
    names = [c for factor in factors for c in factor.columns if c not in arrays]
    names += [*parsed.common.columns]
    for bar in parsed.bars:
        names += [*bar.side.columns, *bar.group]
    if roles["response"].expression is None and roles["response"].text in parsed.common.columns:
        raise FormulaError(f"`{roles['response'].text}` stands on both sides of `~`.")
    return roles, with_arrays(used_columns(data, names), arrays)


def with_arrays(table: "pd.DataFrame", arrays: Mapping[str, Any]) -> "pd.DataFrame":
    """Add arguments that were given as arrays to the columns of the data.

    Raises
    ------
    LengthError
        An array does not have one value a row.
    """
    for name, values in arrays.items():
        check_length(name.removesuffix("="), np.size(values), len(table))
    if not arrays:
        return table
    return table.assign(**{str(k): v for k, v in used_columns(arrays, arrays).items()})


def _roles(
    parsed: Formula, row: Family, data: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Factor], dict[str, Any]]:
    response = parsed.response
    found = {"response": response.factor, **dict(response.additions)}
    if row.trials and response.ratio is not None:
        if "trials" in found:
            raise FormulaError("Trials are given twice: after `/` and after `|`.", parsed.text)
        found["response"], found["trials"] = response.ratio
    arrays: dict[str, Any] = {}
    for role, value in given.items():
        if role in found:
            raise FormulaError(f"`{role}` is given twice: in the formula and as an argument.")
        found[role] = _argument(role, value, data, arrays)
    _check_roles(found, row)
    _check_offsets(parsed, found, row)
    return found, arrays


def _argument(role: str, value: Any, data: Any, arrays: dict[str, Any]) -> Factor:
    """Read an argument that is the name of a column, a number, or an array."""
    if isinstance(value, str) and (value in column_names(data) or not _is_number(value)):
        return Factor(value)
    if np.ndim(value) == 0:
        text = repr(float(value))
        return Factor(text, Expression(text, (), ()))
    name = array_name(role)
    arrays[name] = value
    return Factor(name)


def _check_roles(found: Mapping[str, Factor], row: Family) -> None:
    if row.trials and "trials" not in found:
        raise FormulaError(
            f"The family {row.name} needs the number of trials of each row: write "
            "`successes / trials ~ ...`, or give trials=."
        )
    if "trials" in found and not row.trials:
        raise FormulaError(
            f"The family {row.name} has no trials; for successes out of trials use "
            "family='binomial'."
        )
    if "known_sd" in found and not row.known_sd:
        raise FormulaError(
            f"Known standard errors need the family {_with('known_sd')}, not {row.name}."
        )
    if "censored" in found and row.censored is None:
        raise FormulaError(
            f"Censored responses need the family {_with('censored')}, not {row.name}."
        )
    if "known_sd" in found and "weights" in found:
        raise FormulaError("Give known standard errors or weights, not both.")


def _check_terms(parsed: Formula, row: Family) -> None:
    if row.categories == "ordered" and not parsed.common.intercept:
        raise FormulaError(
            f"The family {row.name} has thresholds between its categories in place of an "
            "intercept: leave `0 +` out.",
            parsed.text,
        )


def _check_offsets(parsed: Formula, found: Mapping[str, Factor], row: Family) -> None:
    if row.categories == "unordered" and (parsed.offsets or "offset" in found):
        raise FormulaError(
            f"The family {row.name} has a linear predictor for each category but the first, so "
            "that one offset for all of them has no meaning. Leave it out.",
            parsed.text,
        )


def _with(capability: str) -> str:
    """Families that have something that not all have."""
    return " or ".join(name for name, row in FAMILIES.items() if getattr(row, capability))


def array_name(role: str) -> str:
    """Column under which an argument that was given as an array is kept."""
    return f"{role}="


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
