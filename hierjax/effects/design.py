"""Which rows depend on which group: the design of linear predictors, found by differentiating.

A predictor eta of n rows is affine in the effects. A site is a *factor* if every row depends on the
effects of one group of it at most; then two kinds of directional derivative give all of its
Jacobian: along "effect k of every group" the coefficient of effect k in every row, and along the
same with group j weighted by j + 1 that coefficient times j + 1. Other sites are *columns*: their
Jacobian is dense. A derivative in a random direction checks the reading; because the predictors
are affine, a wrong reading passes with probability zero.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.effects.gaussian import EffectSite
from hierjax.errors import ModelError
from hierjax.groups import parent_of_group, take
from hierjax.linalg import Effects, Factor, Structure, Term
from hierjax.linalg.structure import Fixed, worth_crossing

MOST_COLUMNS = 512
TOLERANCE = {"float64": 1e-8, "float32": 1e-3}

Predictors = Callable[[Mapping[str, Array]], Sequence[Array]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How Gaussian sites make up the factors and columns of the core; static and hashable.

    Attributes
    ----------
    factors
        Sites of each factor of `structure`, in order; their effects follow one another.
    columns
        Sites whose elements are the columns of X, in order.
    structure
        What is grouped in what.
    """

    factors: tuple[tuple[EffectSite, ...], ...]
    columns: tuple[EffectSite, ...]
    structure: Structure

    @property
    def sites(self) -> dict[str, EffectSite]:
        """All sites by name."""
        together = (*(site for factor in self.factors for site in factor), *self.columns)
        return {site.name: site for site in together}

    def site_values(self, effects: Effects) -> dict[str, Array]:
        """Cut effects of the core into values of the sites."""
        found = {}
        for sites, values in zip(self.factors, effects.factors, strict=True):
            start = 0
            for site in sites:
                found[site.name] = site.as_site(values[start : start + site.width])
                start += site.width
        start = 0
        for site in self.columns:
            part = effects.columns[start : start + site.size]
            found[site.name] = jnp.reshape(part, site.shape)
            start += site.size
        return found


class Design(NamedTuple):
    """Rows of the predictors in the shape that the core sums; a pytree.

    Attributes
    ----------
    terms
        Index (n,) and design (n, q) of each factor.
    columns
        X, shape (n, p).
    start
        Predictors at zero effects, shape (n,).
    """

    terms: tuple[Term, ...]
    columns: Array
    start: Array


class Reading(NamedTuple):
    """Directional derivatives of one site: coefficients (n, q), group (n,), and the check."""

    coefficients: Array
    index: Array
    error: Array
    size: Array


def design_of(
    predictors: Predictors, layout: Layout, indexes: Sequence[Array] | None = None
) -> Design:
    """Differentiate predictors into a design; pure, for any `jit`, `vmap` or derivative.

    Parameters
    ----------
    predictors
        Affine function of the sites' values.
    layout
        Which sites are factors and which are columns.
    indexes
        Group of each row, per factor, if known already.
    """
    start, push = _linearised(predictors, layout.sites.values())
    terms = []
    for place, sites in enumerate(layout.factors):
        parts = [_coefficients(push, site) for site in sites]
        if indexes is not None:
            index = indexes[place]
        else:
            index = functools.reduce(
                jnp.maximum,
                (_index(push, site, each) for site, each in zip(sites, parts, strict=True)),
            )
        terms.append(Term(index, jnp.concatenate(parts, axis=1)))
    columns = [_dense(push, site) for site in layout.columns]
    rows = start.shape[0]
    matrix = jnp.concatenate(columns, axis=1) if columns else jnp.zeros((rows, 0), start.dtype)
    return Design(tuple(terms), matrix, start)


def check_design(
    predictors: Predictors, layout: Layout, design: Design, random: Mapping[str, Array]
) -> Array:
    """Whether a design gives the derivative of the predictors in a random direction."""
    _, push = _linearised(predictors, layout.sites.values())
    expected = push({name: random[name] for name in layout.sites})
    found = jnp.zeros_like(expected)
    for sites, term in zip(layout.factors, design.terms, strict=True):
        together = jnp.concatenate([site.as_groups(random[site.name]) for site in sites])
        found += jnp.sum(take(together.T, term.index) * term.design, axis=1)
    if layout.columns:
        direction = jnp.concatenate([jnp.ravel(random[site.name]) for site in layout.columns])
        found += design.columns @ direction
    close = TOLERANCE[expected.dtype.name]
    return jnp.max(jnp.abs(found - expected), initial=0.0) <= close * (
        1.0 + jnp.max(jnp.abs(expected), initial=0.0)
    )


