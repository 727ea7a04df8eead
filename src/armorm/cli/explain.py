"""`armorm explain`: what a score is made of, and why one response beats the other."""

from __future__ import annotations

from typing import Annotated

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
from armorm.cli.terminal import OptionError


@app.command()
def explain(
    bundle: BundleFolder,
    rows: Annotated[str, typer.Argument(metavar="IN", help="Conversations, rated rows or pairs.")],
    id_: Annotated[
        str | None, typer.Option("--id", help="The row to explain; default the first.")
    ] = None,
    weights: Weights = None,
    scale: Scale = None,
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Explain one row: bars per objective; for a pair the difference by objective."""
    from armorm.data import read_conversations
    from armorm.errors import nearest
    from armorm.explain.render import render_conversation, render_pair
    from armorm.explain.verdict import compare_pair
    from armorm.model.rows import rows_of
    from armorm.types import PreferencePair

    read = read_conversations(rows)
    found = read[:1] if id_ is None else [row for row in read if row.id == id_]
    if not found:
        known = nearest(str(id_), [row.id for row in read[:1000]])
        raise OptionError(f"--id: {rows} has no row {id_!r}{known}")
    row = found[0]
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    scales = model.bundle.scales
    with rows_of(rows):
        if isinstance(row, PreferencePair):
            shown = render_pair(row, compare_pair(model, row), scales=scales)
        else:
            shown = render_conversation(row, model.explain(row), scales=scales)
    terminal.stdout().print(shown)
