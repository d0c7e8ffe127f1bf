"""Gaussian guides: NumPyro's families, moved in steps measured in their own standard deviations.

A guide is q(x) = Normal(m, A A') on the unconstrained vector x. The families and their densities
are NumPyro's automatic guides; what is ours is the coordinates in which a step is taken. With e
standard normal noise and x = m + A e, the gradient of the evidence lower bound (ELBO) along the
sample path, without the part whose expectation is zero ("sticking the landing"), is in the guide's
own frame

    h = A' grad log p(x) + e,      d m = A E[h],      d A = A E[h e'].

A step of 0.1 is then a tenth of a posterior sd whatever the scale of a parameter, so that one
learning rate serves all of them, and where q can match p the gradient has no noise left at the end.

References
----------
Roeder, Wu, Duvenaud (2017), Sticking the landing, NeurIPS, arXiv:1703.09194.
Lin, Nielsen, Khan, Schmidt (2021), Tractable structured natural-gradient descent using local
parameterizations, ICML, arXiv:2102.07405.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve
from numpyro.distributions import Distribution
from numpyro.infer import autoguide

from hierjax.linalg.lapack import cholesky

INITIAL_SCALE = 0.1  # as NumPyro's guides
LARGEST_TURN = 0.2  # Frobenius norm of one relative change of a scale matrix

Parameters = dict[str, Array]
Step = dict[str, Array]


class Guide(Protocol):
    """A Gaussian family over a vector of `size` elements; every method is pure."""

    @property
    def num_noise(self) -> int:
        """Standard normal variables that one draw needs."""
        ...

    def start(self, position: Array) -> Parameters:
        """Return parameters of a narrow guide around `position`, under NumPyro's names."""
        ...

    def start_like(self, mean: Array, covariance: Array) -> Parameters:
        """Return parameters of a guide with such moments, as far as the family has them."""
        ...

    def distribution(self, parameters: Parameters) -> Distribution:
        """Return q, with event shape (size,)."""
        ...

    def place(self, parameters: Parameters, noise: Array) -> Array:
        """Return the points x (particle, size) that `noise` (particle, num_noise) stands for."""
        ...

    def ascent(self, parameters: Parameters, noise: Array, slope: Array) -> Step:
        """Return the mean ELBO gradient of particles; `slope` is grad log p at their places."""
        ...

    def moved(self, parameters: Parameters, step: Step) -> Parameters:
        """Return parameters after a step of the shape that `ascent` gives."""
        ...

    def marginals(self, parameters: Parameters) -> tuple[Array, Array]:
        """Return means and sds of q's marginals, each (size,)."""
        ...

    def aligned(self, parameters: Parameters, reference: Parameters) -> Parameters:
        """Return parameters of the same q that can be averaged with the reference's."""
        ...

    def stable_rate(self, particles: int) -> float:
        """Return a learning rate at which the noise of so many particles dies out."""
        ...


