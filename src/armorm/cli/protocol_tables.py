"""The result of a protocol as a table, and in words what its figures are figures of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.evaluate.interval import Interval
from armorm.evaluate.protocols import FigureResult, ProtocolResult, ScorerResult
from armorm.evaluate.wording import number, spread, verdict

_MARKS = {"better": " +", "worse": " -", "no clear difference": "  ", "unknown": "  "}
"""Shown behind a figure that differs from the first scorer's by more than chance explains."""


def protocol_table(result: ProtocolResult) -> RenderableType:
    """Return a result for the terminal.

    Args:
        result: What a protocol found.

    Returns:
        A table, one figure a line and one scorer a column, and sentences under it.
    """
    first, *others = result.scorers
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for name in ("rows", first.scorer, f"{100 * first.overall.result.level:g} % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for other in others:
        table.add_column(other.scorer, justify="right", no_wrap=True)
    show = _share if result.unit == "share" else _reference
    for name, style, of in _lines(result):
        figures = [of(scorer) for scorer in result.scorers]
        own = figures[0].result
        table.add_row(
            Text(name),
            f"{own.n_rows:,}",
            show(own),
            spread(own, factor=_factor(result), digits=_digits(result)),
            *(show(figure.result) + _mark(figure) for figure in figures[1:]),
            style=style,
        )
    return Group(table, Text(), *(Text(said) for said in _sentences(result)))


def _lines(
    result: ProtocolResult,
) -> Iterator[tuple[str, str, Callable[[ScorerResult], FigureResult]]]:
    """Name, style and figure of each line: overall, sections with their subsets, parts."""
    first = result.scorers[0]
    yield "overall", "bold", lambda scorer: scorer.overall
    of_section: dict[str, list[str]] = {}
    for one in result.coverage.subsets:
        of_section.setdefault(one.section, []).append(one.subset)
    for section in first.sections if len(first.sections) > 1 else ():
        yield section, "", _entry("sections", section)
        for subset in of_section[section]:
            if subset in first.subsets:
                yield f"  {subset}", "dim", _entry("subsets", subset)
    for part in first.parts:
        yield part, "", _entry("parts", part)


def _entry(kind: str, name: str) -> Callable[[ScorerResult], FigureResult]:
    """One figure of a kind, by name."""

    def of(scorer: ScorerResult) -> FigureResult:
        figures: Mapping[str, FigureResult] = getattr(scorer, kind)
        return figures[name]

    return of


def _mark(figure: FigureResult) -> str:
    """A sign where the difference to the first scorer exceeds chance."""
    return _MARKS[verdict(figure.difference)] if figure.difference is not None else ""


def _share(interval: Interval) -> str:
    """A share in per cent; the unit is in the sentences."""
    return number(100 * interval.value, digits=1)


def _reference(interval: Interval) -> str:
    """A figure in the unit of the reference values."""
    return number(interval.value, digits=3)


def _factor(result: ProtocolResult) -> float:
    return 100.0 if result.unit == "share" else 1.0


def _digits(result: ProtocolResult) -> int:
    return 1 if result.unit == "share" else 3


def _sentences(result: ProtocolResult) -> Iterator[str]:
    """What the figures are of, what is covered, and what the signs say."""
    unit = "per cent" if result.unit == "share" else "in the unit of the references"
    yield f"{result.title}, {unit}: {result.rule}."
    if not result.is_whole:
        yield f"Partial: {result.coverage.sentence()}."
    ties = [f"{one.scorer} {one.n_ties:,}" for one in result.scorers if one.n_ties]
    if ties:
        yield f"Rows with exact ties: {', '.join(ties)}."
    shown = [_mark(f) for one in result.scorers for f in (one.overall, *one.sections.values())]
    if {" +", " -"} & set(shown):
        yield (
            f"+ and -: above or below {result.scorers[0].scorer} by more than chance explains, "
            "prompt by prompt."
        )
