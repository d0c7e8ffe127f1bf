"""The table of designs on real data, with what each posterior should be.

A problem's reference is one of: quadrature (`designs_quadrature`), a posterior or a fit in the
reference folder, or long chains of NumPyro's own NUTS on the same function with non-centred
effects (where these can be integrated out: of a sampler in NumPy), kept in
`results/designs_reference.json`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchmarks import designs_models as models
from benchmarks import designs_words as words
from benchmarks.designs_expected import (
    SAMPLED,
    Found,
    arms_reference,
    binomial_reference,
    exact_file,
    folder,
    lme4,
    root_inverse_gamma,
    sampled,
    schools_reference,
    slopes_reference,
)
from benchmarks.designs_topics import in_order

if TYPE_CHECKING:
    import hierjax as hj

__all__ = ["PROBLEMS", "SAMPLED", "DesignProblem"]
Draws = Mapping[str, np.ndarray]


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
        "empirical_bayes" alone), "NumPyro" or "NumPy" (long chains).
    methods
        Methods that apply.
    needs
        File of the reference folder that the problem needs; "" for none.
    length
        Warm-up and draws of each of four long chains.
    """

    model: Callable[[], "hj.Model"]
    reference: Callable[[], Found]
    source: str
    methods: tuple[str, ...]
    needs: str = ""
    length: tuple[int, int] = (1000, 2000)

    @property
    def design(self) -> str:
        """Name of the design."""
        return self.model().name

    def comparable(self, draws: Draws, expected: Found) -> Draws:
        """Bring topics into the order of the reference, and add the sds of variances."""
        if "tau2" in draws:
            roots = {"sd_between": draws["tau2"] ** 0.5, "sd_within": draws["sigma2"] ** 0.5}
            return {**draws, **roots}
        if "topic_words" not in draws:
            return draws
        shape = draws["topic_words"].shape[2:]
        places = np.ndindex(*shape)
        flat = [expected[f"topic_words[{topic}, {word}]"].mean for topic, word in places]
        return in_order(dict(draws), np.array(flat).reshape(shape))


NUTS, APPROXIMATE = ("nuts",), ("svi", "deterministic_advi")
SAMPLERS = ("nuts", "laplace", *APPROXIMATE)
GAUSSIAN = ("nuts", "laplace", "gibbs", *APPROXIMATE)
ANY = (*NUTS, *APPROXIMATE)
SURGICAL = "posteriordb/surgical_data-surgical_model"
RATS = "posteriordb/rats_data-rats_model"
LME4, EXACT = "lme4.json", "exact.json"
POINT = ("empirical_bayes",)

PROBLEMS: dict[str, DesignProblem] = (
    {
        "bcg": DesignProblem(models.bcg, schools_reference, "quadrature", GAUSSIAN),
        "bcg_arms": DesignProblem(
            models.bcg_arms,
            arms_reference(models.bcg_arms, (-2.5, 1.0)),
            "quadrature",
            ANY,
        ),
        "blockers": DesignProblem(
            models.blockers,
            arms_reference(models.blockers, (-0.8, 0.3)),
            "quadrature",
            ANY,
        ),
        "clinics": DesignProblem(
            models.clinics, arms_reference(models.clinics, (-2.0, 3.5)), "quadrature", ANY
        ),
        "surgical": DesignProblem(
            models.surgical,
            folder(SURGICAL, words.surgical_names),
            "folder",
            ("nuts", "laplace"),
            f"{SURGICAL}/info.json",
        ),
        "surgical_quadrature": DesignProblem(
            models.surgical,
            binomial_reference(
                models.surgical,
                (-3.6, -1.5),
                root_inverse_gamma(0.001, 0.001),
                lambda mu: stats.norm.logpdf(mu, 0.0, 1000.0),
            ),
            "quadrature",
            SAMPLERS,
        ),
        "baseball": DesignProblem(
            models.baseball,
            binomial_reference(
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
            binomial_reference(
                models.sarcoma,
                (-4.0, 1.5),
                root_inverse_gamma(2.0, 0.5),
                lambda mu: stats.norm.logpdf(mu, -1.34, 10.0),
            ),
            "quadrature",
            SAMPLERS,
        ),
        "sarcoma_berry": DesignProblem(
            models.sarcoma_berry,
            binomial_reference(
                models.sarcoma_berry,
                (-4.0, 1.5),
                root_inverse_gamma(0.0005, 0.000005),
                lambda mu: stats.norm.logpdf(mu, -1.34, 10.0),
            ),
            "quadrature",
            ("laplace",),
        ),
        "pumps": DesignProblem(
            models.pumps,
            exact_file("pumps (alpha~Exp(1), beta~Gamma(.1,1))", {}),
            "folder",
            ANY,
            EXACT,
        ),
        "dyestuff": DesignProblem(
            models.dyestuff,
            exact_file(
                "bugs_dyes (theta~N(0,1e5), precisions Gamma(.001,.001))",
                {"theta": "mu", "var_within": "sigma2"},
            ),
            "folder",
            ("laplace", "gibbs"),
            EXACT,
        ),
        "sleepstudy_slopes": DesignProblem(
            models.sleepstudy_slopes, slopes_reference, "quadrature", GAUSSIAN
        ),
        "penicillin": DesignProblem(
            models.penicillin,
            folder("bayes/penicillin", words.penicillin_names),
            "folder",
            GAUSSIAN,
            "bayes/penicillin/info.json",
        ),
        "pastes": DesignProblem(
            models.pastes,
            folder("bayes/pastes", words.pastes_names),
            "folder",
            GAUSSIAN,
            "bayes/pastes/info.json",
        ),
        "sleepstudy": DesignProblem(
            models.sleepstudy,
            folder("bayes/sleepstudy", words.sleepstudy_names),
            "folder",
            GAUSSIAN,
            "bayes/sleepstudy/info.json",
        ),
        "rats": DesignProblem(
            models.rats, folder(RATS, words.rats_names), "folder", GAUSSIAN, f"{RATS}/info.json"
        ),
        "chem97_ml": DesignProblem(
            models.chem97, lme4("chem97", words.CHEM97), "lme4", POINT, LME4
        ),
        "hsb82_ml": DesignProblem(models.hsb82, lme4("hsb82", words.HSB82), "lme4", POINT, LME4),
        "exam_ml": DesignProblem(models.exam, lme4("exam", words.EXAM), "lme4", POINT, LME4),
    }
    | {
        name: DesignProblem(getattr(models, name), sampled(name), "NumPyro", methods, length=length)
        for name, methods, length in (
            ("btheb", GAUSSIAN, (1000, 2000)),
            ("california_schools", ANY, (1000, 2000)),
            ("dune", ANY, (1000, 1500)),
            ("verbagg_1pl", ANY, (700, 1000)),
            ("verbagg_2pl", ANY, (400, 600)),
            ("margarine", ("nuts", "svi"), (300, 400)),
            ("salamanders", ANY, (300, 400)),
            ("topics", ("svi_starts",), (500, 1500)),
            ("nested_topics", ("svi_starts",), (500, 1500)),
        )
    }
    | {
        name: DesignProblem(getattr(models, name), sampled(name), "NumPy", methods, length=length)
        for name, methods, length in (
            ("hsb82", GAUSSIAN, (500, 2500)),
            ("cheese", GAUSSIAN, (1000, 4000)),
        )
    }
)
