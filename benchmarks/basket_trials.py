"""The basket trial of Berry et al. on thousands of simulated trials, against quadrature.

    python -m benchmarks.basket_trials --trials 10000

Four arms, binomial, an Inverse-Gamma(0.0005, 0.000005) prior of the variance (numpyro#1466). What a
trial decides by is the posterior probability of each arm that its rate is above the target. The
exact value comes from quadrature in NumPy: given mean and sd of the population the arms are
independent, so that what an arm says is one table for every count that it can have. Trials with the
same counts are one data set, and are fitted once.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

PATIENTS = np.array([15, 13, 12, 28])  # sarcoma: leiomyosarcoma, liposarcoma, MFH, osteosarcoma
TARGET, NULL = 0.3, 0.1
OFFSET = float(np.log(TARGET / (1 - TARGET)))
MEAN, MEAN_SD = -1.34, 10.0
SHAPE, SCALE = 0.0005, 0.000005

RESULTS = Path(__file__).parent / "results" / "basket_trials.jsonl"
PIECE = 512  # outcomes of one call

# Grids: finer near where the likelihood is, and over the tails that the priors leave.
MU = np.concatenate([np.arange(-40, -8, 0.5), np.arange(-8, 6, 0.1), np.arange(6, 30.1, 0.5)])
LOG_SIGMA = np.linspace(np.log(3e-4), np.log(300.0), 180)
THETA = np.arange(-2500, 2001) * 0.01  # above the first sigma that it resolves
RESOLVED = 0.05
STANDARD = np.linspace(-8.0, 8.0, 401)  # below it, in standard deviations


def simulate(trials: int, seed: int) -> np.ndarray:
    """Responders (trial, arm); each arm works, or does not, with even odds."""
    generator = np.random.default_rng(seed)
    works = generator.random((trials, len(PATIENTS))) < 0.5
    return generator.binomial(PATIENTS, np.where(works, TARGET, NULL))


def arm_tables(patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Likelihood of every count of one arm, and the same with its rate above the target.

    Shapes (sigma, mu, count); up to a factor that depends on the count alone.
    """
    counts = np.arange(patients + 1)

    def likelihood(theta: np.ndarray) -> np.ndarray:
        eta = theta[..., None] + OFFSET
        return np.exp(counts * eta - patients * np.logaddexp(0.0, eta))

    fine = likelihood(THETA)
    above = fine * np.where(THETA == 0, 0.5, THETA > 0)[:, None]
    whole = np.empty((len(LOG_SIGMA), len(MU), patients + 1))
    part = np.empty_like(whole)
    for row, sigma in enumerate(np.exp(LOG_SIGMA)):
        if sigma >= RESOLVED:
            weight = stats.norm.pdf(THETA, MU[:, None], sigma) * (THETA[1] - THETA[0])
            whole[row], part[row] = weight @ fine, weight @ above
            lower, upper = stats.norm.cdf(THETA[0], MU, sigma), stats.norm.sf(THETA[-1], MU, sigma)
            whole[row, :, 0] += lower
            whole[row, :, -1] += upper
            part[row, :, -1] += upper
            continue
        theta = MU[:, None] + sigma * STANDARD
        weight = stats.norm.pdf(STANDARD) * (STANDARD[1] - STANDARD[0])
        share = np.clip(theta / (sigma * (STANDARD[1] - STANDARD[0])) + 0.5, 0.0, 1.0)
        values = likelihood(theta)
        whole[row] = np.einsum("v,mvc->mc", weight, values)
        part[row] = np.einsum("mv,mvc->mc", weight * share, values)
    return whole, part


def exact_probabilities(responders: np.ndarray) -> np.ndarray:
    """Posterior probability (trial, arm) that an arm's rate is above the target."""
    sigma = np.exp(LOG_SIGMA)
    log_prior = stats.invgamma.logpdf(sigma**2, SHAPE, scale=SCALE) + 2 * LOG_SIGMA
    prior = np.exp(log_prior - log_prior.max())[:, None] * stats.norm.pdf(MU, MEAN, MEAN_SD)
    prior = prior * np.gradient(MU)
    tables = [arm_tables(patients) for patients in PATIENTS]
    distinct, places = np.unique(responders, axis=0, return_inverse=True)
    found = np.empty(distinct.shape)
    for row, counts in enumerate(distinct):
        wholes = [whole[..., count] for (whole, _), count in zip(tables, counts, strict=True)]
        parts = [part[..., count] for (_, part), count in zip(tables, counts, strict=True)]
        joint = prior * np.prod(wholes, axis=0)
        for arm in range(len(counts)):
            others = prior * np.prod([*wholes[:arm], parts[arm], *wholes[arm + 1 :]], axis=0)
            found[row, arm] = others.sum() / joint.sum()
    return found[places.ravel()]


