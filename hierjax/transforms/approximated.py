"""Integrate effects out of a model function approximately, as a stage like `Integrated`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

from jax import Array

from hierjax.effects import run_placed
from hierjax.effects.place import run_outside
from hierjax.linalg import Effects, Factorisation, conditional_draw
from hierjax.low_discrepancy import Evenly, own_key
from hierjax.transforms.factors import lazy_factor
from hierjax.transforms.laplace import Approximation
from hierjax.transforms.prepared import ready
from hierjax.transforms.quadrature import gauss_hermite

APPROXIMATED = "hierjax_approximated"
# Passes through the data to the mode of the effects: some twenty steps of the slowest of a batch,
# each with the value, its slope, its curvature and the values of a line search.
SEARCH = 100


@dataclasses.dataclass(frozen=True)
class Approximated:
    """A model function without its group effects, whose integral is approximate.

    Called as `function(**data)` it is an ordinary NumPyro function with the remaining sites, a
    factor `<response>_approximated`, and the deterministic sites that need no effects. The factor
    is NaN where no mode of the effects was found.

    Attributes
    ----------
    approximation
        The model function, and how its effects are laid out.
    order
        Nodes per effect of the quadrature; 1 is Laplace's approximation.
    derivatives
        Order up to which derivatives of the factor are exact.
    by_importance
        Whether effects are drawn from their conditional distribution itself, group by group, and
        not from the Gaussian at their mode.
    """

    approximation: Approximation
    order: int = 1
    derivatives: int = 1
    by_importance: bool = False
    key = APPROXIMATED
    maker = "approximated"

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self._fn, "__name__", type(self._fn).__name__)

    @property
    def is_planned(self) -> bool:
        """Whether it is decided what is integrated out; always."""
        return True

    def planned(self, data: Mapping[str, Any]) -> Self:
        """Return the function itself."""
        del data
        return self

    @property
    def passes(self) -> int:
        """How many times the data are gone through for one density, about."""
        effects = self.approximation.plan.layout.structure.factors[0].effects
        return SEARCH + self.order**effects

    def taken(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the sites that are integrated out."""
        del data
        return tuple(self.approximation.plan.by_name)

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with the group of every row; a pure function."""
        return {**data, APPROXIMATED: self.approximation.prepare(data)}

    def __call__(self, **data: Any) -> None:
        """Run the model with the effects integrated out."""
        _, data = ready(self, data)
        prepared, plan = data.pop(APPROXIMATED), self.approximation.plan
        values = run_outside(
            self._fn, plan.by_name, data, silent=plan.responses, hidden=plan.hidden
        )
        latents = {name: values[name] for name in plan.latents}
        grid = None
        if self.order > 1:
            grid = gauss_hermite(self.order, plan.layout.structure.factors[0].effects)

        def integral() -> Array:
            return self.approximation.integral(
                latents, data, prepared, grid, derivatives=self.derivatives
            )[0]

        lazy_factor(f"{plan.responses[0]}_approximated", integral)

    def conditional(self, sites: Mapping[str, Any], data: Mapping[str, Any]) -> Factorisation:
        """Gaussian approximation of the effects given the remaining sites, at their mode."""
        _, data = ready(self, data)
        prepared, plan = data.pop(APPROXIMATED), self.approximation.plan
        latents = {name: sites[name] for name in plan.latents}
        _, mode = self.approximation.integral(latents, data, prepared)
        return mode.factorisation

    def placed(
        self, effects: Effects, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Every site of the model, given effects of the core and the remaining sites."""
        _, data = ready(self, data)
        del data[APPROXIMATED]
        plan = self.approximation.plan
        latents = {name: sites[name] for name in plan.latents}
        white = plan.layout.site_values(effects)
        placed = run_placed(
            self._fn, plan.by_name, white, latents, data, whitened=True, densities=False
        )
        return {**placed.values, **latents}

    def recover(
        self, key: Array | Evenly, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Draw the effects, given the remaining sites; every site of the model."""
        if self.by_importance:
            _, prepared = ready(self, data)
            plan = self.approximation.plan
            latents = {name: sites[name] for name in plan.latents}
            arrays = prepared.pop(APPROXIMATED)
            return self.placed(self.approximation.draw(key, latents, prepared, arrays), sites, data)
        effects = conditional_draw(self.conditional(sites, data), own_key(key))
        return self.placed(effects, sites, data)

    @property
    def _fn(self) -> Callable[..., Any]:
        return self.approximation.fn
