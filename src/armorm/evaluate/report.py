"""Writes report.json, .md and .html and reads the first; what they hold is measured elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armorm.evaluate.figures import READ_SCHEMAS, Report
from armorm.evaluate.markdown import Picture, render_markdown
from armorm.evaluate.page_file import check_shown, write_shown
from armorm.evaluate.stored import read_figures

_NAME = "report"
JSON_NAME = f"{_NAME}.json"
"""The report for programs."""
MARKDOWN_NAME = f"{_NAME}.md"
"""The report for readers of text."""
PAGE_NAME = f"{_NAME}.html"
"""The report for readers."""


def write_report(report: Report, folder: Path, *, pictures: Sequence[Picture] = ()) -> Report:
    """Write report.html, report.md and report.json, each whole.

    NaN becomes null. Keys stand in the order of the schema, so that one report has one
    sequence of bytes. Without the extra that draws there is no page: an older one is
    removed, and a note says so.

    Args:
        report: The report.
        folder: Where to write; made when absent.
        pictures: What `write_plots` returned, to be embedded in report.md.

    Returns:
        The report as written: with one more note where the page needs an extra.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    return write_shown(
        report,
        folder,
        _NAME,
        page=_render,
        markdown=lambda written: render_markdown(written, pictures),
    )


def check_report_folder(folder: Path) -> None:
    """Raise what `write_report` would raise, before there is a report.

    Args:
        folder: Where the report is to be written.

    Raises:
        StorageError: the disk is full or cannot be written; the folder is a file.
    """
    check_shown(folder, _NAME)


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values, NaN as None."""
    return report.model_dump(mode="json", by_alias=True)


def read_report(path: Path) -> Report:
    """Read a report.

    Args:
        path: report.json, or the folder that holds it.

    Returns:
        The report; null figures are NaN.

    Raises:
        DataError: there is no such file; it is not JSON; its schema is another; a field
            is missing, unknown or of another type (the first one is named).
    """
    file = path / JSON_NAME if path.is_dir() else path
    return read_figures(file, Report, schemas=READ_SCHEMAS)


def _render(report: Report) -> str:
    """The report as a page; what draws it is loaded here, as few commands need it."""
    from armorm.evaluate.html.report_page import render_report_html

    return render_report_html(report)
