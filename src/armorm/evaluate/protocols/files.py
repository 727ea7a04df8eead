"""Writes protocol.json, .md and .html and reads the first; what they hold is measured elsewhere."""

from __future__ import annotations

from pathlib import Path

from armorm.evaluate.page_file import check_shown, write_shown
from armorm.evaluate.protocols.figures import SCHEMA, ProtocolResult
from armorm.evaluate.protocols.render import render_result
from armorm.evaluate.stored import read_figures

_NAME = "protocol"
JSON_NAME = f"{_NAME}.json"
"""The result for programs."""

MARKDOWN_NAME = f"{_NAME}.md"
"""The result for readers of text."""

PAGE_NAME = f"{_NAME}.html"
"""The result for readers."""


def write_result(result: ProtocolResult, folder: Path) -> ProtocolResult:
    """Write protocol.html, protocol.md and protocol.json, each whole.

    Without the extra that draws there is no page: an older one is removed, and a note says so.

    Args:
        result: The result.
        folder: Where to write; made when absent.

    Returns:
        The result as written: with one more note where the page needs an extra.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    return write_shown(result, folder, _NAME, page=_render, markdown=render_result)


def check_result_folder(folder: Path) -> None:
    """Raise what `write_result` would raise, before there is a result.

    Args:
        folder: Where the result is to be written.

    Raises:
        StorageError: the disk is full or cannot be written; the folder is a file.
    """
    check_shown(folder, _NAME)


def read_result(path: Path) -> ProtocolResult:
    """Read the result of a protocol.

    Args:
        path: protocol.json, or the folder that holds it.

    Returns:
        The result; null figures are NaN.

    Raises:
        DataError: there is no such file; it is not JSON; its schema is another; a field is
            missing, unknown or of another type (the first one is named).
    """
    file = path / JSON_NAME if path.is_dir() else path
    return read_figures(file, ProtocolResult, schemas=(1, SCHEMA))


def _render(result: ProtocolResult) -> str:
    """The result as a page; what draws it is loaded here, as few commands need it."""
    from armorm.evaluate.html.protocol_page import render_result_html

    return render_result_html(result)
