"""Prior distributions as data: widened to vectors, put into words and back.

NumPyro distributions are pytrees, so a model function can be given its priors as an argument; new
prior numbers (of new data) then re-use a compiled program.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax import numpy as jnp
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hierjax.errors import PriorError


class Elementwise(dist.Distribution):
    """Independent scalar distributions of different kinds, side by side along one axis.

    Parameters
    ----------
    components
        One scalar distribution for each element, all on the same support.
    """

    pytree_data_fields = ("components",)
    pytree_aux_fields = ("positive",)

    def __init__(self, components: Sequence[dist.Distribution], *, positive: bool) -> None:
        self.components = tuple(components)
        self.positive = positive
        super().__init__((len(self.components),), ())

    @property
    def support(self) -> Any:  # type: ignore[override]
        """Positive numbers or all numbers."""
        return constraints.positive if self.positive else constraints.real

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw every element from its own distribution."""
        keys = jax.random.split(key, len(self.components))
        pairs = zip(self.components, keys, strict=True)
        return jnp.stack([part.sample(k, sample_shape) for part, k in pairs], axis=-1)

    def log_prob(self, value: Any) -> Array:
        """Log density of every element."""
        value = jnp.asarray(value)
        densities = [part.log_prob(value[..., i]) for i, part in enumerate(self.components)]
        return jnp.stack(densities, axis=-1)


class OrderStatistics(dist.Distribution):
    """Independent draws from one distribution in ascending order, as one event.

    Parameters
    ----------
    base
        Distribution of a number on the real line.
    size
        How many draws there are.
    """

    arg_constraints = {}  # noqa: RUF012 (NumPyro's protocol)
    support: Any = constraints.ordered_vector
    pytree_data_fields = ("base",)
    pytree_aux_fields = ("size",)

    def __init__(self, base: dist.Distribution, size: int) -> None:
        self.base, self.size = base, size
        super().__init__((), (size,))

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw numbers and sort them."""
        return jnp.sort(self.base.sample(key, (*sample_shape, self.size)), axis=-1)

    def log_prob(self, value: Any) -> Array:
        """Log density: `size`! times that of the unordered draws."""
        orders = jax.scipy.special.gammaln(self.size + 1.0)
        return jnp.sum(self.base.log_prob(value), axis=-1) + orders


def widen(distribution: dist.Distribution, length: int) -> dist.Distribution:
    """Repeat a scalar distribution `length` times; one of that length stays as it is."""
    if distribution.batch_shape == (length,):
        return distribution
    parameters = parameters_of(distribution)
    plain = parameters is not None and all(_is_number(p) for p in parameters.values())
    if plain and parameters is not None:
        # The same class with vector parameters, so that readers of the model still see, for
        # example, a Normal.
        return type(distribution)(**{k: np.full(length, float(v)) for k, v in parameters.items()})
    return distribution.expand((length,))


def parameters_of(distribution: dist.Distribution) -> dict[str, Any] | None:
    """Arguments that would make `distribution` again, or None if they cannot be read off."""
    signature = inspect.signature(type(distribution).__init__)
    names = [name for name in signature.parameters if name not in ("self", "validate_args")]
    missing = object()
    found = {name: getattr(distribution, name, missing) for name in names}
    return None if any(value is missing for value in found.values()) else found


def describe(distribution: dist.Distribution) -> dict[str, Any]:
    """JSON-able description of a distribution, the opposite of `rebuild_distribution`.

    Raises
    ------
    PriorError
        The distribution is not one of NumPyro's, or is built of things other than numbers.
    """
    name = type(distribution).__name__
    parameters = parameters_of(distribution)
    if parameters is None or getattr(dist, name, None) is not type(distribution):
        raise PriorError(
            f"The prior {name} cannot be written to a file; use one of NumPyro's own distributions."
        )
    return {"class": name, "params": {k: _describe_value(name, v) for k, v in parameters.items()}}


def _describe_value(name: str, value: Any) -> Any:
    if isinstance(value, dist.Distribution):
        return describe(value)
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, tuple) and all(isinstance(part, int) for part in value):
        return list(value)
    if isinstance(value, float | np.ndarray | np.generic | jax.Array):
        return np.asarray(value, dtype=np.float64).tolist()
    raise PriorError(f"The prior {name} cannot be written to a file.")


def rebuild_distribution(description: dict[str, Any]) -> dist.Distribution:
    """Make a distribution from its description; only NumPyro's distributions can be named.

    Raises
    ------
    PriorError
        The description names something else.
    """
    made = getattr(dist, str(description.get("class")), None)
    if not (isinstance(made, type) and issubclass(made, dist.Distribution)):
        raise PriorError(f"{description.get('class')!r} is not a distribution of NumPyro.")
    parameters = {}
    for name, value in description["params"].items():
        if isinstance(value, dict):
            value = rebuild_distribution(value)
        elif isinstance(value, list):
            value = tuple(value) if name.endswith("_shape") else np.array(value)
        parameters[name] = value
    return made(**parameters)


def in_words(distribution: dist.Distribution) -> str:
    """Readable text of a distribution, such as `Normal(0, 2.5)`."""
    if isinstance(distribution, Elementwise):
        return "[" + ", ".join(in_words(part) for part in distribution.components) + "]"
    if isinstance(distribution, OrderStatistics):
        return f"{distribution.size} ordered {in_words(distribution.base)}"
    parameters = parameters_of(distribution) or {}
    parameters.pop("sample_method", None)
    if "base_dist" in parameters:
        rest = {k: v for k, v in parameters.items() if k not in ("base_dist", "batch_shape")}
        inner = [in_words(distribution.base_dist)]  # type: ignore[attr-defined]
        inner += [f"{name}={_number_text(value)}" for name, value in rest.items()]
        if type(distribution).__name__ == "ExpandedDistribution":
            return inner[0]
        return f"{type(distribution).__name__}({', '.join(inner)})"
    shown = ", ".join(_number_text(value) for value in parameters.values())
    return f"{type(distribution).__name__}({shown})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.ndarray | np.generic | jax.Array) and (
        np.ndim(value) == 0 and not isinstance(value, bool)
    )


def _number_text(value: Any) -> str:
    if isinstance(value, np.ndarray | jax.Array) and np.ndim(value):
        flat = np.asarray(value)
        if np.all(flat == flat.flat[0]):
            return _number_text(flat.flat[0])
        return "[" + ", ".join(_number_text(part) for part in flat.ravel().tolist()) + "]"
    if isinstance(value, float | np.ndarray | np.generic | jax.Array):
        return f"{float(value):.4g}"
    return str(value)
