"""`armorm evaluate`: how good a bundle is, on rows of one's own or by a published protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.protocol_run import ProtocolRun
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

_CACHE = Path("runs/scores")


@app.command()
def evaluate(
    bundle: BundleFolder,
    pairs: Annotated[str | None, typer.Option(help="Preference pairs.")] = None,
    rated: Annotated[str | None, typer.Option(help="Rated rows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A published protocol: rewardbench, rm-bench, …"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Rows of the protocol: file, folder or hub id; default: its own."),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Another model in the table of a protocol: a bundle, hf:ID, judge:MODEL@URL or "
            "random; may stand several times.",
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Figures of the part of a protocol that is there.")
    ] = False,
    cache: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where the scores of a protocol are kept."),
    ] = _CACHE,
    output: Annotated[
        Path | None,
        terminal.output_option("FOLDER", "Folder for report.json and report.md, or protocol.json."),
    ] = None,
    weights: Weights = None,
    scale: Scale = None,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Measure a bundle on pairs, rated rows or a protocol, with intervals and baselines."""
    if protocol is not None:
        if pairs is not None or rated is not None:
            raise OptionError("--protocol has rows of its own; give --data, not --pairs or --rated")
        run = ProtocolRun(protocol, data, tuple(beside or ()), partial, cache, bad_rows, device)
        run.show(
            lambda: load_steered(
                bundle, device=device, backbone=backbone, weights=weights, scale=scale
            ),
            output=output,
            as_json=json,
        )
        return
    if data is not None or partial or beside:
        raise OptionError("--data, --beside and --partial go with --protocol")
    from armorm.evaluate.bundle import evaluate_bundle
    from armorm.evaluate.report import check_report_folder, report_json, write_report
    from armorm.evaluate.tables import summary

    if pairs is None and rated is None:
        raise OptionError("evaluate needs rows: give --pairs, --rated or both, or --protocol")
    if output is not None:
        check_report_folder(output)
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    with terminal.progress_bars() as watch:
        report = evaluate_bundle(model, pairs=pairs, rated=rated, bad_rows=bad_rows, watch=watch)
    terminal.remarks([*report.notes, *model.backbone.notes])
    if output is not None:
        write_report(report, output)
    if json:
        terminal.print_json(report_json(report))
    else:
        terminal.stdout().print(summary(report))
