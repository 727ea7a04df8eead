"""Whole explanations as rich renderables: bars, what would change the verdict, rated rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.evaluate.wording import number
from armorm.explain.explained import ConversationExplanation, PairExplanation
from armorm.explain.flip_words import is_near
from armorm.explain.nearest import RatedNeighbour
from armorm.explain.nearest_words import rating_on_scale
from armorm.explain.parts import sanitise
from armorm.explain.render import render_conversation, render_pair
from armorm.types import Scale

Scales = Mapping[str, Mapping[str, Scale]]

_WIDE = 100  # columns from which a rated row shows its prompt too
_LONGEST_ID = 18
_SHORTEST_TEXT = 12  # columns; without room for them the ids go first
_EXCERPT = 400  # characters that could stand on the widest line


def render_explained_pair(one: PairExplanation, *, scales: Scales | None = None) -> Group:
    """Return a pair with its bars, what would change the verdict, and rated rows like it.

    Args:
        one: What `explain_pair` returned.
        scales: Scale by source and objective, as a bundle stores them, to show objective
            scores as raw ratings too.

    Returns:
        A renderable that fits 80 columns and uses more where there are more.
    """
    parts: list[RenderableType] = [render_pair(one.pair, one.comparison, scales=scales)]
    if one.flip_sentence:
        parts += [Text(), Text(one.flip_sentence)]
    single = one.flip and one.flip.single
    if one.flip is not None and single is not None and (one.flip.fixed or is_near(single)):
        parts.append(Text.assemble(("As an option: ", "dim"), single.option))
    sides = {"chosen": one.nearest_chosen, "rejected": one.nearest_rejected}
    parts += _rated(sides, one.nearest_sentence, one.note, one.objective)
    return Group(*parts)


def render_explained_conversation(
    one: ConversationExplanation, *, scales: Scales | None = None, source: str = ""
) -> Group:
    """Return a conversation with its bars and rated rows like it.

    Args:
        one: What `explain_conversation` returned.
        scales: Scale by source and objective, as a bundle stores them.
        source: Source of the conversation, which decides between scales.

    Returns:
        A renderable that fits 80 columns and uses more where there are more.
    """
    view = render_conversation(one.conversation, one.explanation, scales=scales, source=source)
    parts: list[RenderableType] = [view, Text(), Text(one.sentence)]
    return Group(*parts, *_rated({"response": one.nearest}, "", one.note, one.objective))


def _rated(
    sides: Mapping[str, Sequence[RatedNeighbour]], sentence: str, note: str, objective: str
) -> Iterator[RenderableType]:
    """The rated rows of each side, what they say, and why there are none."""
    if any(sides.values()):
        yield Text()
        yield Text(f"The most similar responses rated on {sanitise(objective)}", style="bold")
        yield _RatedTable(sides)
    if sentence:
        yield Text(sentence)
    if note:
        yield Text()
        yield Text(sanitise(note), style="dim")


class _RatedTable:
    """Rated rows, one line each; the response takes what is left of the line."""

    def __init__(self, sides: Mapping[str, Sequence[RatedNeighbour]]) -> None:
        self._sides = sides

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render for the width at hand."""
        width = options.max_width
        rows = [one for found in self._sides.values() for one in found]
        cells = [
            (side if i == 0 else "", number(one.similarity), rating_on_scale(one))
            for side, found in self._sides.items()
            for i, one in enumerate(found)
        ]
        ids = [sanitise(one.row.id) for one in rows]
        heads = ("like", "similarity", "rated")
        fixed = [max(len(head), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
        id_width = min(_LONGEST_ID, max(map(len, ids)))
        room = width - sum(fixed) - 2 * len(fixed) - id_width - 2
        table = Table(box=None, show_header=True, pad_edge=False, padding=(0, 2, 0, 0))
        for head, least in zip(heads, fixed, strict=True):
            justify = "right" if head == "similarity" else "left"
            table.add_column(head, justify=justify, no_wrap=True, width=least)
        if with_ids := room >= _SHORTEST_TEXT:
            table.add_column("row", no_wrap=True, width=id_width, overflow="ellipsis")
        else:
            room = max(room + id_width + 2, 4)
        if with_prompt := width >= _WIDE:
            table.add_column("prompt", no_wrap=True, width=room // 3, overflow="ellipsis")
            room -= room // 3 + 2
        table.add_column("response", no_wrap=True, width=room, overflow="ellipsis")
        for first, row_id, one in zip(cells, ids, rows, strict=True):
            texts = [row_id] if with_ids else []
            texts += [_excerpt(one.row.prompt[-1].content)] if with_prompt else []
            texts.append(_excerpt(one.row.response))
            table.add_row(*map(Text, (*first, *texts)))
        yield table


def _excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    return sanitise(text[:_EXCERPT])
