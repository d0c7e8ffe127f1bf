"""The fits of lme4.json as formulas, and how their numbers are called here."""

import dataclasses

import numpy as np
import pandas as pd

from hierjax.names import scalar_names
from tests.helpers import reference, reference_json


@dataclasses.dataclass(frozen=True)
class Fit:
    """A row of lme4.json: file, formula, family, and columns that are categories."""

    file: str
    formula: str
    family: str = "gaussian"
    categories: tuple[str, ...] = ()

    @property
    def frame(self):
        frame = pd.read_csv(reference(f"csv/{self.file}"))
        if self.file.startswith("grouseticks"):
            frame["hz"] = (frame["HEIGHT"] - frame["HEIGHT"].mean()) / frame["HEIGHT"].std()
        if self.file.startswith("verbagg"):
            frame["y"] = (frame["r2"] == "Y").astype(int)
        return frame.astype(dict.fromkeys(self.categories, str))


SLEEP, RADON = "sleepstudy.csv", "radon_mn.csv"
FITS = {
    "sleepstudy": Fit(SLEEP, "Reaction ~ Days + (Days | Subject)"),
    "sleepstudy_int": Fit(SLEEP, "Reaction ~ Days + (1 | Subject)"),
    "sleepstudy_zc": Fit(SLEEP, "Reaction ~ Days + (Days || Subject)"),
    "radon": Fit(RADON, "log_radon ~ floor + log_uranium + (floor | county)"),
    "radon_int": Fit(RADON, "log_radon ~ floor + log_uranium + (1 | county)"),
    "radon_zc": Fit(RADON, "log_radon ~ floor + log_uranium + (floor || county)"),
    "dyestuff": Fit("dyestuff.csv", "Yield ~ 1 + (1 | Batch)"),
    "pastes": Fit("pastes.csv", "strength ~ 1 + (1 | batch) + (1 | sample)"),
    "penicillin": Fit("penicillin.csv", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "exam": Fit("exam.csv", "normexam ~ standLRT + (standLRT | school)"),
    "hsb82": Fit("hsb82.csv", "mAch ~ cses*meanses + cses*sector + (cses | school)"),
    "chem97": Fit("chem97.csv.gz", "score ~ gcsecnt + (1 | school) + (1 | lea)"),
    "insteval": Fit(
        "insteval.csv.gz", "y ~ service + (1 | s) + (1 | d)", categories=("service", "s", "d")
    ),
    "cbpp": Fit(
        "cbpp.csv", "incidence / size ~ period + (1 | herd)", "binomial", ("period", "herd")
    ),
    "grouseticks": Fit(
        "grouseticks.csv",
        "TICKS ~ YEAR + hz + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "poisson",
        ("YEAR", "BROOD", "INDEX", "LOCATION"),
    ),
    "verbagg": Fit(
        "verbagg.csv.gz",
        "y ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        "bernoulli",
        ("id", "item"),
    ),
}


def answer(name, kind):
    """The fit of lme4: log-likelihood, fixed effects with errors, sds and correlations."""
    return reference_json("lme4.json")[name]["fits"][kind]


def deviations(post, expected):
    """How far a fit is from lme4's: log-likelihood, and in relative terms sds, errors, effects.

    Fixed effects count in their standard errors, sds and correlations relative to themselves.
    """
    estimates = post.info.estimates
    fixed, scale = coefficients(post), scales(estimates)
    names = {name: _plain(name) for name in expected["fixef"]}
    effects = [
        abs(fixed[key][0] - expected["fixef"][name]) / expected["se"][name]
        for name, key in names.items()
    ]
    errors = [abs(fixed[key][1] / expected["se"][name] - 1) for name, key in names.items()]
    sds = [abs(scale[_place(name)] / value - 1) for name, value in expected["sdcor"].items()]
    return {
        "log_likelihood": post.log_likelihood - expected["loglik"],
        "fixef": max(effects),
        "se": max(errors),
        "sdcor": max(sds, default=0.0),
    }


def coefficients(post):
    """Coefficient, called as by lme4 -> estimate and standard error."""
    found = {}
    for site, values in post.info.estimates.items():
        if site.startswith("b_"):
            pairs = np.reshape(values, (2, -1)).T
            for name, pair in zip(scalar_names(post.model, site), pairs, strict=True):
                found[_plain(name.removeprefix("b_"))] = tuple(pair)
    return found


def scales(estimates):
    """(factor, effect, other effect) -> sd or correlation, in the order of the effects."""
    found = {("Residual", 0, None): float(estimates["sigma"][0])} if "sigma" in estimates else {}
    for site, values in estimates.items():
        kind, _, factor = site.partition("_")
        factor, _, block = factor.partition("__")
        if kind == "sd":
            for place, value in enumerate(np.ravel(values[0])):
                found[factor, place + (block not in ("", "Intercept")), None] = value
        if kind == "cor":
            found[factor, 0, 1] = values[0][1, 0]
    return found


def _place(name):
    """Where a name of lme4, such as "county|(Intercept)|floor", is in `scales`."""
    factor, effect, other = name.split("|")
    place = 0 if effect in ("(Intercept)", "NA") else 1
    return factor.removesuffix(".1"), place, 1 if other else None


def _plain(name):
    plain = name.replace("(Intercept)", "Intercept").replace("[", "").replace("]", "")
    return plain.replace("b_", "")
