"""Likelihoods: from the linear predictor of a row to the distribution of its response.

The linear predictor enters through a distribution that is parametrised by the link's scale (logits,
log rate), which neither over- nor underflows. A family names one of the functions here. Their
arguments are the predictor, then parameters of the family, trials and marks of censoring by name.

`Model.source()` writes out what stands here and has no second version of it: each function is one
`return`, whose expression goes into the text, and the classes and functions that the expression
names are copied whole, without annotations. So they use each other, `jax`, `jnp`, and numpyro's
`dist` and `constraints`, and nothing else.
"""

from typing import Any

import jax
from jax import Array
from jax import numpy as jnp
from numpyro import distributions as dist
from numpyro.distributions import constraints


class LogRatePoisson(dist.Poisson):
    """Poisson distribution given its log rate; NumPyro's takes the rate, whose log can underflow.

    Parameters
    ----------
    log_rate
        Logarithm of the mean.
    """

    arg_constraints = {"log_rate": constraints.real}  # noqa: RUF012 (NumPyro's protocol)
    pytree_data_fields = ("log_rate", "rate")

    def __init__(self, log_rate: Any, *, validate_args: bool | None = None) -> None:
        self.log_rate = log_rate
        super().__init__(jnp.exp(log_rate), validate_args=validate_args)

    def log_prob(self, value: Any) -> Array:
        """Log probability of the count `value`."""
        value = jnp.asarray(value, dtype=jnp.result_type(float))
        return value * self.log_rate - jax.scipy.special.gammaln(value + 1.0) - self.rate


class LogMeanGamma(dist.Gamma):
    """Gamma distribution given its shape and log mean: variance mean^2 / shape.

    Parameters
    ----------
    shape
        Shape; the coefficient of variation is 1 / sqrt(shape).
    log_mean
        Logarithm of the mean.
    """

    arg_constraints = {  # noqa: RUF012 (NumPyro's protocol)
        "concentration": constraints.positive,
        "log_mean": constraints.real,
    }
    pytree_data_fields = ("log_mean",)

    def __init__(self, shape: Any, log_mean: Any, *, validate_args: bool | None = None) -> None:
        self.log_mean = log_mean
        super().__init__(shape, shape * jnp.exp(-log_mean), validate_args=validate_args)

    def log_prob(self, value: Any) -> Array:
        """Log density of the positive number `value`."""
        shape: Any = self.concentration
        log_value = jnp.log(value)
        ratio = log_value - self.log_mean
        normaliser = jax.scipy.special.gammaln(shape) + log_value
        return shape * (jnp.log(shape) + ratio - jnp.exp(ratio)) - normaliser