def lay_out(
    readings: Mapping[str, Reading],
    sites: Sequence[EffectSite],
    *,
    flat: Collection[str] = (),
    fixed: Fixed = "prior",
) -> Layout:
    """Decide, from concrete data, which sites are factors, and which are nested in which.

    Parameters
    ----------
    readings
        What `read_sites` makes of the predictors, on the host.
    sites
        Gaussian sites.
    flat
        Sites that have to be columns, since they have no prior.
    fixed
        What becomes of columns, see `Structure`.

    Raises
    ------
    ModelError
        Rows depend on several groups of a site that has too many effects to be dense columns, or
        columns have no prior and a site beside `flat` would be one.
    """
    factors: list[tuple[list[EffectSite], np.ndarray, np.ndarray]] = []
    columns, total = [], 0
    for site in sites:
        reading = readings[site.name]
        single = site.groups > 1 and reading.error <= TOLERANCE[reading.error.dtype.name] * (
            1.0 + reading.size
        )
        if not single or site.name in flat:
            if fixed != "prior" and site.name not in flat:
                raise ModelError(
                    f"rows depend on several elements of site {site.name!r} at once, and it is no "
                    "factor that could stand beside coefficients without prior."
                )
            total += site.size
            if total > MOST_COLUMNS:
                raise ModelError(
                    f"site {site.name!r} has {site.size} effects, and rows depend on several of "
                    f"its groups at once. That makes a dense matrix of more than {MOST_COLUMNS} "
                    "columns. Leave the site out of `sites`; NUTS then samples it."
                )
            columns.append(site)
            continue
        used = np.any(reading.coefficients != 0, axis=1)
        for members, index, rows in factors:
            both = used & rows
            if members[0].groups == site.groups and np.array_equal(
                index[both], reading.index[both]
            ):
                members.append(site)
                index[:] = np.maximum(index, reading.index)
                rows |= used
                break
        else:
            factors.append(([site], np.array(reading.index), used))
    width = sum(site.size for site in columns)
    structure = Structure(_nested(factors), columns=width, fixed=fixed)
    crossing = worth_crossing(structure, [index for _, index, _ in factors])
    structure = dataclasses.replace(structure, crossing=crossing)
    return Layout(tuple(tuple(sites) for sites, _, _ in factors), tuple(columns), structure)


def _nested(
    factors: Sequence[tuple[Sequence[EffectSite], np.ndarray, np.ndarray]],
) -> tuple[Factor, ...]:
    """Make factors, each with the finest of the coarser factors that it is nested in as parent."""
    found = []
    for sites, index, rows in factors:
        name, groups = sites[0].name, sites[0].groups
        parent = ""
        if rows.all():
            coarser = [
                other
                for other in factors
                if other[0][0].groups < groups
                and other[2].all()
                and parent_of_group(index, other[1], groups) is not None
            ]
            if coarser:
                parent = max(coarser, key=lambda other: other[0][0].groups)[0][0].name
        width = sum(site.width for site in sites)
        found.append(Factor(name, groups, width, parent or None))
    return tuple(found)


def directions(sites: Iterable[EffectSite]) -> dict[str, Array]:
    """Return a direction without structure for every site, the same at every call."""
    generator = np.random.default_rng(20)
    return {site.name: jnp.asarray(generator.normal(size=site.shape)) for site in sites}


def read_sites(predictors: Predictors, sites: Sequence[EffectSite]) -> dict[str, Reading]:
    """Differentiate predictors along each site as if it were a factor, and check that; pure."""
    _, push = _linearised(predictors, sites)
    found = {}
    for site, random in zip(sites, directions(sites).values(), strict=True):
        coefficients = _coefficients(push, site)
        index = _index(push, site, coefficients)
        expected = push({site.name: random})
        got = jnp.sum(take(site.as_groups(random).T, index) * coefficients, axis=1)
        error = jnp.max(jnp.abs(got - expected), initial=0.0)
        found[site.name] = Reading(
            coefficients, index, error, jnp.max(jnp.abs(expected), initial=0.0)
        )
    return found


def _linearised(
    predictors: Predictors, sites: Any
) -> tuple[Array, Callable[[Mapping[str, Array]], Array]]:
    """Return the predictors at zero as one vector, and their derivative along given sites."""
    zeros = {site.name: jnp.zeros(site.shape) for site in sites}

    def vector(values: Mapping[str, Array]) -> Array:
        return jnp.concatenate([jnp.ravel(each) for each in predictors(values)])

    start, derivative = jax.linearize(vector, zeros)
    return start, lambda tangents: derivative(zeros | dict(tangents))


def _coefficients(push: Callable[[Mapping[str, Array]], Array], site: EffectSite) -> Array:
    """Coefficient of each effect in every row, (n, q)."""
    columns = [
        push({site.name: _one_effect(site, k, jnp.ones(site.groups))}) for k in range(site.width)
    ]
    return jnp.stack(columns, axis=1)


def _index(
    push: Callable[[Mapping[str, Array]], Array], site: EffectSite, coefficients: Array
) -> Array:
    """Group on which each row depends, (n,); 0 where it depends on none."""
    numbers = jnp.arange(1.0, site.groups + 1.0)
    index = jnp.zeros(coefficients.shape[0], jnp.int32)
    for k in range(site.width):
        coefficient = coefficients[:, k]
        weighted = push({site.name: _one_effect(site, k, numbers)})
        used = coefficient != 0
        number = jnp.round(weighted / jnp.where(used, coefficient, 1.0)) - 1.0
        number = jnp.clip(jnp.nan_to_num(number), 0, site.groups - 1)
        index = jnp.maximum(index, jnp.where(used, number, 0.0).astype(jnp.int32))
    return index


def _one_effect(site: EffectSite, k: int, per_group: Array) -> Array:
    """Value of a site whose effect k is given per group and whose other effects are 0."""
    return site.as_site(jnp.zeros((site.width, site.groups)).at[k].set(per_group))


def _dense(push: Callable[[Mapping[str, Array]], Array], site: EffectSite) -> Array:
    """Jacobian of every row by every element of a site, (n, size)."""
    basis = jnp.reshape(jnp.eye(site.size), (site.size, *site.shape))
    return jax.vmap(lambda tangent: push({site.name: tangent}), out_axes=1)(basis)
