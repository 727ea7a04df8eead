"""`armorm data check`: what rows are there, before anything is trained on them."""

from __future__ import annotations

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

    Where a file has bad rows, the first ones are located, the last line on stderr counts
    them and the exit code is 2.
    """
    from armorm.cli.data_tables import render_summary
    from armorm.data import summarise
    from armorm.errors import DataError

    summary = summarise(*files)
    if json:
        terminal.print_json(summary.as_dict())
    else:
        terminal.stdout().print(render_summary(summary))
    bad = [file for file in summary.files if file.n_bad]
    if bad:
        n_bad, n_rows = sum(f.n_bad for f in bad), sum(f.n_rows for f in summary.files)
        raise DataError(
            f"{bad[0].errors[0]} ({n_bad:,} of {n_rows:,} rows cannot be used, this is the first)"
        )
