"""The problems of the comparison of group effects: formula, data, stated priors and the target.

One formula model is both sides of the comparison: hierjax fits it, and NumPyro samples the very
same function, as written (centred) or with its effects non-centred. Data and priors are thus the
same by construction. Targets are effective draws per leapfrog step, relative to the better of the
two.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpyro.distributions as dist

if TYPE_CHECKING:
    import pandas as pd

    import hierjax as hj

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "csv"
Priors = dict[str, dist.Distribution]


@dataclasses.dataclass(frozen=True)
class EffectsProblem:
    """One data set and model.

    Attributes
    ----------
    formula, family
        The model, in hierjax's words.
    load
        Returns the data frame.
    priors
        Returns slot -> prior, for every slot of the model.
    target
        Times as many effective draws per leapfrog step as the better NumPyro that are aimed at.
    reference
        File of the reference folder that the data come from; "" for packaged data.
    slow
        Left out unless asked for.
    """

    formula: str
    load: Callable[[], "pd.DataFrame"]
    priors: Callable[[], Priors]
    target: float
    family: str = "gaussian"
    reference: str = ""
    slow: bool = False

    def model(self) -> "hj.Model":
        """Return the model on its data."""
        import hierjax as hj

        return hj.formula(self.formula, self.load(), family=self.family, priors=self.priors())


def packaged(name: str) -> Callable[[], "pd.DataFrame"]:
    """Return a loader of data that come with hierjax."""

    def load() -> "pd.DataFrame":
        import hierjax as hj

        return hj.load_data(name)

    return load


def _grouseticks() -> "pd.DataFrame":
    """Heights in standard deviations, the `hz` of the reference fits of lme4."""
    table = packaged("grouseticks")()
    return table.assign(hz=table["cHEIGHT"] / table["cHEIGHT"].std())


def _verbagg() -> "pd.DataFrame":
    """Binary response y: 1 where the answer is not a plain no."""
    import pandas as pd

    table = pd.read_csv(REFERENCE / "verbagg.csv.gz")
    return table.assign(y=(table["r2"] == "Y").astype(int), id=table["id"].astype(str))


def _crossed_table(name: str) -> Callable[[], "pd.DataFrame"]:
    def load() -> "pd.DataFrame":
        import pandas as pd

        table = pd.read_csv(REFERENCE / f"crossed_{name}.csv.gz")
        factors = table.columns.intersection(["A", "B", "C"])
        return table.astype(dict.fromkeys(factors, str))

    return load


def _crossed(
    name: str, scales: tuple[float, float, float, float], factors: str = "AB", *, slow: bool = False
) -> EffectsProblem:
    """Return a set of reading times; `scales` of intercept, slope, residual and effects."""
    intercept, slope, residual, effects = scales

    def priors() -> Priors:
        return {
            "b_Intercept": dist.Normal(0.0, intercept),
            "b_x": dist.Normal(0.0, slope),
            "sd": dist.HalfNormal(effects),
            "cor": dist.LKJCholesky(2, 2.0),
            "sigma": dist.HalfNormal(residual),
        }

    terms = " + ".join(f"(1 + x | {factor})" for factor in factors)
    return EffectsProblem(
        formula=f"y ~ x + {terms}",
        load=_crossed_table(name),
        priors=priors,
        target=4.0,
        reference=f"csv/crossed_{name}.csv.gz",
        slow=slow,
    )


def _sleepstudy_priors() -> Priors:
    return {
        "b_Intercept": dist.Normal(250.0, 100.0),
        "b_Days": dist.Normal(0.0, 20.0),
        "sd_Subject": dist.HalfNormal(50.0),
        "cor_Subject": dist.LKJCholesky(2, 2.0),
        "sigma": dist.HalfNormal(50.0),
    }


def _radon_priors() -> Priors:
    return {
        "b_Intercept": dist.Normal(1.0, 2.5),
        "b": dist.Normal(0.0, 2.5),
        "sd_county": dist.HalfNormal(1.0),
        "cor_county": dist.LKJCholesky(2, 2.0),
        "sigma": dist.HalfNormal(1.0),
    }


def _penicillin_priors() -> Priors:
    return {
        "b_Intercept": dist.Normal(20.0, 10.0),
        "sd": dist.HalfNormal(2.5),
        "sigma": dist.HalfNormal(2.5),
    }


def _link_scale_priors() -> Priors:
    """Weakly informative on a logit or log scale."""
    return {
        "b_Intercept": dist.Normal(0.0, 2.5),
        "b": dist.Normal(0.0, 2.5),
        "sd": dist.HalfNormal(1.0),
    }


PROBLEMS: dict[str, EffectsProblem] = {
    "sleepstudy": EffectsProblem(
        "Reaction ~ Days + (1 + Days | Subject)",
        packaged("sleepstudy"),
        _sleepstudy_priors,
        target=10.0,
    ),
    "radon": EffectsProblem(
        "log_radon ~ floor + log_uranium + (1 + floor | county)",
        packaged("radon"),
        _radon_priors,
        target=10.0,
    ),
    "penicillin": EffectsProblem(
        "diameter ~ (1 | plate) + (1 | sample)",
        packaged("penicillin"),
        _penicillin_priors,
        target=4.0,
    ),
    "dutch": _crossed("dutch", (10.0, 5.0, 5.0, 1.0)),
    "english": _crossed("english", (10.0, 5.0, 5.0, 1.0)),
    "mandarin": _crossed("mandarin", (10.0, 5.0, 5.0, 5.0)),
    "mandarin2": _crossed("mandarin2", (10.0, 5.0, 5.0, 5.0)),
    "dillonE1": _crossed("dillonE1", (10.0, 5.0, 5.0, 5.0)),
    "gg05": _crossed("gg05", (10.0, 5.0, 5.0, 5.0), "ABC"),
    "cbpp": EffectsProblem(
        "incidence / size ~ period + (1 | herd)",
        packaged("cbpp"),
        _link_scale_priors,
        target=4.0,
        family="binomial",
    ),
    "verbagg": EffectsProblem(
        "y ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        _verbagg,
        _link_scale_priors,
        target=4.0,
        family="bernoulli",
        reference="csv/verbagg.csv.gz",
    ),
    "grouseticks": EffectsProblem(
        "TICKS ~ YEAR + hz + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        _grouseticks,
        _link_scale_priors,
        target=4.0,
        family="poisson",
    ),
    "eeg": _crossed("eeg", (10.0, 5.0, 5.0, 5.0), slow=True),
}


def scalar_draws(model: "hj.Model", draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Split the parameters of a model into scalars (chain, draw), each counted once.

    Left out are hidden sites (Cholesky factors) and, of a correlation matrix, what is not below the
    diagonal.
    """
    scalars = {}
    for site, block in model.blocks.items():
        if block == "hidden" or site not in draws:
            continue
        for index in np.ndindex(draws[site].shape[2:]):
            if site.startswith("cor_") and index[0] <= index[1]:
                continue
            label = ", ".join(map(str, index))
            scalars[f"{site}[{label}]" if index else site] = draws[site][(..., *index)]
    return scalars
