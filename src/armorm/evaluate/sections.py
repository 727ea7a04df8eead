"""Sections of a report as data: texts, tables and terms, which Markdown and pages lay out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from armorm.evaluate.interval import Interval


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts."""

    head: Sequence[str]
    """m titles."""
    rows: Sequence[Sequence[str]]
    """n times m cells."""
    left: Sequence[int] = (0,)
    """Columns of words, by position; the others hold numbers."""
    strong: Sequence[int] = ()
    """Rows that stand out, by position."""
    caption: str = ""
    """What the table shows, where the text around it does not say so."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Words that a reader may not know, each with its meaning."""

    items: Sequence[tuple[str, str]]
    """Term and explanation."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report."""

    key: str
    """Names it within the report; pictures are placed by it."""
    title: str
    """As it is shown."""
    parts: Sequence[str | Grid | Terms]
    """In the order they are read; a text is a paragraph."""


def level_head(intervals: Iterable[Interval]) -> str:
    """Return the head of an interval column, such as `95 % interval`.

    Args:
        intervals: The figures of the column.

    Returns:
        With the level, where all that have an interval share one.
    """
    levels = sorted({interval.level for interval in intervals if interval.has_interval})
    return f"{100 * levels[0]:g} % interval" if len(levels) == 1 else "interval"


def joined(names: Sequence[str]) -> str:
    """Return names joined as in a sentence.

    Args:
        names: At least one.

    Returns:
        The text.

    Example:
        >>> joined(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
