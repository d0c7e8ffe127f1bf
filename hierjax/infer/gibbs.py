"""Gibbs sampling of models with normal effects: effects drawn exactly, the rest in turn.

A sweep goes through the blocks of effects (one, or one for each crossed factor). For each block,
the sites that its effects depend on are updated by slice sampling with the block *integrated out*,
and then the block is drawn from its normal distribution given all else: together a draw that leaves
the joint distribution of sites and block invariant, in this order only (van Dyk and Park 2008). So
sds mix as if there were no effects, also near zero, where the usual alternation of effects given
sds and sds given effects hardly moves. Sites with a known distribution given all else are drawn
from it at the end of the sweep, if that is asked for.

References
----------
van Dyk and Park (2008), Partially collapsed Gibbs samplers, JASA 103,
doi:10.1198/016214508000000409. Papaspiliopoulos, Roberts and Zanella (2020), Scalable inference
for crossed random effects models, Biometrika 107, arXiv:1803.09460.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hierjax import checks
from hierjax.density import Arrays
from hierjax.draws import Draws, Status
from hierjax.infer.gibbs_sweep import Chain, Sampler
from hierjax.infer.program import Program

UPDATES = ("collapsed", "conjugate")
BLOCKS = ("auto", "joint", "factor")
MAX_CHUNK = 100
LENGTHS = 3.0  # mean length of a slice in mean moves within one: E|x - y| of uniforms is 1/3
MEMORY = 50  # sweeps over which the length of slices is averaged


@dataclasses.dataclass(frozen=True)
class Gibbs:
    """Settings of the Gibbs sampler, for models whose group effects are normal given the rest.

    Parameters
    ----------
    chains
        Independent chains, run vectorised in one program.
    warmup
        Sweeps that learn the widths of slices, then are dropped.
    draws
        Kept sweeps of each chain.
    updates
        How sds, correlations and all else but the effects is updated. "collapsed": by slice
        sampling with the effects integrated out. "conjugate": sites whose distribution given all
        else is known (inverse gamma variances, gamma precisions, half-Cauchy and half-t sds,
        inverse Wishart covariances, Wishart precisions) are drawn from it, the others as before.
    blocks
        Effects are drawn "joint", all at once, or by "factor", those of each crossed factor
        together with the coefficients; "auto" does the latter where the joint draw would need a
        matrix of more than 400 rows.

    Raises
    ------
    SettingsError
        An option is out of range.
    """

    chains: int = 4
    warmup: int = 500
    draws: int = 1000
    updates: str = "collapsed"
    blocks: str = "auto"

    def __post_init__(self) -> None:
        checks.positive_int("chains", self.chains)
        checks.positive_int("warmup", self.warmup, minimum=20)
        checks.positive_int("draws", self.draws)
        checks.one_of("updates", self.updates, UPDATES)
        checks.one_of("blocks", self.blocks, BLOCKS)

    @property
    def name(self) -> str:
        """The word for this method in `hierjax.fit(method=...)`."""
        return "gibbs"

    def harder(self) -> "Gibbs":
        """Return more patient settings, for data whose first run went wrong: the same draws."""
        return dataclasses.replace(self, warmup=4 * self.warmup)

    def program(self, fn: Callable[..., Any], data: Mapping[str, Any]) -> Program:
        """Bind the sampler to a model function whose effects can be drawn in blocks."""
        sampler = Sampler.of(fn, data)
        chunk = -(-self.warmup // -(-self.warmup // MAX_CHUNK))

        def start(key: Array, arrays: Arrays) -> "_Run":
            keys = jax.random.split(key, self.chains)
            return _Run(jnp.asarray(0), jax.vmap(lambda key: sampler.begin(key, arrays))(keys))

        def start_near(key: Array, near: Array, arrays: Arrays) -> "_Run":
            keys = jax.random.split(key, self.chains)
            begin = jax.vmap(lambda key: sampler.begin_near(key, near, arrays))
            return _Run(jnp.asarray(0), begin(keys))

        def advance(run: "_Run", arrays: Arrays) -> tuple["_Run", dict[str, Any]]:
            def step(run: _Run, _: None) -> tuple[_Run, dict[str, Any]]:
                sweep = jax.vmap(lambda chain: sampler.sweep(chain, run.step, arrays))
                chains, record = sweep(run.chains)
                chains = jax.vmap(lambda old, new: _learn(self, old, new, run.step))(
                    run.chains, chains
                )
                return _Run(run.step + 1, chains), record

            return jax.lax.scan(step, run, length=chunk)

        def finish(run: "_Run", records: dict[str, Any], arrays: Arrays) -> Draws:
            kept = slice(self.warmup % chunk, self.warmup % chunk + self.draws)
            flat = jax.tree.map(lambda record: _chain_first(record)[:, kept], records)
            sites = sampler.sites(flat.pop("position"), flat.pop("effects"), arrays)
            return Draws(sites, flat, run.chains.status)

        return Program(
            start=start,
            start_near=start_near,
            advance=advance,
            finish=finish,
            num_chunks=-(-(self.warmup + self.draws) // chunk),
            num_discarded=self.warmup // chunk,
            report=lambda run: _report(self, run),
        )


class _Run(NamedTuple):
    step: Array
    chains: Chain


def _learn(settings: Gibbs, old: Chain, new: Chain, step: Array) -> Chain:
    """Follow the mean length of slices with their widths, until the warm-up ends."""
    length = LENGTHS * jnp.abs(new.position - old.position)
    share = 1.0 / jnp.minimum(step + 2.0, MEMORY)
    widths = old.widths + share * (length - old.widths)
    return new._replace(widths=jnp.where(step < settings.warmup, widths, old.widths))


def _chain_first(record: Array) -> Array:
    """Turn (chunk, step, chain, ...) into (chain, chunk x step, ...)."""
    flat = jnp.reshape(record, (record.shape[0] * record.shape[1], *record.shape[2:]))
    return jnp.moveaxis(flat, 1, 0)


def _report(settings: Gibbs, run: _Run) -> dict[str, Array]:
    return {
        "failed": jnp.all(run.chains.status == Status.NO_FINITE_START),
        "warming up": run.step < settings.warmup,
    }
