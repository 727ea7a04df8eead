"""`armorm score`: rows in, one JSON line a row out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.steering import (
    BackbonePath,
    BundleFolder,
    Device,
    Scale,
    Weights,
    load_steered,
)

BadRows = Annotated[
    Literal["stop", "drop"], typer.Option(help="What a bad row does: stop, or be counted.")
]


@app.command()
def score(
    bundle: BundleFolder,
    rows: Annotated[str, typer.Argument(metavar="IN", help="Rated rows, conversations or pairs.")],
    output: Annotated[
        Path | None,
        terminal.output_option("FILE", "A JSON Lines file; default stdout."),
    ] = None,
    weights: Weights = None,
    scale: Scale = None,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Score rows and write JSON Lines with everything that the scores are made of."""
    from armorm.data import Drops, read_conversations
    from armorm.model.rows import score_rows
    from armorm.storage import check_writable, write_bytes

    if output is not None:
        check_writable(output)
    drops = Drops()
    read = read_conversations(rows, bad_rows=bad_rows, drops=drops)
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    with terminal.progress_bars() as watch:
        scored = score_rows(
            model,
            read,
            bad_rows=bad_rows,
            drops=drops,
            path=rows,
            progress=lambda done, total: watch("score", done, total),
        )
    text = "".join(_line(row) for row in scored)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_bytes(output, text.encode())
    terminal.remarks(model.backbone.notes)
    if drops.total or drops.total_truncated:
        said = drops.sentence(len(scored) + drops.total)
        terminal.stderr().print(said, soft_wrap=True)


def _line(row: dict[str, Any]) -> str:
    """One row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
