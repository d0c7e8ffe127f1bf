"""A guide q(h) q(z | h): what groups share with all its correlations, each group given that.

With h the few parameters outside plates, z the many inside, and e standard normal,

    h = m_h + L e_h,      z = m_z + B e_h + D e_z,

L lower triangular and D diagonal. So a posterior is matched exactly if it is normal and effects
are independent given h, as those of the groups of a level are. In the coordinates in which
`hierjax.fit` works z are the effects relative to their conditional distribution given h and the
data, by the conditional-Gaussian core, so that the guide of the effects themselves is
u = m(h) + C(h) z: it follows h as the model does. Where effects are integrated out there is no z,
u given h is exact, and h has a full covariance matrix.

The matrices of this shape form a group, so that steps are taken in the guide's own frame as for the
full matrix, A <- A M with M of the same shape near the identity.

References
----------
Lin, Nielsen, Khan, Schmidt (2021), Tractable structured natural-gradient descent using local
parameterizations, ICML, arXiv:2102.07405. Tan, Bhaskaran, Nott (2020), Conditionally structured
variational Gaussian approximation with importance weights, Statistics and Computing 30.
"""

import dataclasses
import math
from collections.abc import Collection, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import Distribution

from hierjax.density import Slot
from hierjax.infer.svi_guides import (
    INITIAL_SCALE,
    LARGEST_TURN,
    Parameters,
    Step,
    lower_factor,
    mean_outer,
)
from hierjax.linalg.lapack import cholesky, solve_triangular

LARGEST_BLOCK = 300  # parameters with a full covariance matrix


def shared_elements(slots: Sequence[Slot], local: Collection[str]) -> tuple[int, ...]:
    """Elements of a position that get a full covariance matrix, at most 300.

    Those of sites that are not `local`; where these are too many, the smallest sites that fit in.
    """
    chosen: list[int] = []
    for slot in sorted(slots, key=lambda slot: slot.size):
        if slot.name not in local and len(chosen) + slot.size <= LARGEST_BLOCK:
            chosen.extend(range(slot.start, slot.start + slot.size))
    return tuple(sorted(chosen))


