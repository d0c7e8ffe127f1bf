"""How many nodes a quadrature needs: as many as it takes for the log likelihood to stop moving."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to

from hierjax.effects.values import constrain, some_value
from hierjax.trace import Site
from hierjax.transforms.quadrature import Grid, gauss_hermite

ORDERS = {1: (3, 5, 9, 17, 33, 65), 2: (3, 5, 9, 17, 33)}  # nodes per effect, by effects a group
SETTLED = 0.01  # the log likelihood may move by this much from one order to the next
MOST_STEPS = 60  # of a rough fit


def settle(evaluate: Callable[[Grid], Any], width: int) -> tuple[int, float]:
    """Nearly double the order until the value moves by less than 0.01; the order and the value.

    Parameters
    ----------
    evaluate
        Value by quadrature on a grid; all grids have one shape.
    width
        Effects per group.
    """
    orders = ORDERS[width]
    order, value, moved = orders[0], math.inf, math.inf
    for order in orders:
        before, value = value, float(evaluate(gauss_hermite(order, width, orders[-1])))
        moved = abs(value - before)
        if moved < SETTLED:
            return order, value
    warnings.warn(
        f"the marginal log likelihood has not settled: at {order} nodes per effect it still moves "
        f"by {moved:.2g}. Do not trust it here; sample the effects instead.",
        stacklevel=4,
    )
    return order, value


def rough_fit(
    log_joint: Callable[..., Array],
    sites: Mapping[str, Site],
    given: tuple[Any, ...] = (),
    once: Callable[[Callable[..., Any]], Callable[..., Any]] = jax.jit,
) -> dict[str, Array]:
    """Maximise a log density of sites on their unconstrained scales, in a few BFGS steps.

    Parameters
    ----------
    log_joint
        Log density `log_joint(values, *given)`.
    sites
        The sites, by name.
    given
        What else it depends on.
    once
        Compiles a function, or finds one like it that is compiled.
    """
    from scipy.optimize import minimize

    first = {
        name: biject_to(site.support).inv(jnp.asarray(some_value(site)))
        for name, site in sites.items()
    }
    flat, rebuild = ravel_pytree(first)

    def negative(position: Any, *given: Any) -> Array:
        values, log_jacobian = constrain(sites, rebuild(position))
        return -log_joint(values, *given) - log_jacobian

    program = once(jax.value_and_grad(negative))

    def objective(position: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = program(jnp.asarray(position, flat.dtype), *given)
        if not (np.isfinite(value) and np.all(np.isfinite(slope))):
            return 1e300, np.zeros(flat.size)
        return float(value), np.asarray(slope, float)

    found = minimize(
        objective,
        np.asarray(flat, float),
        jac=True,
        method="BFGS",
        options={"maxiter": MOST_STEPS, "gtol": 1e-2},
    )
    return constrain(sites, rebuild(jnp.asarray(found.x, flat.dtype)))[0]
