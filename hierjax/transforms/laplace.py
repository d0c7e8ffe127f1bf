"""The marginal likelihood of a model whose effects do not integrate out in closed form.

Laplace's approximation replaces the likelihood by the Gaussian that matches it at the mode of the
effects. It is good where groups have many rows and bad where they have few: with pairs of binary
outcomes a true sd of 1 is estimated as 0.70. `hierjax.transforms.quadrature` removes the error
where a group has one or two effects.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax.arguments import Arguments
from hierjax.cache import ProgramCache
from hierjax.effects import run_placed
from hierjax.effects.design import check_design, design_of, directions
from hierjax.effects.mode import Mode, find_mode, separates
from hierjax.effects.values import some_latents
from hierjax.errors import ModelError
from hierjax.linalg import Effects
from hierjax.low_discrepancy import Evenly
from hierjax.trace import abstract_trace
from hierjax.transforms.placement import Placement
from hierjax.transforms.quadrature import (
    Grid,
    draw_effects,
    element_groups,
    is_one_factor,
    quadrature,
)
from hierjax.transforms.recentre_plan import make_recentre_plan
from hierjax.transforms.rows import Rows, log_outside, probe, rows_of

_LOOKS = ProgramCache(size=32)

Values = Mapping[str, Any]


class Prepared(NamedTuple):
    """What follows from the data alone; a pytree.

    Attributes
    ----------
    indexes
        Group of every row, per factor.
    groups
        Group of every element of the responses, None if there is no quadrature.
    valid
        Whether the data have the structure that the plan says.
    """

    indexes: tuple[Array, ...]
    groups: Array | None
    valid: Array


class Evaluation(NamedTuple):
    """A marginal log density and its parts; a pytree.

    Attributes
    ----------
    log_density
        Of all that is observed, given the remaining sites; NaN unless the mode was found.
    log_prior
        Of the remaining sites.
    mode
        Mode of the effects, as the core has them.
    """

    log_density: Array
    log_prior: Array
    mode: Mode


@dataclasses.dataclass(frozen=True)
class Approximation:
    """How effects are integrated out of a model approximately; static and hashable.

    Attributes
    ----------
    fn
        Model function.
    plan
        Effects, remaining sites and the layout.
    by_group
        Whether each element of the responses depends on one group with one or two effects, so that
        quadrature can be used.
    """

    fn: Callable[..., Any]
    plan: Placement
    by_group: bool

    def prepare(self, data: Values) -> Prepared:
        """Find the group of every row and element; a pure function."""
        latents = some_latents(abstract_trace(self.fn, data), self.plan.by_name)
        layout = self.plan.layout
        rows = rows_of(self.fn, self.plan, latents, data)
        design = design_of(rows.predictors, layout)
        valid = check_design(rows.predictors, layout, design, directions(layout.sites.values()))
        groups = None
        if self.by_group:
            groups, alone = element_groups(rows, layout)
            valid &= alone
        return Prepared(tuple(term.index for term in design.terms), groups, valid)

    def evaluate(
        self,
        hyper: Values,
        data: Values,
        prepared: Prepared,
        grid: Grid | None = None,
        *,
        start: Effects | None = None,
        widen: float | Array = 1.0,
    ) -> Evaluation:
        """Evaluate by quadrature on a grid of nodes, or by Laplace's approximation without one.

        Parameters
        ----------
        hyper
            Value of every remaining site.
        data, prepared
            Arguments of the model, and what `prepare` makes of them.
        grid
            Nodes and weights for the effects of one group.
        start
            Where to start looking for the mode.
        widen
            Factor on the sds of the effects (an array), to see how an answer depends on them.
        """
        value, mode = self.integral(hyper, data, prepared, grid, start=start, widen=widen)
        outside, log_prior = log_outside(self.fn, self.plan, hyper, data)
        return Evaluation(value + outside, log_prior, mode)

    def integral(
        self,
        hyper: Values,
        data: Values,
        prepared: Prepared,
        grid: Grid | None = None,
        *,
        start: Effects | None = None,
        widen: float | Array = 1.0,
        derivatives: int = 1,
    ) -> tuple[Array, Mode]:
        """Log density of the responses alone, NaN unless the mode was found, and the mode.

        Arguments are those of `evaluate`; derivatives are exact up to the order `derivatives`.
        """
        plan = self.plan
        rows = rows_of(self.fn, plan, hyper, data)
        design = design_of(rows.predictors, plan.layout, prepared.indexes)
        if not isinstance(widen, float):
            terms = tuple(term._replace(design=widen * term.design) for term in design.terms)
            design = design._replace(terms=terms, columns=widen * design.columns)
        structure = plan.layout.structure
        mode = find_mode(rows.log_density, design, structure, start, derivatives=derivatives)
        value = mode.laplace
        if grid is not None and prepared.groups is not None:
            value = quadrature(rows, design, plan.layout, mode, prepared.groups, grid)
        return value + jnp.where(mode.converged & prepared.valid, 0.0, jnp.nan), mode

    def draw(self, key: Array | Evenly, hyper: Values, data: Values, prepared: Prepared) -> Effects:
        """Draw the effects of each group given the rest, where there is quadrature."""
        assert prepared.groups is not None
        rows = rows_of(self.fn, self.plan, hyper, data)
        design = design_of(rows.predictors, self.plan.layout, prepared.indexes)
        mode = find_mode(rows.log_density, design, self.plan.layout.structure)
        return draw_effects(key, rows, design, self.plan.layout, mode, prepared.groups)

    def effects(self, hyper: Values, data: Values, mode: Mode) -> dict[str, Array]:
        """Values of the effects at a mode, in the model's units."""
        plan = self.plan
        white = plan.layout.site_values(mode.effects)
        placed = run_placed(self.fn, plan.by_name, white, hyper, data, whitened=True)
        return {name: placed.values[name] for name in plan.by_name}


