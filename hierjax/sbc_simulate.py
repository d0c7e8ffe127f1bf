"""Parameters drawn from the prior of a model, and data drawn given them, by one compiled program.

A model function is run as it stands, with its data; only where it observes a response, that is
drawn instead. Whether the function does anything else with the response cannot be seen from that,
so it is run once more on what was drawn: every log density must be the same. Models of which no
data can be drawn (improper priors, factors, weighted likelihoods) are refused.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions import MaskedDistribution
from numpyro.primitives import Messenger

from hierjax.arguments import Arguments, signature
from hierjax.cache import ProgramCache
from hierjax.compiler import compile_for
from hierjax.errors import ModelError
from hierjax.model import Model
from hierjax.predict_program import Filling, at_every_draw, run_at
from hierjax.trace import ModelTrace, Site, abstract_trace

SIMULATION = 2**31 - 1  # keeps the keys of simulation apart from those of fits
LANES = 16  # simulations at once: always as many, so that none depends on the others
TOLERANCE = 1e-4  # relative; a density that depends on a response changes by more
_PROGRAMS = ProgramCache(size=8)

Values = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Simulator:
    """A model that parameters and data can be drawn from.

    Attributes
    ----------
    model
        The model, with its own data.
    trace
        Its sites.
    responses
        Data argument -> the observed site that it is.
    latents
        Latent sites.
    """

    model: Model
    trace: ModelTrace
    responses: Mapping[str, str]
    latents: tuple[str, ...]

    @classmethod
    def of(cls, model: Model) -> "Simulator":
        """Make sure that data can be drawn from a model.

        Raises
        ------
        ModelError
            They cannot; site and reason are in the message.
        """
        trace = abstract_trace(model.fn, model.data)
        for site in trace.sites.values():
            _check_site(site)
        responses = _responses(model, trace)
        latents = tuple(site.name for site in trace.sites.values() if site.kind == "latent")
        return cls(model, trace, responses, latents)

    @property
    def filling(self) -> Filling:
        """Every latent site is given."""
        return Filling(tuple((name, self.trace.sites[name].shape) for name in self.latents))

    def draw(self, seed: int, numbers: Sequence[int]) -> "Simulated":
        """Draw parameters and data; simulation i depends on the seed and i only.

        Raises
        ------
        ModelError
            A prior cannot be drawn from, or the function uses its response in other ways.
        """
        arguments = Arguments.of(self.model.data)

        arrays = arguments.arrays(self.model.data)
        key = jax.random.fold_in(jax.random.key(seed), SIMULATION)

        def build() -> Callable[..., Any]:
            def one(key: Array, number: Array, arrays: Any) -> Any:
                return _simulate(self, jax.random.fold_in(key, number), arguments, arrays)

            several = jax.vmap(one, in_axes=(None, 0, None))
            return compile_for(several, key, np.zeros(LANES, np.uint32), arrays)[0]

        precision = jnp.result_type(float).name
        identity = (self.model.fn, arguments, self.filling, signature(arrays), precision)
        run = _PROGRAMS.get(identity, build)
        blocks, count = [], len(numbers)
        for first in range(0, count, LANES):
            places = np.minimum(np.arange(first, first + LANES), count - 1)
            found = jax.device_get(run(key, np.asarray(numbers, np.uint32)[places], arrays))
            used = min(LANES, count - first)
            blocks.append(jax.tree.map(lambda leaf, used=used: leaf[:used], found))
        whole = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
        _check_dependence(whole.depends)
        return whole

    def log_densities(self, data: Mapping[str, Any], draws: Values) -> np.ndarray:
        """Log likelihood, and log joint density of parameters and data, at draws; (draw, 2).

        Parameters
        ----------
        data
            Simulated responses by argument.
        draws
            Values of the latent sites at least, (draw, *site shape).
        """
        sizes = [int(np.prod(site.shape)) for site in self.trace.sites.values()]
        return at_every_draw(
            self.model.fn, {**self.model.data, **data}, draws,
            lambda messages, key, extra: _log_densities(messages),
            seed=0, count=len(draws[self.latents[0]]), filling=self.filling,
            size=max(sizes, default=1), name="log likelihood and joint density",
        )  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Simulated:
    """Simulations, each along the first axis.

    Attributes
    ----------
    sites
        Latent and deterministic site -> the values that made the data.
    data
        Argument -> simulated response.
    log_densities
        As of `Simulator.log_densities`, at those values.
    depends
        Site -> whether its density changes with the response.
    """

    sites: Mapping[str, Any]
    data: Mapping[str, Any]
    log_densities: Any
    depends: Mapping[str, Any]

    def is_finite(self) -> np.ndarray:
        """Whether all values of each simulation are numbers."""
        leaves = [*self.sites.values(), *self.data.values(), self.log_densities]
        good = np.ones(len(self.log_densities), dtype=bool)
        for leaf in leaves:
            good &= np.isfinite(leaf).reshape(len(good), -1).all(axis=1)
        return good


def _check_site(site: Site) -> None:
    if site.kind == "factor":
        raise ModelError(
            f"the factor {site.name!r} multiplies the density of the model, which no simulation "
            "can do. Write what it stands for as a distribution, or give the model without it as "
            "`simulator`."
        )
    if "Censored" in site.distribution:
        raise ModelError(
            f"site {site.name!r} observes limits of values, and which are limits depends on the "
            "values, so that simulated ones would not fit the marks of censoring. Give the model "
            "without censoring as `simulator`."
        )
    if site.scaled:
        raise ModelError(
            f"the log density of site {site.name!r} is multiplied by weights (or its plate is "
            "subsampled), so that there is no distribution to simulate it from. Give the model "
            "without them as `simulator`."
        )


def _responses(model: Model, trace: ModelTrace) -> dict[str, str]:
    """Return the argument of every observed site."""
    observed = [site for site in trace.sites.values() if site.kind == "observed"]
    if not observed:
        raise ModelError(
            "the model observes nothing, so there are no data to simulate. Give the argument with "
            "the response an array of its shape: its values do not matter."
        )
    found: dict[str, str] = {}
    for site in observed:
        argument = trace.response.get(site.name, "")
        if argument not in model.data or np.shape(model.data[argument]) != site.shape:
            raise ModelError(
                f"the observed values of site {site.name!r} are no data argument, but are computed "
                "from the data (or are no array), so that simulated ones cannot take their place. "
                "Compute them outside, and pass them as an argument."
            )
        if argument in found:
            raise ModelError(
                f"sites {found[argument]!r} and {site.name!r} both observe data[{argument!r}]; "
                "simulated values would differ. Pass the argument twice, under two names."
            )
        found[argument] = site.name
    return found


class _Unobserved(Messenger):
    """Stands inside everything else, and lets observed sites be drawn like latent ones."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample":
            return
        if msg["is_observed"]:
            msg["value"], msg["is_observed"] = None, False
        elif isinstance(msg["fn"], MaskedDistribution):
            raise ModelError(f"the prior of {msg['name']!r} is masked, so it cannot be drawn from.")


