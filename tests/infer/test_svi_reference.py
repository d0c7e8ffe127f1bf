"""Approximations against long runs of NUTS on real data: sds of what is left to sample.

`python -m tests.infer.test_svi_reference` prints the table of docs/notes/svi.md.
"""

import functools
import time

import numpy as np
import numpyro.distributions as dist
import pytest

import hierjax as hj

RADON = "log_radon ~ floor + log_uranium + (1 + floor | county)"
PRIORS = {
    "b_Intercept": dist.Normal(1.0, 2.5),
    "b_floor": dist.Normal(0.0, 2.5),
    "b_log_uranium": dist.Normal(0.0, 2.5),
    "sd_county": dist.HalfNormal(1.0),
    "cor_county": dist.LKJCholesky(2, 2.0),
    "sigma": dist.HalfNormal(1.0),
}
MODELS = {
    "radon": lambda: hj.formula(RADON, hj.load_data("radon"), priors=PRIORS),
    "cbpp": lambda: hj.formula(
        "incidence / size ~ period + (1 | herd)",
        hj.load_data("cbpp").astype({"period": str}),
        family="binomial",
    ),
    "grouseticks": lambda: hj.formula(
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)",
        hj.load_data("grouseticks")
        .astype({"YEAR": str})
        .assign(cHEIGHT=lambda table: table["cHEIGHT"] / 100.0),
        family="poisson",
    ),
    "sleepstudy": lambda: hj.formula(
        "Reaction ~ Days + (Days | Subject)", hj.load_data("sleepstudy")
    ),
}
LONG = hj.NUTS(chains=4, warmup=1000, draws=3000)
FITS = {
    "mean field, non-centred": (hj.SVI(guide="normal", draws=4000), "noncentred"),
    "mean field": (hj.SVI(guide="normal", draws=4000), "auto"),
    "structured, non-centred": (hj.SVI(draws=4000), "noncentred"),
    "structured": (hj.SVI(draws=4000), "auto"),
    "multivariate": (hj.SVI(guide="multivariate", draws=4000), "auto"),
    "deterministic ADVI": (hj.DeterministicADVI(draws=4000), "auto"),
    "Laplace": (hj.Laplace(), "auto"),
}


@functools.cache
def model_of(name):
    return MODELS[name]()


@functools.cache
def long_run(name):
    return hj.fit(model_of(name), method=LONG, progress=False)


@functools.cache
def fit_of(name, how):
    method, effects = FITS[how]
    return hj.fit(model_of(name), method=method, effects=effects, progress=False)


def ratios(name, how):
    """Sd of every parameter that is shown, and of every effect, relative to NUTS; and gaps."""
    long, quick = long_run(name), fit_of(name, how)
    exact, found = long.summary(), quick.summary()
    keep = exact["sd"] > 0
    sds = (found["sd"] / exact["sd"])[keep]
    gaps = (np.abs(found["mean"] - exact["mean"]) / exact["sd"])[keep]
    effects = [each for each in long.draws if each.startswith("r_")]
    of_effects = np.concatenate(
        [np.ravel(quick.draws[e].std((0, 1)) / long.draws[e].std((0, 1))) for e in effects]
    )
    return sds, gaps, of_effects


LEAST = {"radon": 0.9, "cbpp": 0.87}  # share of the sds of NUTS


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAST)
def test_sds_of_the_structured_guide_are_nearly_those_of_nuts_where_mean_field_is_not(name):
    sds, gaps, effects = ratios(name, "structured")
    assert LEAST[name] < sds.min() and sds.max() < 1.1, sds
    assert gaps.max() < 0.15
    assert 0.9 < effects.min() and effects.max() < 1.1
    poor = ratios(name, "mean field, non-centred")[0]
    assert poor.min() < 0.8, poor


@pytest.mark.slow
@pytest.mark.parametrize("name", ["radon", "cbpp"])
def test_sds_of_deterministic_advi_are_near_those_of_nuts(name):
    sds, gaps, _ = ratios(name, "deterministic ADVI")
    assert 0.85 < sds.min() and sds.max() < 1.15, sds
    assert gaps.max() < 0.3


def cpu_seconds(name, how):
    """Processor time of a second fit: nothing is compiled."""
    method, effects = FITS[how]
    fit_of(name, how)
    started = time.process_time()
    hj.fit(model_of(name), method=method, effects=effects, progress=False)
    return time.process_time() - started


def main() -> None:
    """Print a row for each model and way."""
    for name in MODELS:
        for how in FITS:
            try:
                sds, gaps, effects = ratios(name, how)
            except hj.errors.HierjaxError as error:
                print(f"| {name} | {how} | {str(error)[:60]} |")
                continue
            quick = fit_of(name, how).diagnostics()
            cells = [
                name,
                how,
                f"{sds.min():.2f} to {sds.max():.2f}",
                f"{effects.min():.2f} to {effects.max():.2f}",
                f"{gaps.max():.2f}",
                f"{quick.k_hat:.2f}",
                f"{quick.weight_ess:,.0f}",
                f"{cpu_seconds(name, how):.1f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