def approximate(fn: Callable[..., Any], data: Values, sites: Sequence[str] | None) -> Approximation:
    """Plan how effects are integrated out of `fn(**data)`, from concrete data.

    Parameters
    ----------
    fn, data
        NumPyro function and its arguments.
    sites
        Gaussian sites to integrate out.

    Raises
    ------
    ModelError
        A site is not Gaussian, or the likelihood does not fall apart into its predictors.
    """
    plan = make_recentre_plan(fn, data, sites)
    if plan is None:
        raise ModelError(
            "there are no effects to integrate out: the model has no Normal or MultivariateNormal "
            "site in a plate whose distribution depends on other latent sites."
        )
    arguments = Arguments.of(data)
    arrays = arguments.arrays(data)
    latents = some_latents(abstract_trace(fn, data), plan.by_name)
    by_group = is_one_factor(plan.layout)

    def look(arrays: Any) -> tuple[Array, Array]:
        rows = rows_of(fn, plan, latents, arguments.rebuild(arrays))
        separate = _separates(rows, plan)
        alone = jnp.asarray(False)
        if by_group:
            _, alone = element_groups(rows, plan.layout)
        return separate, alone

    key = (fn, plan, arguments, jnp.result_type(float).name)  # that of `latents`
    looked = _LOOKS.get(key, lambda: jax.jit(look))(arrays)
    separate, alone = map(bool, looked)
    if not separate:
        raise ModelError(
            f"the log likelihood of {', '.join(map(repr, plan.responses))} does not fall apart "
            "into terms of one linear predictor each (as with categorical responses, or effects "
            "in both location and scale), so its curvature is no weight a row. Sample the "
            'effects instead: effects="noncentred".'
        )
    return Approximation(fn, plan, alone)


def _separates(rows: Rows, plan: Placement) -> Array:
    """Probe the Hessian by the predictors near zero effects."""
    start = jnp.concatenate([jnp.ravel(each) for each in rows.predictors(plan.zeros())])
    near, direction = probe(rows, start)
    return separates(rows.log_density, near, direction)
