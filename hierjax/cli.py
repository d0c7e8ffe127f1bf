"""The command line: the same words as the Python interface, one module a group of commands."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from hierjax.cli_bench import bench
from hierjax.cli_data import data, levels
from hierjax.cli_fit import fit
from hierjax.cli_posterior import predict, report, sensitivity
from hierjax.cli_sbc import sbc
from hierjax.compiler import keep_programs
from hierjax.errors import HierjaxError
from hierjax.interrupts import interrupts_that_arrive

app = typer.Typer(
    help="Fit hierarchical (multilevel) Bayesian models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEBUG = {"on": False}


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


for command in (fit, predict, report, sensitivity, levels, data, sbc, bench):
    app.command()(command)


def main() -> None:
    """Run the command line; errors of ours are one readable line, with exit status 1."""
    keep_programs()
    try:
        with interrupts_that_arrive():
            app(prog_name="hierjax", standalone_mode=True)
    except HierjaxError as error:
        if DEBUG["on"]:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
