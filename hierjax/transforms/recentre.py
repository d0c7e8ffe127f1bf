"""Recentre group effects on what the data say of them: exact, for any likelihood.

A sampler moves z ~ N(0, I); the model sees the standard normals v = m(h) + C(h) z of its effects,
u = location(h) + root(h) v. The map is that of the conditional Gaussian core: m and C C' are mean
and covariance of v given h under a Gaussian approximation of the likelihood. Where that is good, z
is standard normal and independent of h, whatever the sizes of groups; where it is not, nothing is
lost but speed, since the density of (h, z) is

    log p(h, z) = log p(h, u(h, z), y) + log |du / dz|.

The approximation is made once, at a pilot mode ("pilot"), or again at every h by a few Newton
steps from there ("newton").

References
----------
Osmundsen, Kleppe and Liesenfeld (2021), Importance sampling-based transport map Hamiltonian Monte
Carlo, doi:10.1080/10618600.2021.1923519. Papaspiliopoulos, Roberts and Skold (2007),
doi:10.1214/088342307000000014.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from hierjax import checks
from hierjax.effects.design import design_of
from hierjax.effects.mode import condition, predict, quadratic_at
from hierjax.effects.place import run_outside, run_placed
from hierjax.effects.prior import deviation_prior
from hierjax.errors import ModelError
from hierjax.linalg import (
    Factorisation,
    Noise,
    conditional_map,
    factorise,
    zero_noise,
)
from hierjax.low_discrepancy import Evenly
from hierjax.transforms.noncentre import NO_EFFECTS
from hierjax.transforms.pilot import coupling_of, find_pilot, newton_step, row_indexes
from hierjax.transforms.placement import Placement, site_names
from hierjax.transforms.prepared import ready
from hierjax.transforms.recentre_plan import make_recentre_plan
from hierjax.transforms.rows import rows_of

RECENTRED = "hierjax_recentred"
AT = ("pilot", "newton")


@dataclasses.dataclass(frozen=True)
class Recentred:
    """A model function whose effects are sampled relative to what the data say of them.

    Called as `function(**data)` it is an ordinary NumPyro function: in place of each effect site it
    has a standard normal site `<effect>_recentred`, and the effect itself, under its own name, as a
    deterministic site.

    Attributes
    ----------
    fn
        The original model function.
    plan
        Which sites are recentred, and how; None if that is read from the data at the first call.
    at
        "pilot" or "newton".
    steps
        Newton steps at every h, for "newton".
    sites
        Names of the sites to recentre; None for all that should be.
    """

    fn: Callable[..., Any]
    plan: Placement | None = None
    at: str = "pilot"
    steps: int = 3
    sites: tuple[str, ...] | None = None
    key = RECENTRED
    maker = "recentre"

    @property
    def __name__(self) -> str:
        """Name of the original function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def is_planned(self) -> bool:
        """Whether it is decided what is recentred."""
        return self.plan is not None

    def planned(self, data: Mapping[str, Any]) -> Self:
        """Return the function with what is decided for such data."""
        return self if self.is_planned else dataclasses.replace(self, plan=self._plan(data))

    def _plan(self, data: Mapping[str, Any]) -> Placement:
        plan = self.plan or make_recentre_plan(self.fn, data, self.sites)
        if plan is None:
            raise ModelError(f"there is nothing to recentre: {NO_EFFECTS}")
        return plan

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return `data` with the Gaussian approximation at the pilot mode; a pure function."""
        plan = self._plan(data)
        prepared = find_pilot(self.fn, plan, data)
        if self.at == "newton":
            prepared["indexes"] = row_indexes(self.fn, plan, data)
        return {**data, RECENTRED: prepared}

    def recover(
        self, key: Array | Evenly, sites: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Return the sites: those recentred are deterministic sites already."""
        del key
        white = {standard_name(name) for name in self._plan(data).by_name}
        return {name: value for name, value in sites.items() if name not in white}

    def __call__(self, **data: Any) -> None:
        """Run the model with its effects recentred."""
        function, data = ready(self, data)
        plan, prepared = function._plan(data), data.pop(RECENTRED)
        values = run_outside(self.fn, plan.by_name, data, silent=plan.responses, hidden=plan.hidden)
        latents = {name: values[name] for name in plan.latents}
        white: dict[str, Any] = {
            site.name: numpyro.sample(
                standard_name(site.name),
                dist.Normal(jnp.zeros(site.shape), 1.0).to_event(len(site.shape)),
            )
            for site in plan.sites
        }
        factorisation = self._approximate(plan, latents, data, prepared)
        effects = conditional_map(factorisation, _noise(plan, white), whitened=True)
        standard = plan.layout.site_values(effects)
        placed = run_placed(self.fn, plan.by_name, standard, latents, data, whitened=True)
        for name in (*plan.by_name, *plan.hidden):
            numpyro.deterministic(name, placed.values[name])
        log_density = sum(placed.log_densities[name] for name in plan.responses)
        change = _squares(white) - _squares(standard) - factorisation.log_determinant
        numpyro.factor(f"{plan.responses[0]}_recentred", log_density + 0.5 * change)

    def _approximate(
        self,
        plan: Placement,
        latents: Mapping[str, Any],
        data: Mapping[str, Any],
        prepared: Mapping[str, Any],
    ) -> Factorisation:
        """Gaussian approximation of the effects given h and y, in the units of the core."""
        placed = run_placed(
            self.fn, plan.by_name, plan.zeros(), latents, data, whitened=False, densities=False
        )
        prior = deviation_prior(plan.layout, placed.gaussians, latents)
        factorisation = factorise(prepared["statistics"], prior, 1.0)
        if self.at == "pilot":
            return factorisation
        rows = rows_of(self.fn, plan, latents, data)
        design = design_of(rows.predictors, plan.layout, prepared["indexes"])
        structure = plan.layout.structure
        # The pilot's mean is never far off; from zero, a first step can overflow a likelihood.
        effects = conditional_map(factorisation, zero_noise(structure), whitened=True)
        for _ in range(self.steps - 1):
            effects, _ = newton_step(rows, design, plan, effects)
        near = quadratic_at(
            rows.log_density, predict(design, effects), design, coupling_of(plan, rows)
        )
        return condition(near, design, structure)


