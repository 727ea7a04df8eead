"""`armorm export`: a bundle in a layout that other tools load, checked before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from armorm.cli import terminal
from armorm.cli.changed import option_errors
from armorm.cli.main import app
from armorm.cli.steering import BackbonePath, BundleFolder, Device, Scale, Weights, load_steered

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.model.exports import ExportReport
    from armorm.types import Conversation

Dtype = Literal["float32", "bfloat16", "float16"]


@app.command()
def export(
    bundle: BundleFolder,
    to: Annotated[
        Literal["armorm", "classifier", "objectives", "head"],
        typer.Option("--to", help="The released layout, one label, one an objective, or heads."),
    ],
    output: Annotated[Path, terminal.output_option("FOLDER", "The folder to make.")],
    weights: Weights = None,
    scale: Scale = None,
    rows: Annotated[
        str | None, typer.Option(metavar="FILE", help="Rows: mean gating, and more to compare on.")
    ] = None,
    debiased: Annotated[bool, typer.Option(help="Objectives: after debias.")] = False,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Of the export's backbone; default the bundle's.")
    ] = None,
    device: Device = "auto",
    backbone: BackbonePath = None,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload it to this repository.")
    ] = None,
    private: Annotated[bool, typer.Option(help="A repository that is made is private.")] = False,
) -> None:
    """Write a bundle in a layout that other tools load, after loading and comparing it."""
    from armorm.model import exports
    from armorm.model.find import find_model, open_found

    with option_errors("--to"):
        settings = exports.ExportSettings(to, debiased=debiased, dtype=dtype)
        if weights is not None and to != "classifier":
            raise ValueError(f"--weights are for --to classifier; got --to {to}")
    if private and push_to_hub is None:
        raise terminal.OptionError("--private: is that of a repository; give --push-to-hub")
    if push_to_hub is not None:
        with option_errors("--push-to-hub"):
            exports.check_repository(push_to_hub)
    exports.check_export_folder(output, to)
    if not (found := find_model(bundle)).is_released:  # before a large backbone is loaded
        exports.check_exportable(open_found(found), to)
    read = _read_rows(rows)
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    with terminal.progress_bars() as watch:
        with option_errors(bundle):
            plan = exports.plan_export(
                model, settings, rows=read, progress=lambda done, all_: watch("score", done, all_)
            )
        notes = list(model.backbone.notes)
        del model  # one backbone in memory at a time
        report = exports.write_export(plan, output, progress=watch)
    terminal.remarks([*notes, *report.notes])
    typer.echo(_said(report))
    if push_to_hub is not None:
        typer.echo(f"uploaded: {exports.push_export(output, push_to_hub, private=private)}")


def _read_rows(path: str | None) -> list[Conversation]:
    """The conversations of a file; both of a pair."""
    if path is None:
        return []
    from armorm.data import read_conversations
    from armorm.model.rows import conversations_of

    return [c for row in read_conversations(path) for c in conversations_of(row)]


def _said(report: ExportReport) -> str:
    """What was written and how it compares, in one line."""
    found = ", ".join(
        f"{d.output} {d.largest:.1e} (at most {d.tolerance:.1e})" for d in report.differences
    )
    return (
        f"{report.folder}: {report.to}, loaded again and compared on "
        f"{report.n_conversations:,} conversations; largest differences: {found}"
    )
