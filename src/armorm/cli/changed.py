"""What the commands that change a bundle share: their options, and what they leave and say."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armorm.cli import terminal
from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.model.bundle import Bundle
    from armorm.model.new_rows import NewRows

NewBundle = Annotated[
    Path,
    terminal.output_option("NEW_BUNDLE", "Folder of the changed bundle; may be the same one."),
]
RatedFile = Annotated[str, typer.Option(metavar="FILE", help="Rated rows.")]
SourceName = Annotated[
    str | None, typer.Option(help="Source of every row, where rows name none or another.")
]


@contextlib.contextmanager
def option_errors(where: str) -> Generator[None]:
    """Turn what the library refuses in an argument into one line.

    Args:
        where: The option or the bundle, as the start of the line.

    Yields:
        Nothing.

    Raises:
        OptionError: in place of a `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        raise OptionError(f"{where}: {error}") from error


def save_changed(bundle: Bundle, folder: Path) -> None:
    """Save a changed bundle with its card, and say on stdout what was changed.

    Args:
        bundle: With the change as the last one of its facts.
        folder: Where to.
    """
    from armorm.model.bundle import save_bundle
    from armorm.model.card import model_card
    from armorm.model.changes import CHANGES

    save_bundle(bundle, folder, card=model_card(bundle))
    typer.echo(f"{folder}: {bundle.facts[CHANGES][-1]}")


def show_drops(new: NewRows) -> None:
    """Say on stderr which rows and ratings of a file were not used.

    Args:
        new: The rows.
    """
    notes: list[str] = []
    if new.ignored:
        names = ", ".join(repr(name) for name in new.ignored)
        notes.append(f"ratings that were not asked for: {names}")
    if new.drops.total or new.drops.total_truncated:
        notes.append(new.drops.sentence(new.n_rows))
    terminal.remarks(notes)
