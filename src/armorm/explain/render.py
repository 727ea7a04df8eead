"""Explanations and comparisons as rich renderables with aligned signed bars; it prints nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.errors import nearest
from armorm.evaluate.bars import signed_bar
from armorm.evaluate.wording import number
from armorm.explain.compare import Comparison, ExplanationLike, check_explanation
from armorm.explain.sentence import decided_in_words, decimals, digits_for, explain_in_words
from armorm.explain.verdict import scales_for
from armorm.types import Conversation, PreferencePair, Prompt, Scale

_WIDE = 100
_LONGEST_NAME = 24
_SHORTEST_BAR = 9
_LONGEST_BAR = 41
_PROMPT_LINES, _RESPONSE_LINES = 2, 3
# Control characters and those that turn the direction of writing: text from a data file
# must not move the cursor, change colours or reorder what stands around it.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def render_pair(
    pair: PreferencePair,
    comparison: Comparison,
    *,
    scales: Mapping[str, Mapping[str, Scale]] | None = None,
) -> ComparisonView:
    """Return why the model prefers the side it prefers, with prompt and responses.

    Args:
        pair: The pair that was compared.
        comparison: What `compare_pair` returned for it.
        scales: Scale by source and objective, as a bundle stores them, to show objective
            scores as raw ratings too.

    Returns:
        A renderable that fits 80 columns and uses more where there are more.
    """
    return ComparisonView(
        comparison,
        prompt=pair.prompt,
        chosen=pair.chosen,
        rejected=pair.rejected,
        scales=_scales_of(scales, pair.source, {d.name: 0.0 for d in comparison.differences}),
        title=pair.id,
    )


def render_conversation(
    conversation: Conversation,
    explanation: ExplanationLike,
    *,
    scales: Mapping[str, Mapping[str, Scale]] | None = None,
    source: str = "",
) -> ExplanationView:
    """Return what a score is made of, with prompt and response.

    Args:
        conversation: The conversation that was explained.
        explanation: What `RewardModel.explain` returned for it.
        scales: Scale by source and objective, as a bundle stores them.
        source: Source of the conversation, which decides between scales.

    Returns:
        A renderable that fits 80 columns and uses more where there are more.

    Raises:
        ValueError: the explanation is not one (see `check_explanation`).
    """
    return ExplanationView(
        explanation,
        prompt=conversation.prompt,
        response=conversation.response,
        scales=_scales_of(scales, source, explanation.objectives),
        title=conversation.id,
    )


class ExplanationView:
    """One explained conversation: what each objective adds to its score."""

    def __init__(
        self,
        explanation: ExplanationLike,
        *,
        prompt: Prompt | str | None = None,
        response: str | None = None,
        scales: Mapping[str, Scale] | None = None,
        title: str = "",
    ) -> None:
        """Check and keep what is shown.

        Args:
            explanation: What `RewardModel.explain` returned for the conversation.
            prompt: Messages or text before the response; shortened.
            response: The response; shortened.
            scales: Scale by objective, to show objective scores as raw ratings too;
                objectives without one show the normalised score alone.
            title: Line on top, such as the id.

        Raises:
            ValueError: the explanation is not one (see `check_explanation`); a scale of
                an objective that it does not have.
        """
        check_explanation(explanation, "explanation")
        self._scales = _checked_scales(scales, explanation.objectives)
        self._explanation = explanation
        self._texts = _texts(prompt, response=response)
        self._title = title

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        one = self._explanation
        digits = digits_for([abs(value) for value in one.contributions.values()])
        yield from _head(self._title, self._texts)
        names = sorted(one.contributions, key=lambda name: -abs(one.contributions[name]))
        rows = [
            _Row(
                name,
                (
                    number(one.objectives[name]),
                    *((self._raw(name),) if self._scales else ()),
                    number(one.coefficients[name], digits=2, sign=True),
                    number(one.contributions[name], digits=digits, sign=True),
                ),
                one.contributions[name],
            )
            for name in names
        ]
        heads = ("score", *(("rating",) if self._scales else ()), "coefficient", "contribution")
        total = ("score", number(one.score, digits=digits, sign=True))
        yield _BarTable(heads, rows, total=total)

    def _raw(self, name: str) -> str:
        """The objective score on the raw scale, such as `3.1 of 0-4`."""
        scale = self._scales.get(name)
        if scale is None:
            return ""
        raw = scale.restore(self._explanation.objectives[name])
        return f"{number(raw, digits=1)} of {scale.low:g}-{scale.high:g}"


class ComparisonView:
    """One explained preference pair: what each objective adds to the margin."""

    def __init__(
        self,
        comparison: Comparison,
        *,
        prompt: Prompt | str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        scales: Mapping[str, Scale] | None = None,
        title: str = "",
    ) -> None:
        """Check and keep what is shown.

        Args:
            comparison: What `compare` returned.
            prompt: Messages or text before the responses; shortened.
            chosen: The preferred response; shortened.
            rejected: The other response; shortened.
            scales: Scale by objective, to show objective scores as raw ratings too.
            title: Line on top; the pair's id by default.

        Raises:
            ValueError: a scale of an objective that the comparison does not have.
        """
        names = {difference.name: 0.0 for difference in comparison.differences}
        self._scales = _checked_scales(scales, names)
        self._comparison = comparison
        self._texts = _texts(prompt, chosen=chosen, rejected=rejected)
        self._title = title or comparison.id

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        one = self._comparison
        digits = decimals(one)
        yield from _head(self._title, self._texts)
        rows = [
            _Row(
                d.name,
                (
                    self._both(d.name, d.chosen),
                    self._both(d.name, d.rejected),
                    number(d.chosen_coefficient, digits=2, sign=True),
                    number(d.contribution, digits=digits, sign=True),
                ),
                d.contribution,
                strong=d.name in one.deciding,
            )
            for d in one.differences
        ]
        total = ("margin", number(one.margin, digits=digits, sign=True))
        yield _BarTable(("chosen", "rejected", "coefficient", "difference"), rows, total=total)
        yield Text()
        yield Text(explain_in_words(one))
        decided = decided_in_words(one)
        if decided:
            yield Text(decided)
        if one.probability is not None:
            yield Text(
                f"Probability that the chosen response is better: {100 * one.probability:.0f} %"
            )
        if self._scales:
            yield Text(f"In brackets the raw rating: {self._legend()}.", style="dim")

    def _both(self, name: str, value: float) -> str:
        """The objective score, its raw rating in brackets."""
        scale = self._scales.get(name)
        if scale is None:
            return number(value)
        return f"{number(value)} ({number(scale.restore(value), digits=1)})"

    def _legend(self) -> str:
        """Names by scale, such as `0-4 helpfulness, coherence; 1-5 honesty`."""
        by_scale: dict[str, list[str]] = {}
        for difference in self._comparison.differences:
            scale = self._scales.get(difference.name)
            if scale is not None:
                by_scale.setdefault(f"{scale.low:g}-{scale.high:g}", []).append(difference.name)
        return "; ".join(f"{ends} {', '.join(names)}" for ends, names in by_scale.items())


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
class _Row:
    """One objective of a bar table."""

    name: str
    cells: tuple[str, ...]
    value: float
    strong: bool = False


class _BarTable:
    """Names, numbers and a bar each, the sum in the last line; the bar takes what is left."""

    def __init__(
        self, heads: Sequence[str], rows: Sequence[_Row], *, total: tuple[str, str]
    ) -> None:
        """Keep the cells; `total` is the name of the sum and the sum, for the last column."""
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


class _Excerpt:
    """A text on at most so many lines, with an ellipsis where it goes on."""

    def __init__(self, text: str, *, lines: int) -> None:
        """Keep the text, made safe to show."""
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


def _head(title: str, texts: Sequence[tuple[str, str]]) -> Iterator[RenderableType]:
    """Title, prompt and responses above the table."""
    if title:
        yield Text(sanitise(title), style="bold")
    if texts:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        for label, text in texts:
            lines = _PROMPT_LINES if label == "prompt" else _RESPONSE_LINES
            grid.add_row(label, _Excerpt(text, lines=lines))
        yield grid
    if title or texts:
        yield Text()


def _texts(prompt: Prompt | str | None, **responses: str | None) -> list[tuple[str, str]]:
    """What stands above the table, each with its label."""
    texts: list[tuple[str, str]] = []
    if isinstance(prompt, str):
        texts.append(("prompt", prompt))
    elif prompt:
        earlier = len(prompt) - 1
        more = f"({earlier} earlier message{'s' if earlier > 1 else ''}) " if earlier else ""
        texts.append(("prompt", more + prompt[-1].content))
    texts += [(label, text) for label, text in responses.items() if text is not None]
    return texts


def _checked_scales(
    scales: Mapping[str, Scale] | None, objectives: Mapping[str, float]
) -> dict[str, Scale]:
    """Scales by objective; a name that is none is refused."""
    for name in scales or {}:
        if name not in objectives:
            raise ValueError(
                f"`scales` must name objectives; got {name!r}{nearest(name, objectives)}"
            )
    return dict(scales or {})


def _scales_of(
    scales: Mapping[str, Mapping[str, Scale]] | None,
    source: str,
    objectives: Mapping[str, float],
) -> dict[str, Scale]:
    """Scales of the objectives at hand; a bundle may know more than a steered model shows."""
    known = scales_for(scales or {}, source)
    return {name: scale for name, scale in known.items() if name in objectives}
