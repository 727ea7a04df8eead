"""Scorers side by side for the terminal, as a rich renderable; it prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.evaluate.interval import FEWEST_GROUPS, Interval
from armorm.evaluate.scorers.side_by_side import PairedDifference, SideBySide
from armorm.evaluate.wording import number, share, spread

_LETTERS_WIDTH = 12
_SHORTEST_NAME = 8


@dataclass(frozen=True, slots=True)
class Heads:
    """How the figures of a table are called, and their unit."""

    rows: str = "pairs"
    """What they rest on."""
    figure: str = "accuracy"
    """The figure."""
    is_share: bool = True
    """Whether it is a share, shown in per cent, or has a unit of its own."""

    @property
    def difference(self) -> str:
        """Head of the differences."""
        return "points" if self.is_share else "difference"

    @property
    def factor(self) -> float:
        """From a figure to what is shown."""
        return 100.0 if self.is_share else 1.0

    @property
    def digits(self) -> int:
        """Digits after the point."""
        return 1 if self.is_share else 3

    def value(self, figure: Interval) -> str:
        """Return a figure as it is shown."""
        return share(figure) if self.is_share else number(figure.value, digits=self.digits)


class SideBySideTable:
    """Scorers with their accuracies, and every two of them compared."""

    def __init__(self, found: SideBySide, heads: Heads, most_differences: int | None) -> None:
        """Keep the figures.

        Args:
            found: What is shown.
            heads: How they are called, and their unit.
            most_differences: From how many on those of the first scorer alone are shown.
        """
        self._found, self._heads, self._most = found, heads, most_differences

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        letters = {one.name: letter(i) for i, one in enumerate(self._found.scorers)}
        table = _scorers(self._found, letters, self._heads, width=options.max_width)
        yield table
        shown, n_left = self._shown()
        if shown:
            yield Text()
            yield _differences(shown, letters, self._found.level, self._heads)
        yield Text()
        room = table.columns[1].max_width or 0
        for name in (one.name for one in self._found.scorers if len(one.name) > room):
            yield Text(f"{letters[name]} is {name}.", style="dim")
        for sentence in _sentences(self._found, self._heads, n_left):
            yield Text(sentence, style="dim")

    def _shown(self) -> tuple[list[PairedDifference], int]:
        """The differences that are shown, and the number of the others."""
        every = [*self._found.differences]
        if self._most is None or len(every) <= self._most:
            return every, 0
        first = [one for one in every if one.first == self._found.scorers[0].name]
        return first, len(every) - len(first)


def side_by_side_table(
    found: SideBySide, *, heads: Heads | None = None, most_differences: int | None = None
) -> SideBySideTable:
    """Return scorers with their accuracies, and every two of them compared.

    Scorers get letters, by which the other columns name them. A difference that exceeds
    noise is marked `*`, and is the only kind that counts as ahead or behind.

    Args:
        found: What is shown.
        heads: How figures are called, and their unit; accuracies of pairs where None.
        most_differences: Where there are more, those of the first scorer alone are shown, and
            the number of the others is said; None shows all.

    Returns:
        A renderable that fits 80 columns; long names give way before numbers do.
    """
    return SideBySideTable(found, heads or Heads(), most_differences)


def _scorers(found: SideBySide, letters: dict[str, str], heads: Heads, *, width: int) -> Table:
    """One line a scorer."""
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column("scorer", no_wrap=True, overflow="ellipsis")
    for head in (heads.rows, heads.figure, f"{100 * found.level:g} % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("ahead of", "behind"):
        table.add_column(head, overflow="fold", max_width=_LETTERS_WIDTH)
    for one in found.scorers:
        ahead, behind = found.clear(one.name)
        table.add_row(
            letters[one.name],
            Text(one.name),  # a name of the user's may look like markup
            f"{one.accuracy.n_rows:,}",
            heads.value(one.accuracy),
            spread(one.accuracy, factor=heads.factor, digits=heads.digits),
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


def _differences(
    shown: Sequence[PairedDifference], letters: dict[str, str], level: float, heads: Heads
) -> Table:
    """One line for every two scorers."""
    table = _table()
    table.add_column("", no_wrap=True)
    for head in (heads.difference, f"{100 * level:g} % interval", heads.rows):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in shown:
        table.add_row(
            f"{letters[one.first]} - {letters[one.second]}",
            number(heads.factor * one.difference.value, digits=heads.digits, sign=True),
            spread(one.difference, factor=heads.factor, digits=heads.digits, sign=True),
            f"{one.difference.n_rows:,}",
            mark(one),
        )
    return table


def mark(one: PairedDifference) -> str:
    """Return a finding, marked where it exceeds noise.

    Args:
        one: A difference.

    Returns:
        Its words.
    """
    return f"{one.finding} *" if one.finding in ("ahead", "behind") else one.finding


def _sentences(found: SideBySide, heads: Heads, n_left: int) -> list[str]:
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
    if n_left:
        said.append(f"Not shown: {n_left} differences that do not involve A.")
    alone = [one.difference for one in found.differences if one.finding == "unknown"]
    if any(one.n_groups < FEWEST_GROUPS for one in alone):
        said.append(f"unknown: fewer than {FEWEST_GROUPS} prompts, too few for an interval.")
    if any(one.n_groups >= FEWEST_GROUPS for one in alone):
        said.append("unknown: undefined, or the same in every resample.")
    said += [
        f"{one.name}: {one.n_without:,} of {found.n_pairs:,} {heads.rows} without a verdict "
        "are left out."
        for one in found.scorers
        if one.n_without
    ]
    return said


def _table() -> Table:
    """A plain table."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))


def letter(i: int) -> str:
    """Return A to Z, then A2 and so on.

    Args:
        i: From 0 on.

    Returns:
        The letter of that place.

    Example:
        >>> letter(0), letter(25), letter(26)
        ('A', 'Z', 'A2')
    """
    round_, place = divmod(i, 26)
    return chr(ord("A") + place) + (str(round_ + 1) if round_ else "")
