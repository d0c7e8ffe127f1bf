"""`hierjax sbc`: does a method recover what data were made from, for the model of a formula."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hierjax.cli_fit import INTERRUPTED, Effects, MethodName, _leave
from hierjax.cli_table import named_columns, read_table
from hierjax.files import write_whole

if TYPE_CHECKING:
    from hierjax.sbc_result import Calibration


def sbc(
    formula: Annotated[str, typer.Argument(help='For example "y ~ x + (1 + x | group)".')],
    data: Annotated[
        str,
        typer.Option(
            help="A CSV or Parquet file, or a packaged data set, whose predictors and groups are "
            "kept. Responses are simulated."
        ),
    ],
    family: Annotated[str, typer.Option(help="Distribution of the response.")] = "gaussian",
    method: Annotated[MethodName, typer.Option(help="Inference method.")] = MethodName.auto,
    effects: Annotated[Effects, typer.Option(help="How group effects are treated.")] = Effects.auto,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help='"SLOT=PRIOR", as "b=Normal(0, 2)"; again for each. Parameters are drawn from '
            "the priors, so very wide ones make absurd data."
        ),
    ] = None,
    simulations: Annotated[
        int, typer.Option(help="Data sets to simulate and fit; more show smaller errors.")
    ] = 500,
    draws: Annotated[int, typer.Option(help="Draws to rank each true value among.")] = 100,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("hierjax-sbc"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same simulations.")] = 0,
    trials: Annotated[str | None, typer.Option(help="Column with binomial trials.")] = None,
    offset: Annotated[str | None, typer.Option(help="Column with an offset.")] = None,
    known_sd: Annotated[str | None, typer.Option(help="Column with known standard errors.")] = None,
) -> None:
    """Calibrate by simulation: draw parameters and data from the model, fit, compare with truth.

    Example: hierjax sbc "Reaction ~ Days + (1 | Subject)" --data sleepstudy --simulations 200
    """
    import hierjax
    from hierjax.cli_priors import read_priors

    given = named_columns(trials=trials, offset=offset, known_sd=known_sd)
    priors = read_priors(prior or ())
    model = hierjax.formula(formula, read_table(data), family=family, priors=priors, **given)
    try:
        found = hierjax.sbc(
            model,
            method.value,
            simulations=simulations,
            draws=draws,
            seed=seed,
            effects=effects.value,
        )
        typer.echo(f"{found}\n")
        for path in write_calibration(found, out):
            typer.echo(f"wrote {path}")
    except KeyboardInterrupt:
        typer.echo("stopped; no half-written file is left behind.", err=True)
        _leave(INTERRUPTED)


def write_calibration(found: "Calibration", folder: Path) -> list[Path]:
    """Write a row for each test, a row for each simulation, and the picture of all curves."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"calibration.csv": found.table(), "simulations.csv": found.report()}
    for name, table in tables.items():
        write_whole(folder / name, [table.to_csv().encode()])
    picture = folder / "calibration.png"
    found.plot(picture)
    return [*(folder / name for name in tables), picture]
