"""What one measurement is: a row, whatever became of it; rows go to and come from JSON lines."""

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from hierjax.errors import FileError

NAN = float("nan")
OK = "ok"
FAILED = "failed"
NOT_INSTALLED = "not installed"
NOT_EXPRESSIBLE = "cannot express it"
TIMEOUT = "timeout"
NOT_RUN = "not run"


def _ratio(above: float, below: float) -> float:
    return above / below if below else NAN


@dataclasses.dataclass(frozen=True)
class FitRow:
    """One tool on one problem, in a process of its own.

    Attributes
    ----------
    problem, tool
        Their names in the tables.
    status, message
        "ok", or what went wrong and how.
    estimate
        Whether the tool estimates a point; there are no effective draws then.
    import_seconds, compile_seconds, run_seconds
        Wall time of importing the tool, of building and compiling, and of a run (warm-up included).
    first_seconds
        Wall time from a started interpreter to the first answer, the three together.
    compile_cpu_seconds, run_cpu_seconds, first_cpu_seconds
        The same in CPU seconds of all threads and processes, fair on a machine that is shared.
    minimum_ess, ess_parameter
        Smallest rank-normalised bulk effective sample size over all scalars, and whose it is; of
        weighted draws at most what the weights are worth.
    rhat, rhat_parameter
        Largest rank-normalised split R-hat.
    divergences, gradients
        Of the draws that are kept; None where there is no such thing.
    error_sds, error_parameter
        Largest distance of a mean from the reference, in standard deviations of the reference.
    peak_mb, start_mb
        Peak memory of the largest process, and what it had before the tool began.
    device, precision, versions, settings, note
        On and with what.
    """

    task: ClassVar[str] = "fit"
    problem: str
    tool: str
    status: str = OK
    message: str = ""
    estimate: bool = False
    import_seconds: float = NAN
    compile_seconds: float = NAN
    run_seconds: float = NAN
    first_seconds: float = NAN
    compile_cpu_seconds: float = NAN
    run_cpu_seconds: float = NAN
    first_cpu_seconds: float = NAN
    minimum_ess: float = NAN
    ess_parameter: str = ""
    rhat: float = NAN
    rhat_parameter: str = ""
    divergences: int | None = None
    gradients: int | None = None
    error_sds: float = NAN
    error_parameter: str = ""
    peak_mb: float = NAN
    start_mb: float = NAN
    device: str = ""
    precision: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, int] = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """What a person calls this row."""
        return f"{self.problem}, {self.tool}"

    @property
    def ess_per_second(self) -> float:
        """Effective draws a second of a run, compiling not counted."""
        return _ratio(self.minimum_ess, self.run_seconds)

    @property
    def ess_per_cpu_second(self) -> float:
        """Effective draws a CPU second of a run, compiling not counted."""
        return _ratio(self.minimum_ess, self.run_cpu_seconds)

    @property
    def ess_per_thousand_gradients(self) -> float:
        """Effective draws per 1,000 gradients of the draws that are kept."""
        return _ratio(1000.0 * self.minimum_ess, self.gradients or 0.0)


@dataclasses.dataclass(frozen=True)
class CostRow:
    """What a fit of many data sets, or a gradient, costs by its size.

    Attributes
    ----------
    task
        "batch" or "gradient".
    tool
        Whose cost it is.
    sets, rows, groups
        Data sets; rows and groups of each.
    compile_seconds, seconds, cpu_seconds
        Of compiling; of all data sets, or of one gradient.
    good
        Share of the data sets whose draws can be believed.
    """

    task: str
    tool: str
    sets: int = 1
    rows: int = 0
    groups: int = 0
    status: str = OK
    message: str = ""
    compile_seconds: float = NAN
    seconds: float = NAN
    cpu_seconds: float = NAN
    good: float = NAN
    peak_mb: float = NAN
    device: str = ""
    precision: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a person calls this row."""
        if self.task == "batch":
            return f"{self.sets:,} data {'set' if self.sets == 1 else 'sets'}, {self.tool}"
        return f"gradient, {self.rows:,} rows in {self.groups:,} groups, {self.tool}"

    @property
    def cpu_seconds_each(self) -> float:
        """CPU seconds of one data set, or of one gradient."""
        return self.cpu_seconds / self.sets


Row = FitRow | CostRow
KINDS: dict[str, type[FitRow] | type[CostRow]] = {
    "fit": FitRow, "batch": CostRow, "gradient": CostRow
}  # fmt: skip


def to_json(row: Row) -> str:
    """Return a row as one line; what is not a number is null."""
    values = {"task": row.task} | dataclasses.asdict(row)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            values[name] = None
    return json.dumps(values)


def from_json(line: str) -> Row:
    """Return the row of one line."""
    values: dict[str, Any] = json.loads(line)
    task = values["task"]
    kind = KINDS[task]
    if kind is FitRow:
        del values["task"]
    for field in dataclasses.fields(kind):
        if field.type is float and values.get(field.name) is None:
            values[field.name] = NAN
    return kind(**values)


def load_rows(path: Path) -> list[Row]:
    """Read the rows of a file.

    Raises
    ------
    FileError
        It is not there, or is no such file.
    """
    try:
        return [from_json(line) for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path}: is no file of benchmark rows ({error}).") from error


def fits(rows: Iterable[Row]) -> list[FitRow]:
    """Rows of one tool on one problem."""
    return [row for row in rows if isinstance(row, FitRow)]


def costs(rows: Iterable[Row], task: str) -> list[CostRow]:
    """Rows of a cost that came out."""
    return [r for r in rows if isinstance(r, CostRow) and r.task == task and r.status == OK]
