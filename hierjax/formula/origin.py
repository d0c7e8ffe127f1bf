"""What a formula model remembers: enough to take new data, list its priors, and be saved."""

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import DataError, SettingsError
from hierjax.formula.categories import codes_of
from hierjax.formula.censoring import censoring_of
from hierjax.formula.check import (
    check_groups,
    check_positive,
    check_rank,
    check_response,
    check_trials,
)
from hierjax.formula.design import Design, column_of
from hierjax.formula.families import Family
from hierjax.formula.frame import used_columns
from hierjax.formula.function import Effects, FormulaFunction, Group
from hierjax.formula.groups import read_grouping
from hierjax.formula.layout_groups import Block, GroupPlan
from hierjax.formula.prediction import rows_of_groups
from hierjax.formula.priors import Prior, describe_user
from hierjax.formula.priors_table import table_of
from hierjax.formula.roles import array_name, with_arrays
from hierjax.formula.source import source_of
from hierjax.formula.terms import Formula
from hierjax.model import Model, NewData

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class FormulaOrigin:
    """Everything learnt from the first data, so that the same model can meet other data.

    Attributes
    ----------
    formula
        The formula as read.
    family
        Row of the table of families.
    common
        Design of the common part.
    groups
        Grouping factors, in the order of `fn.groups`.
    columns
        Role ("response", "trials", "weights", "known_sd", "censored") -> design of its one column.
    offsets
        Designs of the offsets, which are added up.
    fn
        The model function.
    chosen
        Prior of every site.
    user_priors
        Priors as the user gave them.
    table
        Columns of the first data that the model uses, in plain types.
    categories
        Labels of the categories that the response is in; none if it is a number.
    arguments
        Argument of `formula` (trials, weights, offset, known_sd, censored) -> its column in
        `table`.
    """

    formula: Formula
    family: Family
    common: Design
    groups: tuple[GroupPlan, ...]
    columns: Mapping[str, Design]
    offsets: tuple[Design, ...]
    fn: FormulaFunction
    chosen: tuple[Prior, ...]
    user_priors: Mapping[str, Any]
    table: "pd.DataFrame"
    arguments: Mapping[str, str]
    categories: tuple[Any, ...] = ()

    @property
    def frame(self) -> dict[str, np.ndarray]:
        """Columns of the first data that the model uses, as NumPy arrays (text as text)."""
        found = {}
        for name in self.table.columns:
            column = self.table[name]
            if hasattr(column, "cat"):
                levels = np.asarray(column.cat.categories.tolist())
                found[str(name)] = levels[column.cat.codes.to_numpy()]
            else:
                found[str(name)] = column.to_numpy()
        return found

    def priors(self) -> "pd.DataFrame":
        """Table of the prior of every slot: where it comes from and what it is about."""
        return table_of(self.chosen)

    def describe(self) -> dict[str, Any]:
        """JSON-able description from which, with `frame`, `rebuild` makes the model again."""
        levels = {
            str(name): self.table[name].cat.categories.tolist()
            for name in self.table.columns
            if hasattr(self.table[name], "cat")
        }
        return {
            "formula": self.formula.text,
            "family": self.family.name,
            "arguments": dict(self.arguments),
            "priors": describe_user(self.user_priors),
            "levels": levels,
            "ordered": [name for name in levels if self.table[name].cat.ordered],
        }

    def data_for(self, new: Any, *, response: bool = True, **arrays: Any) -> dict[str, Any]:
        """Make the data arguments for new data: same design, same groups, same priors.

        Parameters
        ----------
        new
            Data frame or mapping of columns.
        response
            Whether `new` has the response; without it the model function samples it.
        **arrays
            New values of the arguments (`trials`, `weights`, `offset`, `known_sd`, `censored`) that
            the model was given as arrays; those given as columns are taken from `new`.

        Raises
        ------
        GroupIndexError
            A row belongs to a group that the model was not built with.
        DataError
            The columns cannot be used (one subclass for each reason).
        """
        given = {array_name(role): values for role, values in arrays.items()}
        needed = self.needed(response=response)
        self._refuse_arrays(given, needed)
        frame = used_columns(new, [name for name in needed if name not in given])
        return self.arrays(with_arrays(frame, given), response=response)

    def regrouped(self, model: Model, new: Any) -> Model:
        """Return the model on a data frame with groups of its own.

        Design, coding and priors are those of the first data; the groups are those that occur in
        `new`.

        Raises
        ------
        DataError
            The columns cannot be used (one subclass for each reason).
        """
        self._refuse_arrays()
        frame = used_columns(new, self.needed())
        groups = tuple(
            dataclasses.replace(plan, grouping=read_grouping(plan.grouping.columns, frame))
            for plan in self.groups
        )
        residual_scale = self.family.residual_scale and "known_sd" not in self.columns
        for plan in groups:
            index = plan.grouping.index(frame)
            check_groups(plan.grouping, index, residual_scale=residual_scale)
        origin = dataclasses.replace(self, groups=groups, table=frame)
        data = origin.arrays(frame)
        if self.fn.coefficients:
            check_rank(self.common.matrix(frame), self.common.column_labels, "the design")
        labels = {
            group.plate: plan.grouping.labels
            for group, plan in zip(self.fn.groups, groups, strict=True)
        }
        return dataclasses.replace(
            model, data=data, labels={**model.labels, **labels}, origin=origin
        )

    def _refuse_arrays(
        self, given: Collection[str] = (), needed: Collection[str] | None = None
    ) -> None:
        """Raise if an argument that was an array is needed and has no new values."""
        for role, name in self.arguments.items():
            wanted = needed is None or name in needed
            if name == array_name(role) and wanted and name not in given:
                raise DataError(
                    f"`{role}` was given as an array, so new data need it too: pass {role}=..., or "
                    "build the model with the name of a column."
                )

    def data_to_predict(
        self, new: Any, groups: str, *, precision: bool, arrays: Mapping[str, Any]
    ) -> NewData:
        """Make the data arguments for rows whose response is wanted; groups may be new.

        Parameters
        ----------
        new
            Data frame or mapping of columns; the response is not needed.
        groups
            What to do with rows of groups that are new or missing, see `rows_of_groups`.
        precision
            Whether weights and known standard errors are needed.
        arrays
            As in `data_for`.

        Raises
        ------
        DataError
            The columns cannot be used (one subclass for each reason).
        """
        given = {array_name(role): values for role, values in arrays.items()}
        for role in arrays:
            if self.arguments.get(role) != array_name(role):
                raise SettingsError(
                    f"`{role}` was no array when the model was made, so new data cannot have it "
                    "as an argument: it is a column of the new data, or not part of the model."
                )
        needed = self.needed(response=False, precision=precision)
        self._refuse_arrays(given, needed)
        factors = self.grouping_columns
        only = set(factors) - set(self.design_columns(response=False, precision=precision))
        frame = used_columns(new, [name for name in needed if name not in given], may_miss=only)
        groupings = tuple(plan.grouping for plan in self.groups)
        rows = rows_of_groups(groupings, self.table.filter(factors), frame.filter(factors), groups)
        frame = with_arrays(frame, given).iloc[rows.rows].reset_index(drop=True)
        data = self.arrays(frame, response=False, precision=precision, placed=rows.index)
        labels = {}
        for group, grouping in zip(self.fn.groups, groupings, strict=True):
            labels[group.plate] = rows.labels[grouping.name]
            data[group.size] = len(rows.labels[grouping.name])
        return NewData(data, labels, rows.rows if rows.repeated else None)

    def effect_terms(self) -> dict[str, tuple[str, ...]]:
        """Return the site of each block of group effects with the labels of its terms."""
        return {
            part.site: block.labels for _, _, pairs in self.group_parts() for part, block in pairs
        }

    def group_parts(self) -> list[tuple[Group, GroupPlan, list[tuple[Effects, Block]]]]:
        """Pair grouping factors of the function with their plans, and the blocks of each.

        Every predictor of a row has effects for each block of the plan.
        """
        return [
            (group, plan, list(zip(group.effects, itertools.cycle(plan.blocks), strict=False)))
            for group, plan in zip(self.fn.groups, self.groups, strict=True)
        ]

    def source(self) -> str:
        """Write the model as a module that needs jax and numpyro only."""
        return source_of(self)

    @property
    def coefficient_labels(self) -> list[str]:
        """Labels of the columns that have a coefficient."""
        return self.without_thresholds(np.array([self.common.column_labels], object))[0].tolist()

    def without_thresholds(self, matrix: np.ndarray) -> np.ndarray:
        """Leave out the column of the intercept where thresholds take its place."""
        if self.family.categories != "ordered":
            return matrix
        place = [t.columns.start for t in self.common.terms if t.name == "Intercept"]
        return np.delete(matrix, place, axis=1)

    @property
    def grouping_columns(self) -> list[str]:
        """Columns that grouping factors are made of."""
        return list(dict.fromkeys(c for plan in self.groups for c in plan.grouping.columns))

    def design_columns(self, *, response: bool = True, precision: bool = True) -> list[str]:
        """Columns whose values enter the model otherwise than as labels of groups."""
        left_out = set() if response else {"response", "censored"}
        left_out |= set() if precision else {"weights", "known_sd"}
        designs = [self.common, *self.offsets, *(b.design for g in self.groups for b in g.blocks)]
        designs += [design for role, design in self.columns.items() if role not in left_out]
        return list(dict.fromkeys(c for design in designs for c in design.side.columns))

    def needed(self, *, response: bool = True, precision: bool = True) -> list[str]:
        """Columns that the model uses, with or without the response, weights and known errors."""
        names = self.design_columns(response=response, precision=precision)
        return list(dict.fromkeys([*names, *self.grouping_columns]))

    def arrays(
        self,
        frame: "pd.DataFrame",
        *,
        response: bool = True,
        precision: bool = True,
        placed: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, Any]:
        """Make the data arguments for a frame in plain types.

        `placed` has the group of each row by grouping factor, where it is known already.
        """
        names = self.fn.arguments
        rows = len(frame)
        data: dict[str, Any] = {names.num_rows: rows}
        data[names.priors] = {_prior_site(p, self.fn): p.distribution for p in self.chosen}
        if self.fn.coefficients:
            data[names.design] = self.without_thresholds(self.common.matrix(frame))
        if self.offsets:
            data[names.offset] = np.sum([column_of(d, frame) for d in self.offsets], axis=0)
        for group, plan, pairs in self.group_parts():
            grouping = plan.grouping
            data[group.plate] = placed[grouping.name] if placed else grouping.index(frame)
            data[group.size] = plan.grouping.count
            for part, block in pairs:
                if part.design is not None:
                    matrix = block.design.matrix(frame)[:, block.columns]
                    data[part.design] = matrix[:, 0] if part.width is None else matrix
        data.update(self._row_values(frame, precision=precision))
        if response:
            if "censored" in self.columns:
                data[names.censored] = censoring_of(self.columns["censored"], frame)
            data[self.fn.response] = self._response(frame, data.get(names.trials))
        return data

    def _row_values(self, frame: "pd.DataFrame", *, precision: bool) -> dict[str, np.ndarray]:
        names = self.fn.arguments
        found = {}
        for role, argument in (("weights", names.weights), ("known_sd", names.known_sd)):
            if role in self.columns and not precision:
                found[argument] = np.ones(len(frame))  # means of responses do not depend on it
            elif role in self.columns:
                found[argument] = column_of(self.columns[role], frame)
                check_positive(found[argument], role.replace("known_sd", "known standard errors"))
        if "trials" in self.columns:
            trials = column_of(self.columns["trials"], frame)
            check_trials(trials)
            found[names.trials] = trials.astype(np.int64)
        return found

    def _response(self, frame: "pd.DataFrame", trials: np.ndarray | None) -> np.ndarray:
        if self.categories:
            return codes_of(self.columns["response"], frame, self.categories)
        values = column_of(self.columns["response"], frame)
        check_response(values, self.family, trials, self.fn.response)
        # 64-bit: JAX computes log-gamma of 32-bit integers in 32-bit floats.
        return values.astype(np.int64) if self.family.whole else values


def _prior_site(prior: Prior, fn: FormulaFunction) -> str:
    """Site that is sampled from a prior: the slot's own, or the variance in its place."""
    if not prior.variance:
        return prior.slot.site
    scales = [scale for _, scale in fn.parameters]
    scales += [part.scale for group in fn.groups for part in group.effects]
    return next(s.variance for s in scales if s.site == prior.slot.site and s.variance)
