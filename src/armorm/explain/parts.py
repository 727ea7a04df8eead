"""The pieces of an explanation on the terminal: excerpts of texts and tables with bars."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.evaluate.bars import signed_bar

_WIDE = 100
_LONGEST_NAME = 24
_SHORTEST_BAR = 9
_LONGEST_BAR = 41
_PROMPT_LINES, _RESPONSE_LINES = 2, 3
# Control characters and those that turn the direction of writing: text from a data file
# must not move the cursor, change colours or reorder what stands around it.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def sanitise(text: str) -> str:
    r"""Return text that cannot steer a terminal, on one line.

    Args:
        text: Text of any origin.

    Returns:
        The text; control characters and marks that turn the direction of writing are
        replaced by U+FFFD, every run of white space by one space.

    Example:
        >>> sanitise("a\n b\x1b[31mc")
        'a b�[31mc'
    """
    return _UNSAFE.sub("\ufffd", " ".join(re.split(r"[ \t\r\n]+", text.strip())))


@dataclass(frozen=True, slots=True)
class Row:
    """One objective of a bar table."""

    name: str
    """Name of the objective."""
    cells: tuple[str, ...]
    """Its numbers, as text."""
    value: float
    """Length of its bar."""
    strong: bool = False
    """Whether the line stands out."""


class BarTable:
    """Names, numbers and a bar each, the sum in the last line; the bar takes what is left."""

    def __init__(
        self, heads: Sequence[str], rows: Sequence[Row], *, total: tuple[str, str]
    ) -> None:
        """Keep the cells.

        Args:
            heads: Names of the columns of numbers.
            rows: The objectives, in the order to show.
            total: Name of the sum, and the sum, which stands below the last number.
        """
        self._heads, self._rows, self._total = tuple(heads), tuple(rows), total

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand; too narrow a terminal loses the bar first."""
        longest = _LONGEST_NAME if options.max_width < _WIDE else 2 * _LONGEST_NAME
        names = ["objective", self._total[0], *(row.name for row in self._rows)]
        name_width = min(longest, max(len(sanitise(name)) for name in names))
        columns = [
            max(len(head), *(len(row.cells[i]) for row in self._rows), len(self._last(i)))
            for i, head in enumerate(self._heads)
        ]
        gap = 2 if options.max_width >= _WIDE else 1
        bar = options.max_width - name_width - sum(columns) - gap * (len(columns) + 1)
        table = Table(box=None, show_header=True, pad_edge=False, padding=(0, gap, 0, 0))
        table.add_column("objective", width=name_width, no_wrap=True, overflow="ellipsis")
        for head, width in zip(self._heads, columns, strict=True):
            table.add_column(head, justify="right", no_wrap=True, min_width=width)
        if bar >= _SHORTEST_BAR:
            table.add_column("", no_wrap=True)
        self._add_rows(table, min(bar, _LONGEST_BAR), ascii_only=options.ascii_only)
        yield table

    def _add_rows(self, table: Table, bar: int, *, ascii_only: bool) -> None:
        """Add objectives, a rule and the sum."""
        low = min(0.0, *(row.value for row in self._rows))
        high = max(0.0, *(row.value for row in self._rows))
        for row in self._rows:
            cells: list[str | Text] = [Text(sanitise(row.name)), *(Text(c) for c in row.cells)]
            if bar >= _SHORTEST_BAR and high > low:
                cells.append(
                    signed_bar(row.value, low=low, high=high, width=bar, ascii_only=ascii_only)
                )
            table.add_row(*cells, style="bold" if row.strong else "")
        rule = ("-" if ascii_only else "─") * len(self._total[1])
        blanks = [""] * (len(self._heads) - 1)
        table.add_row("", *blanks, Text(rule, style="dim"))
        table.add_row(self._total[0], *blanks, self._total[1], style="bold")

    def _last(self, i: int) -> str:
        """The sum where it stands below the last column of numbers."""
        return self._total[1] if i == len(self._heads) - 1 else ""


class Excerpt:
    """A text on at most so many lines, with an ellipsis where it goes on."""

    def __init__(self, text: str, *, lines: int) -> None:
        """Keep the text, made safe to show.

        Args:
            text: Text of any origin.
            lines: Lines at most.
        """
        self._text, self._lines = sanitise(text), lines

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        wrapped = Text(self._text).wrap(console, options.max_width)
        for i, line in enumerate(wrapped[: self._lines]):
            line.rstrip()
            if i == self._lines - 1 and len(wrapped) > self._lines:
                dots = "..." if options.ascii_only else "…"
                line.truncate(max(options.max_width - len(dots), 1))
                line.append(dots)
            yield line


def head(title: str, texts: Sequence[tuple[str, str]]) -> Iterator[RenderableType]:
    """Yield title, prompt and responses, as they stand above a table.

    Args:
        title: First line; empty for none.
        texts: Label and text of each.

    Yields:
        Renderables, the last one an empty line.
    """
    if title:
        yield Text(sanitise(title), style="bold")
    if texts:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        for label, text in texts:
            lines = _PROMPT_LINES if label == "prompt" else _RESPONSE_LINES
            grid.add_row(label, Excerpt(text, lines=lines))
        yield grid
    if title or texts:
        yield Text()
