"""`armorm sources`: which sources the ridge heads were fitted on, one more, one less."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

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
from armorm.cli.main import sources_app
from armorm.cli.score import BadRows
from armorm.cli.steering import BackbonePath, BundleFolder, Device, load_steered
from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.types import Scale

_NEXT = "next: the gate was fitted before; a recipe with `ridge: {}` refits it on pairs"


@sources_app.command("list")
def show(bundle: BundleFolder) -> None:
    """Show sources, what they rate and, where the bundle has statistics, how often."""
    from armorm.cli.changed_tables import sources_table
    from armorm.model.bundle import load_statistics
    from armorm.model.find import open_bundle

    found = open_bundle(bundle)
    sums = load_statistics(found)
    terminal.stdout().print(sources_table(found, sums))
    if sums is None:
        terminal.remarks(
            [
                "without the statistics of its rated rows (`ridge.keep_statistics: true` in the "
                "recipe) sources of this bundle can be neither added nor dropped"
            ]
        )


@sources_app.command()
def add(
    bundle: BundleFolder,
    rated: RatedFile,
    scale: Annotated[
        list[str],
        typer.Option(metavar="NAME=LOW:HIGH", help="Scale of an objective; once for each."),
    ],
    output: NewBundle,
    source: SourceName = None,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Refit the ridge heads with the rows of a new source; other heads stay bit for bit."""
    from armorm.model.bundle import check_bundle_folder
    from armorm.model.find import open_bundle
    from armorm.model.new_rows import add_rated_source, read_new_rows
    from armorm.model.sources import check_changeable

    check_bundle_folder(output)
    scales = parse_scales(scale)
    with option_errors(bundle):
        check_changeable(open_bundle(bundle), tuple(scales))
    new = read_new_rows(rated, scales=scales, source=source, bad_rows=bad_rows)
    model = load_steered(bundle, device=device, backbone=backbone, weights=None, scale=None)
    with terminal.progress_bars() as watch:
        changed = add_rated_source(
            model,
            new,
            bad_rows=bad_rows,
            progress=lambda done, total: watch("features", done, total),
        )
    save_changed(changed, output)
    show_drops(new)
    typer.echo(_NEXT.format(output))


@sources_app.command()
def drop(
    bundle: BundleFolder,
    source: Annotated[str, typer.Argument(help="Name of the source.")],
    output: NewBundle,
) -> None:
    """Withdraw a source: refit the ridge heads without its rows; others stay bit for bit."""
    from armorm.model.bundle import check_bundle_folder
    from armorm.model.find import open_bundle
    from armorm.model.sources import drop_source

    check_bundle_folder(output)
    before = open_bundle(bundle)
    with option_errors(bundle):
        changed = drop_source(before, source)
    save_changed(changed, output)
    typer.echo(_NEXT.format(output))


def parse_scales(texts: list[str]) -> dict[str, Scale]:
    """Parse `name=low:high`, one a text; a name may hold an equals sign.

    Args:
        texts: Values of `--scale`.

    Returns:
        Objective -> scale.

    Raises:
        OptionError: a text of another form; a name that stands twice; `low` not below `high`.
    """
    from armorm.types import Scale

    scales: dict[str, Scale] = {}
    for text in texts:
        found = re.fullmatch(r"\s*(.+?)\s*=([^=:]+):([^=:]+)", text)
        try:
            low, high = (float(found[2]), float(found[3])) if found else (None, None)
        except ValueError:
            low = high = None
        if found is None or low is None or high is None:
            raise OptionError(f"--scale: must read name=low:high; got {text!r}")
        if found[1] in scales:
            raise OptionError(f"--scale: the name {found[1]!r} stands twice")
        with option_errors(f"--scale {found[1]!r}"):
            scales[found[1]] = Scale(low, high)
    return scales
