"""Writes a page beside its JSON, or says what it needs; it does not know what is on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from armorm.errors import MissingDependency
from armorm.storage import storage_errors, write_bytes

Shown = TypeVar("Shown")


def page_or_note(shown: Shown, render: Callable[[Shown], str]) -> tuple[str | None, str]:
    """Return a page, or the note that says what it needs.

    Args:
        shown: What the page is of.
        render: Makes it.

    Returns:
        The page and no note, or None and the note: no reason to lose the figures themselves.
    """
    try:
        return render(shown), ""
    except MissingDependency as error:
        return None, str(error)


def write_page(page: str | None, path: Path) -> None:
    """Write a page, whole; without one remove an older, which would be of other figures.

    Args:
        page: The text.
        path: The file.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    if page is not None:
        write_bytes(path, page.encode())
        return
    with storage_errors(path):
        path.unlink(missing_ok=True)
