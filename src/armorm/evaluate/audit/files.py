"""Writes audit.json, audit.md and audit.html, and reads the first again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armorm.evaluate.audit.figures import SCHEMA, Audit
from armorm.evaluate.audit.render import render_audit
from armorm.evaluate.page_file import check_shown, write_shown
from armorm.evaluate.stored import read_figures

_NAME = "audit"
JSON_NAME = f"{_NAME}.json"
"""The audit for programs."""
MARKDOWN_NAME = f"{_NAME}.md"
"""The audit for readers of text."""
PAGE_NAME = f"{_NAME}.html"
"""The audit for readers."""


def write_audit(audit: Audit, folder: Path) -> Audit:
    """Write audit.html, audit.md and audit.json, each whole; one audit has one sequence of bytes.

    Without the extra that draws there is no page: an older one is removed, and a note says so.

    Args:
        audit: The audit.
        folder: Where to write; made when absent.

    Returns:
        The audit as written: with one more note where the page needs an extra.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    return write_shown(audit, folder, _NAME, page=_render, markdown=render_audit)


def check_audit_folder(folder: Path) -> None:
    """Raise what `write_audit` would raise, before there is an audit.

    Args:
        folder: Where the audit is to be written.

    Raises:
        StorageError: the disk is full or cannot be written; the folder is a file.
    """
    check_shown(folder, _NAME)


def audit_json(audit: Audit) -> dict[str, Any]:
    """Return the audit as JSON values, NaN as None."""
    return audit.model_dump(mode="json", by_alias=True)


def read_audit(path: Path) -> Audit:
    """Read an audit.

    Args:
        path: audit.json, or the folder that holds it.

    Returns:
        The audit; null figures are NaN.

    Raises:
        DataError: as `read_figures`.
    """
    file = path / JSON_NAME if path.is_dir() else path
    return read_figures(file, Audit, schemas=(SCHEMA,))


def _render(audit: Audit) -> str:
    """The audit as a page; what draws it is loaded here, as few commands need it."""
    from armorm.evaluate.html.audit_page import render_audit_html

    return render_audit_html(audit)
