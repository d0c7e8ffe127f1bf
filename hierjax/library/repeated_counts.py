"""The distribution of repeated counts whose true number is summed out."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import gammaln, logsumexp, xlog1py, xlogy
from numpyro.distributions import constraints


class RepeatedCounts(dist.Distribution):
    r"""Counts of one unit on several visits, whose unknown true number is summed out.

    .. math::

        P(y_1, \ldots, y_T) = \sum_{N = 0}^{K} \text{Poisson}(N \mid \lambda)
            \prod_t \text{Binomial}(y_t \mid N, p_t)

    Parameters
    ----------
    rate
        Mean number :math:`\lambda` of each unit, shape (...,).
    probability
        Probability of detecting an individual at each visit, shape (..., visits).
    surveyed
        Whether there was such a visit; counts of the others are ignored, shape (..., visits).
    most
        K, the largest number that is summed over.
    """

    arg_constraints: ClassVar = {
        "rate": constraints.positive,
        "probability": constraints.independent(constraints.unit_interval, 1),
    }
    pytree_data_fields = ("rate", "probability", "surveyed")
    pytree_aux_fields = ("most",)

    def __init__(
        self, rate: Any, probability: Any, surveyed: Any, most: int, *, validate_args: Any = None
    ) -> None:
        self.rate, self.probability, self.surveyed, self.most = rate, probability, surveyed, most
        batch = jax.lax.broadcast_shapes(jnp.shape(rate), jnp.shape(probability)[:-1])
        super().__init__(batch, jnp.shape(probability)[-1:], validate_args=validate_args)

    @property
    def support(self) -> Any:  # type: ignore[override]
        """Counts from zero, one a visit."""
        return constraints.independent(constraints.nonnegative_integer, 1)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw the true numbers, then counts of them; counts of visits not made are zero."""
        number_key, count_key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        number = jax.random.poisson(number_key, self.rate, shape)[..., None]
        seen = jnp.where(self.surveyed, self.probability, 0.0)
        return dist.Binomial(number, seen).sample(count_key)

    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        """Log probability of the counts of each unit."""
        del intermediates
        count = jnp.where(self.surveyed, jnp.asarray(value, float), 0.0)[..., None]
        detection = jnp.where(self.surveyed, self.probability, 0.0)[..., None]
        number = jnp.arange(self.most + 1, dtype=jnp.result_type(float))
        rate = jnp.asarray(self.rate)[..., None]
        missed = jnp.maximum(number - count, 0.0)
        ways = gammaln(number + 1.0) - gammaln(count + 1.0) - gammaln(missed + 1.0)
        seen = (ways + xlogy(count, detection) + xlog1py(missed, -detection)).sum(-2)
        prior = xlogy(number, rate) - rate - gammaln(number + 1.0)
        possible = jnp.all(count <= number, axis=-2)
        return logsumexp(jnp.where(possible, prior + seen, -jnp.inf), axis=-1)

    @property
    def mean(self) -> Array:
        """Expected counts, lambda p."""
        return jnp.asarray(self.rate)[..., None] * jnp.where(self.surveyed, self.probability, 0.0)