def standard_name(name: str) -> str:
    """Name of the standard normal site that stands for an effect."""
    return f"{name}_recentred"


def _noise(plan: Placement, white: Mapping[str, Array]) -> Noise:
    """Arrange standard normals of the sites in the order of the core."""
    structure = plan.layout.structure
    factors = [
        jnp.concatenate([site.as_groups(white[site.name]) for site in sites])
        for sites in plan.layout.factors
    ]
    rest = [factors[place].reshape(-1) for place in structure.rest]
    rest += [jnp.ravel(white[site.name]) for site in plan.layout.columns]
    joined = jnp.concatenate(rest) if rest else jnp.zeros(0)
    return Noise(tuple(factors[place] for place in structure.chain), joined)


def _squares(values: Mapping[str, Array]) -> Array:
    return sum((jnp.sum(value**2) for value in values.values()), start=jnp.zeros(()))


def recentre(
    fn: Callable[..., Any],
    *,
    data: Mapping[str, Any] | None = None,
    sites: Sequence[str] | None = None,
    at: str = "pilot",
    steps: int = 3,
) -> Recentred:
    """Return a NumPyro function whose effects are sampled relative to what the data say of them.

    Each effect u becomes u = location(h) + root(h) (m(h) + C(h) z) with z standard normal, where m
    and C come from a Gaussian approximation of the likelihood, group by group: a group with many
    rows is nearly centred, one with few nearly non-centred. The posterior of all original sites is
    unchanged, whatever the quality of the approximation.

    Parameters
    ----------
    fn
        NumPyro function, called as `fn(**data)`.
    data
        Its arguments. The structure (what is nested, which rows share a group) is read from
        concrete data at the first call; give them here if the function is to be called inside your
        own `jit` or `vmap` with traced data, or with data from its `prepare`.
    sites
        Normal or MultivariateNormal sites; by default all group effects and the Gaussian
        coefficients that enter the same linear predictors.
    at
        "pilot": the likelihood is approximated once, at the mode of a pilot fit. "newton": at every
        h by `steps` Newton steps, which costs `steps` passes over the rows and holds where the
        levels' sds move a lot.
    steps
        Number of those.

    Returns
    -------
    Recentred
        A NumPyro function for any NumPyro inference.

    Raises
    ------
    ModelError
        When first called, or here with `data`: there are no group effects, or a site cannot be
        recentred; the message says why.
    SettingsError
        `at` or `steps` is out of range.

    References
    ----------
    Osmundsen, Kleppe and Liesenfeld (2021), doi:10.1080/10618600.2021.1923519.
    """
    checks.one_of("at", at, AT)
    checks.positive_int("steps", steps)
    function = Recentred(fn, None, at, steps, site_names(sites))
    return function if data is None else function.planned(data)
