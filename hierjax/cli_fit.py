"""`hierjax fit`: one formula, from data to draws, tables, plots and a page."""

import enum
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hierjax.cli_table import MOST_ROWS, named_columns, read_table
from hierjax.errors import SettingsError
from hierjax.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from hierjax.infer.program import Method
    from hierjax.model import Model
    from hierjax.posterior import Posterior

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class MethodName(enum.StrEnum):
    """Methods by name."""

    auto = "auto"
    nuts = "nuts"
    laplace = "laplace"
    svi = "svi"
    deterministic_advi = "deterministic_advi"
    empirical_bayes = "empirical_bayes"
    gibbs = "gibbs"


class Kind(enum.StrEnum):
    """What empirical Bayes maximises."""

    ml = "ml"
    reml = "reml"
    map = "map"


class Effects(enum.StrEnum):
    """Parametrisations of group effects."""

    auto = "auto"
    centred = "centred"
    integrate = "integrate"
    recentre = "recentre"
    noncentred = "noncentred"


def fit(
    formula: Annotated[str, typer.Argument(help='For example "y ~ x + (1 + x | group)".')],
    data: Annotated[str, typer.Option(help="A CSV or Parquet file, or a packaged data set.")],
    family: Annotated[str, typer.Option(help="Distribution of the response.")] = "gaussian",
    method: Annotated[MethodName, typer.Option(help="Inference method.")] = MethodName.auto,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("hierjax-fit"),
    chains: Annotated[int | None, typer.Option(help="Chains of nuts and gibbs (4).")] = None,
    warmup: Annotated[
        int | None, typer.Option(help="Warm-up of each chain (nuts 1000, gibbs 500).")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="Kept draws, of each chain (1000; laplace 4000).")
    ] = None,
    target_accept: Annotated[
        float | None,
        typer.Option(help="Acceptance of nuts (0.8); raise it to remove divergences."),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What method empirical_bayes maximises (ml).")
    ] = None,
    effects: Annotated[Effects, typer.Option(help="How group effects are treated.")] = Effects.auto,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help='"SLOT=PRIOR", as "b=Normal(0, 2)"; again for each. `hierjax levels`'
            " shows the slots."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    trials: Annotated[str | None, typer.Option(help="Column with binomial trials.")] = None,
    weights: Annotated[str | None, typer.Option(help="Column with weights.")] = None,
    offset: Annotated[str | None, typer.Option(help="Column with an offset.")] = None,
    known_sd: Annotated[str | None, typer.Option(help="Column with known standard errors.")] = None,
    censored: Annotated[str | None, typer.Option(help="Column with none, left or right.")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Fit each value of this column by itself, all in one batch."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Folder for finished pieces; started again, the fit goes on from there."),
    ] = None,
    shard_rows: Annotated[
        bool, typer.Option("--shard-rows", help="Divide the rows among all devices.")
    ] = False,
) -> None:
    """Fit one formula: print levels, summary and verdict; write draws, tables and plots.

    With --by: a report, and tables of all fits. Started again after an interrupt it goes on.
    """
    import hierjax
    from hierjax.cli_priors import read_priors

    given = named_columns(
        trials=trials, weights=weights, offset=offset, known_sd=known_sd, censored=censored
    )
    if by is not None and (checkpoint is not None or shard_rows):
        raise SettingsError(
            "--by keeps finished fits in the folder of --out, and divides data sets, not rows, "
            "among devices: leave --checkpoint and --shard-rows out."
        )
    table = read_table(data)
    priors = read_priors(prior or ())
    model = hierjax.formula(formula, table, family=family, priors=priors, **given)
    typer.echo(f"{model.levels()}\n")
    settings = {
        "chains": chains,
        "warmup": warmup,
        "draws": draws,
        "target_accept": target_accept,
        "kind": kind and kind.value,
    }
    chosen = _method(method, {name: value for name, value in settings.items() if value is not None})
    try:
        if by is None:
            posterior = hierjax.fit(
                model,
                method=chosen,
                seed=seed,
                effects=effects.value,
                checkpoint=checkpoint,
                shard_rows=shard_rows,
            )
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


def write_results(posterior: "Posterior", folder: Path) -> list[Path]:
    """Write posterior.nc, summary.csv, the plots that the fit has, and report.html with all."""
    from hierjax.report_page import draw_images, write_page

    folder.mkdir(parents=True, exist_ok=True)
    written = [posterior.save(folder / "posterior.nc"), folder / "summary.csv"]
    write_whole(written[-1], [posterior.summary(effects=True).to_csv().encode()])
    parts = (posterior.model, posterior.draws, posterior.stats, posterior.info)
    images = draw_images(*parts)
    for kind, content in images.items():
        written.append(folder / f"{kind}.png")
        write_whole(written[-1], [content])
    return [*written, write_page(folder / "report.html", *parts, images)]