@dataclasses.dataclass(frozen=True)
class NormalGuide:
    """Independent normals (mean field): the family of NumPyro's AutoNormal."""

    size: int

    @property
    def num_noise(self) -> int:
        """One variable an element."""
        return self.size

    def start(self, position: Array) -> Parameters:
        """Independent normals of sd 0.1."""
        return {"auto_loc": position, "auto_scale": jnp.full(self.size, INITIAL_SCALE)}

    def start_like(self, mean: Array, covariance: Array) -> Parameters:
        """Independent normals of the same means and sds."""
        return {"auto_loc": mean, "auto_scale": jnp.sqrt(jnp.diagonal(covariance))}

    def distribution(self, parameters: Parameters) -> Distribution:
        """NumPyro's posterior of the same parameters."""
        return autoguide.AutoDiagonalNormal(_no_model).get_posterior(parameters).to_event(1)

    def place(self, parameters: Parameters, noise: Array) -> Array:
        """Return x = loc + scale * noise."""
        return parameters["auto_loc"] + parameters["auto_scale"] * noise

    def ascent(self, parameters: Parameters, noise: Array, slope: Array) -> Step:
        """Return h for the location and h e for the log scale."""
        pull = parameters["auto_scale"] * slope + noise
        return {"location": jnp.mean(pull, 0), "spread": jnp.mean(pull * noise, 0)}

    def moved(self, parameters: Parameters, step: Step) -> Parameters:
        """Shift by scales, and stretch each scale by exp(step)."""
        loc, scale = parameters["auto_loc"], parameters["auto_scale"]
        return {
            "auto_loc": loc + scale * step["location"],
            "auto_scale": scale * jnp.exp(step["spread"]),
        }

    def marginals(self, parameters: Parameters) -> tuple[Array, Array]:
        """Location and scale."""
        return parameters["auto_loc"], parameters["auto_scale"]

    def aligned(self, parameters: Parameters, reference: Parameters) -> Parameters:
        """Parameters as they are: there is one set for each q."""
        return parameters

    def stable_rate(self, particles: int) -> float:
        """Any: each scale has its own noise."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class MultivariateGuide:
    """A normal with a full covariance matrix: the family of NumPyro's AutoMultivariateNormal."""

    size: int

    @property
    def num_noise(self) -> int:
        """One variable an element."""
        return self.size

    def start(self, position: Array) -> Parameters:
        """Independent normals of sd 0.1."""
        return {"auto_loc": position, "auto_scale_tril": INITIAL_SCALE * jnp.eye(self.size)}

    def start_like(self, mean: Array, covariance: Array) -> Parameters:
        """Return the normal with these moments."""
        return {"auto_loc": mean, "auto_scale_tril": cholesky(covariance)}

    def distribution(self, parameters: Parameters) -> Distribution:
        """NumPyro's posterior of the same parameters."""
        return autoguide.AutoMultivariateNormal(_no_model).get_posterior(parameters)

    def place(self, parameters: Parameters, noise: Array) -> Array:
        """Return x = loc + scale_tril noise."""
        return parameters["auto_loc"] + noise @ parameters["auto_scale_tril"].T

    def ascent(self, parameters: Parameters, noise: Array, slope: Array) -> Step:
        """Return h for the location and the lower triangle of h e' for the scale matrix."""
        pull = slope @ parameters["auto_scale_tril"] + noise
        return {"location": jnp.mean(pull, 0), "spread": jnp.tril(mean_outer(pull, noise))}

    def moved(self, parameters: Parameters, step: Step) -> Parameters:
        """Shift by the scale matrix, and multiply it by a lower triangular matrix near identity."""
        loc, scale_tril = parameters["auto_loc"], parameters["auto_scale_tril"]
        return {
            "auto_loc": loc + scale_tril @ step["location"],
            "auto_scale_tril": scale_tril @ lower_factor(step["spread"]),
        }

    def marginals(self, parameters: Parameters) -> tuple[Array, Array]:
        """Location and lengths of the rows of the scale matrix."""
        return parameters["auto_loc"], jnp.linalg.norm(parameters["auto_scale_tril"], axis=1)

    def aligned(self, parameters: Parameters, reference: Parameters) -> Parameters:
        """Parameters as they are: there is one set for each q."""
        return parameters

    def stable_rate(self, particles: int) -> float:
        """Half of where the step e e' averaged over pairs of particles, of low rank, overshoots.

        The mean of n outer products e e' of length d, squared, has mean (n + d + 1) / n.
        """
        pairs = particles // 2
        return pairs / (pairs + self.size + 1)


