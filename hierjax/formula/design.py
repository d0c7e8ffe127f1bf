"""Design matrices: the terms of one side of a formula as columns, the same again for new data.

formulaic does the coding of categories, splines and centring, and its `ModelSpec` remembers them;
this module hands it checked factors only (never formula text), names the columns term by term, and
checks what comes back.
"""

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import (
    ColumnTypeError,
    DataError,
    FormulaError,
    NonFiniteError,
    RankError,
    UnknownLevelError,
)
from hierjax.formula.calls import NUMERIC_FUNCTIONS, calls_in
from hierjax.formula.frame import listed_rows
from hierjax.formula.parse import Factor, Side, Term

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


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """How one design matrix is made, with all that was learnt from the first data.

    Attributes
    ----------
    side
        Terms as read from the formula.
    terms
        Terms as laid out in columns.
    spec
        formulaic's `ModelSpec`, which fixes codings, knots and centring.
    levels
        Categorical column -> its levels.
    """

    side: Side
    terms: tuple[DesignTerm, ...]
    spec: Any
    levels: dict[str, tuple[Any, ...]]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.terms[-1].columns.stop if self.terms else 0

    @property
    def column_labels(self) -> tuple[str, ...]:
        """Full label of every column."""
        return tuple(label for term in self.terms for label in term.column_labels)

    def matrix(self, frame: "pd.DataFrame") -> np.ndarray:
        """Design matrix of `frame` with the state learnt from the first data.

        Raises
        ------
        UnknownLevelError
            A categorical column has a value that the first data did not have.
        NonFiniteError, ColumnTypeError, DataError
            A transform cannot be worked out for these values.
        """
        if not self.terms:
            return np.zeros((len(frame), 0))
        if self.terms == (DesignTerm("Intercept", None, slice(0, 1)),):
            return np.ones((len(frame), 1))
        for column in set(self.side.columns):
            self._check_levels(column, frame[column])
        matrix = _materialise(self.spec, self._prepared(frame))
        _check_finite(matrix, self)
        return matrix

    def _check_levels(self, name: str, column: "pd.Series") -> None:
        levels = self.levels.get(name)
        if (levels is not None) != hasattr(column, "cat"):
            kind = "numbers" if levels is None else "categories"
            raise ColumnTypeError(f"Column `{name}` must hold {kind}, as when the model was built.")
        if levels is not None:
            unseen = ~np.asarray(column.isin(levels))
            if unseen.any():
                value = column[unseen].iloc[0]
                known = ", ".join(repr(level) for level in levels[:20])
                raise UnknownLevelError(
                    f"Column `{name}` has the value {value!r} in {listed_rows(unseen)}, which the "
                    f"model was not built with. Known values: {known}."
                )

    def _prepared(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd

        coded = _coded_columns(self.side)
        columns: dict[str, Any] = {}
        for name in dict.fromkeys(self.side.columns):
            if name in self.levels:
                columns[name] = pd.Categorical(frame[name], categories=self.levels[name])
            else:
                column = frame[name].to_numpy()
                columns[name] = column if name in coded else column.astype(np.float64)
        return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))


def build_design(side: Side, frame: "pd.DataFrame") -> tuple[np.ndarray, Design]:
    """Lay out the terms of `side` in columns, learning codings and transforms from `frame`.

    Returns
    -------
    matrix : numpy.ndarray
        Shape (rows, columns), 64-bit floats.
    design : Design
        Makes the same columns from other data.

    Raises
    ------
    RankError
        A categorical column has one level only, so its term has no columns.
    FormulaError, ColumnTypeError, NonFiniteError
        A transform cannot be worked out.
    """
    _check_shadows(side)
    levels = {
        name: tuple(frame[name].cat.categories)
        for name in set(side.columns)
        if hasattr(frame[name], "cat")
    }
    empty = Design(side, (), None, levels)
    if not side.terms:
        if not side.intercept:
            return np.zeros((len(frame), 0)), empty
        design = dataclasses.replace(empty, terms=(DesignTerm("Intercept", None, slice(0, 1)),))
        return np.ones((len(frame), 1)), design
    spec = _fresh_spec(side)
    matrix, spec = _learn(spec, empty._prepared(frame))
    design = dataclasses.replace(empty, terms=_layout(side, spec), spec=spec)
    _check_finite(matrix, design)
    return matrix, design


