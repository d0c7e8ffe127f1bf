"""`hierjax bench`: speed and accuracy beside other tools, measured on the user's own machine."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class SuiteName(enum.StrEnum):
    """Suites by name."""

    quick = "quick"
    full = "full"
    scale = "scale"
    batch = "batch"
    gpu = "gpu"


def bench(
    suite: Annotated[
        SuiteName,
        typer.Option(
            help="quick: small data beside NumPyro, 10 minutes at most. full: all problems beside "
            "every tool installed, hours. scale: a gradient by rows and groups. batch: a data set "
            "among many. gpu: a gradient on a GPU."
        ),
    ] = SuiteName.quick,
    problem: Annotated[
        list[str] | None, typer.Option(help="Only this problem; may be given again.")
    ] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="Only this tool; may be given again.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for rows, table and plots.")] = Path(
        "hierjax-bench"
    ),
    seed: Annotated[int, typer.Option(help="Seed of every tool.")] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(help="End after so many minutes; quick has 10, the others have no limit."),
    ] = None,
    names: Annotated[
        bool, typer.Option("--list", help="List problems and tools, and what installs them.")
    ] = False,
) -> None:
    """Measure hierjax beside other tools: speed, accuracy and memory, same data, same priors.

    Every row has a process of its own. Failures stay in the table.
    """
    from hierjax.bench.session import run_suite
    from hierjax.bench.suites import make_suite, names_text

    if names:
        typer.echo(names_text())
        return
    chosen = make_suite(suite.value, problem or (), tool or (), seed=seed, minutes=minutes)
    try:
        run_suite(chosen, out, lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\nstopped; rows that were finished are in {out}", err=True)
        sys.exit(INTERRUPTED)
