"""Writes figures as a page, Markdown and JSON, each whole; it does not know what they are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from armorm.errors import MissingDependency
from armorm.storage import check_writable, storage_errors, write_bytes, write_json

_ENDINGS = (".md", ".html", ".json")


@runtime_checkable
class _Noted(Protocol):
    """Figures as pydantic holds them, with notes."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def model_copy(self, *, update: dict[str, Any]) -> Any: ...

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]: ...


Shown = TypeVar("Shown", bound=_Noted)


def write_shown(
    shown: Shown,
    folder: Path,
    name: str,
    *,
    page: Callable[[Shown], str],
    markdown: Callable[[Shown], str],
) -> Shown:
    """Write figures under one name, for readers and for programs.

    Without the extra that draws there is no page, which is no reason to lose the figures
    themselves: a note says what it needs, and an older page is removed, as it would be of
    other figures.

    Args:
        shown: Figures with a field `notes`.
        folder: Where to write; made when absent.
        name: Of the files, without their endings.
        page: Makes the page.
        markdown: Makes the text, of the figures as they are written.

    Returns:
        The figures as written: with one more note where the page needs an extra.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    drawn = ""
    try:
        drawn = page(shown)
    except MissingDependency as error:
        if (note := str(error)) not in shown.notes:
            shown = shown.model_copy(update={"notes": (*shown.notes, note)})
    path = folder / f"{name}.html"
    if drawn:
        write_bytes(path, drawn.encode())
    else:
        with storage_errors(path):
            path.unlink(missing_ok=True)
    write_bytes(folder / f"{name}.md", markdown(shown).encode())
    # Last: a reader who finds the JSON finds the rest.
    write_json(folder / f"{name}.json", shown.model_dump(mode="json", by_alias=True))
    return shown


def check_shown(folder: Path, name: str) -> None:
    """Raise what `write_shown` would raise, before there is anything to write.

    Args:
        folder: Where it is to be written.
        name: Of the files, without their endings.

    Raises:
        StorageError: the disk is full or cannot be written; the folder is a file.
    """
    for ending in _ENDINGS:
        check_writable(folder / f"{name}{ending}")
