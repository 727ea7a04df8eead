"""Scorers side by side for the terminal, as a rich renderable; it prints nothing."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.evaluate.scorers.side_by_side import PairedDifference, SideBySide
from armorm.evaluate.wording import number, share, spread

_LETTERS_WIDTH = 12
_SHORTEST_NAME = 8


class SideBySideTable:
    """Scorers with their accuracies, and every two of them compared."""

    def __init__(self, found: SideBySide) -> None:
        """Keep the figures.

        Args:
            found: What is shown.
        """
        self._found = found

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        letters = {one.name: _letter(i) for i, one in enumerate(self._found.scorers)}
        yield _scorers(self._found, letters, width=options.max_width)
        if self._found.differences:
            yield Text()
            yield _differences(self._found, letters)
        yield Text()
        for sentence in _sentences(self._found):
            yield Text(sentence, style="dim")


def side_by_side_table(found: SideBySide) -> SideBySideTable:
    """Return scorers with their accuracies, and every two of them compared.

    Scorers get letters, by which the other columns name them. A difference that exceeds
    noise is marked `*`, and is the only kind that counts as ahead or behind.

    Args:
        found: What is shown.

    Returns:
        A renderable that fits 80 columns; long names give way before numbers do.
    """
    return SideBySideTable(found)


def _scorers(found: SideBySide, letters: dict[str, str], *, width: int) -> Table:
    """One line a scorer."""
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column("scorer", no_wrap=True, overflow="ellipsis")
    for head in ("pairs", "accuracy", f"{100 * found.level:g} % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("ahead of", "behind"):
        table.add_column(head, overflow="fold", max_width=_LETTERS_WIDTH)
    for one in found.scorers:
        ahead, behind = found.clear(one.name)
        table.add_row(
            letters[one.name],
            Text(one.name),  # a name of the user's may look like markup
            f"{one.accuracy.n_rows:,}",
            share(one.accuracy),
            spread(one.accuracy, factor=100, digits=1),
            " ".join(letters[name] for name in ahead),
            " ".join(letters[name] for name in behind),
        )
    # Names give way in a narrow terminal: half a number would be another number.
    rest = 0
    for i, column in enumerate(table.columns):
        if i != 1:
            natural = max(len(str(cell)) for cell in (column.header, *column.cells))
            column.min_width = min(natural, column.max_width or natural)
            rest += column.min_width + 3  # the box and the padding between two columns
    table.columns[1].max_width = max(width - rest, _SHORTEST_NAME)
    return table


def _differences(found: SideBySide, letters: dict[str, str]) -> Table:
    """One line for every two scorers."""
    table = _table()
    table.add_column("", no_wrap=True)
    for head in ("points", f"{100 * found.level:g} % interval", "pairs"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in found.differences:
        table.add_row(
            f"{letters[one.first]} - {letters[one.second]}",
            number(100 * one.difference.value, digits=1, sign=True),
            spread(one.difference, factor=100, digits=1, sign=True),
            f"{one.difference.n_rows:,}",
            _mark(one),
        )
    return table


def _mark(one: PairedDifference) -> str:
    """The finding, marked where it exceeds noise."""
    return f"{one.finding} *" if one.finding in ("ahead", "behind") else one.finding


def _sentences(found: SideBySide) -> list[str]:
    """What the marks mean and what the figures leave out."""
    n_differences = len(found.differences)
    risk = f"{100 * (1 - found.level):.3g} %"
    said: list[str] = []
    if n_differences:
        together = f" (all {n_differences} differences together)" if n_differences > 1 else ""
        said.append(
            f"* larger than noise: in at most {risk} of such tables{together} would one be "
            "marked where there is no difference."
        )
    if any(one.finding == "unknown" for one in found.differences):
        said.append("unknown: fewer than 20 prompts, too few for an interval.")
    said += [
        f"{one.name}: {one.n_without:,} of {found.n_pairs:,} pairs without a verdict are left out."
        for one in found.scorers
        if one.n_without
    ]
    return said


def _table() -> Table:
    """A plain table."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))


def _letter(i: int) -> str:
    """Return A to Z, then A2 and so on."""
    round_, place = divmod(i, 26)
    return chr(ord("A") + place) + (str(round_ + 1) if round_ else "")
