"""Published fits: at lme4's estimates, its log-likelihood and its coefficients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hierjax.groups import encode
from hierjax.linalg import (
    Factor,
    Prior,
    Structure,
    Term,
    conditional_mean,
    dense,
    factorise,
    least_squares,
    log_likelihood,
    log_likelihood_of,
    summarise_stream,
)
from tests.helpers import reference, reference_json


@dataclasses.dataclass(frozen=True)
class Fit:
    """A model of lme4.json: response, columns of X beside the intercept, factors with slopes."""

    file: str
    response: str
    columns: tuple[str, ...]
    factors: dict[str, tuple[str, ...]]
    parents: dict[str, str] = dataclasses.field(default_factory=dict)


FITS = {
    "sleepstudy": Fit("sleepstudy.csv", "Reaction", ("Days",), {"Subject": ("Days",)}),
    "sleepstudy_int": Fit("sleepstudy.csv", "Reaction", ("Days",), {"Subject": ()}),
    "sleepstudy_zc": Fit("sleepstudy.csv", "Reaction", ("Days",), {"Subject": ("Days",)}),
    "radon": Fit("radon_mn.csv", "log_radon", ("floor", "log_uranium"), {"county": ("floor",)}),
    "radon_int": Fit("radon_mn.csv", "log_radon", ("floor", "log_uranium"), {"county": ()}),
    "radon_zc": Fit("radon_mn.csv", "log_radon", ("floor", "log_uranium"), {"county": ("floor",)}),
    "dyestuff": Fit("dyestuff.csv", "Yield", (), {"Batch": ()}),
    "pastes": Fit("pastes.csv", "strength", (), {"sample": (), "batch": ()}, {"sample": "batch"}),
    "penicillin": Fit("penicillin.csv", "diameter", (), {"plate": (), "sample": ()}),
    "exam": Fit("exam.csv", "normexam", ("standLRT",), {"school": ("standLRT",)}),
    "chem97": Fit(
        "chem97.csv.gz", "score", ("gcsecnt",), {"school": (), "lea": ()}, {"school": "lea"}
    ),
    "insteval": Fit("insteval.csv.gz", "y", ("service",), {"s": (), "d": ()}),
}


@functools.cache
def frame_of(name):
    return pd.read_csv(reference(f"csv/{FITS[name].file}"))


def rows_of(name, fixed, frame):
    fit = FITS[name]
    one = np.ones(len(frame))
    design = np.stack([one, *(frame[column] for column in fit.columns)], axis=1)
    factors, terms = [], []
    for factor, slopes in fit.factors.items():
        index, labels = encode(frame[factor])
        columns = np.stack([one, *(frame[slope] for slope in slopes)], axis=1)
        parent = fit.parents.get(factor)
        factors.append(Factor(factor, len(labels), columns.shape[1], parent))
        terms.append(Term(index, columns.astype(float)))
    structure = Structure(tuple(factors), design.shape[1], fixed)
    return structure, np.asarray(frame[fit.response], float), terms, design.astype(float)


def prior_of(name, answer):
    """Scales from lme4's standard deviations and correlations, keyed "factor|effect|other"."""
    scales = []
    for factor, slopes in FITS[name].factors.items():
        sds = [answer[f"{factor}|(Intercept)|"]]
        sds += [answer.get(f"{factor}|{s}|", answer.get(f"{factor}.1|{s}|")) for s in slopes]
        correlation = np.eye(len(sds))
        for slope in slopes:
            value = answer.get(f"{factor}|(Intercept)|{slope}", 0.0)
            correlation[0, 1] = correlation[1, 0] = value
        scales.append(jnp.asarray(np.diag(sds) @ np.linalg.cholesky(correlation)))
    return Prior(tuple(scales))


@pytest.mark.parametrize("fixed", ["ml", "reml"])
@pytest.mark.parametrize("name", FITS)
def test_log_likelihood_and_coefficients_are_those_of_lme4(name, fixed):
    answer = reference_json("lme4.json")[name]["fits"][fixed.upper()]
    with jax.enable_x64(True):
        structure, y, terms, x = rows_of(name, fixed, frame_of(name))
        statistics = summarise_stream(structure, y, terms, x, origin=least_squares(y, x))
        prior = prior_of(name, answer["sdcor"])
        factorisation = jax.jit(factorise)(statistics, prior, answer["sigma"])
        assert abs(log_likelihood_of(factorisation) - answer["loglik"]) < 1e-4
        columns = conditional_mean(factorisation).columns
        # lme4 stops where the likelihood is flat, a little off the maximum.
        error = np.abs(columns - np.array(list(answer["fixef"].values())))
        assert np.all(error < 1e-3 * np.array(list(answer["se"].values())))


@pytest.mark.parametrize("name", ["sleepstudy", "radon", "penicillin", "pastes", "chem97"])
def test_log_likelihood_equals_the_dense_normal_density_on_real_data(name):
    answer = reference_json("lme4.json")[name]["fits"]["ML"]
    frame = frame_of(name).iloc[:300]
    with jax.enable_x64(True):
        structure, y, terms, x = rows_of(name, "prior", frame)
        p = structure.columns
        statistics = summarise_stream(structure, y, terms, x, origin=least_squares(y, x))
        scales = prior_of(name, answer["sdcor"]).scales
        prior = Prior(scales, jnp.full(p, 10.0), (), jnp.full(p, 0.3))
        ours = log_likelihood(statistics, prior, answer["sigma"])
        theirs = dense.log_likelihood(structure, y, terms, x, prior, answer["sigma"])
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