class CensoredNormal(dist.Distribution):
    """Normal distribution of which some values are known as a lower or an upper limit only.

    Its draws and its mean are those of the values themselves, not of the limits.

    Parameters
    ----------
    loc, scale
        Mean and standard deviation.
    censored
        0 where the value is known, 1 where it is greater than what is written (censored on the
        right), -1 where it is less (on the left).
    """

    arg_constraints = {  # noqa: RUF012 (NumPyro's protocol)
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support: Any = constraints.real
    pytree_data_fields = ("loc", "scale", "censored")

    def __init__(
        self,
        loc: Any,
        scale: Any,
        censored: Any,
        *,
        validate_args: bool | None = None,
    ) -> None:
        shapes = (jnp.shape(loc), jnp.shape(scale), jnp.shape(censored))
        shape = jax.lax.broadcast_shapes(*shapes)
        self.loc, self.scale = jnp.broadcast_to(loc, shape), jnp.broadcast_to(scale, shape)
        self.censored = jnp.broadcast_to(censored, shape)
        super().__init__(batch_shape=shape, validate_args=validate_args)

    @property
    def mean(self) -> Array:
        """Mean of the values."""
        return self.loc

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw values, as if nothing had hidden them."""
        noise = jax.random.normal(key, (*sample_shape, *self.batch_shape))
        return self.loc + self.scale * noise

    def log_prob(self, value: Any) -> Array:
        """Log density where the value is known, log probability of its side elsewhere."""
        distance = (value - self.loc) / self.scale
        known = jax.scipy.stats.norm.logpdf(distance) - jnp.log(self.scale)
        beyond = jax.scipy.special.log_ndtr(-self.censored * distance)
        return jnp.where(self.censored == 0, known, beyond)


class CensoredLogNormal(CensoredNormal):
    """Distribution of exp(value) of a `CensoredNormal`; limits are those of exp(value) too."""

    support: Any = constraints.positive

    @property
    def mean(self) -> Array:
        """Mean of the values."""
        return jnp.exp(self.loc + self.scale**2 / 2.0)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw values, as if nothing had hidden them."""
        return jnp.exp(super().sample(key, sample_shape))

    def log_prob(self, value: Any) -> Array:
        """Log density where the value is known, log probability of its side elsewhere."""
        log_value = jnp.log(value)
        change = jnp.where(self.censored == 0, log_value, 0.0)
        return super().log_prob(log_value) - change


def cumulative_logits(predictor: Any, threshold: Any) -> Array:
    """Log probabilities of ordered categories: log odds of k or less are threshold_k - predictor.

    Parameters
    ----------
    predictor
        Shape (rows,).
    threshold
        Ascending, one fewer than categories.

    Returns
    -------
    Array
        Shape (rows, categories). Of s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), s being logit^-1, no
        part cancels.
    """
    distance = threshold - predictor[..., None]
    end = jnp.zeros_like(distance[..., :1])
    below = jnp.concatenate([jax.nn.log_sigmoid(distance), end], axis=-1)
    above = jnp.concatenate([end, jax.nn.log_sigmoid(-distance)], axis=-1)
    gap = jnp.log(-jnp.expm1(threshold[:-1] - threshold[1:]))
    return below + above + jnp.pad(gap, 1)


def ordered(predictor: Array, threshold: Array) -> dist.Distribution:
    """Return the distribution of ordered categories with cumulative log odds."""
    return dist.CategoricalLogits(cumulative_logits(predictor, threshold))


def reference_logits(predictor: Any) -> Array:
    """Log odds of all categories, those of the first being 0; shape (rows, categories)."""
    first = jnp.zeros_like(predictor[..., :1])
    return jnp.concatenate([first, predictor], axis=-1)


def categorical(predictor: Array) -> dist.Distribution:
    """Return the distribution of categories with log odds against the first."""
    return dist.CategoricalLogits(reference_logits(predictor))


def gaussian(predictor: Array, sigma: Array) -> dist.Distribution:
    """Return the normal distribution around the predictor."""
    return dist.Normal(predictor, sigma)


def censored_gaussian(predictor: Array, sigma: Array, censored: Array) -> dist.Distribution:
    """Return the normal distribution of which some values are limits only."""
    return CensoredNormal(predictor, sigma, censored)


def student_t(predictor: Array, nu: Array, sigma: Array) -> dist.Distribution:
    """Return Student's t distribution around the predictor."""
    return dist.StudentT(nu, predictor, sigma)


def lognormal(predictor: Array, sigma: Array) -> dist.Distribution:
    """Return the distribution whose logarithm is normal around the predictor."""
    return dist.LogNormal(predictor, sigma)


def censored_lognormal(predictor: Array, sigma: Array, censored: Array) -> dist.Distribution:
    """Return the log-normal distribution of which some values are limits only."""
    return CensoredLogNormal(predictor, sigma, censored)


def gamma(predictor: Array, shape: Array) -> dist.Distribution:
    """Return the gamma distribution with mean exp(predictor)."""
    return LogMeanGamma(shape, predictor)


def beta(predictor: Array, phi: Array) -> dist.Distribution:
    """Return the beta distribution with mean logit^-1(predictor) and phi pseudo-observations."""
    return dist.Beta(phi * jax.nn.sigmoid(predictor), phi * jax.nn.sigmoid(-predictor))


def bernoulli(predictor: Array) -> dist.Distribution:
    """Return the distribution of 0 or 1 with the predictor as log odds."""
    return dist.BernoulliLogits(predictor)


def binomial(predictor: Array, trials: Array) -> dist.Distribution:
    """Return the binomial distribution with the predictor as log odds."""
    return dist.BinomialLogits(predictor, trials)


def poisson(predictor: Array) -> dist.Distribution:
    """Return the Poisson distribution with mean exp(predictor)."""
    return LogRatePoisson(predictor)


def zero_inflated_poisson(predictor: Array, zi: Array) -> dist.Distribution:
    """Return the Poisson distribution with extra zeros, which have probability zi."""
    return dist.ZeroInflatedDistribution(
        LogRatePoisson(predictor), gate_logits=jax.scipy.special.logit(zi)
    )


def negative_binomial(predictor: Array, shape: Array) -> dist.Distribution:
    """Return the negative binomial distribution with mean exp(predictor)."""
    return dist.NegativeBinomialLogits(shape, predictor - jnp.log(shape))
