"""The distribution of repeated counts whose true number is summed out."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.nn import sigmoid, softplus
from jax.scipy.special import gammaln, logsumexp
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
    logits
        Log odds of :math:`p_t`, that an individual is seen at a visit, shape (..., visits).
    surveyed
        Whether there was such a visit; counts of the others are ignored, shape (..., visits).
    most
        K, the largest number that is summed over.
    """

    arg_constraints: ClassVar = {"rate": constraints.positive, "logits": constraints.real_vector}
    pytree_data_fields = ("rate", "logits", "surveyed")
    pytree_aux_fields = ("most",)

    def __init__(
        self, rate: Any, logits: Any, surveyed: Any, most: int, *, validate_args: Any = None
    ) -> None:
        self.rate, self.logits, self.surveyed, self.most = rate, logits, surveyed, most
        batch = jax.lax.broadcast_shapes(jnp.shape(rate), jnp.shape(logits)[:-1])
        super().__init__(batch, jnp.shape(logits)[-1:], validate_args=validate_args)

    @property
    def support(self) -> Any:  # type: ignore[override]
        """Counts from zero, one a visit."""
        return constraints.independent(constraints.nonnegative_integer, 1)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw the true numbers, then counts of them; counts of visits not made are zero."""
        number_key, count_key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        number = jax.random.poisson(number_key, self.rate, shape)[..., None]
        return dist.Binomial(number, self._chance()).sample(count_key)

    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        """Log probability of the counts of each unit."""
        del intermediates
        count = jnp.where(self.surveyed, jnp.asarray(value), 0).astype(jnp.int32)
        number = jnp.arange(self.most + 1)
        log_factorial = gammaln(number + 1.0)
        missed = number - count[..., None]
        ways = log_factorial - log_factorial[jnp.maximum(missed, 0)]  # zero where count is
        base = ways.sum(-2) - log_factorial
        unseen = jnp.where(self.surveyed, -softplus(self.logits), 0.0).sum(-1)
        growth = (jnp.log(self.rate) + unseen)[..., None]
        possible = jnp.all(missed >= 0, axis=-2)
        total = logsumexp(jnp.where(possible, base + number * growth, -jnp.inf), axis=-1)
        seen = jnp.where(self.surveyed, count * self.logits - log_factorial[count], 0.0).sum(-1)
        return total + seen - self.rate

    @property
    def mean(self) -> Array:
        """Expected counts, lambda p."""
        return jnp.asarray(self.rate)[..., None] * self._chance()

    def _chance(self) -> Array:
        return jnp.where(self.surveyed, sigmoid(self.logits), 0.0)