@dataclasses.dataclass(frozen=True)
class StructuredGuide:
    """A normal whose shared elements covary, with the others independent given them.

    Attributes
    ----------
    size
        Length of the vector.
    shared
        Places of the shared elements, in order.
    """

    size: int
    shared: tuple[int, ...]

    @property
    def num_noise(self) -> int:
        """One variable an element."""
        return self.size

    def start(self, position: Array) -> Parameters:
        """Independent normals of sd 0.1."""
        shared, rest = len(self.shared), self.size - len(self.shared)
        return {
            "auto_loc": position,
            "auto_scale_tril": INITIAL_SCALE * jnp.eye(shared),
            "link": jnp.zeros((rest, shared)),
            "auto_scale": jnp.full(rest, INITIAL_SCALE),
        }

    def start_like(self, mean: Array, covariance: Array) -> Parameters:
        """Return the normal of this shape with the same means, and covariances as far as can be."""
        shared, rest = self._places
        root = cholesky(covariance[np.ix_(shared, shared)])
        link = solve_triangular(root, covariance[np.ix_(shared, rest)]).T
        variance = jnp.diagonal(covariance)[rest]
        left = jnp.maximum(variance - jnp.sum(link**2, axis=1), 0.01 * variance)
        return {
            "auto_loc": mean,
            "auto_scale_tril": root,
            "link": link,
            "auto_scale": jnp.sqrt(left),
        }

    def distribution(self, parameters: Parameters) -> Distribution:
        """Return q."""
        return _Arrow(self, parameters)

    def place(self, parameters: Parameters, noise: Array) -> Array:
        """Return x = loc + A noise, A with L, B and D in it."""
        own, other = self._cut(noise)
        block = own @ parameters["auto_scale_tril"].T
        rest = own @ parameters["link"].T + parameters["auto_scale"] * other
        return parameters["auto_loc"] + self._joined(block, rest)

    def ascent(self, parameters: Parameters, noise: Array, slope: Array) -> Step:
        """Return h for the location, and h e' where A may differ from zero."""
        own, other = self._cut(noise)
        slope_own, slope_other = self._cut(slope)
        pull_own = slope_own @ parameters["auto_scale_tril"] + slope_other @ parameters["link"]
        pull_own, pull_other = pull_own + own, slope_other * parameters["auto_scale"] + other
        return {
            "location": jnp.mean(self._joined(pull_own, pull_other), 0),
            "turn": jnp.tril(mean_outer(pull_own, own)),
            "link": mean_outer(pull_other, own),
            "spread": jnp.mean(pull_other * other, 0),
        }

    def moved(self, parameters: Parameters, step: Step) -> Parameters:
        """Shift by A, and multiply A by a matrix of its shape near the identity."""
        turn = lower_factor(step["turn"])
        lengths = jnp.linalg.norm(step["link"], axis=1, keepdims=True)
        tilt = step["link"] * jnp.minimum(1.0, LARGEST_TURN / (lengths + 1e-30))
        scale = parameters["auto_scale"]
        return {
            "auto_loc": self.place(parameters, step["location"][None])[0],
            "auto_scale_tril": parameters["auto_scale_tril"] @ turn,
            "link": parameters["link"] @ turn + scale[:, None] * tilt,
            "auto_scale": scale * jnp.exp(step["spread"]),
        }

    def marginals(self, parameters: Parameters) -> tuple[Array, Array]:
        """Location and lengths of the rows of A."""
        block = jnp.linalg.norm(parameters["auto_scale_tril"], axis=1)
        rest = jnp.sqrt(jnp.sum(parameters["link"] ** 2, axis=1) + parameters["auto_scale"] ** 2)
        return parameters["auto_loc"], self._joined(block, rest)

    def aligned(self, parameters: Parameters, reference: Parameters) -> Parameters:
        """Parameters as they are: there is one set for each q."""
        return parameters

    def stable_rate(self, particles: int) -> float:
        """As for a full matrix over the shared elements."""
        pairs = particles // 2
        return pairs / (pairs + len(self.shared) + 1)

    @property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        shared = np.asarray(self.shared, int)
        return shared, np.setdiff1d(np.arange(self.size), shared)

    def _cut(self, vectors: Array) -> tuple[Array, Array]:
        shared, rest = self._places
        return vectors[..., shared], vectors[..., rest]

    def _joined(self, block: Array, rest: Array) -> Array:
        order = np.argsort(np.concatenate(self._places))
        return jnp.concatenate([block, rest], axis=-1)[..., order]


class _Arrow(Distribution):
    """The normal of a `StructuredGuide`, as a NumPyro distribution."""

    support = dist.constraints.real_vector  # pyright: ignore[reportAssignmentType]

    def __init__(self, guide: StructuredGuide, parameters: Parameters) -> None:
        self.guide, self.parameters = guide, parameters
        super().__init__((), (guide.size,), validate_args=False)

    def log_prob(self, value: Array, intermediates: object = None) -> Array:
        """Log density of points (..., size)."""
        parameters = self.parameters
        block, rest = self.guide._cut(value - parameters["auto_loc"])
        flat = jnp.reshape(block, (-1, block.shape[-1])).T
        own = solve_triangular(parameters["auto_scale_tril"], flat).T
        own = jnp.reshape(own, block.shape)
        other = (rest - own @ parameters["link"].T) / parameters["auto_scale"]
        squares = jnp.sum(own**2, -1) + jnp.sum(other**2, -1)
        return -0.5 * (squares + self.guide.size * math.log(2 * math.pi)) - self._log_determinant

    def entropy(self) -> Array:
        """Differential entropy, in nats."""
        return self._log_determinant + 0.5 * self.guide.size * (1.0 + math.log(2 * math.pi))

    @property
    def _log_determinant(self) -> Array:
        diagonal = jnp.diagonal(self.parameters["auto_scale_tril"])
        return jnp.sum(jnp.log(diagonal)) + jnp.sum(jnp.log(self.parameters["auto_scale"]))
