"""The result of a protocol for the terminal: models side by side, then figures, then judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.evaluate.protocols import ProtocolResult, overall_side_by_side
from armorm.evaluate.protocols.wording import (
    SIGNS,
    figure_lines,
    heads_of,
    judge_lines,
    judges_of,
    marked,
    result_sentences,
)
from armorm.evaluate.scorers.side_by_side_table import letter, side_by_side_table

_BETWEEN = 3
"""The box and the padding between two columns."""

_MOST_DIFFERENCES = 10


class ProtocolTable:
    """A result; scorers get letters, and their figures as many columns as there is room."""

    def __init__(self, result: ProtocolResult) -> None:
        """Keep the result."""
        self._result = result

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        result = self._result
        yield side_by_side_table(
            overall_side_by_side(result),
            heads=heads_of(result),
            most_differences=_MOST_DIFFERENCES,
        )
        yield Text()
        cells = _cells(result)
        for places in _blocks(cells, options.max_width):
            yield _figures(cells, places)
            yield Text()
        for place, name, judge in judges_of(result):
            table = _table(f"{place}: {name}")
            table.add_column("", justify="right", overflow="fold")
            for said, count in judge_lines(judge):
                table.add_row(said, count)
            yield table
            yield Text()
        for sentence in result_sentences(result):
            yield Text(sentence)


def protocol_table(result: ProtocolResult) -> ProtocolTable:
    """Return a result for the terminal.

    Args:
        result: What a protocol found.

    Returns:
        A renderable that fits 80 columns and puts more scorers side by side where there is room.
    """
    return ProtocolTable(result)


def _cells(result: ProtocolResult) -> list[list[str]]:
    """Sections, subsets and parts: name, rows and one figure a scorer, signs below signs."""
    heads = heads_of(result)
    lines: list[list[str]] = []
    for line in figure_lines(result):
        figures = [marked(line.of(one), heads) for one in result.scorers]
        rows = f"{line.of(result.scorers[0]).result.n_rows:,}"
        name = "  " * line.is_subset + line.name
        lines.append([name, rows, *(f if f.endswith(SIGNS) else f"{f}  " for f in figures)])
    return lines


def _blocks(cells: Sequence[Sequence[str]], width: int) -> Iterator[range]:
    """The scorers by place, as many at a time as there is room for."""
    if not cells:
        return
    natural = [max(map(len, column)) + _BETWEEN for column in zip(*cells, strict=True)]
    at_once = max(1, (width - natural[0] - max(natural[1], 4 + _BETWEEN)) // max(natural[2:]))
    n_scorers = len(natural) - 2
    for start in range(0, n_scorers, at_once):
        yield range(start, min(start + at_once, n_scorers))


def _figures(cells: Sequence[Sequence[str]], places: Sequence[int]) -> Table:
    """The figures of some scorers."""
    table = _table("")
    for head in ("rows", *map(letter, places)):
        table.add_column(head, justify="right", no_wrap=True)
    for name, rows, *figures in cells:
        shown = [figures[i] for i in places]
        table.add_row(Text(name), rows, *shown, style="dim" if name.startswith(" ") else "")
    return table


def _table(first: str) -> Table:
    """A plain table whose first column holds names."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column(Text(first), no_wrap=True, overflow="ellipsis")
    return table
