"""The table of methods: the word for each, and the coordinates in which it works."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from hierjax import checks
from hierjax.automatic import Auto
from hierjax.errors import SettingsError
from hierjax.infer.deterministic_advi import DeterministicADVI
from hierjax.infer.empirical_bayes import EmpiricalBayes
from hierjax.infer.gibbs import Gibbs
from hierjax.infer.laplace import Laplace
from hierjax.infer.nuts import NUTS
from hierjax.infer.program import Method
from hierjax.infer.svi import SVI
from hierjax.transforms.coordinates import Coordinates, Effects, choose_coordinates
from hierjax.transforms.few import few_parameters
from hierjax.transforms.gibbs import gibbs_coordinates
from hierjax.transforms.labelled import labelled
from hierjax.transforms.point import point_coordinates
from hierjax.transforms.subsampled import subsampled, without_all_rows

METHODS: Mapping[str, type[Any]] = {
    "auto": Auto,
    "nuts": NUTS,
    "laplace": Laplace,
    "svi": SVI,
    "deterministic_advi": DeterministicADVI,
    "empirical_bayes": EmpiricalBayes,
    "gibbs": Gibbs,
}


def as_method(method: str | Method) -> Method:
    """Return the settings that a name stands for; settings stay what they are.

    Raises
    ------
    SettingsError
        An unknown name, or something else.
    """
    if isinstance(method, str):
        return METHODS[checks.one_of("method", method, METHODS)]()
    if isinstance(method, type) or not hasattr(method, "program"):
        raise SettingsError(
            f"`method` must be a name or a settings object such as hierjax.NUTS(draws=500); got "
            f"{method!r}."
        )
    return method


@dataclasses.dataclass(frozen=True)
class Problem:
    """A model function on its data, and what its effects are to be treated as."""

    fn: Callable[..., Any]
    data: Mapping[str, Any]
    effects: Effects

    @functools.cached_property
    def coordinates(self) -> Coordinates:
        """Coordinates of methods that sample, chosen once."""
        return choose_coordinates(self.fn, self.data, self.effects)

    def coordinates_for(self, method: Method) -> Coordinates:
        """Coordinates in which a method works.

        Raises
        ------
        ModelError, SettingsError
            The method does not serve this model, or not with effects treated in this way.
        """
        if isinstance(method, EmpiricalBayes):
            return self._point_coordinates(method)
        if isinstance(method, Gibbs):
            settings = (method.updates, method.blocks)
            return gibbs_coordinates(self.fn, self.data, self.effects, *settings)
        if isinstance(method, Laplace):
            return few_parameters(self.coordinates, self.fn, self.data)
        if isinstance(method, SVI) and method.minibatch is not None:
            return self._subsampled(method.minibatch)
        if isinstance(method, SVI):
            return labelled(self.coordinates, self.fn, self.data)
        return self.coordinates

    def _subsampled(self, number: int) -> Coordinates:
        """Coordinates that serve some rows as well as all."""
        if self.effects == "auto":
            chosen = without_all_rows(self.fn, self.data)
        else:
            chosen = choose_coordinates(self.fn, self.data, self.effects)
        return subsampled(labelled(chosen, self.fn, self.data), self.fn, self.data, number)

    def _point_coordinates(self, method: EmpiricalBayes) -> Coordinates:
        if self.effects != "auto":
            raise SettingsError(
                'method "empirical_bayes" integrates all group effects out: leave effects="auto".'
            )
        return point_coordinates(self.fn, self.data, method.kind, method.order)
