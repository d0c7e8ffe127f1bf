"""Commands that fit nothing: `hierjax data` and `hierjax levels`."""

from typing import Annotated

import typer

from hierjax.cli_table import named_columns, read_table


def data(
    name: Annotated[str | None, typer.Argument(help="Show this data set.")] = None,
) -> None:
    """List the packaged data sets, or show one of them."""
    import hierjax

    if name is None:
        for row in hierjax.datasets().to_dict("records"):
            typer.echo(f"{row['name']:<18}{row['rows']:>7,} rows  {row['structure']}")
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


def levels(
    formula: Annotated[str, typer.Argument(help='For example "y ~ x + (1 + x | group)".')],
    data: Annotated[str, typer.Option(help="A CSV or Parquet file, or a packaged data set.")],
    family: Annotated[str, typer.Option(help="Distribution of the response.")] = "gaussian",
    prior: Annotated[
        list[str] | None,
        typer.Option(help='"SLOT=PRIOR", as "b=Normal(0, 2)"; again for each.'),
    ] = None,
    trials: Annotated[str | None, typer.Option(help="Column with binomial trials.")] = None,
    weights: Annotated[str | None, typer.Option(help="Column with weights.")] = None,
    offset: Annotated[str | None, typer.Option(help="Column with an offset.")] = None,
    known_sd: Annotated[str | None, typer.Option(help="Column with known standard errors.")] = None,
    censored: Annotated[str | None, typer.Option(help="Column with none, left or right.")] = None,
) -> None:
    """Show the levels of a formula as a tree, and its priors, without fitting."""
    import hierjax
    from hierjax.cli_priors import read_priors

    given = named_columns(
        trials=trials, weights=weights, offset=offset, known_sd=known_sd, censored=censored
    )
    priors = read_priors(prior or ())
    model = hierjax.formula(formula, read_table(data), family=family, priors=priors, **given)
    typer.echo(f"{model.levels()}\n")
    typer.echo(model.priors().to_string())
