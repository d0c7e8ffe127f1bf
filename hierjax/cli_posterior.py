"""Commands that start from a fit: `hierjax predict`, `hierjax sensitivity` and `hierjax report`."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hierjax.cli_table import MOST_ROWS, read_table
from hierjax.errors import FileError
from hierjax.files import write_whole

if TYPE_CHECKING:
    from hierjax.posterior import Posterior


class Groups(enum.StrEnum):
    """What to do about groups that the fit has not seen."""

    sample = "sample"
    population = "population"
    error = "error"


class Kind(enum.StrEnum):
    """What to predict."""

    mean = "mean"
    draw = "draw"


Fit = Annotated[
    Path, typer.Argument(help="Folder that `hierjax fit` wrote, or a posterior.nc file.")
]


def predict(
    fit: Fit,
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

    For a response in categories: the probability of each.

    Rows may belong to groups that the fit has seen, to new ones, or to unknown ones (empty label).

    Example: hierjax predict hierjax-fit --data new.csv --out predicted.csv
    """
    if out is not None and out.suffix.lower() != ".csv":
        raise FileError(f"{out}: predictions are written as .csv.")
    posterior = posterior_of(fit)
    table = read_table(data, text=text_columns(posterior))
    found = posterior.predict(table, groups=groups.value, kind=kind.value, seed=seed)
    summary = found.by_row().set_axis(table.index)
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


def sensitivity(
    fit: Fit,
    effects: Annotated[
        bool, typer.Option(help="Also how much the effect of every group depends on the priors.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for the numbers of every prior and parameter.")
    ] = None,
) -> None:
    """Show how much the answer of a fit depends on its priors, and what to do about it.

    Nothing is fitted again: the draws are weighted. A number of 0.05 or more is noticeable.

    Example: hierjax sensitivity hierjax-fit
    """
    if out is not None and out.suffix.lower() != ".csv":
        raise FileError(f"{out}: sensitivities are written as .csv.")
    found = posterior_of(fit).sensitivity(effects=effects)
    typer.echo(repr(found))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, [found.table.to_csv().encode()])
        typer.echo(f"\nwrote {out}")


def report(
    fit: Fit,
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file to write; report.html beside the posterior without."),
    ] = None,
) -> None:
    """Write a fit as one page for a browser: verdict, tables, plots, model and priors.

    The page is a single file that fetches nothing, so it can be sent and kept.

    Example: hierjax report hierjax-fit --out page.html
    """
    posterior = posterior_of(fit)
    out = out or (fit if fit.is_dir() else fit.parent) / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise FileError(f"{out}: a report is written as .html.")
    out.parent.mkdir(parents=True, exist_ok=True)
    posterior.report(out)
    typer.echo(f"wrote {out}")


def posterior_of(fit: Path) -> "Posterior":
    """Load the posterior of a folder that `hierjax fit` wrote, or of a file."""
    import hierjax

    return hierjax.load(fit / "posterior.nc" if fit.is_dir() else fit)
