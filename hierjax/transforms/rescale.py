"""Sample a positive parameter on a scale that is linear in the middle and logarithmic near zero.

The sd of a level is often known to within a factor of two, or not known to differ from zero. In
log sd, the usual coordinate, a posterior that reaches zero has a long tail to the left, which
forces short steps on all the rest. In

    sd = s log(1 + exp(x)),    s = 0.4 of the sd at a pilot mode,

x is linear in sd above s and log sd below it. Any s is exact (the density includes the Jacobian);
on integrated models this one triples the effective draws per leapfrog step of radon.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to, constraints
from numpyro.infer.reparam import Reparam
from numpyro.infer.util import potential_energy

from hierjax.low_discrepancy import Evenly
from hierjax.optimise import climb
from hierjax.trace import ModelTrace

RESCALED = "hierjax_rescaled"
SHARE = 0.4

POSITIVE = (constraints.positive, constraints.nonnegative)


class _Softplus(Reparam):
    """Replace a positive site by `<name>_free` on the real line."""

    def __init__(self, unit: Array) -> None:
        self.unit = unit

    def __call__(self, name: str, fn: Any, obs: Any) -> tuple[Any, Any]:
        """Sample the free site and return the positive value."""
        shape = (*fn.batch_shape, *fn.event_shape)
        free: Any = numpyro.sample(
            free_name(name), dist.ImproperUniform(constraints.real, (), shape)
        )
        value = self.unit * jax.nn.softplus(free)
        log_jacobian = jnp.sum(jnp.log(self.unit) + jax.nn.log_sigmoid(free))
        numpyro.factor(f"{name}_density", jnp.sum(fn.log_prob(value)) + log_jacobian)
        return None, value


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """A model function whose positive sites are sampled on the scale of this module.

    Attributes
    ----------
    fn
        The model function; it takes prepared data.
    sites
        Names of the positive sites.
    pilot
        Key under which the data hold a pilot mode already ("latents"), "" if they do not.
    """

    fn: Callable[..., Any]
    sites: tuple[str, ...]
    pilot: str = ""
    key = RESCALED

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with the unit of every site; a pure function."""
        mode = data[self.pilot]["latents"] if self.pilot else _pilot_mode(self.fn, data)
        units = {name: SHARE * mode[name] for name in self.sites}
        return {**data, RESCALED: units}

    def recover(
        self, key: Array | Evenly, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Return the sites: those rescaled are deterministic sites already."""
        del key, data
        free = {free_name(name) for name in self.sites}
        return {name: value for name, value in sites.items() if name not in free}

    def __call__(self, **data: Any) -> None:
        """Run the model with its positive sites rescaled."""
        units = data.pop(RESCALED)
        config: dict[str, Reparam] = {name: _Softplus(units[name]) for name in self.sites}
        handlers.reparam(self.fn, config=config)(**data)


def free_name(name: str) -> str:
    """Name of the real site that stands for a positive one."""
    return f"{name}_free"


def positive_sites(trace: ModelTrace) -> tuple[str, ...]:
    """Names of the latent sites outside of plates whose support is the positive numbers."""
    return tuple(
        site.name
        for site in trace.sites.values()
        if site.kind == "latent" and not site.plates and _is_positive(site.support)
    )


def _is_positive(support: Any) -> bool:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support in POSITIVE


def _pilot_mode(fn: Callable[..., Any], data: Mapping[str, Any]) -> dict[str, Array]:
    """Rough mode of a model, found in unconstrained coordinates; a pure function."""
    with handlers.block():
        found = handlers.trace(handlers.seed(fn, 0)).get_trace(**data)
    supports = {
        name: site["fn"].support
        for name, site in found.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    start = {
        name: jnp.zeros(jax.eval_shape(biject_to(support).inv, found[name]["value"]).shape)
        for name, support in supports.items()
    }
    free = climb(lambda free: -jnp.asarray(potential_energy(fn, (), data, free)), start)
    return {name: biject_to(support)(free[name]) for name, support in supports.items()}
