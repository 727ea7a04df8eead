"""`armorm import`: heads of the published scripts become a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.changed import option_errors
from armorm.cli.main import app


@app.command("import")
def import_(
    ridge: Annotated[
        str,
        typer.Option(
            metavar="W.pt|BUNDLE", help="A file of stage-1_train.py, or a model to take it from."
        ),
    ],
    gate: Annotated[Path, typer.Option(metavar="G.pt", help="A file of stage-2_train.py.")],
    output: Annotated[Path, terminal.output_option("NEW_BUNDLE", "Folder of the bundle.")],
    backbone: Annotated[
        str | None, typer.Option(help="Folder or hub id of the backbone of a .pt ridge head.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the backbone on the hub.")] = None,
    dtype: Annotated[str, typer.Option(help="What the features were extracted in.")] = "bfloat16",
    objectives: Annotated[
        str | None,
        typer.Option(metavar="NAME,…", help="Names in order; default the 19 released ones."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Divisor of the gate's logits.")] = 10.0,
    name: Annotated[str | None, typer.Option(help="Of the bundle; default its folder's.")] = None,
) -> None:
    """Put a ridge head and a gate of the published training scripts into one bundle."""
    from armorm.model.bundle import check_bundle_folder, save_bundle
    from armorm.model.card import model_card
    from armorm.model.imported import import_heads

    check_bundle_folder(output)
    names = None if objectives is None else [part.strip() for part in objectives.split(",")]
    with option_errors("import"):
        made = import_heads(
            ridge,
            gate,
            name=name or output.resolve().name,
            backbone=backbone,
            revision=revision,
            dtype=dtype,
            objectives=names,
            temperature=temperature,
        )
    save_bundle(made.bundle, output, card=model_card(made.bundle))
    terminal.remarks(made.notes)
    typer.echo(f"{output}: {len(made.bundle.objectives)} objectives and their gate")
    typer.echo(f"next: `armorm export {output} --to armorm -o FOLDER` writes the released layout")