def build_column(factor: Factor, frame: "pd.DataFrame", role: str) -> tuple[np.ndarray, Design]:
    """Evaluate one factor to one number a row (a response, an offset, weights).

    Raises
    ------
    ColumnTypeError
        The factor is text or categories, or makes several columns.
    """
    side = Side(False, (Term((factor,)),))
    if factor.expression is not None and not factor.columns:
        return constant(factor, len(frame)), Design(side, (), None, {})
    if factor.expression is None and hasattr(frame[factor.text], "cat"):
        value = frame[factor.text].cat.categories[-1]
        raise ColumnTypeError(
            f"The {role} `{factor.text}` holds text or categories, not numbers; for a 0/1 column "
            f"write data[{factor.text!r}] == {value!r}."
        )
    matrix, design = build_design(side, frame)
    if matrix.shape[1] != 1 or design.terms[0].labels is not None:
        raise ColumnTypeError(f"The {role} `{factor.text}` must be one number a row.")
    return matrix[:, 0], design


def column_of(design: Design, frame: "pd.DataFrame") -> np.ndarray:
    """Evaluate the factor of `build_column` on other data, with its state."""
    if not design.terms:
        return constant(design.side.terms[0].factors[0], len(frame))
    return design.matrix(frame)[:, 0]


def constant(factor: Factor, rows: int) -> np.ndarray:
    """Repeat a factor that names no column, such as the 10 of `y / 10`."""
    try:
        value = float(factor.text)
    except ValueError:
        raise FormulaError(f"`{factor.text}` names no column and is not a number.") from None
    return np.full(rows, value)


def _check_shadows(side: Side) -> None:
    columns = set(side.columns)
    for term in side.terms:
        for factor in term.factors:
            for name in calls_in(factor.expression) if factor.expression else ():
                if name in columns:
                    raise FormulaError(
                        f"`{name}` is used both as a column and as a function; rename the column."
                    )


def _coded_columns(side: Side) -> set[str]:
    """Columns inside C(...), whose whole numbers are names of levels and stay whole."""
    return {
        column
        for term in side.terms
        for factor in term.factors
        if factor.expression is not None and "C" in factor.expression.functions
        for column in factor.columns
    }


def _fresh_spec(side: Side) -> Any:
    from formulaic import ModelSpec
    from formulaic import parser as formulaic_parser
    from formulaic.formula import SimpleFormula

    make_factor = formulaic_parser.types.Factor
    make_term = formulaic_parser.types.Term
    terms = [make_term([make_factor("1", eval_method="literal")])] if side.intercept else []
    for term in side.terms:
        factors = [
            make_factor(f.text, eval_method="lookup" if f.expression is None else "python")
            for f in term.factors
        ]
        terms.append(make_term(factors))
    return ModelSpec(formula=SimpleFormula(terms), output="numpy", na_action="ignore")


def _learn(spec: Any, frame: "pd.DataFrame") -> tuple[np.ndarray, Any]:
    result = _run(spec, frame)
    return np.asarray(result, dtype=np.float64).reshape(len(frame), -1), result.model_spec


def _materialise(spec: Any, frame: "pd.DataFrame") -> np.ndarray:
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


def _layout(side: Side, spec: Any) -> tuple[DesignTerm, ...]:
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


def _check_finite(matrix: np.ndarray, design: Design) -> None:
    bad = ~np.isfinite(matrix)
    if not bad.any():
        return
    place = int(np.flatnonzero(bad.any(axis=0))[0])
    label = design.column_labels[place]
    raise NonFiniteError(
        f"`{label}` is not a finite number in {listed_rows(bad[:, place])}. Check the values that "
        "the transform is applied to (log of zero or less, division by zero, overflow)."
    )
