"""`armorm data list` and `armorm data convert`: published data sets as rows for a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.changed import option_errors
from armorm.cli.main import data_app
from armorm.cli.score import BadRows

SetName = Annotated[str, typer.Argument(metavar="NAME", help="As `armorm data list` shows it.")]


@data_app.command("list")
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this one, with everything known.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the published data sets that can be converted, their licences and scales."""
    from armorm.cli.data_sets_tables import as_dict, render_set, render_sets
    from armorm.data.sources import published_set, published_sets

    chosen = list(published_sets().values()) if name is None else [published_set(name)]
    if json:
        terminal.print_json([as_dict(one) for one in chosen])
    elif name is None:
        terminal.stdout().print(render_sets(chosen))
    else:
        terminal.stdout().print(render_set(chosen[0]))


@data_app.command()
def convert(
    name: SetName,
    output: Annotated[Path, terminal.output_option("FILE", "Rows to write: .parquet (or .jsonl).")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="PATH_OR_ID", help="A file, a folder or another id on the hub."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split on the hub; default: its own.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first records.")] = None,
    bad_rows: BadRows = "drop",
) -> None:
    """Convert a published data set to rows that a recipe takes without a column mapping."""
    from armorm.cli.data_sets_tables import licence_note, recipe_lines, sentences
    from armorm.data import Drops
    from armorm.data.sources import convert_set, published_set, published_source
    from armorm.data.sources.output import check_ending

    with option_errors("-o"):
        check_ending(output)
    published = published_set(name)
    where = published_source(published, source, split)
    drops = Drops()
    with terminal.progress_bars() as watch:
        done = convert_set(
            published,
            output=output,
            source=where,
            bad_rows=bad_rows,
            drops=drops,
            limit=limit,
            progress=lambda rows, expected: watch("convert", rows, expected),
        )
    terminal.remarks([*sentences(done, drops), licence_note(published)])
    typer.echo(recipe_lines(published, output), nl=False)
