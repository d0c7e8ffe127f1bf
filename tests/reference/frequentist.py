"""The fits of frequentist.json: maximum likelihood and REML, by lme4 and metafor.

Most are fits of lme4.json again, with lme4's own optimiser as it is: those are compared with that
file and not fitted again. The others are fitted by hierjax.
"""

import dataclasses
from collections.abc import Mapping

import hierjax as hj
from tests.helpers import reference_json
from tests.infer.lme4_fits import FITS, Fit

FREQUENTIST = "frequentist.json"

# Entry of frequentist.json -> fit of lme4.json that it repeats.
REPEATED = {
    "sleepstudy[0]": ("sleepstudy", "REML"),
    "sleepstudy[1]": ("sleepstudy", "ML"),
    "penicillin[0]": ("penicillin", "REML"),
    "pastes[0]": ("pastes", "REML"),
    "pastes[1]": ("pastes", "ML"),
    "dyestuff[0]": ("dyestuff", "REML"),
    "dyestuff[1]": ("dyestuff", "ML"),
    "radon_mn[1]": ("radon_int", "REML"),
    "exam[0]": ("exam", "ML"),
    "verbagg[1]": ("verbagg", "nAGQ1"),
    "chem97[0]": ("chem97", "REML"),
    "hsb82[0]": ("hsb82", "REML"),
}


@dataclasses.dataclass(frozen=True)
class PointFit:
    """A fit of frequentist.json that hierjax repeats.

    `kind` is "ml" or "reml" of a normal response, and of others the nodes of the quadrature.
    """

    fit: Fit
    kind: str | int
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def frame(self):
        """Return the data, with the columns that the formulas need."""
        frame = self.fit.frame
        if self.fit.file == "rats.csv":
            frame["x"] = frame["day"] - 22.0
        return frame

    def fitted(self) -> "hj.Posterior":
        """Estimate by hierjax."""
        if isinstance(self.kind, int):
            method = hj.EmpiricalBayes(order=self.kind, draws=2)
        else:
            method = hj.EmpiricalBayes(self.kind, draws=2)
        return hj.fit(
            self.fit.formula,
            self.frame,
            family=self.fit.family,
            method=method,
            progress=False,
            **self.options,
        )


@dataclasses.dataclass(frozen=True)
class BcgFit(Fit):
    """The packaged trials, which have the log risk ratios and their standard errors."""

    @property
    def frame(self):
        return hj.load_data(self.file).astype({"trial": str})


RADON, RATS, EXAM = "radon_mn.csv", "rats.csv", "exam.csv"
KNOWN = {"known_sd": "sei"}

FITTED = {
    "radon_mn[0]": PointFit(Fit(RADON, "log_radon_gh ~ floor + (1 | county)"), "reml"),
    "radon_mn[2]": PointFit(Fit(RADON, "log_radon ~ floor + (1 | county)"), "reml"),
    "radon_mn[3]": PointFit(Fit(RADON, "log_radon ~ floor + (1 + floor | county)"), "reml"),
    "rats[0]": PointFit(Fit(RATS, "weight ~ x + (x | rat)", categories=("rat",)), "reml"),
    "rats[1]": PointFit(Fit(RATS, "weight ~ x + (x || rat)", categories=("rat",)), "reml"),
    "exam[1]": PointFit(
        Fit(EXAM, "normexam ~ standLRT + (1 | school)", categories=("school",)), "ml"
    ),
    "insteval[0]": PointFit(
        Fit(
            "insteval.csv.gz",
            "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
            categories=("service", "s", "d", "dept"),
        ),
        "ml",
    ),
    "cbpp[0]": PointFit(FITS["cbpp"], 1),
    "cbpp[1]": PointFit(FITS["cbpp"], 25),
    "seeds[0]": PointFit(
        Fit(
            "seeds.csv", "germinated / total ~ seed * extract + (1 | plate)", "binomial", ("plate",)
        ),
        1,
    ),
    "surgical[0]": PointFit(
        Fit("surgical.csv", "deaths / operations ~ 1 + (1 | hospital)", "binomial"), 1
    ),
    "grouseticks[0]": PointFit(
        Fit(
            "grouseticks.csv",
            "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
            "poisson",
            ("YEAR", "BROOD", "INDEX", "LOCATION"),
        ),
        1,
    ),
    "owls[0]": PointFit(
        Fit("owls.csv", "SiblingNegotiation ~ FoodTreatment * SexParent + (1 | Nest)", "poisson"),
        1,
        {"offset": "logBroodSize"},
    ),
    "meta_bcg[0]": PointFit(BcgFit("bcg", "yi ~ 1 + (1 | trial)"), "reml", KNOWN),
    "meta_bcg[2]": PointFit(BcgFit("bcg", "yi ~ ablat + (1 | trial)"), "reml", KNOWN),
    "eight_schools[0]": PointFit(
        Fit("eight_schools.csv", "y ~ 1 + (1 | school)"), "reml", {"known_sd": "sigma"}
    ),
}


def compared_entries() -> set[str]:
    """Every entry of the file that is compared with something."""
    return {f"{FREQUENTIST}:{entry}" for entry in (*REPEATED, *FITTED)}


def entry_of(name: str) -> dict:
    """Return an entry such as "rats[1]" as the file has it."""
    dataset, _, place = name[:-1].partition("[")
    return reference_json(FREQUENTIST)[dataset][int(place)]


def in_words_of_lme4(name: str) -> dict:
    """Return an entry in the form of lme4.json: log-likelihood, fixed effects, errors, scales."""
    entry = entry_of(name)
    fixed, errors = (_named(entry[key]) for key in ("fixed", "fixed_se"))
    if "tau2" in entry:
        group = {"meta_bcg": "trial", "eight_schools": "school"}[entry["dataset"]]
        scales = {f"{group}|(Intercept)|": entry["tau2"] ** 0.5}
    else:
        scales = {_scale_name(row): row["sd_or_corr"] for row in entry["random"]}
    return {"loglik": entry["logLik"], "fixef": fixed, "se": errors, "sdcor": scales}


# Combinations of two categories, of which hierjax names both factors first.
WORDS = {"FoodTreatmentSatiated:SexParentMale": "FoodTreatment:SexParentSatiated:Male"}


def _named(values: dict | list) -> dict[str, float]:
    """Name the intercept where it is alone, and as lme4 does."""
    named = values if isinstance(values, dict) else {"(Intercept)": values[0]}
    words = WORDS | {"intrcpt": "(Intercept)"}
    return {words.get(name, name): value for name, value in named.items()}


def _scale_name(row: dict) -> str:
    return f"{row['group']}|{row['term1'] or 'NA'}|{row['term2'] or ''}"
