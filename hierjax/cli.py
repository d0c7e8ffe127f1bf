"""The command line: the same words as the Python interface."""

import enum
import importlib.metadata
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hierjax.compiler import keep_programs
from hierjax.errors import FileError, HierjaxError, SettingsError
from hierjax.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from hierjax.infer.program import Method
    from hierjax.model import Model
    from hierjax.posterior import Posterior

app = typer.Typer(
    help="Fit hierarchical (multilevel) Bayesian models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class MethodName(enum.StrEnum):
    """Methods by name."""

    auto = "auto"
    nuts = "nuts"
    laplace = "laplace"
    svi = "svi"
    empirical_bayes = "empirical_bayes"
    gibbs = "gibbs"


class Effects(enum.StrEnum):
    """Parametrisations of group effects."""

    auto = "auto"
    centred = "centred"
    integrate = "integrate"
    recentre = "recentre"
    noncentred = "noncentred"


class Groups(enum.StrEnum):
    """What to do about groups that the fit has not seen."""

    sample = "sample"
    population = "population"
    error = "error"


class Kind(enum.StrEnum):
    """What to predict."""

    mean = "mean"
    draw = "draw"


DEBUG = {"on": False}
MOST_ROWS = 40  # of a table on the terminal
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def show_version(wanted: bool) -> None:
    """Print the version and stop, if asked to."""
    if wanted:
        typer.echo(importlib.metadata.version("hierjax"))
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show the whole traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Fit hierarchical (multilevel) Bayesian models."""
    DEBUG["on"] = debug


@app.command()
def fit(
    formula: Annotated[str, typer.Argument(help='For example "y ~ x + (1 + x | group)".')],
    data: Annotated[str, typer.Option(help="A CSV or Parquet file, or a packaged data set.")],
    family: Annotated[str, typer.Option(help="Distribution of the response.")] = "gaussian",
    method: Annotated[MethodName, typer.Option(help="Inference method.")] = MethodName.auto,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("hierjax-fit"),
    chains: Annotated[int | None, typer.Option(help="Chains of NUTS [4].")] = None,
    warmup: Annotated[
        int | None, typer.Option(help="Warm-up transitions of each chain [1000].")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="Kept draws, of each chain [nuts: 1000, others: 4000].")
    ] = None,
    target_accept: Annotated[
        float | None,
        typer.Option(help="Acceptance of NUTS; raise it to remove divergences [0.8]."),
    ] = None,
    effects: Annotated[Effects, typer.Option(help="How group effects are sampled.")] = Effects.auto,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    trials: Annotated[str | None, typer.Option(help="Column with binomial trials.")] = None,
    weights: Annotated[str | None, typer.Option(help="Column with weights.")] = None,
    offset: Annotated[str | None, typer.Option(help="Column with an offset.")] = None,
    known_sd: Annotated[str | None, typer.Option(help="Column with known errors.")] = None,
    censored: Annotated[str | None, typer.Option(help="Column with none, left or right.")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Fit each value of this column by itself, all in one batch."),
    ] = None,
) -> None:
    """Fit one formula: print levels, summary and verdict; write draws, tables and plots.

    With --by: a report, and tables of all fits. Started again after an interrupt it goes on.
    """
    import hierjax

    columns = {
        "trials": trials,
        "weights": weights,
        "offset": offset,
        "known_sd": known_sd,
        "censored": censored,
    }
    given: dict[str, Any] = {name: column for name, column in columns.items() if column is not None}
    table = read_table(data)
    model = hierjax.formula(formula, table, family=family, **given)
    typer.echo(f"{model.levels()}\n")
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "target_accept": target_accept}
    chosen = _method(method, {name: value for name, value in settings.items() if value is not None})
    try:
        if by is None:
            posterior = hierjax.fit(model, method=chosen, seed=seed, effects=effects.value)
            typer.echo(f"{posterior.report()}\n")
            written = write_results(posterior, out)
        else:
            written = _fit_by(model, table, by, chosen, out, seed, effects)
        for path in written:
            typer.echo(f"wrote {path}")
    except KeyboardInterrupt:
        typer.echo("stopped; no half-written file is left behind.", err=True)
        _leave(INTERRUPTED)


def _fit_by(
    model: "Model",
    table: "pd.DataFrame",
    column: str,
    method: "Method",
    out: Path,
    seed: int,
    effects: Effects,
) -> list[Path]:
    from hierjax.cli_by import fit_parts, parts_of, report_of, write_parts

    parts = parts_of(table, column)
    batch = fit_parts(model, parts, method, out, seed=seed, effects=effects.value)
    typer.echo(f"{report_of(batch, list(parts), MOST_ROWS)}\n")
    return write_parts(batch, list(parts), column, out)


def _method(name: MethodName, given: dict[str, Any]) -> "Method":
    """Return the settings of a method; "auto" with settings of NUTS is NUTS."""
    from hierjax.methods import METHODS

    kind = METHODS["nuts" if given and name is MethodName.auto else name]
    foreign = [option for option in given if option not in kind.__dataclass_fields__]
    if foreign:
        options = ", ".join(f"--{option.replace('_', '-')}" for option in foreign)
        raise SettingsError(f"{options}: method {name.value} has no such setting. Leave it out.")
    return kind(**given)


def _leave(status: int) -> NoReturn:
    """End the process without the interpreter's clean-up.

    A compiled program may still be at work in XLA's threads when Ctrl-C arrives. The clean-up would
    wait for its end, or take away memory that it is using.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def read_table(source: str, text: Collection[str] = ()) -> "pd.DataFrame":
    """Read a CSV or Parquet file, or the packaged data set of that name, into a data frame.

    A CSV file does not say whether 308 is a number or a label: columns in `text` are read as text.
    """
    import pandas as pd

    import hierjax

    path = Path(source)
    if not path.suffix and not path.exists():
        return hierjax.load_data(source)
    readers = {".csv": pd.read_csv, ".gz": pd.read_csv, ".parquet": pd.read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileError(
            f"{source}: files of type {path.suffix or 'no suffix'!r} cannot be read; use .csv, "
            f".csv.gz or .parquet, or one of the packaged data sets: "
            f"{', '.join(hierjax.datasets()['name'])}."
        )
    if not path.exists():
        raise FileError(f"{source}: there is no such file.")
    options = {} if reader is pd.read_parquet else {"dtype": dict.fromkeys(text, str)}
    try:
        return reader(path, **options)
    except (ValueError, OSError, ImportError) as error:
        raise FileError(f"{source}: cannot be read as a table ({error}).") from error


def write_results(posterior: "Posterior", folder: Path) -> list[Path]:
    """Write posterior.nc, summary.csv and the plots that the model has; return their paths."""
    from hierjax.plots import available_plots

    folder.mkdir(parents=True, exist_ok=True)
    written = [posterior.save(folder / "posterior.nc"), folder / "summary.csv"]
    write_whole(written[-1], [posterior.summary(effects=True).to_csv().encode()])
    for kind in available_plots(posterior.model):
        posterior.plot(kind, path=folder / f"{kind}.png")
        written.append(folder / f"{kind}.png")
    return written


@app.command()
def predict(
    fit: Annotated[
        Path, typer.Argument(help="Folder that `hierjax fit` wrote, or a posterior.nc file.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Rows to predict for: a CSV or Parquet file with the columns of the formula "
            "(the response is not needed), or a packaged data set."
        ),
    ],
    groups: Annotated[
        Groups,
        typer.Option(
            help="Groups that the fit has not seen: draw their effects from the population "
            "(sample), put them at zero (population), or refuse (error)."
        ),
    ] = Groups.sample,
    kind: Annotated[
        Kind,
        typer.Option(help="The expected response (mean), or new observations (draw), which vary."),
    ] = Kind.mean,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for the data with the predictions added.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same predictions.")] = 0,
) -> None:
    """Predict the response of new rows from a fit: mean, sd and quantiles for each row.

    Rows may belong to groups that the fit has seen, to new ones, or to unknown ones (empty label).

    Example: hierjax predict hierjax-fit --data new.csv --out predicted.csv
    """
    import hierjax

    if out is not None and out.suffix.lower() != ".csv":
        raise FileError(f"{out}: predictions are written as .csv.")
    posterior = hierjax.load(fit / "posterior.nc" if fit.is_dir() else fit)
    table = read_table(data, text=text_columns(posterior))
    found = posterior.predict(table, groups=groups.value, kind=kind.value, seed=seed)
    summary = found.summary().set_axis(table.index)
    names = {column: f"{found.name}_{column}" for column in summary.columns}
    # Whole numbers with gaps are floats in a CSV file; shown as they were written.
    result = table.convert_dtypes().join(summary.rename(columns=names))
    if out is None:
        typer.echo(result.to_string(index=False, max_rows=MOST_ROWS))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, [result.to_csv(index=False).encode()])
    typer.echo(f"wrote {out}: {found!r}")


def text_columns(posterior: "Posterior") -> list[str]:
    """Names of the columns whose values were text in the data of the fit."""
    origin = posterior.model.origin
    frame = getattr(origin, "frame", {})
    return [name for name, values in frame.items() if values.dtype.kind == "U"]


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="Show this data set.")] = None,
) -> None:
    """List the packaged data sets, or show one of them."""
    import hierjax

    if name is None:
        for row in hierjax.datasets().to_dict("records"):
            typer.echo(f"{row['name']:<14}{row['rows']:>7,} rows  {row['structure']}")
        typer.echo("\n`hierjax data NAME` shows columns, source and licence.")
        return
    frame = hierjax.load_data(name)
    columns = frame.attrs["columns"]
    for key in ("description", "source", "licence", "citation"):
        typer.echo(f"{key}: {frame.attrs[key]}")
    typer.echo("columns:")
    for column, meaning in columns.items():
        typer.echo(f"  {column}: {meaning}")
    typer.echo(f"first of {len(frame):,} rows:\n{frame.head(6).to_string(index=False)}")


@app.command()
def levels(
    formula: Annotated[str, typer.Argument(help='For example "y ~ x + (1 + x | group)".')],
    data: Annotated[str, typer.Option(help="A CSV or Parquet file, or a packaged data set.")],
    family: Annotated[str, typer.Option(help="Distribution of the response.")] = "gaussian",
) -> None:
    """Show the levels of a formula as a tree, and its priors, without fitting."""
    import hierjax

    model = hierjax.formula(formula, read_table(data), family=family)
    typer.echo(f"{model.levels()}\n")
    typer.echo(model.priors().to_string())


def main() -> None:
    """Run the command line; errors of ours are one readable line, with exit status 1."""
    keep_programs()
    try:
        app(standalone_mode=True)
    except HierjaxError as error:
        if DEBUG["on"]:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
