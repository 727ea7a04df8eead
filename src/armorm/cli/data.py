"""`armorm data check`: what rows are there, before anything is trained on them."""

from __future__ import annotations

import json as writer
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import data_app


@data_app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files, folders or hub ids.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show coverage by source and objective, lengths, duplicates and shared prompts.

    Exit code 2 where a file has bad rows; each of the first ones is located.
    """
    from armorm.cli.data_tables import render_summary
    from armorm.data import summarise

    summary = summarise(*files)
    if json:
        typer.echo(writer.dumps(summary.as_dict(), indent=2, ensure_ascii=False))
    else:
        terminal.stdout().print(render_summary(summary))
    if any(file.n_bad for file in summary.files):
        raise typer.Exit(2)
