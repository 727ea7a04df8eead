"""`armorm evaluate`: how good a bundle is on rows of one's own, beside its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.score import BadRows
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
def evaluate(
    bundle: BundleFolder,
    pairs: Annotated[str | None, typer.Option(help="Preference pairs.")] = None,
    rated: Annotated[str | None, typer.Option(help="Rated rows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    output: Annotated[
        Path | None,
        terminal.output_option("FOLDER", "Folder for report.json and report.md."),
    ] = None,
    weights: Weights = None,
    scale: Scale = None,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Measure a bundle on pairs, rated rows or both, with intervals, beside its baselines."""
    from armorm.evaluate.bundle import evaluate_bundle
    from armorm.evaluate.report import check_report_folder, report_json, write_report
    from armorm.evaluate.tables import summary

    if pairs is None and rated is None:
        raise OptionError("evaluate needs rows: give --pairs, --rated or both")
    if output is not None:
        check_report_folder(output)
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    with terminal.progress_bars() as watch:
        report = evaluate_bundle(model, pairs=pairs, rated=rated, bad_rows=bad_rows, watch=watch)
    terminal.remarks([*report.notes, *model.backbone.notes])
    if output is not None:
        write_report(report, output)
    if json:
        import json as writer

        typer.echo(writer.dumps(report_json(report), indent=2, ensure_ascii=False))
    else:
        terminal.stdout().print(summary(report))