def _simulate(
    simulator: Simulator, key: Array, arguments: Arguments, arrays: tuple[Any, ...]
) -> Simulated:
    """Draw parameters and data once; pure."""
    fn, data = simulator.model.fn, arguments.rebuild(arrays)
    first = _drawn(fn, key, data)
    values = {name: first[name]["value"] for name in simulator.latents}
    new = {
        argument: _like(data[argument], first[site]["value"])
        for argument, site in simulator.responses.items()
    }
    second = run_at(fn, {**data, **new}, values, key, simulator.filling)
    kinds = ("latent", "deterministic")
    kept = [site.name for site in simulator.trace.sites.values() if site.kind in kinds]
    return Simulated(
        sites={name: second[name]["value"] for name in kept},
        data=new,
        log_densities=_log_densities(second),
        depends={
            name: _depends(message["fn"].log_prob(second[name]["value"]), second[name])
            for name, message in first.items()
            if message["type"] == "sample"
        },
    )


def _drawn(fn: Callable[..., Any], key: Array, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run the function with every site drawn from its distribution."""
    current = _Current(handlers.seed(_Unobserved(fn), key))
    try:
        with handlers.block():
            return handlers.trace(current).get_trace(**data)
    except NotImplementedError as error:
        raise ModelError(
            f"the distribution of site {current.name!r} cannot be drawn from ({current.kind}): an "
            "improper prior has no simulations. Give it a proper one."
        ) from error


class _Current(Messenger):
    """Remembers the site that is being drawn."""

    name = kind = ""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample":
            self.name, self.kind = msg["name"], type(msg["fn"]).__name__


def _like(own: Any, values: Array) -> Array:
    """Give simulated values the type of the model's own, but wide enough if they are integers."""
    kind = jnp.result_type(own)
    if jnp.issubdtype(kind, jnp.integer) and not jnp.issubdtype(kind, jnp.bool_):
        kind = jnp.result_type(int)
    return jnp.asarray(values).astype(kind)


def _log_densities(messages: Mapping[str, Any]) -> Array:
    """Log likelihood and log joint density; constrained values, no Jacobian."""
    parts = {True: jnp.zeros(()), False: jnp.zeros(())}
    for message in messages.values():
        if message["type"] == "sample":
            log_density = message["fn"].log_prob(message["value"])
            parts[message["is_observed"]] += jnp.sum(log_density)
    return jnp.stack([parts[True], parts[True] + parts[False]])


def _depends(own: Array, message: Mapping[str, Any]) -> Array:
    """Whether a value has another log density than with the model's own responses."""
    new = message["fn"].log_prob(message["value"])
    close = jnp.abs(own - new) <= TOLERANCE * (1.0 + jnp.abs(new))
    return jnp.any(~(close | (own == new) | (jnp.isnan(own) & jnp.isnan(new))))


def _check_dependence(depends: Mapping[str, Any]) -> None:
    for name, found in depends.items():
        if np.any(found):
            raise ModelError(
                f"the density of site {name!r} depends on the observed values beyond being "
                "evaluated there (a lagged response, a mask or a scale computed from it), so that "
                "they cannot be simulated site by site. Pass what it needs of them as an argument "
                "of its own."
            )
