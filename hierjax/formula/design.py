"""Design matrices: the terms of one side of a formula as columns, the same again for new data.

What was learnt from the first data (levels, knots, centres) is kept, and new data are held to it.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import ColumnTypeError, FormulaError, NonFiniteError, UnknownLevelError
from hierjax.formula.coding import (
    DesignTerm,
    check_shadows,
    coded_columns,
    fresh_spec,
    lay_out_terms,
    learn,
    materialise,
)
from hierjax.formula.frame import listed_rows
from hierjax.formula.terms import Factor, Side, Term

if TYPE_CHECKING:
    import pandas as pd


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
        matrix = materialise(self.spec, self._prepared(frame))
        _check_finite(matrix, self)
        return matrix

    def _check_levels(self, name: str, column: Any) -> None:
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

        coded = coded_columns(self.side)
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
    check_shadows(side)
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
    spec = fresh_spec(side)
    matrix, spec = learn(spec, empty._prepared(frame))
    design = dataclasses.replace(empty, terms=lay_out_terms(side, spec), spec=spec)
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
