"""The summary of a report for the terminal, as a rich renderable; it prints nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Column, Table
from rich.text import Text

from armorm.evaluate.bars import signed_bar
from armorm.evaluate.figures import PreferenceFigures, Report
from armorm.evaluate.interval import Interval
from armorm.evaluate.wording import headline, number, share, spread, verdict

_WIDE = 100
_BAR = 24
_SHORTEST_BAR = 8


class Summary:
    """The figures of a report; wider terminals get bars and verdicts as well."""

    def __init__(self, report: Report) -> None:
        """Keep the report.

        Args:
            report: What is shown; tables without figures are left out.
        """
        self._report = report

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        width = options.max_width
        if self._report.objectives:
            yield _objectives(self._report, width=width, ascii_only=options.ascii_only)
            yield Text()
        if self._report.preferences:
            yield _preferences(self._report.preferences, width=width)
            yield Text()
        for sentence in headline(self._report):
            yield Text(sentence)
        yield Text(self._report.protocol, style="dim")


def summary(report: Report) -> Summary:
    """Return objectives and scorers of a report as tables, and what was found in words.

    Args:
        report: The report.

    Returns:
        A renderable that fits 80 columns and uses more where there are more.
    """
    return Summary(report)


def _objectives(report: Report, *, width: int, ascii_only: bool) -> Table:
    """Spearman and R2 of each objective; on wide terminals with a bar."""
    figures = report.objectives
    level = _level(one.spearman for one in figures)
    table = _table("objective", "rows", "Spearman", level, "R2", level)
    for one in figures:
        table.add_row(
            Text(one.name),  # a name of the user's may look like markup
            f"{one.n:,}",
            number(one.spearman.value),
            spread(one.spearman),
            number(one.r2.value),
            spread(one.r2),
        )
    mean = report.mean_spearman
    if mean is not None:
        table.add_section()
        table.add_row("mean", f"{mean.n_rows:,}", number(mean.value), spread(mean), style="bold")
    # The bar takes what names and numbers leave.
    room = width - sum(_natural(column) + 3 for column in table.columns)
    if width >= _WIDE and room >= _SHORTEST_BAR:
        _add_bars(table, [one.spearman.value for one in figures], min(room, _BAR), ascii_only)
    return _whole_numbers(table, width)


def _add_bars(table: Table, values: Sequence[float], width: int, ascii_only: bool) -> None:
    """Add a column with one bar a value; an undefined value has none."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if high <= low:
        return
    bars = [
        signed_bar(
            value if math.isfinite(value) else 0.0,
            low=low,
            high=high,
            width=width,
            ascii_only=ascii_only,
        )
        for value in values
    ]
    bars += [Text()] * (table.row_count - len(bars))  # the line of the mean
    table.columns.append(Column(no_wrap=True, _index=len(table.columns), _cells=[*bars]))


def _preferences(preferences: Iterable[PreferenceFigures], *, width: int) -> Table:
    """Accuracy of each scorer and its difference to the reference."""
    rows = list(preferences)
    level = _level(one.accuracy for one in rows)
    reference = next((one.scorer for one in rows if one.difference_to_gated is None), "reference")
    table = _table("scorer", "accuracy", level, f"to {reference}", level)
    if width >= _WIDE:
        table.add_column("verdict", no_wrap=True)
    for one in rows:
        difference = one.difference_to_gated
        cells = [one.scorer, share(one.accuracy), spread(one.accuracy, factor=100, digits=1)]
        if difference is not None:
            cells.append(number(100 * difference.value, digits=1, sign=True))
            cells.append(spread(difference, factor=100, digits=1, sign=True))
            cells.append(verdict(difference))
        # The verdict is the last cell and has a column on wide terminals only.
        table.add_row(*cells[: len(table.columns)], style="bold" if difference is None else "")
    return _whole_numbers(table, width)


def _table(first: str, *numbers: str) -> Table:
    """A plain table: names on the left, numbers to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _whole_numbers(table: Table, width: int) -> Table:
    """Let names give way in a narrow terminal: half a number would be another number."""
    rest = 0
    for column in table.columns[1:]:
        column.min_width = _natural(column)
        rest += column.min_width + 3  # the box and the padding between two columns
    table.columns[0].max_width = max(width - rest, 8)
    return table


def _natural(column: Column) -> int:
    """Width of the widest cell."""
    return max(len(str(cell)) for cell in (column.header, *column.cells))


def _level(intervals: Iterable[Interval]) -> str:
    """Head of an interval column, such as `95 % interval`."""
    levels = sorted({one.level for one in intervals if one.has_interval})
    return f"{100 * levels[0]:g} % interval" if len(levels) == 1 else "interval"
