"""Explanations and comparisons as rich renderables with aligned signed bars; it prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from armorm.errors import nearest
from armorm.evaluate.wording import number
from armorm.explain.compare import Comparison, ExplanationLike, check_explanation
from armorm.explain.parts import BarTable, Row, head
from armorm.explain.sentence import decided_in_words, decimals, digits_for, explain_in_words
from armorm.explain.verdict import scales_for
from armorm.types import Conversation, PreferencePair, Prompt, Scale


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
        yield from head(self._title, self._texts)
        names = sorted(one.contributions, key=lambda name: -abs(one.contributions[name]))
        rows = [
            Row(
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
        yield BarTable(heads, rows, total=total)

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
        yield from head(self._title, self._texts)
        rows = [
            Row(
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
        yield BarTable(("chosen", "rejected", "coefficient", "difference"), rows, total=total)
        yield Text()
        yield Text(explain_in_words(one))
        decided = decided_in_words(one)
        if decided:
            yield Text(decided)
        if one.probability is not None:
            yield Text(
                f"Probability that the chosen response is better: {_per_cent(one.probability)}"
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


def _per_cent(probability: float) -> str:
    """A probability for a reader; never as certain as 0 or 100 %, which no model is."""
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"
