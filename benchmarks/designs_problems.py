"""The table of designs on real data, with what each posterior should be.

A problem's reference is one of: quadrature (`designs_quadrature`), a posterior or a fit in the
reference folder, or long chains of NumPyro's own NUTS on the same function with non-centred
effects, kept in `results/designs_reference.json`.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from benchmarks import designs_models as models
from benchmarks.designs_models import FOLDER
from benchmarks.designs_quadrature import (
    Moments,
    arms_likelihood,
    binomial_likelihood,
    population,
    summarise,
)

if TYPE_CHECKING:
    import hierjax as hj

SAMPLED = Path(__file__).parent / "results" / "designs_reference.json"
Found = Mapping[str, "Reference"]


@dataclasses.dataclass(frozen=True)
class Reference:
    """Mean and sd of one parameter, and the Monte Carlo error of the mean (0 if exact)."""

    mean: float
    sd: float
    error: float = 0.0


@dataclasses.dataclass(frozen=True)
class DesignProblem:
    """One design on one data set.

    Attributes
    ----------
    model
        Returns the model, in hierjax's words.
    reference
        Returns name of a scalar, such as "theta[0]" -> what it should be.
    source
        What the reference is: "quadrature", "folder", "lme4" (estimates, with `method`
        "empirical_bayes" alone) or "NumPyro".
    methods
        Methods that apply.
    needs
        File of the reference folder that the problem needs; "" for none.
    """

    model: Callable[[], "hj.Model"]
    reference: Callable[[], Found]
    source: str
    methods: tuple[str, ...]
    needs: str = ""

    @property
    def design(self) -> str:
        """Name of the design."""
        return self.model().name


def _root_inverse_gamma(shape: float, scale: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sd: stats.invgamma.logpdf(sd**2, shape, scale=scale) + np.log(2.0 * sd)


def _binomial_reference(
    build: Callable[[], "hj.Model"], mu: tuple[float, float], log_sigma_prior: Any, mu_prior: Any
) -> Callable[[], Found]:
    """Quadrature of a binomial population; `mu` is the range of the grid."""

    def reference() -> Found:
        data = build().data
        likelihood = binomial_likelihood(data["y"], data["trials"], data["offset"])
        return _on_grid(likelihood, mu, log_sigma_prior, mu_prior)

    return reference


def _on_grid(
    likelihood: np.ndarray, mu: tuple[float, float], sigma_prior: Any, mu_prior: Any
) -> Found:
    grid, sigma = np.linspace(*mu, 241), np.exp(np.linspace(np.log(2e-4), np.log(8.0), 301))
    found = population(likelihood, mu_prior, sigma_prior, grid, sigma)
    return _exact(summarise(*found, grid, sigma))


def _exact(moments: Mapping[str, Moments]) -> Found:
    return {name: Reference(each.mean, each.sd) for name, each in moments.items()}


def _arms_reference(build: Callable[[], "hj.Model"], d: tuple[float, float]) -> Callable[[], Found]:
    """Quadrature of log odds ratios, the default priors of `meta_arms`."""

    def reference() -> Found:
        y, trials = (np.split(build().data[name], 2) for name in ("y", "trials"))
        likelihood = arms_likelihood(y[1], trials[1], y[0], trials[0], 5.0)
        found = _on_grid(
            likelihood, d, stats.halfnorm.logpdf, lambda d: stats.norm.logpdf(d, 0.0, 2.5)
        )
        words = {"mu": "d", "sigma": "tau"}
        return {words.get(name, name.replace("theta", "delta")): v for name, v in found.items()}

    return reference


def _schools_reference() -> Found:
    """Quadrature of normal estimates with known errors; half-Cauchy(0.5) and Normal(0, 1)."""
    from benchmarks.designs_quadrature import NODES

    data = models.bcg().data
    log = stats.norm.logpdf(data["y"], NODES[:, None], data["sigma"])
    found = _on_grid(
        np.exp(log - log.max(0)),
        (-2.5, 1.5),
        lambda sd: stats.halfcauchy.logpdf(sd, scale=0.5),
        stats.norm.logpdf,
    )
    return {"tau" if name == "sigma" else name: each for name, each in found.items()}


def _folder(path: str, names: Callable[[str], str | None]) -> Callable[[], Found]:
    """Return a posterior of the reference folder; `names` turns its names into ours."""

    def reference() -> Found:
        summary = json.loads((FOLDER / path / "reference_summary.json").read_text())
        found = {
            ours: Reference(row["mean"], row["sd"], row["mcse_mean"])
            for name, row in summary["parameters"].items()
            if (ours := names(name))
        }
        exact = {
            ours: Reference(row["mean"], row["sd"])
            for name, row in summary.get("exact", {}).items()
            if (ours := names(name))
        }
        return found | exact

    return reference


def _exact_file(key: str, words: Mapping[str, str]) -> Callable[[], Found]:
    """Quadrature of the reference folder; elements are counted from one there."""

    def reference() -> Found:
        rows = json.loads((FOLDER / "exact.json").read_text())[key]
        return {
            words.get(name, _from_zero(name)): Reference(row["mean"], row["sd"])
            for name, row in rows.items()
            if "sd" in row
        }

    return reference


def _from_zero(name: str) -> str:
    """Count an element from zero: theta[1] becomes theta[0]."""
    site, _, place = name.partition("[")
    return f"{site}[{int(place[:-1]) - 1}]" if place else site


def _sampled(problem: str) -> Callable[[], Found]:
    """Long chains of NumPyro, kept in the repository."""

    def reference() -> Found:
        kept = json.loads(SAMPLED.read_text())[problem]["parameters"]
        return {name: Reference(*row) for name, row in kept.items()}

    return reference


def _lme4(key: str, words: Mapping[str, str]) -> Callable[[], Found]:
    """Estimates of lme4 by maximum likelihood."""

    def reference() -> Found:
        fit = json.loads((FOLDER / "lme4.json").read_text())[key]["fits"]["ML"]
        values = fit["fixef"] | fit["sdcor"]
        return {
            ours: Reference(values[theirs], abs(values[theirs])) for theirs, ours in words.items()
        }

    return reference


def _penicillin_names(name: str) -> str | None:
    words = {"b_Intercept": "mu", "sigma": "sigma"}
    words |= {f"sd_{factor}__Intercept": f"sd_{factor}" for factor in ("plate", "sample")}
    if name in words:
        return words[name]
    for factor, first in (("plate", "a"), ("sample", "A")):
        if name.startswith(f"r_{factor}["):
            return f"r_{factor}[{ord(name[len(factor) + 3]) - ord(first)}]"
    return None


def _pastes_names(name: str) -> str | None:
    return {
        "b_Intercept": "mu",
        "sd_batch__Intercept": "omega",
        "sd_batch:cask__Intercept": "tau",
        "sigma": "sigma",
    }.get(name)


def _sleepstudy_names(name: str) -> str | None:
    return {
        "b_Intercept": "gamma[0, 0]",
        "b_Days": "gamma[1, 0]",
        "sd_Subject__Intercept": "tau[0]",
        "sd_Subject__Days": "tau[1]",
        "sigma": "sigma",
        "cor_Subject__Intercept__Days": "cor[1, 0]",
    }.get(name)


def _rats_names(name: str) -> str | None:
    words = {
        "mu_alpha": "gamma[0, 0]",
        "mu_beta": "gamma[1, 0]",
        "sigma_alpha": "tau[0]",
        "sigma_beta": "tau[1]",
        "sigma_y": "sigma",
    }
    site, _, place = name.partition("[")
    if place and site in ("alpha", "beta"):
        return f"beta[{int(place[:-1]) - 1}, {int(site == 'beta')}]"
    return words.get(name)


def _surgical_names(name: str) -> str | None:
    return name if name in ("mu", "sigma") else _from_zero(name) if name[:2] == "p[" else None


SAMPLERS = ("nuts", "laplace")
HSB82_NAMES = {
    "(Intercept)": "gamma[0, 0]",
    "meanses": "gamma[0, 1]",
    "sectorPublic": "gamma[0, 2]",
    "cses": "gamma[1, 0]",
    "cses:meanses": "gamma[1, 1]",
    "cses:sectorPublic": "gamma[1, 2]",
    "school|(Intercept)|": "tau[0]",
    "school|cses|": "tau[1]",
    "Residual|NA|": "sigma",
}
EXAM_NAMES = {
    "(Intercept)": "gamma[0, 0]",
    "standLRT": "gamma[1, 0]",
    "school|(Intercept)|": "tau[0]",
    "school|standLRT|": "tau[1]",
    "Residual|NA|": "sigma",
}
CHEM97_NAMES = {
    "(Intercept)": "mu",
    "gcsecnt": "b[0]",
    "school|(Intercept)|": "tau",
    "lea|(Intercept)|": "omega",
    "Residual|NA|": "sigma",
}
SURGICAL = "posteriordb/surgical_data-surgical_model"
RATS = "posteriordb/rats_data-rats_model"
LME4, EXACT = "lme4.json", "exact.json"
POINT = ("empirical_bayes",)

PROBLEMS: dict[str, DesignProblem] = {
    "bcg": DesignProblem(models.bcg, _schools_reference, "quadrature", SAMPLERS),
    "bcg_arms": DesignProblem(
        models.bcg_arms,
        _arms_reference(models.bcg_arms, (-2.5, 1.0)),
        "quadrature",
        ("nuts", "svi"),
    ),
    "blockers": DesignProblem(
        models.blockers,
        _arms_reference(models.blockers, (-0.8, 0.3)),
        "quadrature",
        ("nuts", "svi"),
    ),
    "clinics": DesignProblem(
        models.clinics, _arms_reference(models.clinics, (-2.0, 3.5)), "quadrature", ("nuts",)
    ),
    "surgical": DesignProblem(
        models.surgical,
        _folder(SURGICAL, _surgical_names),
        "folder",
        SAMPLERS,
        f"{SURGICAL}/info.json",
    ),
    "surgical_quadrature": DesignProblem(
        models.surgical,
        _binomial_reference(
            models.surgical,
            (-3.6, -1.5),
            _root_inverse_gamma(0.001, 0.001),
            lambda mu: stats.norm.logpdf(mu, 0.0, 1000.0),
        ),
        "quadrature",
        SAMPLERS,
    ),
    "baseball": DesignProblem(
        models.baseball,
        _binomial_reference(
            models.baseball,
            (-1.8, -0.4),
            stats.halfnorm.logpdf,
            lambda mu: stats.norm.logpdf(mu, 0.0, 2.5),
        ),
        "quadrature",
        SAMPLERS,
    ),
    "sarcoma": DesignProblem(
        models.sarcoma,
        _binomial_reference(
            models.sarcoma,
            (-4.0, 1.5),
            _root_inverse_gamma(2.0, 0.5),
            lambda mu: stats.norm.logpdf(mu, -1.34, 10.0),
        ),
        "quadrature",
        SAMPLERS,
    ),
    "sarcoma_berry": DesignProblem(
        models.sarcoma_berry,
        _binomial_reference(
            models.sarcoma_berry,
            (-4.0, 1.5),
            _root_inverse_gamma(0.0005, 0.000005),
            lambda mu: stats.norm.logpdf(mu, -1.34, 10.0),
        ),
        "quadrature",
        ("laplace",),
    ),
    "pumps": DesignProblem(
        models.pumps,
        _exact_file("pumps (alpha~Exp(1), beta~Gamma(.1,1))", {}),
        "folder",
        ("nuts",),
        EXACT,
    ),
    "dyestuff": DesignProblem(
        models.dyestuff,
        _exact_file("bugs_dyes (theta~N(0,1e5), precisions Gamma(.001,.001))", {"theta": "mu"}),
        "folder",
        ("laplace",),
        EXACT,
    ),
    "penicillin": DesignProblem(
        models.penicillin,
        _folder("bayes/penicillin", _penicillin_names),
        "folder",
        SAMPLERS,
        "bayes/penicillin/info.json",
    ),
    "pastes": DesignProblem(
        models.pastes,
        _folder("bayes/pastes", _pastes_names),
        "folder",
        SAMPLERS,
        "bayes/pastes/info.json",
    ),
    "sleepstudy": DesignProblem(
        models.sleepstudy,
        _folder("bayes/sleepstudy", _sleepstudy_names),
        "folder",
        SAMPLERS,
        "bayes/sleepstudy/info.json",
    ),
    "rats": DesignProblem(
        models.rats, _folder(RATS, _rats_names), "folder", SAMPLERS, f"{RATS}/info.json"
    ),
    "chem97_ml": DesignProblem(models.chem97, _lme4("chem97", CHEM97_NAMES), "lme4", POINT, LME4),
    "hsb82_ml": DesignProblem(models.hsb82, _lme4("hsb82", HSB82_NAMES), "lme4", POINT, LME4),
    "exam_ml": DesignProblem(models.exam, _lme4("exam", EXAM_NAMES), "lme4", POINT, LME4),
} | {
    name: DesignProblem(model, _sampled(name), "NumPyro", methods)
    for name, model, methods in (
        ("hsb82", models.hsb82, SAMPLERS),
        ("btheb", models.btheb, SAMPLERS),
        ("cheese", models.cheese, SAMPLERS),
        ("verbagg_1pl", models.verbagg_1pl, ("nuts", "svi")),
        ("verbagg_2pl", models.verbagg_2pl, ("nuts",)),
        ("margarine", models.margarine, ("nuts",)),
        ("dune", models.dune, ("nuts", "svi")),
        ("salamanders", models.salamanders, ("nuts",)),
        ("california_schools", models.california_schools, ("nuts",)),
    )
}
