"""`formula`: an lme4/brms formula and a data frame become a Model."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax.errors import FormulaError
from hierjax.formula.categories import build_categories
from hierjax.formula.censoring import build_censoring
from hierjax.formula.check import check_groups, check_rank
from hierjax.formula.design import Design, build_column, build_design
from hierjax.formula.families import Family, find_family
from hierjax.formula.function import FormulaFunction, Scale
from hierjax.formula.groups import read_grouping
from hierjax.formula.layout import (
    Layout,
    Names,
    Outcome,
    Spread,
    argument_names,
    coefficient_scales,
    lay_out_coefficients,
    lay_out_parameters,
)
from hierjax.formula.layout_groups import GroupPlan, blocks_of, lay_out_group
from hierjax.formula.origin import FormulaOrigin
from hierjax.formula.parse import parse
from hierjax.formula.priors import Prior, rebuild_user, resolve
from hierjax.formula.roles import collect
from hierjax.formula.terms import Bar, Factor, Formula
from hierjax.model import Model

if TYPE_CHECKING:
    import pandas as pd


def formula(
    text: str,
    data: Any,
    family: str = "gaussian",
    priors: Mapping[str, Any] | None = None,
    *,
    trials: Any = None,
    weights: Any = None,
    offset: Any = None,
    known_sd: Any = None,
    censored: Any = None,
) -> Model:
    """Make a hierarchical model from a formula and a data frame.

    `y ~ x + (1 + x | g)` reads: y_i ~ family(link^-1(b_Intercept + b_x x_i + r_g[g_i, 0] +
    r_g[g_i, 1] x_i)), r_g[j] ~ Normal(0, diag(sd_g) cor_g diag(sd_g)).

    Parameters
    ----------
    text
        A formula in the language of lme4 and brms: `+ - * / : ^`, `0 +`, `(x | g)`, `(x || g)`
        (all effects of a group independent, as in brms), `(1 | a/b)`, `(1 | a:b)`, `offset(x)`,
        `C(x)`, splines such as `bs(x, df=5)`, `center`, `scale`, `poly`, `log` and the like, and
        arithmetic inside `I(...)`. The response may be an expression, `successes / trials` for the
        binomial family, and may be followed by `| se(s)`, `| trials(n)`, `| weights(w)` or
        `| cens(c)`.
        Names with spaces go in backticks.
    data
        pandas frame, mapping of columns, or another frame. Text and categorical columns are coded
        by treatment contrasts; True and False count as 1 and 0.
    family
        "gaussian", "student_t", "lognormal", "gamma", "beta", "bernoulli", "binomial", "poisson",
        "zero_inflated_poisson", "negative_binomial", "ordered" or "categorical".
    priors
        Slot -> NumPyro distribution (or `Variance`; a number is the concentration of an LKJ prior).
        Slots, most specific first: `b_x`, `b`; `sd_g__x`, `sd_g`, `sd`; `cor_g`, `cor`; `sigma`,
        `nu`, `shape`, `phi`, `zi`, `threshold`. `model.priors()` lists them with their
        defaults, whose rules are in `hierjax.formula.priors`.
    trials
        Number of trials of each row, for the binomial family.
    weights
        As in lme4: for the gaussian, student_t and lognormal families the residual sd of a row is
        sigma / sqrt(weight); for the others its log likelihood is multiplied by the weight. (brms
        multiplies the log likelihood for every family.)
    offset
        Added to the linear predictor.
    known_sd
        Known standard error of each response, as in a meta-analysis: y ~ Normal(mean, known_sd),
        and there is no `sigma`. For the gaussian and student_t families.
    censored
        Which responses are only limits, for the gaussian and lognormal families: "none", "left"
        (the value is less than what is written) or "right" (greater), or 0, -1 and 1, or for
        censoring on the right False and True.

        The last five are the name of a column, an array with one value a row, or a number.

    Returns
    -------
    Model
        Sites `b_*` (coefficients), `sd_*`, `cor_*` and `r_*` (effects of groups) and the family's
        parameters; the observed site has the name of the response.

    Raises
    ------
    FormulaError
        The formula cannot be read, or asks for what a family does not have.
    PriorError
        A prior names no slot, or cannot serve it.
    DataError
        The data cannot be used; each reason has its own subclass (`hierjax.errors`).
    """
    parsed = parse(text)
    row = find_family(family)
    arguments = {
        "trials": trials,
        "weights": weights,
        "offset": offset,
        "known_sd": known_sd,
        "censored": censored,
    }
    given = {role: value for role, value in arguments.items() if value is not None}
    roles, table = collect(parsed, row, data, given)
    return _assemble(parsed, row, roles, table, priors or {}, tuple(given))


def rebuild(description: Mapping[str, Any], frame: Mapping[str, Any]) -> Model:
    """Make a model again from `origin.describe()` and `origin.frame`."""
    import pandas as pd

    columns = {
        name: pd.Categorical(
            values,
            categories=description["levels"][name],
            ordered=name in description.get("ordered", ()),
        )
        if name in description["levels"]
        else np.asarray(values)
        for name, values in frame.items()
    }
    return formula(
        description["formula"],
        columns,
        description["family"],
        rebuild_user(description["priors"]),
        **description["arguments"],
    )


def _assemble(
    parsed: Formula,
    row: Family,
    roles: Mapping[str, Factor],
    table: "pd.DataFrame",
    user_priors: Mapping[str, Any],
    given: tuple[str, ...],
) -> Model:
    values, designs, categories = _columns(row, roles, table)
    offsets = [build_column(factor, table, "offset") for factor in parsed.offsets]
    if "offset" in roles:
        offsets.append((values.pop("offset"), designs.pop("offset")))
    matrix, common = build_design(parsed.common, table)
    check_rank(matrix, common.column_labels, "the design")
    plans = _groups(
        parsed.bars, table, residual_scale=row.residual_scale and "known_sd" not in roles
    )
    offset = sum((value for value, _ in offsets), start=np.zeros(len(table)))
    intercept = parsed.common.intercept
    spread = Spread(0.0, 1.0, 1.0, categories)
    if not categories:
        spread = _spread(row, values, offset, intercept=intercept)
    layout, function = _lay_out(parsed, row, roles, (matrix, common), plans, spread)
    if not layout.slots:
        raise FormulaError(
            "The formula leaves nothing to learn: it has no coefficients and no effects of groups, "
            f"and the family {row.name} has no other parameter. Take out `0`.",
            parsed.text,
        )
    chosen = resolve(layout.slots, user_priors)
    function = _with_variances(function, layout, chosen)
    arguments = {role: roles[role].text for role in given}
    origin = FormulaOrigin(
        parsed,
        row,
        common,
        plans,
        designs,
        tuple(design for _, design in offsets),
        function,
        chosen,
        dict(user_priors),
        table,
        arguments,
        categories,
    )
    return Model(
        function,
        origin.arrays(table),
        layout.labels,
        layout.dims,
        layout.blocks,
        name=parsed.text.strip(),
        origin=origin,
    )


def _columns(
    row: Family, roles: Mapping[str, Factor], table: "pd.DataFrame"
) -> tuple[dict[str, np.ndarray], dict[str, Design], tuple[Any, ...]]:
    """Numbers and design of the column of every role, and categories of the response."""
    values: dict[str, np.ndarray] = {}
    designs: dict[str, Design] = {}
    categories: tuple[Any, ...] = ()
    for role, factor in roles.items():
        if role == "censored":
            designs[role] = build_censoring(factor, table)
        elif role == "response" and row.categories:
            order = row.categories == "ordered"
            designs[role], categories = build_categories(factor, table, ordered=order)
        else:
            word = {"known_sd": "known standard error"}.get(role, role)
            values[role], designs[role] = build_column(factor, table, word)
    return values, designs, categories


def _groups(
    bars: tuple[Bar, ...], table: "pd.DataFrame", *, residual_scale: bool
) -> tuple[GroupPlan, ...]:
    """One plan a grouping factor; several group terms of one factor are its blocks."""
    plans: dict[frozenset[str], GroupPlan] = {}
    for bar in bars:
        key = frozenset(bar.group)
        if key not in plans:
            grouping = read_grouping(bar.group, table)
            check_groups(grouping, grouping.index(table), residual_scale=residual_scale)
            plans[key] = GroupPlan(grouping, ())
        matrix, design = build_design(bar.side, table)
        check_rank(matrix, design.column_labels, f"the group term of `{':'.join(bar.group)}`")
        blocks = plans[key].blocks + blocks_of(bar, matrix, design)
        plans[key] = dataclasses.replace(plans[key], blocks=blocks)
    return tuple(plans.values())


def _spread(
    row: Family, values: Mapping[str, np.ndarray], offset: np.ndarray, *, intercept: bool
) -> Spread:
    """Middle and spread of the response on the link's scale, for default priors."""
    response = values["response"].astype(np.float64)
    with np.errstate(all="ignore"):  # a response that the family cannot have is refused later
        if row.on_scale is not None:
            response = row.on_scale(response)
        centre = row.centre(response, offset)
    if not np.isfinite(response).all() or not np.isfinite(centre):
        return Spread(0.0, 1.0, 1.0)
    if row.on_scale is None:
        return Spread(centre, 1.0, 1.0)
    rest = response - offset
    size = float(np.std(rest)) if intercept else float(np.sqrt(np.mean(rest**2)))
    size = size if size > 0 else 1.0
    weight = float(np.mean(values.get("weights", np.ones(1))))
    return Spread(centre, size, size * np.sqrt(weight) if weight > 0 else size)


