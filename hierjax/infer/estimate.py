"""Estimates, standard errors and draws at a maximum, with the effects that were integrated out.

Near the maximum everything is normal: the parameters x with the inverse of the observed information
as covariance, and given them the effects, m(x) + C z with standard normal z. Standard errors are
root sums of squares of derivatives along the columns of the roots of these covariances. A column
that moves one group of a factor moves no other, so that one derivative serves all of its groups.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hierjax.density import Arrays, Density, map_in_batches
from hierjax.infer.newton import LOWER, Search
from hierjax.infer.program import Integral
from hierjax.linalg import (
    Effects,
    Factorisation,
    Noise,
    Structure,
    conditional_map,
    conditional_mean,
    draw_noise,
)
from hierjax.linalg.lapack import cholesky, solve_triangular

Sites = dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """A maximum, and the normal distributions there.

    Attributes
    ----------
    density
        Of the model function whose effects are integrated out.
    arrays
        Traced leaves of its data.
    search
        The search that ended at the maximum.
    positive
        Mask over a position: logs of positive values.
    drawn
        Places of the elements that are drawn: real ones, such as coefficients.
    """

    density: Density
    arrays: Arrays
    search: Search
    positive: np.ndarray
    drawn: np.ndarray

    @property
    def position(self) -> Array:
        """The maximum, with scales that are zero at minus infinity."""
        at_zero = jnp.asarray(self.positive) & (self.search.limit == LOWER)
        return jnp.where(at_zero, -jnp.inf, self.search.centre)

    def sites(self) -> Sites:
        """Every site at the estimate, effects at their conditional mean."""
        outside = self._outside(self.position)
        fn = self.density.fn
        if not isinstance(fn, Integral):
            return outside
        effects = conditional_mean(fn.conditional(outside, self._data))
        return fn.placed(effects, outside, self._data)

    def describe(self, key: Array, count: int) -> tuple[Sites, Sites, Array]:
        """Draw every site, and estimate it.

        Returns
        -------
        draws
            Site -> (count, *shape); what is not drawn is constant.
        estimates
            Site -> estimate and standard error, (2, *shape); the latter is NaN for what depends on
            a parameter at its limit.
        num_parameters
            Number of parameters estimated, coefficients at their maximum included.
        """
        errors = self._errors_outside()
        if not isinstance(self.density.fn, Integral):
            root, keys = self._drawn_root(), jax.random.split(key, count)
            draws = map_in_batches(lambda key: self._outside(self._moved(root, key)), keys)
            values = self._outside(self.position)
            size = jnp.asarray(self.density.size)
            return draws, {name: _pair(values[name], errors[name]) for name in values}, size
        near, taken = _Near.of(self), self.density.fn.taken(self._data)
        centre, moved, draws = near.evaluate(key, count)
        estimates = {}
        for name, value in centre.items():
            error = errors.get(name)
            if error is None and name in taken:
                error = jnp.sqrt(jnp.sum((moved[name] - value) ** 2, axis=0))
            if error is None:  # a site computed from effects may add up those of several groups
                error = jnp.std(draws[name], axis=0)
            estimates[name] = _pair(value, error)
        structure = near.structure
        columns = 0 if structure.has_prior else structure.columns
        return draws, estimates, jnp.asarray(self.density.size + columns)

    @property
    def _data(self) -> dict[str, Any]:
        return self.density.arguments.rebuild(self.arrays)

    def _outside(self, position: Array) -> Sites:
        """Remaining sites, and those computed from them alone."""
        return self.density.constrain(position, self.arrays)

    def _errors_outside(self) -> Sites:
        """Return standard errors of those."""
        free = self.search.free
        root = _inverse_root(self.search.curvature, free)
        slopes = jax.jacfwd(self._outside)(self.search.centre)

        def error(slope: Array) -> Array:
            found = jnp.sqrt(jnp.sum((slope @ root) ** 2, axis=-1))
            at_limit = jnp.any((slope != 0) & ~free, axis=-1)
            return jnp.where(at_limit, jnp.nan, found)

        return {name: error(slope) for name, slope in slopes.items()}

    def _drawn_root(self) -> Array:
        """Root of the covariance of what is drawn, given the rest, (drawn, drawn)."""
        own = self.search.curvature[self.drawn][:, self.drawn]
        root = _inverse_root(own, self.search.free[self.drawn])
        return jnp.where(jnp.all(jnp.isfinite(root)), root, 0.0)

    def _moved(self, root: Array, key: Array) -> Array:
        shift = root @ jax.random.normal(key, (len(self.drawn),), root.dtype)
        return self.position.at[self.drawn].add(shift)


@dataclasses.dataclass(frozen=True, eq=False)
class _Near:
    """The effects as a linear function of standard normals.

    Attributes
    ----------
    estimate
        The maximum.
    factorisation
        Conditional distribution of the effects there.
    root
        Root of the covariance of what is drawn of the remaining sites.
    slopes
        Derivative of the conditional mean along each column of `root`.
    """

    estimate: Estimate
    factorisation: Factorisation
    root: Array
    slopes: Effects

    @classmethod
    def of(cls, estimate: Estimate) -> "_Near":
        """Condition at the maximum."""
        fn, data, drawn = estimate.density.fn, estimate._data, estimate.drawn
        assert isinstance(fn, Integral)

        def factorisation(shift: Array) -> Factorisation:
            position = estimate.position.at[drawn].add(shift)
            return fn.conditional(estimate._outside(position), data)

        centre = factorisation(jnp.zeros(len(drawn)))
        root = estimate._drawn_root()
        slopes = jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape)), conditional_mean(centre))
        if len(drawn):
            _, push = jax.linearize(
                lambda shift: conditional_mean(factorisation(shift)), jnp.zeros(len(drawn))
            )
            slopes = jax.vmap(push)(root.T)
        return cls(estimate, centre, root, slopes)

    @property
    def structure(self) -> Structure:
        return self.factorisation.structure

    def evaluate(self, key: Array, count: int) -> tuple[Sites, Sites, Sites]:
        """Every site at zero, at one for each direction of standard normals, and at draws.

        A direction is an effect in all groups of a level, or one element alone. Sites are affine in
        standard normals, so that differences are derivatives; and all is one program.
        """
        zero, widths = self._zero()
        ends = np.cumsum(widths)
        columns = int(ends[-1])

        def at(place: Array) -> Sites:
            drawn = self._noise(jax.random.fold_in(key, place))
            leaves = []
            for end, width, leaf, draw in zip(ends, widths, zero, drawn, strict=True):
                unit = (jnp.arange(end - width, end) == place - 1).astype(leaf.dtype)
                column = jnp.broadcast_to(unit.reshape(width, *(1,) * (leaf.ndim - 1)), leaf.shape)
                leaves.append(jnp.where(place <= columns, column, draw))
            *levels, rest, other = leaves
            return self._at(Noise(tuple(levels), rest), other)

        found = map_in_batches(at, jnp.arange(1 + columns + count))
        cuts = (slice(0, 1), slice(1, 1 + columns), slice(1 + columns, None))
        centre, moved, draws = ({name: v[cut] for name, v in found.items()} for cut in cuts)
        return {name: value[0] for name, value in centre.items()}, moved, draws

    def _zero(self) -> tuple[list[Array], list[int]]:
        """Return standard normals that are all zero, part by part, and the directions of each."""
        factors = [self.structure.factors[place] for place in self.structure.chain]
        shapes = [(factor.effects, factor.groups) for factor in factors]
        shapes += [(self.structure.rest_size,), (len(self.root),)]
        return [jnp.zeros(shape, self.root.dtype) for shape in shapes], [s[0] for s in shapes]

    def _noise(self, key: Array) -> list[Array]:
        """Draw standard normals, those of coefficients at their maximum too."""
        first, second = jax.random.split(key)
        structure = dataclasses.replace(self.structure, fixed="prior")
        noise = draw_noise(structure, first, self.root.dtype)
        other = jax.random.normal(second, (len(self.root),), self.root.dtype)
        return [*noise.levels, noise.rest, other]

    def _at(self, noise: Noise, other: Array) -> Sites:
        """Every site at standard normals of the effects, and of what else is drawn."""
        estimate = self.estimate
        fn, data = estimate.density.fn, estimate._data
        assert isinstance(fn, Integral)
        mean = conditional_map(self.factorisation, noise)
        effects = jax.tree.map(
            lambda value, slope: value + jnp.tensordot(other, slope, 1), mean, self.slopes
        )
        position = estimate.position.at[estimate.drawn].add(self.root @ other)
        return fn.placed(effects, estimate._outside(position), data)


def _inverse_root(curvature: Array, free: Array) -> Array:
    """R with R R' the inverse of the curvature in the free elements, and zero in the others."""
    if not len(free):
        return curvature
    both = free & free[:, None]
    masked = jnp.where(both, curvature, jnp.eye(len(free), dtype=curvature.dtype))
    factor = cholesky(masked)
    root = solve_triangular(factor, jnp.eye(len(free)), transposed=True)
    return jnp.where(free[:, None], root, 0.0)


def _pair(value: Any, error: Array) -> Array:
    return jnp.stack([jnp.asarray(value, error.dtype), error])
