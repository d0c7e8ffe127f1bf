"""Which method `method="auto"` stands for: read off the model, and judged by its outcome.

Importance sampling is the fastest method by far where few parameters are left to sample, and says
itself where it failed; NUTS serves every model. So the first is tried where it applies, with the
second behind it. Both integrate crossed factors out by a dense matrix; where that is too large,
Gibbs sampling draws factors in turn.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from hierjax.effects.values import free_shape
from hierjax.errors import ModelError
from hierjax.infer.gibbs import Gibbs
from hierjax.infer.gibbs_sweep import MOST_SLICED
from hierjax.infer.laplace import Laplace
from hierjax.infer.nuts import NUTS
from hierjax.infer.program import Method, Program
from hierjax.trace import abstract_trace
from hierjax.transforms.coordinates import INTEGRATED, NONCENTRED, Coordinates
from hierjax.transforms.gibbs import LARGEST_DENSE
from hierjax.transforms.integrate import Integrated
from hierjax.transforms.integrate_plan import make_plan
from hierjax.transforms.noncentre import group_effects

MOST_PARAMETERS = 15  # above, a mixture of few Student distributions covers posteriors badly


class Choice(NamedTuple):
    """A method, and why it was chosen: half a sentence."""

    method: Method
    reason: str


@dataclasses.dataclass(frozen=True)
class Auto:
    """Settings of `method="auto"`: none."""

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "auto"

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind NUTS: where nobody looks at the outcome, the method that serves every model."""
        return NUTS().program(fn, data)


def first_choice(
    coordinates: Coordinates,
    fn: Callable[..., Any],
    data: Mapping[str, Any],
    *,
    in_turn: bool = False,
) -> Choice:
    """Choose the method to try first for a model in its coordinates.

    Gibbs sampling where crossed factors would be integrated out by a dense matrix of more than 400
    rows; importance sampling (`Laplace`) where group effects are integrated out, no others are
    left, and at most 15 parameters remain; else NUTS.

    Parameters
    ----------
    coordinates
        How each effect is treated.
    fn, data
        NumPyro function and its arguments.
    in_turn
        Whether Gibbs sampling may be chosen, which has coordinates of its own.
    """
    treatments = {treatment for _, treatment in coordinates.choices}
    dense = _dense_rows(coordinates, fn, data) if in_turn and treatments else 0
    if dense > LARGEST_DENSE:
        return Choice(
            Gibbs(),
            f"to integrate crossed factors out takes a dense matrix of {dense:,} rows; they are "
            "drawn in turn instead",
        )
    if treatments - {INTEGRATED}:
        return Choice(NUTS(), "group effects are left to sample")
    if not treatments:
        return Choice(NUTS(), "no group effects are integrated out")
    count = parameters_left(fn, data, {name for name, _ in coordinates.choices})
    left_over = f"{count} {'parameter is' if count == 1 else 'parameters are'} left to sample"
    if count > MOST_PARAMETERS:
        return Choice(NUTS(), f"{left_over}, more than the {MOST_PARAMETERS} that importance "
                      "sampling is for")  # fmt: skip
    return Choice(Laplace(), f"{left_over}, few enough for importance sampling")


def _dense_rows(coordinates: Coordinates, fn: Callable[..., Any], data: Mapping[str, Any]) -> int:
    """Rows of the matrix that integrating out takes, of a model that Gibbs sampling serves; or 0.

    What does not fit into memory is not in the coordinates, so that its plan is made again.
    """
    plans = [stage.fixed_plan for stage in coordinates.stages if isinstance(stage, Integrated)]
    treatments = {treatment for _, treatment in coordinates.choices}
    if NONCENTRED in treatments and not plans:
        try:
            plans = [make_plan(fn, data)]
        except ModelError:
            return 0
    effects = group_effects(abstract_trace(fn, data))
    found = 0
    for plan in plans:
        if plan is not None and plan.summed and set(effects) <= set(plan.by_name):
            few = parameters_left(fn, data, set(plan.by_name)) <= MOST_SLICED
            found = max(found, plan.layout.structure.rest_effects * few)
    return found


def after_poor_weights(k_hat: float) -> Choice:
    """Choose what to run after importance sampling that did not cover the posterior."""
    words = "importance sampling did not cover the posterior"
    if math.isfinite(k_hat):
        words += f" (k-hat {k_hat:.2f})"
    return Choice(NUTS(), words)


def next_choice(asked: Method, last: Method) -> Choice | None:
    """Choose what to run where the method `last` went wrong; None if there is nothing else.

    Parameters
    ----------
    asked
        Method that the user asked for.
    last
        Method that was run.
    """
    if isinstance(asked, Auto) and isinstance(last, Laplace):
        return after_poor_weights(math.nan)
    harder = getattr(last, "harder", None)
    return None if harder is None else Choice(harder(), "")


def parameters_left(fn: Callable[..., Any], data: Mapping[str, Any], gone: Collection[str]) -> int:
    """Count the unconstrained parameters of `fn(**data)` beside the sites `gone`."""
    sites = abstract_trace(fn, data).sites.values()
    return sum(
        math.prod(free_shape(site))
        for site in sites
        if site.kind == "latent" and site.name not in gone
    )