def summary(errors: np.ndarray) -> str:
    """Describe errors (trial, arm) in a line."""
    sizes = np.abs(errors)
    return (
        f"rms {np.sqrt(np.mean(sizes**2)):.4f}, 99.9 % below {np.quantile(sizes, 0.999):.4f}, "
        f"largest {sizes.max():.4f}, within 0.01: {np.mean(sizes < 0.01):.5f} of arms"
    )


def fit(distinct: np.ndarray, draws: int, points: int, path: Path) -> list[dict[str, Any]]:
    """Fit every outcome (outcome, arm), in pieces; rows are kept in a file and taken from there."""
    import hierjax as hj

    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    model = hj.library.basket_trial(distinct[0], PATIENTS, target=TARGET)
    method = hj.Laplace(draws=draws, points=points)
    for first in range(len(rows), len(distinct), PIECE):
        piece, started = distinct[first : first + PIECE], time.process_time()
        batch = hj.fit_many(model, {"y": piece}, method=method, progress=False)
        seconds = (time.process_time() - started) / len(piece)
        report = batch.report()
        for place, counts in enumerate(piece):
            above = np.mean(batch[place].draws["p"] > TARGET, axis=(0, 1))
            rows.append(
                {
                    "responders": counts.tolist(),
                    "above_target": above.tolist(),
                    "status": str(report.status.iloc[place]),
                    "k_hat": float(report.k_hat.iloc[place]),
                    "cpu_seconds": seconds,
                }
            )
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        print(f"{len(rows):,} of {len(distinct):,}: {1e3 * seconds:.0f} CPU ms each", flush=True)
    return rows


def long_chains(responders: np.ndarray, draws: int = 50_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of one outcome by NumPyro's NUTS, four chains, and their standard errors."""
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    from hierjax.diagnostics import mcse_mean

    def trial(y: np.ndarray) -> None:
        mu = numpyro.sample("mu", dist.Normal(MEAN, MEAN_SD))
        variance = numpyro.sample("variance", dist.InverseGamma(SHAPE, SCALE))
        with numpyro.plate("arms", len(y)):
            standard = numpyro.sample("standard", dist.Normal())
            theta = numpyro.deterministic("theta", mu + variance**0.5 * standard)
            numpyro.sample("y", dist.Binomial(PATIENTS, logits=theta + OFFSET), obs=y)

    with jax.enable_x64(True):
        mcmc = MCMC(
            NUTS(trial, target_accept_prob=0.95), num_warmup=2000, num_samples=draws,
            num_chains=4, chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        mcmc.run(jax.random.key(1), responders)
        above = np.asarray(mcmc.get_samples(group_by_chain=True)["theta"]) > 0
    return above.mean((0, 1)), mcse_mean(above.astype(float))


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, fit, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=8000)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chains", type=int, default=0, help="outcomes to sample by NUTS, too")
    parser.add_argument("--out", type=Path, default=RESULTS, help="rows, taken up again if there")
    options = parser.parse_args(arguments)
    responders = simulate(options.trials, options.seed)
    distinct, places = np.unique(responders, axis=0, return_inverse=True)
    rows = fit(distinct, options.draws, options.points, options.out)
    kept = [row["responders"] for row in rows]
    if kept != distinct.tolist():
        parser.error(f"{options.out} has the rows of other trials: remove it.")
    estimated = np.array([row["above_target"] for row in rows])
    errors = (estimated - exact_probabilities(distinct))[places.ravel()]
    good = np.array([row["status"] == "ok" for row in rows])[places.ravel()]
    seconds = np.array([row["cpu_seconds"] for row in rows])
    print(f"{len(responders):,} trials of {len(distinct):,} distinct outcomes, each fitted once")
    print(f"CPU ms an outcome: {1e3 * np.median(seconds):.0f}; {seconds.sum():,.0f} CPU s in all")
    print(f"largest k-hat {max(row['k_hat'] for row in rows):.2f}")
    print(f"{np.sum(good):,} trials fitted well: {summary(errors[good])}")
    for counts in responders[: options.chains]:
        found, errors = long_chains(counts)
        exact = exact_probabilities(counts[None])[0]
        print(f"{counts}: quadrature {exact.round(4)}, NUTS {found.round(4)} +- {errors.round(4)}")
    if not good.all():
        print(f"{np.sum(~good):,} that the report flags: {summary(errors[~good])}")


if __name__ == "__main__":
    main()
