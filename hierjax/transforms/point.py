"""What is integrated out of a model before the rest is maximised: the plan of a point estimate."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from hierjax.effects import gaussian_sites
from hierjax.errors import ModelError, SettingsError
from hierjax.trace import ModelTrace, abstract_trace
from hierjax.transforms.approximated import Approximated
from hierjax.transforms.coordinates import INTEGRATED, Coordinates
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.integrate_plan import Plan, make_plan
from hierjax.transforms.log_marginal import log_marginal

Kind = Literal["ml", "reml", "map"]
COEFFICIENTS = {"ml": "profiled", "reml": "flat", "map": INTEGRATED}


def point_coordinates(
    fn: Callable[..., Any], data: Mapping[str, Any], kind: Kind, order: int | None = None
) -> Coordinates:
    """Decide what is integrated out of `fn(**data)`; what remains is to be maximised.

    Where the log density is quadratic in the group effects they are integrated out exactly, and
    with them the coefficients in which it is quadratic: "ml" puts those at their maximum, "reml"
    integrates them over a flat prior, "map" over their own. Otherwise group effects are integrated
    out by quadrature or Laplace's approximation, and coefficients remain.

    Parameters
    ----------
    fn, data
        NumPyro function and its (concrete) arguments.
    kind
        What is maximised.
    order
        Nodes per effect of the quadrature, 1 for Laplace; None for as many as it needs.

    Raises
    ------
    ModelError
        A site depends on others that are estimated and cannot be integrated out, or nothing is
        left to estimate.
    SettingsError
        "reml" where coefficients cannot be integrated out, or an order without quadrature.
    """
    trace = abstract_trace(fn, data)
    gaussian = gaussian_sites(trace)
    effects = tuple(name for name in gaussian if _parents(trace, name))
    coefficients = tuple(name for name in gaussian if name not in effects)
    _check_rest(trace, effects)
    plan = _exact_plan(fn, data, effects, coefficients, kind)
    if plan is not None:
        if not plan.latents:
            raise ModelError(
                "every site of the model can be integrated out, so that there is nothing to "
                'maximise: its posterior is normal. Use method="nuts".'
            )
        flat = set(coefficients) & set(plan.by_name)
        words = {name: COEFFICIENTS[kind] if name in flat else INTEGRATED for name in plan.by_name}
        stage = Integrated(fn, None, plan)
        return Coordinates(stage, (stage,), tuple(words.items()), complete=True)
    if kind == "reml":
        raise SettingsError(
            '"reml" integrates coefficients out exactly, which needs a normal response with a mean '
            'that is affine in effects and coefficients. Use "ml" or "map" for this model.'
        )
    if not effects:
        return Coordinates(fn, complete=True)
    marginal = log_marginal(
        fn, data, sites=effects, method="laplace" if order == 1 else "auto", order=order
    )
    stage = Approximated(marginal._approximation, marginal.order)
    word = "laplace" if marginal.order == 1 else f"quadrature of order {marginal.order}"
    return Coordinates(stage, (stage,), tuple((name, word) for name in effects), complete=True)


def differentiable(coordinates: Coordinates) -> Coordinates:
    """Return the same coordinates with exact second derivatives of the integral."""
    fn = coordinates.fn
    if not isinstance(fn, Approximated):
        return coordinates
    return dataclasses.replace(coordinates, fn=dataclasses.replace(fn, derivatives=2))


def _exact_plan(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    effects: tuple[str, ...],
    coefficients: tuple[str, ...],
    kind: Kind,
) -> Plan | None:
    """Plan for all effects, and for as many coefficients as the density is quadratic in."""
    if not effects and not coefficients:
        return None
    chosen = coefficients
    while True:
        plan = _plan_of(fn, data, effects, chosen, kind)
        if plan is not None or not chosen or kind == "reml":
            return plan
        alone = [name for name in chosen if _plan_of(fn, data, effects, (name,), kind)]
        chosen = tuple(alone) if len(alone) < len(chosen) else chosen[:-1]


def _plan_of(
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    effects: tuple[str, ...],
    coefficients: Collection[str],
    kind: Kind,
) -> Plan | None:
    if not effects and not coefficients:
        return None
    fixed = "prior" if kind == "map" else kind
    flat = () if kind == "map" else coefficients
    try:
        return make_plan(fn, data, (*effects, *coefficients), flat=flat, fixed=fixed)
    except ModelError:
        return None


def _check_rest(trace: ModelTrace, effects: Collection[str]) -> None:
    """Refuse a model whose maximum would be one over group effects too."""
    for site in trace.sites.values():
        parents = _parents(trace, site.name)
        if site.kind == "latent" and parents and site.name not in effects:
            raise ModelError(
                f"site {site.name!r} ({site.text}) depends on {', '.join(sorted(parents))}, and it "
                "cannot be integrated out, since it is not normal. A joint maximum over groups and "
                'what they share is no estimate (it lies at a variance of zero): use method="nuts".'
            )


def _parents(trace: ModelTrace, name: str) -> set[str]:
    """Latent sites that a site depends on, directly or through deterministic ones."""
    found: set[str] = set()
    for parent in trace.sites[name].parents:
        kind = trace.sites[parent].kind if parent in trace.sites else ""
        found |= {parent} if kind == "latent" else set()
        found |= _parents(trace, parent) if kind == "deterministic" else set()
    return found
