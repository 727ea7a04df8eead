"""Scores of mixed rows, conversations and pairs, as the JSON objects that are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from armorm.data import Drops
from armorm.errors import DataError
from armorm.features.interface import Backbone, Unused
from armorm.model.reward import Explanation, RewardModel
from armorm.types import Conversation, PreferencePair, RatedResponse

Row = Conversation | PreferencePair
AnyRow = TypeVar("AnyRow", Conversation | PreferencePair, RatedResponse, PreferencePair)


def score_rows(
    model: RewardModel,
    rows: Sequence[Row],
    *,
    bad_rows: str = "stop",
    drops: Drops | None = None,
    path: str = "rows",
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Score conversations and pairs in one pass over the backbone.

    Args:
        model: The reward model, steered or not.
        rows: n rows.
        bad_rows: `stop` raises where the backbone cannot take a row, `drop` counts it.
        drops: Receives the counts of dropped rows.
        path: Name of the rows in `drops`.
        progress: Called with (conversations done, conversations in all).

    Returns:
        One object a row that was scored, in the order given: of a conversation `id`,
        `score`, `objectives`, `gating`, `coefficients`, `contributions`, `n_tokens`,
        `n_truncated`; of a pair `id`, `chosen`, `rejected`, `margin`.

    Raises:
        DataError: all rows were dropped.
        FeatureError: the backbone cannot take a row, under `stop`.
    """
    kept = list(rows)
    if bad_rows == "drop":
        kept = usable_rows(model.backbone, rows, drops or Drops(), path=path)
    if rows and not kept:
        raise DataError(f"{path}: no row is left to score; all {len(rows):,} were dropped")
    scores = iter(model.score([c for row in kept for c in _sides(row)], progress=progress))
    return [_written(row, scores) for row in kept]


def _written(row: Row, scores: Iterator[Explanation]) -> dict[str, Any]:
    """The JSON object of a row."""
    if isinstance(row, Conversation):
        return next(scores).as_dict()
    chosen, rejected = next(scores).as_dict(), next(scores).as_dict()
    margin = float(f"{chosen['score'] - rejected['score']:.7g}")
    return {"id": row.id, "chosen": chosen, "rejected": rejected, "margin": margin}


def usable_rows(
    backbone: Backbone, rows: Sequence[AnyRow], drops: Drops, *, path: str
) -> list[AnyRow]:
    """Keep the rows that a backbone can take, and count the others by reason.

    Args:
        backbone: Tokenises the rows.
        rows: Conversations, rated rows or pairs; a pair needs both sides.
        drops: Receives the counts.
        path: Name of the rows in `drops`.

    Returns:
        The rows that can be scored, in the order given.
    """
    conversations = [c for row in rows for c in _sides(row)]
    tokenized = iter(backbone.tokenize(conversations, cuts=backbone.cuts(conversations)))
    kept: list[AnyRow] = []
    for row in rows:
        sides = [next(tokenized) for _ in _sides(row)]
        reasons = [side.reason for side in sides if isinstance(side, Unused)]
        if reasons:
            drops.add(path, reasons[0])
        else:
            kept.append(row)
    return kept


def _sides(row: Conversation | RatedResponse | PreferencePair) -> tuple[Conversation, ...]:
    """The conversations of a row."""
    if isinstance(row, PreferencePair):
        return row.conversations
    return (row,) if isinstance(row, Conversation) else (row.conversation,)
