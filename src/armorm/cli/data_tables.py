"""The tables of `armorm data check`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.data import DataSummary
from armorm.data.summary import Lengths


def render_summary(summary: DataSummary) -> RenderableType:
    """Return the summary as tables and sentences.

    Args:
        summary: What `summarise` returned.

    Returns:
        A rich renderable.
    """
    parts: list[RenderableType] = [_files(summary)]
    parts += [Text(f"  {error}") for file in summary.files for error in file.errors]
    if summary.coverage:
        parts += [Text(), _coverage(summary)]
    parts += [Text(), _lengths(summary), Text()]
    parts += [Text(sentence) for sentence in _sentences(summary)]
    parts += [Text(f"note: {note}") for note in summary.notes()]
    return Group(*parts)


def _files(summary: DataSummary) -> Table:
    """Rows by file."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("file", overflow="fold")
    for column in ("rows", "rated", "pairs", "conversations", "bad"):
        table.add_column(column, justify="right")
    for file in summary.files:
        counts = (file.n_rows, file.n_rated, file.n_pairs, file.n_conversations, file.n_bad)
        table.add_row(Text(file.path), *(f"{n:,}" for n in counts))
    return table


def _coverage(summary: DataSummary) -> Table:
    """Ratings by source and objective."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("source")
    table.add_column("objective", overflow="fold")
    for column in ("ratings", "lowest", "mean", "highest"):
        table.add_column(column, justify="right")
    source = None
    for cell in summary.coverage:
        shown = "" if cell.source == source else (cell.source or "(none)")
        figures = (f"{cell.min:g}", f"{cell.mean:.2f}", f"{cell.max:g}")
        table.add_row(Text(shown), Text(cell.objective), f"{cell.count:,}", *figures)
        source = cell.source
    return table


def _lengths(summary: DataSummary) -> Table:
    """Lengths of prompts and responses."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("characters")
    for column in ("shortest", "median", "95 %", "longest"):
        table.add_column(column, justify="right")
    for name, of in (("prompt", summary.prompt_lengths), ("response", summary.response_lengths)):
        table.add_row(name, *_cells(of))
    return table


def _cells(of: Lengths) -> list[str]:
    """Quantiles as text, dashes where there are none."""
    if not of.count:
        return ["-"] * 4
    return [f"{n:,}" for n in (of.min, of.median, of.p95, of.max)]


def _sentences(summary: DataSummary) -> list[str]:
    """Counts in words."""
    pairs = summary.n_longer_chosen + summary.n_shorter_chosen + summary.n_equal_length
    lines = [
        f"{summary.n_prompts:,} distinct prompts; {summary.n_multi_turn:,} rows with several "
        f"turns, {summary.n_system:,} with a system message",
        f"{summary.n_duplicate_rows:,} duplicate rows, {summary.n_duplicate_ids:,} duplicate ids",
    ]
    if pairs:
        lines.append(
            f"the chosen response is the longer one in {summary.n_longer_chosen:,} of {pairs:,} "
            f"pairs, the shorter one in {summary.n_shorter_chosen:,}, as long in "
            f"{summary.n_equal_length:,}"
        )
    for shared in summary.shared:
        lines.append(f"{shared.n_prompts:,} prompts are in both {shared.first} and {shared.second}")
    return lines
