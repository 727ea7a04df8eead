"""`armorm audit`: what else than quality moves the scores of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.changed import save_changed
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
def audit(
    bundle: BundleFolder,
    rated: Annotated[str | None, typer.Option(help="Rated rows.")] = None,
    pairs: Annotated[str | None, typer.Option(help="Preference pairs.")] = None,
    training: Annotated[
        list[str] | None,
        typer.Option(help="Rows the bundle was fitted on, to count prompts in common; repeatable."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows that are edited.")] = 200,
    json: Annotated[bool, typer.Option("--json", help="Print the audit as JSON.")] = False,
    output: Annotated[
        Path | None, terminal.output_option("FOLDER", "Folder for audit.json and audit.md.")
    ] = None,
    write_temperature: Annotated[
        Path | None,
        typer.Option(metavar="NEW_BUNDLE", help="Save the bundle with its beta calibrated."),
    ] = None,
    weights: Weights = None,
    scale: Scale = None,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Look for what else than quality moves the scores: length, markdown, flattery, tricks."""
    from armorm.cli.audit_tables import audit_summary
    from armorm.evaluate.audit import audit_bundle, calibrated
    from armorm.evaluate.audit.files import audit_json, check_audit_folder, write_audit
    from armorm.model.bundle import check_bundle_folder

    notes: list[str] = []
    if rated is None and pairs is None:
        rated, pairs = "quickstart:rated.jsonl", "quickstart:pairs.jsonl"
        notes.append(
            "no --rated and no --pairs: audited on the shipped corpus, which the quick start "
            "trains on"
        )
    if write_temperature is not None:
        if pairs is None:
            raise OptionError("--write-temperature: needs --pairs to fit the temperature on")
        if weights is not None or scale is not None:
            raise OptionError("--write-temperature: saves the gated model; leave out the steering")
        check_bundle_folder(write_temperature)
    if output is not None:
        check_audit_folder(output)
    model = load_steered(bundle, device=device, backbone=backbone, weights=weights, scale=scale)
    with terminal.progress_bars() as watch:
        found = audit_bundle(
            model,
            rated=rated,
            pairs=pairs,
            training=training or (),
            bad_rows=bad_rows,
            n_edited=rows,
            progress=lambda done, total: watch("conversations", done, total),
        )
    terminal.remarks([*notes, *found.notes, *model.backbone.notes])
    if output is not None:
        written = write_audit(found, output)
        terminal.remarks(written.notes[len(found.notes) :])
    if json:
        terminal.print_json(audit_json(found))
    else:
        terminal.stdout().print(audit_summary(found))
    if write_temperature is None:
        return
    temperature = found.calibration.temperature if found.calibration is not None else None
    if temperature is None:
        raise OptionError(
            "--write-temperature: no temperature is fitted, since half of the prompts must have "
            "pairs that are judged wrong, and a mean margin above 0"
        )
    save_changed(calibrated(model.bundle, temperature), write_temperature)