@dataclasses.dataclass(frozen=True)
class LowRankGuide:
    """A normal with covariance S^2 + F F': the family of NumPyro's AutoLowRankMultivariateNormal.

    S is diagonal and F has `rank` columns; NumPyro's covariance factor is W = S^-1 F. Averages are
    taken of S and F, since S may shrink while F, and with it q, stands still. A step changes F by
    addition and by a factor on its right: a large F would change too little by addition alone.
    """

    size: int
    rank: int

    @property
    def num_noise(self) -> int:
        """One variable an element and one a column of F."""
        return self.size + self.rank

    def start(self, position: Array) -> Parameters:
        """Independent normals of sd 0.1, F zero."""
        scale = jnp.full(self.size, INITIAL_SCALE)
        factor = jnp.zeros((self.size, self.rank))
        return {"auto_loc": position, "auto_scale": scale, "factor": factor}

    def start_like(self, mean: Array, covariance: Array) -> Parameters:
        """Return a normal with the same means and sds, and the largest parts of the covariance."""
        scale = jnp.sqrt(jnp.diagonal(covariance))
        values, directions = jnp.linalg.eigh(covariance / scale / scale[:, None])
        largest = jnp.sqrt(jnp.maximum(values[-self.rank :], 0.0))
        factor = scale[:, None] * directions[:, -self.rank :] * largest
        left = jnp.maximum(scale**2 - jnp.sum(factor**2, axis=1), 0.01 * scale**2)
        return {"auto_loc": mean, "auto_scale": jnp.sqrt(left), "factor": factor}

    def distribution(self, parameters: Parameters) -> Distribution:
        """NumPyro's posterior of the same parameters."""
        named = parameters | {"auto_cov_factor": self._relative(parameters)}
        return autoguide.AutoLowRankMultivariateNormal(_no_model).get_posterior(named)

    def place(self, parameters: Parameters, noise: Array) -> Array:
        """Return x = loc + scale * own noise + F shared noise."""
        own, shared = noise[:, : self.size], noise[:, self.size :]
        spread = parameters["auto_scale"] * own + shared @ parameters["factor"].T
        return parameters["auto_loc"] + spread

    def ascent(self, parameters: Parameters, noise: Array, slope: Array) -> Step:
        """Return the gradient in units of marginal sds, log scales, W and factors of W."""
        relative = self._relative(parameters)
        shared = noise[:, self.size :]
        standardised = noise[:, : self.size] + shared @ relative.T
        # (I + W W')^-1 by Woodbury: only a rank x rank matrix is factorised.
        inner = cho_factor(jnp.eye(self.rank) + relative.T @ relative)
        explained = relative @ cho_solve(inner, relative.T @ standardised.T)
        pull = parameters["auto_scale"] * slope + standardised - explained.T
        return {
            "location": jnp.mean(pull, 0) * _lengths(relative),
            "spread": jnp.mean(pull * standardised, 0),
            "factor": mean_outer(pull, shared),
            "turn": mean_outer(pull @ relative, shared),
        }

    def moved(self, parameters: Parameters, step: Step) -> Parameters:
        """Shift by marginal sds, add to W, multiply it, and stretch the rows of S and F."""
        loc, scale = parameters["auto_loc"], parameters["auto_scale"]
        relative = self._relative(parameters)
        stretched = scale * jnp.exp(step["spread"])
        longest = LARGEST_TURN * (1.0 + jnp.linalg.norm(relative))
        turn = jnp.eye(self.rank) + limited(step["turn"], LARGEST_TURN)
        turned = (relative + limited(step["factor"], longest)) @ turn
        return {
            "auto_loc": loc + scale * _lengths(relative) * step["location"],
            "auto_scale": stretched,
            "factor": stretched[:, None] * turned,
        }

    def marginals(self, parameters: Parameters) -> tuple[Array, Array]:
        """Location and square roots of the diagonal of S^2 + F F'."""
        variance = parameters["auto_scale"] ** 2 + jnp.sum(parameters["factor"] ** 2, axis=1)
        return parameters["auto_loc"], jnp.sqrt(variance)

    def aligned(self, parameters: Parameters, reference: Parameters) -> Parameters:
        """Turn F, which q knows only up to a rotation, as near as can be to the reference's."""
        left, _, right = jnp.linalg.svd(parameters["factor"].T @ reference["factor"])
        return parameters | {"factor": parameters["factor"] @ (left @ right)}

    def stable_rate(self, particles: int) -> float:
        """As for a full matrix of the size of the rank."""
        pairs = particles // 2
        return pairs / (pairs + self.rank + 1)

    def _relative(self, parameters: Parameters) -> Array:
        """W = S^-1 F."""
        return parameters["factor"] / parameters["auto_scale"][:, None]


def divergence(guide: Guide, one: Parameters, other: Parameters) -> Array:
    """Largest distance between marginals of two guides of one family.

    The distance of two normals is the square root of their symmetrised Kullback-Leibler divergence,
    KL(a || b) + KL(b || a): the difference of means in sds where the sds agree, and sqrt(2) times
    the relative difference of the sds where the means agree.
    """
    (mean_a, sd_a), (mean_b, sd_b) = guide.marginals(one), guide.marginals(other)
    shift = (mean_a - mean_b) ** 2 * (sd_a**-2 + sd_b**-2) / 2
    stretch = (sd_a / sd_b - sd_b / sd_a) ** 2 / 2
    return jnp.sqrt(jnp.max(shift + stretch))


def mean_outer(left: Array, right: Array) -> Array:
    """Mean over particles of the outer products of rows."""
    return left.T @ right / len(left)


def lower_factor(spread: Array) -> Array:
    """Lower triangular matrix near the identity, with a positive diagonal, of a lower triangle."""
    spread = limited(spread, LARGEST_TURN)
    diagonal = jnp.diagonal(spread)
    return spread + jnp.diag(jnp.exp(diagonal) - diagonal)


def limited(change: Array, longest: Array | float) -> Array:
    """Shorten a change: many elements that each move a little can turn a matrix inside out."""
    return change * jnp.minimum(1.0, longest / (jnp.linalg.norm(change) + 1e-30))


def _lengths(factor: Array) -> Array:
    """Marginal sds of independent noise plus W times shared noise."""
    return jnp.sqrt(1.0 + jnp.sum(factor**2, axis=1))


def _no_model(**data: jax.Array) -> None:
    """Stand in for the model: NumPyro's guides are used for their families only."""
