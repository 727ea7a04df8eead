"""What the terminal and protocol.md say alike of a result: its lines, its judges, its sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from armorm.evaluate.protocols.figures import (
    FigureResult,
    JudgeFigures,
    ProtocolResult,
    ScorerResult,
)
from armorm.evaluate.scorers.side_by_side_table import Heads, letter
from armorm.evaluate.wording import number, verdict

_MARKS = {"better": " +", "worse": " -"}
SIGNS = tuple(_MARKS.values())
"""Shown behind a figure that differs from the first scorer's by more than chance explains."""

_MODES = {"pairwise": "comparisons in both orders", "ratings": "ratings"}


class Line(NamedTuple):
    """One line of figures."""

    name: str
    """Of the section, part or subset."""
    is_subset: bool
    """Whether it belongs to the section above it."""
    of: Callable[[ScorerResult], FigureResult]
    """The figure of a scorer."""


def heads_of(result: ProtocolResult) -> Heads:
    """Return how the figures of a result are called.

    Args:
        result: What a protocol found.

    Returns:
        For `side_by_side_table`.
    """
    return Heads(rows="rows", figure="overall", is_share=result.unit == "share")


def figure_lines(result: ProtocolResult) -> Iterator[Line]:
    """Yield the figures below the overall one: sections with their subsets, then parts.

    Args:
        result: What a protocol found.

    Yields:
        One line a figure.
    """
    first = result.scorers[0]
    of_section: dict[str, list[str]] = {}
    for one in result.coverage.subsets:
        of_section.setdefault(one.section, []).append(one.subset)
    for section in first.sections if len(first.sections) > 1 else ():
        yield Line(section, False, _entry("sections", section))
        for subset in of_section[section]:
            if subset in first.subsets:
                yield Line(subset, True, _entry("subsets", subset))
    for part in first.parts:
        yield Line(part, False, _entry("parts", part))


def marked(figure: FigureResult, heads: Heads) -> str:
    """Return a figure with a sign where it differs from the first scorer's beyond chance.

    Args:
        figure: The figure.
        heads: Its unit.

    Returns:
        Such as `71.4 +`; the unit of a share is per cent.
    """
    sign = _MARKS.get(verdict(figure.difference), "") if figure.difference is not None else ""
    return number(heads.factor * figure.result.value, digits=heads.digits) + sign


def judges_of(result: ProtocolResult) -> list[tuple[str, str, JudgeFigures]]:
    """Return letter, name and figures of every judge.

    Args:
        result: What a protocol found.

    Returns:
        In the order of the scorers.
    """
    return [
        (letter(i), one.scorer, one.judge)
        for i, one in enumerate(result.scorers)
        if one.judge is not None
    ]


def judge_lines(judge: JudgeFigures) -> list[tuple[str, str]]:
    """Return what became of the questions to a judge.

    Args:
        judge: Its figures.

    Returns:
        What is counted, and the count; names that begin with a space are part of the one above.
    """
    modes = {*judge.mode.values()}
    how = _MODES[next(iter(modes))] if len(modes) == 1 else "both: see the sections"
    lines = [
        ("decides by", how),
        ("questions", f"{judge.n_questions:,}"),
        ("answers used", f"{judge.n_used:,}"),
        ("answers of another form", f"{judge.n_unreadable:,}"),
        ("refused by the endpoint", f"{judge.n_refused:,}"),
        ("no answer after all retries", f"{judge.n_failed:,}"),
        ("not asked, beyond the cap", f"{judge.n_not_asked:,}"),
        ("answers kept from before", f"{judge.n_from_cache:,}"),
        ("requests sent", f"{judge.n_requests:,}"),
        (" repeated", f"{judge.n_retried:,}"),
        (" timed out", f"{judge.n_timed_out:,}"),
    ]
    if "pairwise" in modes:
        first = number(100 * judge.first_share, digits=1)
        lines += [
            ("compared in both orders", f"{judge.n_comparisons:,}"),
            (" orders contradict: a tie", f"{judge.n_contradictions:,}"),
            ("verdicts for the first shown", f"{first} %" if judge.n_used else first),
        ]
    return lines


def result_sentences(result: ProtocolResult) -> list[str]:
    """Say what the figures are of, what is covered, and what the signs say.

    Args:
        result: What a protocol found.

    Returns:
        Sentences.
    """
    unit = "per cent" if result.unit == "share" else "in the unit of the references"
    said = [f"{result.title}, {unit}: {result.rule}."]
    if not result.is_whole:
        said.append(f"Partial: {result.coverage.sentence()}.")
    ties = [f"{one.scorer} {one.n_ties:,}" for one in result.scorers if one.n_ties]
    if ties:
        said.append(f"Rows with exact ties: {', '.join(ties)}.")
    for _, name, judge in judges_of(result):
        if len({*judge.mode.values()}) > 1:
            rated = [section for section, mode in judge.mode.items() if mode == "ratings"]
            said.append(f"{name} rates in {', '.join(rated)} and compares elsewhere.")
    heads = heads_of(result)
    figures = [line.of(one) for line in figure_lines(result) for one in result.scorers]
    if any(marked(figure, heads).endswith(SIGNS) for figure in figures):
        said.append(
            f"+ and -: above or below {result.scorers[0].scorer} by more than chance explains, "
            "prompt by prompt; each figure by itself."
        )
    return said


def _entry(kind: str, name: str) -> Callable[[ScorerResult], FigureResult]:
    """One figure of a kind, by name."""

    def of(scorer: ScorerResult) -> FigureResult:
        figures: Mapping[str, FigureResult] = getattr(scorer, kind)
        return figures[name]

    return of
