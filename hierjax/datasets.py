"""Packaged real data, each with its source, licence, units and citation; checked on every load.

A data set is one csv file in `hierjax/data` and one row of `DATASETS`; nothing else knows its name.
"""

import dataclasses
import difflib
import hashlib
import importlib.resources
import io
from typing import TYPE_CHECKING

from hierjax.errors import FileError, UnknownDatasetError

if TYPE_CHECKING:
    import pandas as pd

_LME4 = "Debian package r-cran-lme4 1.1-31-1"
_GPL2 = "GPL (>= 2) at the source; the table is published facts"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One row of the table of data sets.

    Attributes
    ----------
    file
        Name of the csv file in `hierjax/data`.
    sha256
        Checksum of that file.
    rows
        Number of rows.
    structure
        Groups and how they are nested or crossed.
    description
        What was measured.
    source
        Where the file was taken from.
    licence
        Licence of the place it was taken from.
    citation
        The study.
    columns
        Column -> (type, meaning with unit). Labels of groups are text, also where they look like
        numbers, so that no formula takes them for a covariate.
    """

    file: str
    sha256: str
    rows: int
    structure: str
    description: str
    source: str
    licence: str
    citation: str
    columns: dict[str, tuple[type, str]]


DATASETS: dict[str, Dataset] = {
    "radon": Dataset(
        file="radon.csv",
        sha256="69a7c56c747c15961971ae69883642e2a71b0f298b5ec582102402374fca591a",
        rows=919,
        structure="919 houses in 85 counties, 1 to 116 per county",
        description="Radon in houses of Minnesota, measured on the lowest living floor.",
        source="Debian package r-cran-rstanarm 2.21.3-2 (radon); survey of the US Environmental "
        "Protection Agency; log_radon_gh and activity derived from it",
        licence="public domain (survey of a US agency); GPL (>= 3) at the source",
        citation="Price, Nero and Gelman (1996), Health Physics 71, 922-936; Gelman and Hill "
        "(2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, chapter 12",
        columns={
            "county": (str, "county of Minnesota"),
            "floor": (int, "floor of the measurement: 0 basement, 1 first floor"),
            "log_radon": (float, "log(activity + 0.1), activity in pCi/L"),
            "log_radon_gh": (float, "log(activity), zeros as log(0.1): Gelman and Hill's scale"),
            "activity": (float, "radon activity, pCi/L"),
            "log_uranium": (float, "log of the county's uranium content of the soil, ppm"),
            "floor_by_county": (float, "mean of floor in the county"),
        },
    ),
    "eight_schools": Dataset(
        file="eight_schools.csv",
        sha256="a1c28881a82a652fba1d3afc6254761fa95fd7f16f2ccab1fc7a7075dc8a8a0e",
        rows=8,
        structure="8 schools, one estimate with known standard error each",
        description="Effects of coaching on scores of a scholastic aptitude test.",
        source="transcribed from Rubin (1981), in whole points as is customary",
        licence="published facts",
        citation="Rubin (1981), Journal of Educational Statistics 6, 377-401; Gelman et al. "
        "(2013), Bayesian Data Analysis, section 5.5",
        columns={
            "school": (str, "school"),
            "y": (float, "estimated effect of coaching, points"),
            "sigma": (float, "standard error of y, taken as known, points"),
        },
    ),
    "sleepstudy": Dataset(
        file="sleepstudy.csv",
        sha256="0a002bec8be2fa9d40dbbf3d5038e614d113a4fd5bf8813f6f4271c3d6294675",
        rows=180,
        structure="18 subjects, 10 days each",
        description="Reaction time after days of restricted sleep.",
        source=f"{_LME4} (sleepstudy)",
        licence=_GPL2,
        citation="Belenky et al. (2003), Journal of Sleep Research 12, 1-12",
        columns={
            "Reaction": (float, "mean reaction time, ms"),
            "Days": (int, "days of sleep deprivation, 0 to 9"),
            "Subject": (str, "subject"),
        },
    ),
    "cbpp": Dataset(
        file="cbpp.csv",
        sha256="1a2c82ed41e8b4168d943848b61eebfe5d8a79af24e534c6551df0c41e1e17ba",
        rows=56,
        structure="15 herds, up to 4 periods each",
        description="New cases of contagious bovine pleuropneumonia in herds of Ethiopian zebu.",
        source=f"{_LME4} (cbpp)",
        licence=_GPL2,
        citation="Lesnoff et al. (2004), Preventive Veterinary Medicine 64, 27-40",
        columns={
            "herd": (str, "herd"),
            "incidence": (int, "new serological cases in the period, animals"),
            "size": (int, "herd size at the start of the period, animals"),
            "period": (str, "period, 1 to 4"),
        },
    ),
    "grouseticks": Dataset(
        file="grouseticks.csv",
        sha256="fc0026bd78efb5e628bec93d6d9e8dac1ae03f34a7b50faf01a865c89715f2a9",
        rows=403,
        structure="403 chicks in 118 broods in 63 locations",
        description="Ticks on the heads of red grouse chicks.",
        source=f"{_LME4} (grouseticks)",
        licence=_GPL2,
        citation="Elston et al. (2001), Parasitology 122, 563-569",
        columns={
            "INDEX": (str, "chick (one per row)"),
            "TICKS": (int, "ticks counted"),
            "BROOD": (str, "brood"),
            "HEIGHT": (float, "height above sea level, m"),
            "YEAR": (str, "year - 1900"),
            "LOCATION": (str, "location"),
            "cHEIGHT": (float, "HEIGHT less its mean, m"),
        },
    ),
    "penicillin": Dataset(
        file="penicillin.csv",
        sha256="9a26c574d34d1b6d5a6fcb31d296ffa65fe0339eea4b77f502d90b7f2b4eca24",
        rows=144,
        structure="24 plates fully crossed with 6 samples",
        description="Potency of penicillin by the plate method.",
        source=f"{_LME4} (Penicillin)",
        licence=_GPL2,
        citation="Davies and Goldsmith (1972), Statistical Methods in Research and Production",
        columns={
            "diameter": (float, "diameter of the zone of inhibition, mm"),
            "plate": (str, "assay plate"),
            "sample": (str, "sample of penicillin"),
        },
    ),
    "pastes": Dataset(
        file="pastes.csv",
        sha256="1ccc038f2636384688511818410a6e5b4a3d61d2f23cda657e43b2596ffd1331",
        rows=60,
        structure="2 assays of each of 3 casks nested in each of 10 batches",
        description="Strength of a chemical paste.",
        source=f"{_LME4} (Pastes)",
        licence=_GPL2,
        citation="Davies and Goldsmith (1972), Statistical Methods in Research and Production",
        columns={
            "strength": (float, "paste strength"),
            "batch": (str, "delivery batch"),
            "cask": (str, "cask within the batch; its labels repeat, so write (1 | batch:cask)"),
            "sample": (str, "batch:cask"),
        },
    ),
    "dyestuff": Dataset(
        file="dyestuff.csv",
        sha256="4fa4c10f8db617562965d43014e2bb15df244f2cc0a1f83f47b3cd4ac40c17a1",
        rows=30,
        structure="5 preparations from each of 6 batches",
        description="Yield of dyestuff from batches of an intermediate product.",
        source=f"{_LME4} (Dyestuff)",
        licence=_GPL2,
        citation="Davies and Goldsmith (1972), Statistical Methods in Research and Production",
        columns={
            "Batch": (str, "batch of the intermediate product"),
            "Yield": (float, "yield, grams of standard colour"),
        },
    ),
    "chem97": Dataset(
        file="chem97.csv.gz",
        sha256="e3a80358f9ada2bf98bb6f0dd6e37de5e57c20bab79a9183844183b61cfd5459",
        rows=31022,
        structure="31022 pupils in 2410 schools in 131 local education authorities",
        description="A-level chemistry scores in England, 1997.",
        source="Debian package r-cran-mlmrev 1.0-8-2 (Chem97)",
        licence=_GPL2,
        citation="Fielding, Yang and Goldstein (2003), Statistical Modelling 3, 127-153",
        columns={
            "lea": (str, "local education authority"),
            "school": (str, "school; labels are unique across authorities"),
            "student": (str, "pupil (one per row)"),
            "score": (float, "A-level chemistry, points 0 to 10 in steps of 2"),
            "gender": (str, "F or M"),
            "age": (float, "age less 222, months"),
            "gcsescore": (float, "mean GCSE score, points"),
            "gcsecnt": (float, "gcsescore less its mean, points"),
        },
    ),
    "bcg": Dataset(
        file="bcg.csv",
        sha256="88f0b2130dc1727243649c787bb40e287b75d57d14fcd0cebf466b32ebc03aaa",
        rows=13,
        structure="13 clinical trials, one estimate with known standard error each",
        description="Trials of the BCG vaccine against tuberculosis (meta-analysis).",
        source="Debian package r-cran-metadat 1.2-0-2 (dat.bcg); yi and sei computed from the "
        "counts",
        licence=_GPL2,
        citation="Colditz et al. (1994), JAMA 271, 698-702; Viechtbauer (2010), Journal of "
        "Statistical Software 36(3)",
        columns={
            "trial": (str, "trial"),
            "author": (str, "authors of the trial"),
            "year": (int, "year of publication"),
            "tpos": (int, "vaccinated, with tuberculosis, people"),
            "tneg": (int, "vaccinated, without tuberculosis, people"),
            "cpos": (int, "control, with tuberculosis, people"),
            "cneg": (int, "control, without tuberculosis, people"),
            "ablat": (float, "absolute latitude, degrees"),
            "alloc": (str, "allocation: random, alternate or systematic"),
            "yi": (float, "log relative risk, log(tpos/(tpos+tneg)) - log(cpos/(cpos+cneg))"),
            "sei": (float, "se of yi, sqrt(1/tpos - 1/(tpos+tneg) + 1/cpos - 1/(cpos+cneg))"),
        },
    ),
}


def load_data(name: str | None = None) -> "pd.DataFrame":
    """Load a packaged data set as a data frame, with where it comes from in `.attrs`.

    Parameters
    ----------
    name
        Name of the data set; `hierjax.datasets()` lists them.

    Returns
    -------
    pandas.DataFrame
        Group labels are text. `.attrs` holds "description", "source", "licence", "citation" and
        "columns" (column -> meaning with unit).

    Raises
    ------
    UnknownDatasetError
        There is no such data set, or no name was given; the message lists the names.
    FileError
        The file is missing or is not the one that was released.
    """
    import pandas as pd

    row = _row(name)
    compression = "gzip" if row.file.endswith(".gz") else None
    frame = pd.read_csv(
        io.BytesIO(_checked_bytes(row)),
        dtype={column: kind for column, (kind, _) in row.columns.items()},
        compression=compression,
        keep_default_na=False,
    )
    frame.attrs = {
        "description": row.description,
        "source": row.source,
        "licence": row.licence,
        "citation": row.citation,
        "columns": {column: meaning for column, (_, meaning) in row.columns.items()},
    }
    return frame


def datasets() -> "pd.DataFrame":
    """Table of the packaged data sets: name, rows, structure, source and licence."""
    import pandas as pd

    fields = ("rows", "structure", "source", "licence")
    return pd.DataFrame(
        [
            {"name": name} | {field: getattr(row, field) for field in fields}
            for name, row in DATASETS.items()
        ]
    )


def _row(name: str | None) -> Dataset:
    """Return the table's row of `name`."""
    if name in DATASETS:
        return DATASETS[name]
    listed = ", ".join(DATASETS)
    if name is None:
        raise UnknownDatasetError(f"Which data set? load_data(name) knows {listed}.")
    near = difflib.get_close_matches(str(name).lower(), DATASETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownDatasetError(f"There is no data set {name!r}.{hint} Packaged are {listed}.")


def _checked_bytes(row: Dataset) -> bytes:
    """Read the file of a data set and compare its checksum with the table."""
    path = importlib.resources.files("hierjax") / "data" / row.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"Packaged data file {path} cannot be read; reinstall hierjax.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != row.sha256:
        raise FileError(
            f"Packaged data file {path} is damaged or was changed: its SHA-256 is {found}, "
            f"expected {row.sha256}. Reinstall hierjax."
        )
    return content
