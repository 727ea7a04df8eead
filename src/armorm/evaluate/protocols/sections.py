"""What stands in the result of a protocol, section by section; it lays nothing out."""

from __future__ import annotations

from collections.abc import Callable

from armorm.evaluate.interval import Interval
from armorm.evaluate.protocols.figures import ProtocolResult, overall_side_by_side
from armorm.evaluate.protocols.wording import (
    figure_lines,
    heads_of,
    judge_lines,
    judges_of,
    marked,
)
from armorm.evaluate.scorers.side_by_side_table import Heads, letter, mark
from armorm.evaluate.sections import Grid, Section, Terms
from armorm.evaluate.wording import UNDEFINED, number, spread

Parts = list[str | Grid | Terms]


def result_sections(result: ProtocolResult) -> list[Section]:
    """Return the sections of a result that have figures, and how to read them last.

    Args:
        result: What a protocol found.

    Returns:
        The sections in the order they are read.
    """
    sections: list[tuple[str, str, Callable[[ProtocolResult], Parts]]] = [
        ("models", "Models", _models),
        ("differences", "Differences", _differences),
        ("figures", "Figures", _figures),
        ("judges", "Judges", _judges),
        ("rows", "Rows", _rows),
        ("reading", "How to read this", _how_to_read),
    ]
    found = [Section(key, title, parts(result)) for key, title, parts in sections]
    return [section for section in found if section.parts]


def _models(result: ProtocolResult) -> Parts:
    """The overall figure of every scorer."""
    heads, table = heads_of(result), overall_side_by_side(result)
    letters = {one.name: letter(i) for i, one in enumerate(table.scorers)}
    rows: list[list[str]] = []
    for one in table.scorers:
        ahead, behind = table.clear(one.name)
        rows.append(
            [
                letters[one.name],
                one.name,
                f"{one.accuracy.n_rows:,}",
                heads.value(one.accuracy),
                _ends(one.accuracy, heads),
                f"{one.n_ties:,}",
                f"{one.n_without:,}",
                " ".join(letters[name] for name in ahead),
                " ".join(letters[name] for name in behind),
            ]
        )
    level = f"{100 * result.level:g} % interval"
    head = ["", "model", "rows", "overall", level, "ties", "no verdict", "ahead of", "behind"]
    return [Grid(head, rows, left=(0, 1, 7, 8))]


def _differences(result: ProtocolResult) -> Parts:
    """Every two scorers."""
    heads = heads_of(result)
    letters = {one.scorer: letter(i) for i, one in enumerate(result.scorers)}
    rows = [
        [
            f"{letters[one.first]} - {letters[one.second]}",
            number(heads.factor * one.difference.value, digits=heads.digits, sign=True),
            _ends(one.difference, heads, sign=True),
            f"{one.difference.n_rows:,}",
            mark(one),
        ]
        for one in result.differences
    ]
    head = ["", heads.difference, f"{100 * result.level:g} % interval", "rows", "finding"]
    return [Grid(head, rows, left=(0, 4))] if rows else []


def _figures(result: ProtocolResult) -> Parts:
    """Sections, subsets and parts, a column a scorer."""
    heads = heads_of(result)
    rows: list[list[str]] = []
    for line in figure_lines(result):
        found = [line.of(one) for one in result.scorers]
        name = f"\u2013 {line.name}" if line.is_subset else line.name
        cells = [_cell(one.result, marked(one, heads), heads) for one in found]
        rows.append([name, f"{found[0].result.n_rows:,}", *cells])
    head = ["figure", "rows", *(letter(i) for i in range(len(result.scorers)))]
    return [Grid(head, rows)] if rows else []


def _cell(figure: Interval, shown: str, heads: Heads) -> str:
    """A figure with its interval."""
    ends = _ends(figure, heads)
    return f"{shown} ({ends})" if ends else shown


def _judges(result: ProtocolResult) -> Parts:
    """What became of the questions, a column a judge."""
    judges = judges_of(result)
    if not judges:
        return []
    columns = [dict(judge_lines(judge)) for _, _, judge in judges]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [
        [name.replace(" ", "\u2013 ", 1) if name.startswith(" ") else name]
        + [column.get(name, UNDEFINED) for column in columns]
        for name in names
    ]
    return [Grid(["", *(f"{place}: {name}" for place, name, _ in judges)], rows)]


def _rows(result: ProtocolResult) -> Parts:
    """Rows found and expected by subset, and those that were dropped."""
    rows = [
        [one.section, one.subset, f"{one.found:,}", _count(one.expected)]
        for one in result.coverage.subsets
    ]
    rows += [["(unknown)", name, f"{n:,}", "0"] for name, n in result.coverage.unknown.items()]
    parts: Parts = [Grid(["section", "subset", "found", "published"], rows, left=(0, 1))]
    dropped = [
        [file, reason, f"{n:,}"]
        for file, reasons in result.dropped.items()
        for reason, n in reasons.items()
    ]
    if dropped:
        head = ["file", "reason", "rows"]
        parts.append(Grid(head, dropped, left=(0, 1), caption="Dropped rows"))
    return parts


def _how_to_read(result: ProtocolResult) -> Parts:
    """What figures, intervals and marks mean."""
    n, risk = len(result.differences), f"{100 * (1 - result.level):.3g} %"
    return [
        Terms(
            [
                ("Protocol", f"{result.reference}."),
                (
                    "Intervals",
                    "found by drawing whole prompts again and again (all rows of a prompt "
                    "together), or by a closed form where that says too little. Figures on fewer "
                    "than 20 prompts come without one.",
                ),
                (
                    "Differences",
                    "are taken on the same rows. A star marks one that is larger than noise, "
                    f"judged for all {n} together: in at most {risk} of such tables would one be "
                    "marked where there is no difference. Each interval holds by itself.",
                ),
            ]
        )
    ]


def _ends(interval: Interval, heads: Heads, *, sign: bool = False) -> str:
    """An interval alone."""
    return spread(interval, factor=heads.factor, digits=heads.digits, sign=sign)


def _count(expected: int | None) -> str:
    """A published count, where it is known."""
    return UNDEFINED if expected is None else f"{expected:,}"
