"""The one door to formulaic: checked factors go in, columns and their state come out.

formulaic codes categories, splines and centring, and its `ModelSpec` remembers them. It never sees
the text of a formula, only names of columns and expressions that `calls.py` has allowed.
"""

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import DataError, FormulaError, RankError, UnknownLevelError
from hierjax.formula.calls import NUMERIC_FUNCTIONS, calls_in
from hierjax.formula.terms import Side, Term

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class DesignTerm:
    """Columns of one term: `labels` is None for a single numeric column, else one label each."""

    name: str
    labels: tuple[str, ...] | None
    columns: slice

    @property
    def column_labels(self) -> tuple[str, ...]:
        """Full label of each column, such as `h[b]`."""
        if self.labels is None:
            return (self.name,)
        return tuple(f"{self.name}[{label}]" for label in self.labels)


def check_shadows(side: Side) -> None:
    """Refuse a column that has the name of a function used on it, for it would hide the function.

    Raises
    ------
    FormulaError
        Names the column.
    """
    columns = set(side.columns)
    for term in side.terms:
        for factor in term.factors:
            for name in calls_in(factor.expression) if factor.expression else ():
                if name in columns:
                    raise FormulaError(
                        f"`{name}` is used both as a column and as a function; rename the column."
                    )


def coded_columns(side: Side) -> set[str]:
    """Columns inside C(...), whose whole numbers are names of levels and stay whole."""
    return {
        column
        for term in side.terms
        for factor in term.factors
        if factor.expression is not None and "C" in factor.expression.functions
        for column in factor.columns
    }


def fresh_spec(side: Side) -> Any:
    """Describe the terms of `side` to formulaic, without any state yet."""
    from formulaic import ModelSpec
    from formulaic.formula import SimpleFormula
    from formulaic.materializers import NAAction
    from formulaic.parser import types

    make_factor = types.Factor
    make_term = types.Term
    terms: Any = [make_term([make_factor("1", eval_method="literal")])] if side.intercept else []
    for term in side.terms:
        factors = [
            make_factor(f.text, eval_method="lookup" if f.expression is None else "python")
            for f in term.factors
        ]
        terms.append(make_term(factors))
    formula: Any = SimpleFormula(terms)
    return ModelSpec(formula=formula, output="numpy", na_action=NAAction.IGNORE)


def learn(spec: Any, frame: "pd.DataFrame") -> tuple[np.ndarray, Any]:
    """Work out the columns of `frame`, and the spec that remembers their state."""
    result = _run(spec, frame)
    return np.asarray(result, dtype=np.float64).reshape(len(frame), -1), result.model_spec


def materialise(spec: Any, frame: "pd.DataFrame") -> np.ndarray:
    """Work out the columns of `frame` with the state that `spec` remembers."""
    return np.asarray(_run(spec, frame), dtype=np.float64).reshape(len(frame), -1)


def _run(spec: Any, frame: "pd.DataFrame") -> Any:
    from formulaic.errors import DataMismatchWarning

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", DataMismatchWarning)
        try:
            return spec.get_model_matrix(frame, context=NUMERIC_FUNCTIONS)
        except DataMismatchWarning as warning:
            raise UnknownLevelError(f"The data do not fit the model's design: {warning}") from None
        # Anything may go wrong inside a transform; to the user all of it is "cannot work out".
        except Exception as error:
            raise DataError(f"The design cannot be worked out. {error}") from error


def lay_out_terms(side: Side, spec: Any) -> tuple[DesignTerm, ...]:
    """Say which columns belong to which term, with their labels.

    Raises
    ------
    RankError
        A term has no columns.
    """
    by_key = {frozenset(f.text for f in term.factors): term for term in side.terms}
    terms: list[DesignTerm] = []
    place = 0
    for row in spec.structure:
        names = tuple(row.columns)
        texts = frozenset(factor.expr for factor in row.term.factors)
        term = by_key.get(texts)
        columns = slice(place, place + len(names))
        place += len(names)
        if term is None:
            terms.append(DesignTerm("Intercept", None, columns))
            continue
        if not names:
            raise RankError(
                f"The term `{term.name}` adds nothing to the design: a column in it has one value "
                "only, or its columns are already there. Leave the term out."
            )
        scalar = len(names) == 1 and "[" not in names[0].removeprefix(term.name)
        scalar = scalar and names[0] in (term.name, _reversed_name(term))
        labels = None if scalar else _labels(term, names)
        terms.append(DesignTerm(term.name, labels, columns))
    return tuple(terms)


def _reversed_name(term: Term) -> str:
    return ":".join(factor.text for factor in reversed(term.factors))


def _labels(term: Term, names: tuple[str, ...]) -> tuple[str, ...]:
    """Short label of each column: the levels alone, unless they would not tell columns apart."""
    labels = tuple(_label([factor.text for factor in term.factors], name) for name in names)
    return labels if len(set(labels)) == len(labels) else names


def _label(factors: list[str], name: str) -> str:
    """Levels in a column name: `a:u` of `h[T.a]:x:k[u]`."""
    parts: list[str] = []
    rest = name
    for place, factor in enumerate(factors):
        if not rest.startswith(factor):
            return name
        rest = rest[len(factor) :]
        following = "".join(f":{factors[place + 1]}") if place + 1 < len(factors) else None
        end = len(rest) if following is None else rest.find(following)
        if end < 0:
            return name
        if inner := rest[:end]:
            parts.append(_level(inner))
        rest = rest[end + 1 :]
    return ":".join(parts) or name


def _level(bracketed: str) -> str:
    inner = bracketed.removeprefix("[").removesuffix("]")
    # formulaic marks the kind of coding by a letter: T.(reatment), S.(um), H.(elmert), D.(iff).
    return inner[2:] if inner[:2] in ("T.", "S.", "H.", "D.") and len(inner) > 2 else inner
