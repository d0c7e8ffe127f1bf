"""Every design of the library on real data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpyro.distributions as dist

if TYPE_CHECKING:
    import hierjax as hj

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "reference"


def library() -> Any:
    """Return the library of designs; late, since loading hierjax takes a second."""
    import hierjax as hj

    return hj.library


def table(name: str) -> Any:
    """Return a packaged data set."""
    import hierjax as hj

    return hj.load_data(name)


def surgical() -> "hj.Model":
    """Hospitals with the priors of the BUGS book."""
    frame, designs = table("surgical"), library()
    return designs.binomial_groups(
        frame.deaths,
        frame.operations,
        labels=frame.hospital,
        mu_prior=dist.Normal(0.0, 1000.0),
        sigma_prior=designs.root(dist.InverseGamma(0.001, 0.001)),
    )


def baseball() -> "hj.Model":
    """Players with the default priors."""
    frame = table("baseball")
    return library().binomial_groups(frame.Hits, frame.AB, labels=frame.Player)


def sarcoma() -> "hj.Model":
    """Baskets of the imatinib trial, with a prior of the variance that is not so near zero."""
    frame, designs = table("sarcoma"), library()
    prior = designs.root(dist.InverseGamma(2.0, 0.5))
    return designs.basket_trial(
        frame.responses, frame.patients, labels=frame.subtype, sigma_prior=prior
    )


def sarcoma_berry() -> "hj.Model":
    """Baskets of the imatinib trial, with the prior of Berry et al."""
    frame = table("sarcoma")
    return library().basket_trial(frame.responses, frame.patients, labels=frame.subtype)


def bcg() -> "hj.Model":
    """Estimates with known standard errors: log risk ratios of the BCG trials."""
    frame, designs = table("bcg"), library()
    effects = designs.effect_sizes(
        frame.tpos, frame.tpos + frame.tneg, frame.cpos, frame.cpos + frame.cneg,
        measure="risk_ratio",
    )  # fmt: skip
    return designs.eight_schools(*effects, labels=frame.trial, mu_sd=1.0, tau_scale=0.5)


def blockers() -> "hj.Model":
    """Trials of beta blockers, arm by arm."""
    frame = table("blockers")
    return library().meta_arms(
        frame.deaths, frame.treated, frame.control_deaths, frame.control, labels=frame.trial
    )


def bcg_arms() -> "hj.Model":
    """BCG trials, arm by arm."""
    frame = table("bcg")
    return library().meta_arms(
        frame.tpos, frame.tpos + frame.tneg, frame.cpos, frame.cpos + frame.cneg,
        labels=frame.trial,
    )  # fmt: skip


def clinics() -> "hj.Model":
    """Patients of two arms in eight clinics."""
    frame = table("clinics")
    return library().meta_arms(
        frame.cured, frame.treated, frame.control_cured, frame.control, labels=frame.clinic
    )


def dyestuff() -> "hj.Model":
    """Batches of dyestuff with the priors of the BUGS book."""
    frame = table("dyestuff")
    tiny = dict.fromkeys(("sigma2_shape", "sigma2_scale", "tau2_shape", "tau2_scale"), 0.001)
    return library().test_scores(frame.Yield, frame.Batch, mu_mean=0.0, mu_sd=1e5, **tiny)


def penicillin() -> "hj.Model":
    """Plates crossed with samples."""
    frame, half_t = table("penicillin"), dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 2.5))
    return library().anova(
        frame["diameter"],
        {"plate": frame["plate"], "sample": frame["sample"]},
        mu_prior=dist.Normal(20.0, 10.0),
        sd_prior=half_t,
        sigma_prior=half_t,
    )


def pastes() -> "hj.Model":
    """Assays of casks in batches."""
    frame, half = table("pastes"), dist.HalfNormal(5.0)
    return library().three_level(
        frame["strength"],
        frame["sample"],
        frame["batch"],
        mu_prior=dist.Normal(60.0, 20.0),
        omega_prior=half,
        tau_prior=half,
        sigma_prior=half,
    )


def chem97() -> "hj.Model":
    """Pupils in schools in local education authorities."""
    frame = table("chem97")
    return library().three_level(frame.score, frame.school, frame.lea, {"gcsecnt": frame.gcsecnt})


def hsb82() -> "hj.Model":
    """Pupils in schools, with predictors of both."""
    frame = table("hsb82")
    of_schools = {"meanses": frame.meanses, "public": (frame.sector == "Public").astype(float)}
    return library().varying_slopes(frame.mAch, {"cses": frame.cses}, frame.school, of_schools)


def sleepstudy() -> "hj.Model":
    """Reaction times of subjects over days."""
    frame = table("sleepstudy")
    return library().varying_slopes(
        frame.Reaction,
        {"Days": frame.Days},
        frame.Subject,
        gamma_mean=[[250.0], [0.0]],
        gamma_sd=[[100.0], [20.0]],
        tau_sd=50.0,
        sigma_prior=dist.HalfNormal(50.0),
    )


def sleepstudy_slopes() -> "hj.Model":
    """Reaction times over days, both about their mean of the subject: slopes and no intercepts."""
    frame = table("sleepstudy")
    of_subjects = frame.groupby("Subject")[["Reaction", "Days"]].transform("mean")
    return library().hierarchical_linear(
        frame.Reaction - of_subjects.Reaction, frame.Days - of_subjects.Days, frame.Subject
    )


def rats() -> "hj.Model":
    """Weights of rats over days, independent intercepts and slopes."""
    import pandas as pd

    frame = pd.read_csv(FOLDER / "csv" / "rats.csv")
    return library().varying_slopes(
        frame.weight,
        {"day": frame.day - 22.0},
        frame.rat,
        gamma_mean=0.0,
        gamma_sd=100.0,
        tau_sd=1e5,
        sigma_prior=dist.HalfNormal(1e5),
        correlation=None,
    )


def exam() -> "hj.Model":
    """Pupils in London schools."""
    import pandas as pd

    frame = pd.read_csv(FOLDER / "csv" / "exam.csv", dtype={"school": str})
    return library().varying_slopes(frame.normexam, {"standLRT": frame.standLRT}, frame.school)


def btheb() -> "hj.Model":
    """Depression of patients over months, in two treatments."""
    frame = table("btheb")
    of_patients = {
        "treated": (frame.treatment == "BtheB").astype(float),
        "before": frame.before - 23.0,
    }
    return library().varying_slopes(frame.bdi, {"month": frame.month}, frame.patient, of_patients)


def cheese() -> "hj.Model":
    """Sales of retailers in markets, of markets with two retailers or more."""
    frame = table("cheese")
    frame = frame[frame.groupby("market").retailer.transform("nunique") > 1]
    log_price = np.log(frame.price)
    predictors = {"log price": log_price - log_price.mean(), "display": frame.display}
    return library().nested_slopes(np.log(frame.volume), predictors, frame.retailer, frame.market)


def pumps() -> "hj.Model":
    """Failures of pumps."""
    frame = table("pumps")
    return library().gamma_poisson(frame.failures, frame.time, labels=frame.pump)


def verbagg_1pl() -> "hj.Model":
    """Persons and items, one parameter an item."""
    frame = table("verbagg")
    return library().item_response(frame.r2 == "Y", frame.id, frame.item)


def verbagg_2pl() -> "hj.Model":
    """Persons and items, two parameters an item."""
    frame = table("verbagg")
    return library().item_response(frame.r2 == "Y", frame.id, frame.item, parameters=2)


def margarine() -> "hj.Model":
    """Five brands, bought by households that bought them 15 times or more."""
    frame = table("margarine")
    brands = ["Pk_Stk", "BB_Stk", "Fl_Stk", "Hse_Stk", "SS_Tub"]
    frame = frame[frame.choice.isin(brands)]
    frame = frame[frame.groupby("hhid").hhid.transform("size") >= 15]
    return library().choice(
        frame.choice,
        {"log price": np.log(frame[brands].to_numpy())},
        frame.hhid,
        {"log income": np.log(frame.Income), "family size": frame.Fam_Size},
        alternatives=brands,
    )


def dune() -> "hj.Model":
    """Plants along a gradient of moisture."""
    frame = table("dune")
    return library().abundance(
        frame.cover, frame.species, frame.site, x={"moisture": frame.Moisture - 3.0},
        family="poisson",
    )  # fmt: skip


def salamanders() -> "hj.Model":
    """Species of salamanders counted four times in streams."""
    frame = table("salamanders").sort_values(["site", "spp", "sample"])
    units = len(frame) // 4

    def visits(column: str) -> np.ndarray:
        return frame[column].to_numpy().reshape(units, 4)

    first = frame[frame["sample"] == 1]
    return library().n_mixture(
        visits("count"),
        first["spp"],
        {"mined": (first["mined"] == "yes").astype(float), "cover": first["cover"]},
        {"rain": visits("DOP"), "temperature": visits("Wtemp"), "day": visits("DOY")},
    )


def california_schools() -> "hj.Model":
    """Schools that met their target, by county and type, from a stratified sample of 200."""
    frame = table("california_schools")
    cells = frame.groupby(["county", "type"], as_index=False).agg(count=("meals", "size"))
    cells["meals"] = cells["county"].map(frame.groupby("county")["meals"].mean())
    sample = frame[frame["stratified"] == 1].groupby(["county", "type"], as_index=False)
    asked = sample.agg(met=("met_target", "sum"), schools=("met_target", "size"))
    return library().poststratification(
        asked.met,
        asked.schools,
        asked.county,
        {"type": asked["type"]},
        cells.rename(columns={"county": "area"}),
        {"meals": cells["meals"]},
    )


def chapters() -> Any:
    """Count the words of chapters of novels, a row a chapter of a novel."""
    return table("austen").pivot_table(
        index=["novel", "chapter"], columns="word", values="count", fill_value=0
    )


def topics() -> "hj.Model":
    """Two topics of the chapters of six novels."""
    counts = chapters()
    return library().topics(counts.to_numpy(), 2, vocabulary=list(counts.columns))


def nested_topics() -> "hj.Model":
    """Two topics of the chapters of six novels, chapters around their novel."""
    counts = chapters()
    novels = counts.index.get_level_values("novel")
    return library().nested_topics(counts.to_numpy(), novels, 2, vocabulary=list(counts.columns))
