"""Lays sections out as Markdown (GitHub's dialect, for its tables), padded to be read as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from armorm.evaluate.figures import Report
from armorm.evaluate.report_sections import report_sections
from armorm.evaluate.sections import Grid, Section, Terms
from armorm.evaluate.wording import headline


class Picture(NamedTuple):
    """A picture that belongs to a section of the report."""

    section: str
    """Key of the section, such as `objectives`."""
    path: str
    """Path relative to the report's folder, with forward slashes."""
    alt: str
    """What the picture shows, for who cannot see it."""


def render_markdown(report: Report, pictures: Sequence[Picture] = ()) -> str:
    """Return the report as Markdown.

    Args:
        report: The report.
        pictures: Embedded below the section they belong to.

    Returns:
        The text, ending in a line break. Sections without figures are left out.
    """
    lines = [f"# Report: {cell_text(report.name)}", "", " ".join(headline(report)), ""]
    lines += [f"Protocol: {report.protocol}", ""]
    lines += note_lines(report.notes)
    return finished([*lines, *section_lines(report_sections(report), pictures)])


def note_lines(notes: Sequence[str]) -> list[str]:
    """Lay out what a reader must know.

    Args:
        notes: Sentences.

    Returns:
        Lines; none without notes.
    """
    return ["Notes:", "", *(f"- {note}" for note in notes), ""] if notes else []


def section_lines(sections: Iterable[Section], pictures: Sequence[Picture] = ()) -> list[str]:
    """Lay out sections.

    Args:
        sections: The sections.
        pictures: Embedded below the section they belong to.

    Returns:
        Lines.
    """
    lines: list[str] = []
    for section in sections:
        lines += [f"## {section.title}", ""]
        for part in section.parts:
            lines += _part_lines(part)
        for picture in pictures:
            if picture.section == section.key:
                lines += [f"![{picture.alt}]({picture.path})", ""]
    return lines


def finished(lines: Iterable[str]) -> str:
    """Return lines as one text.

    Args:
        lines: The lines.

    Returns:
        The text without blanks at the ends of lines, ending in a line break.
    """
    return "\n".join(line.rstrip() for line in lines).replace("\n\n\n", "\n\n").strip() + "\n"


def _part_lines(part: str | Grid | Terms) -> list[str]:
    """A paragraph, a table below its caption, or a list of terms."""
    if isinstance(part, str):
        return [part, ""]
    if isinstance(part, Terms):
        return [*(f"- **{cell_text(term)}**: {text}" for term, text in part.items), ""]
    strong = set(part.strong)
    # A star would begin an emphasis.
    plain = [[cell.replace("*", "\\*") for cell in row] for row in part.rows]
    rows = [[f"**{row[0]}**", *row[1:]] if i in strong else row for i, row in enumerate(plain)]
    caption = [f"{part.caption}:", ""] if part.caption else []
    return [*caption, *table_lines(part.head, rows, left=part.left)]


def table_lines(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> list[str]:
    """Lay out a Markdown table, columns of words left, of numbers right, padded to be read as text.

    Args:
        head: m titles.
        rows: n times m cells.
        left: Columns of words, by position.

    Returns:
        Lines; the last one is empty.
    """
    cells = [[cell_text(cell) for cell in row] for row in [head, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    rule = [("-" * w) if i in left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = [
        [row[i].ljust(w) if i in left else row[i].rjust(w) for i, w in enumerate(widths)]
        for row in cells
    ]
    return [f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]]] + [""]


def cell_text(text: str) -> str:
    """Return a text that cannot end a cell or a line of a table.

    Args:
        text: Any text.

    Returns:
        One line with its bars escaped.
    """
    return " ".join(text.replace("|", "\\|").split())
