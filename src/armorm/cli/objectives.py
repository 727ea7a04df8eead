"""`armorm objectives`: which objectives a bundle has, one more, one less."""

from __future__ import annotations

from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.changed import (
    NewBundle,
    RatedFile,
    SourceName,
    option_errors,
    save_changed,
    show_drops,
)
from armorm.cli.main import objectives_app
from armorm.cli.score import BadRows
from armorm.cli.steering import BackbonePath, BundleFolder, Device, load_steered

Name = Annotated[str, typer.Argument(help="Name of the objective.")]


@objectives_app.command("list")
def show(bundle: BundleFolder) -> None:
    """Show the objectives of a bundle, in order, with what is known of their heads."""
    from armorm.cli.changed_tables import objectives_table
    from armorm.model.find import open_bundle

    terminal.stdout().print(objectives_table(open_bundle(bundle)))


@objectives_app.command()
def add(
    bundle: BundleFolder,
    name: Name,
    rated: RatedFile,
    scale: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Scale of the ratings.")
    ],
    output: NewBundle,
    source: SourceName = None,
    folds: Annotated[int, typer.Option(min=3, help="Parts of the prompts, to choose alpha.")] = 5,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Fit one more objective on new rated rows; every other one stays bit for bit.

    The gating gives it weight 0 until it is refitted on pairs: a recipe with `ridge:` and
    the new bundle.
    """
    from armorm.model.bundle import check_bundle_folder
    from armorm.model.find import open_bundle
    from armorm.model.new_rows import add_rated_objective, check_enough, read_new_rows
    from armorm.model.objectives import check_new_name
    from armorm.types import Scale

    check_bundle_folder(output)
    with option_errors("--scale"):
        on = Scale(*scale)
    with option_errors(bundle):
        check_new_name(open_bundle(bundle), name)
    new = read_new_rows(rated, scales={name: on}, source=source, bad_rows=bad_rows)
    check_enough(new, folds)
    model = load_steered(bundle, device=device, backbone=backbone, weights=None, scale=None)
    with terminal.progress_bars() as watch:
        changed = add_rated_objective(
            model,
            name,
            new,
            n_folds=folds,
            bad_rows=bad_rows,
            progress=lambda done, total: watch("features", done, total),
        )
    save_changed(changed, output)
    show_drops(new)
    typer.echo(f"next: refit the gate on preference pairs, with `ridge: {output}` in a recipe")


@objectives_app.command()
def drop(bundle: BundleFolder, name: Name, output: NewBundle) -> None:
    """Remove an objective; every other one stays bit for bit, the gating is shared out."""
    from armorm.model.bundle import check_bundle_folder
    from armorm.model.find import open_bundle
    from armorm.model.objectives import drop_objective

    check_bundle_folder(output)
    before = open_bundle(bundle)
    with option_errors(bundle):
        changed = drop_objective(before, name)
    save_changed(changed, output)
    if before.objectives.index(name) not in before.gating.masked:
        typer.echo(
            "next: `armorm evaluate` measures it on pairs; a recipe with "
            f"`ridge: {output}` refits the gate"
        )
