"""`armorm explain`: what a score is made of, and why one response beats the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.explain.explained import Rows
    from armorm.model.reward import RewardModel


@app.command()
def explain(
    bundle: BundleFolder,
    rows: Annotated[str, typer.Argument(metavar="IN", help="Conversations, rated rows or pairs.")],
    id_: Annotated[
        str | None, typer.Option("--id", help="The row to explain; default the first.")
    ] = None,
    rated: Annotated[
        str | None,
        typer.Option(help="Rated rows to find similar responses in; default those of the run."),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(min=0, max=100, help="Rated rows to show for each response.")
    ] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    weights: Weights = None,
    scale: Scale = None,
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Explain one row: bars per objective, what would change the verdict, what raters said."""
    from armorm.data import read_conversations
    from armorm.errors import nearest
    from armorm.explain.explained import explain_conversation, explain_pair
    from armorm.explain.render_explained import (
        render_explained_conversation,
        render_explained_pair,
    )
    from armorm.model.rows import rows_of
    from armorm.types import PreferencePair

    if rated is not None and not neighbours:
        raise OptionError("--rated: gives rows to show, and --neighbours 0 shows none")
    read = read_conversations(rows)
    found = read[:1] if id_ is None else [row for row in read if row.id == id_]
    if not found:
        known = nearest(str(id_), [row.id for row in read[:1000]])
        raise OptionError(f"--id: {rows} has no row {id_!r}{known}")
    row = found[0]
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    near = _rated_rows(model, bundle, rated) if neighbours else None
    n = max(neighbours, 1)  # 0 has no rows to choose from
    scales = model.bundle.scales
    with rows_of(rows):
        if isinstance(row, PreferencePair):
            pair = explain_pair(model, row, rows=near, n_nearest=n)
            content = pair.figures().model_dump(mode="json")
            shown = render_explained_pair(pair, scales=scales)
        else:
            one = explain_conversation(model, row, rows=near, n_nearest=n)
            content = one.as_dict()
            shown = render_explained_conversation(one, scales=scales)
    if json:
        terminal.print_json(content)
    else:
        terminal.stdout().print(shown)


def _rated_rows(model: RewardModel, bundle: str, rated: str | None) -> Rows:
    """Rated rows of a file, or else of the run that the bundle is from."""
    if rated is None:
        from armorm.train.rated_rows import rows_of_run

        return rows_of_run(Path(bundle), model.bundle)
    from armorm.explain.rated_file import rows_of_file

    with terminal.progress_bars() as watch:
        return rows_of_file(
            model, rated, progress=lambda done, total: watch("rated rows", done, total)
        )