def _lay_out(
    parsed: Formula,
    row: Family,
    roles: Mapping[str, Factor],
    common: tuple[np.ndarray, Any],
    plans: tuple[GroupPlan, ...],
    spread: Spread,
) -> tuple[Layout, FormulaFunction]:
    names = Names()
    layout = Layout(names)
    for plan in plans:
        names.free(plan.grouping.name)
    response = names.free(roles["response"].text)
    rows, arguments = names.free("rows"), argument_names(names)
    several = row.categories == "unordered"
    outcomes = (
        [Outcome(number, str(label)) for number, label in enumerate(spread.categories[1:])]
        if several
        else [Outcome()]
    )
    thresholds = row.categories == "ordered"
    coefficients = [
        part
        for outcome in outcomes
        for part in lay_out_coefficients(layout, *common, spread, outcome, thresholds=thresholds)
    ]
    groups = tuple(lay_out_group(layout, plan, spread, outcomes) for plan in plans)
    wide = coefficient_scales(*common, spread)[1]
    parameters = lay_out_parameters(layout, row, spread, wide, known_sd="known_sd" in roles)
    if spread.categories:
        layout.dimension(f"{response}_category", spread.categories)
    replicates = "weights" in roles and not row.residual_scale
    function = FormulaFunction(
        row.name,
        response,
        rows,
        arguments,
        tuple(coefficients),
        groups,
        parameters,
        replicates,
        len(outcomes) if several else 0,
        parsed.text.strip(),
    )
    return layout, function


def _with_variances(
    function: FormulaFunction, layout: Layout, chosen: tuple[Prior, ...]
) -> FormulaFunction:
    """Give a variance site to every scale whose prior is on the variance."""
    new: dict[str, Scale] = {}
    for prior in chosen:
        site = prior.slot.site
        if prior.variance:
            dims = layout.dims.get(site, ())
            new[site] = Scale(site, layout.site(layout.scales[site], "hidden", dims))
    if not new:
        return function
    groups = tuple(
        dataclasses.replace(
            group,
            effects=tuple(
                dataclasses.replace(part, scale=new.get(part.scale.site, part.scale))
                for part in group.effects
            ),
        )
        for group in function.groups
    )
    parameters = tuple((name, new.get(s.site, s)) for name, s in function.parameters)
    return dataclasses.replace(function, groups=groups, parameters=parameters)
