"""Writes and reads report.json and report.md; what stands in them is measured elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armorm.evaluate.figures import SCHEMA, Report
from armorm.evaluate.markdown import Picture, render_markdown
from armorm.evaluate.stored import read_figures
from armorm.storage import check_writable, write_bytes, write_json

JSON_NAME = "report.json"
"""The report for programs."""
MARKDOWN_NAME = "report.md"
"""The report for readers."""


def write_report(report: Report, folder: Path, *, pictures: Sequence[Picture] = ()) -> Path:
    """Write report.json and report.md, each whole.

    NaN becomes null. Keys stand in the order of the schema, so that one report has one
    sequence of bytes.

    Args:
        report: The report.
        folder: Where to write; made when absent.
        pictures: What `write_plots` returned, to be embedded in report.md.

    Returns:
        Path of report.json.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    write_bytes(folder / MARKDOWN_NAME, render_markdown(report, pictures).encode())
    # Last: a reader who finds report.json finds the rest.
    write_json(folder / JSON_NAME, report_json(report))
    return folder / JSON_NAME


def check_report_folder(folder: Path) -> None:
    """Raise what `write_report` would raise, before there is a report.

    Args:
        folder: Where the report is to be written.

    Raises:
        StorageError: the disk is full or cannot be written; the folder is a file.
    """
    for name in (MARKDOWN_NAME, JSON_NAME):
        check_writable(folder / name)


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
    return read_figures(file, Report, schema=SCHEMA)
