"""What the table of packaged data says of each data set."""

import dataclasses

GPL2 = "GPL (>= 2) at the source; the table is published facts"


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
