"""References of last resort: long chains of NumPyro's own NUTS, or of a sampler in NumPy."""

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.designs_compare import scalars
from benchmarks.designs_gaussian import sample_gaussian
from benchmarks.designs_problems import PROBLEMS, SAMPLED, DesignProblem
from benchmarks.designs_topics import in_one_order
from benchmarks.effects import effective_sample_size, versions

if TYPE_CHECKING:
    import hierjax as hj

CHAINS = 4


def sample_numpyro(model: "hj.Model", warmup: int, draws: int, seed: int) -> tuple[Any, str, int]:
    """Draws of NumPyro's NUTS with non-centred effects, one chain after another; divergences."""
    import jax
    from numpyro.infer import MCMC, NUTS

    from hierjax.transforms.noncentre import noncentre

    fn = noncentre(model.fn, model.data)[0]
    with jax.enable_x64(True):
        kernel = NUTS(fn, target_accept_prob=0.9)
        mcmc = MCMC(
            kernel, num_warmup=warmup, num_samples=draws, num_chains=CHAINS,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        mcmc.run(jax.random.key(seed), extra_fields=("diverging",), **model.data)
        found = {name: np.asarray(v) for name, v in mcmc.get_samples(group_by_chain=True).items()}
        diverging = int(mcmc.get_extra_fields()["diverging"].sum())
    words = f"NumPyro NUTS, non-centred, {CHAINS} chains, {warmup} + {draws}, target 0.9"
    return found, words, diverging


def sample_reference(problem: DesignProblem, seed: int = 1) -> dict[str, Any]:
    """Moments of every scalar of the model, with their Monte Carlo errors."""
    from hierjax.trace import abstract_trace

    model = problem.model()
    started = time.process_time()
    if problem.source == "NumPyro":
        draws, sampler, diverging = sample_numpyro(model, *problem.length, seed)
    else:
        (draws, sampler), diverging = sample_gaussian(model, *problem.length, seed), 0
    if "topic_words" in draws:
        draws = in_one_order(draws)
    sites = abstract_trace(model.fn, model.data).sites.values()
    wanted = {
        site.name: draws[site.name] for site in sites if site.kind in ("latent", "deterministic")
    }
    found, sizes = {}, {}
    for name, values in scalars(model, wanted).items():
        sd = float(np.std(values, ddof=1))
        if sd > 1e-9:  # an element of a correlation matrix may be constant
            sizes[name] = effective_sample_size(values, "bulk")
            error = sd / effective_sample_size(values, "mean") ** 0.5
            found[name] = [float(f"{x:.6g}") for x in (np.mean(values), sd, error)]
    worst = min(sizes, key=lambda name: sizes[name])
    return {
        "sampler": sampler,
        "minimum_ess": round(sizes[worst]),
        "worst": worst,
        "divergences": diverging,
        "cpu_seconds": round(time.process_time() - started),
        "versions": versions(),
        "parameters": found,
    }


def keep_reference(name: str) -> str:
    """Sample a reference and put it into the file, in place of the one there; say how it went."""
    kept = json.loads(SAMPLED.read_text()) if SAMPLED.exists() else {}
    kept[name] = sample_reference(PROBLEMS[name])
    ordered = {each: kept[each] for each in PROBLEMS if each in kept}
    lines = [f"{json.dumps(each)}: {json.dumps(row)}" for each, row in ordered.items()]
    SAMPLED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    facts = {key: value for key, value in kept[name].items() if key != "parameters"}
    return f"{name}: {len(kept[name]['parameters'])} parameters, {facts}"
