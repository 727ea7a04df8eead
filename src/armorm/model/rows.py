"""Scores of mixed rows, conversations and pairs, as the JSON objects that are written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor

from armorm.data import Drops
from armorm.errors import DataError, FeatureError
from armorm.features.interface import Backbone, Unused
from armorm.heads.checks import check_shape
from armorm.model.reward import Explanation, RewardModel, shortest
from armorm.types import Conversation, PreferencePair, RatedResponse

Row = Conversation | PreferencePair
AnyRow = TypeVar("AnyRow", Conversation | PreferencePair, RatedResponse, PreferencePair)

TRUNCATED = "truncated from the left"
"""Reason under which rows are counted that are longer than the backbone takes."""


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
        drops: Receives the counts of dropped and of truncated rows.
        path: Name of the rows in `drops` and in errors.
        progress: Called with (conversations done, conversations in all).

    Returns:
        One object a row that was scored, in the order given: of a conversation `id`,
        `score`, `objectives`, `gating`, `coefficients`, `contributions`, `n_tokens`,
        `n_truncated`; of a pair `id`, `chosen`, `rejected`, `margin`.

    Raises:
        DataError: all rows were dropped.
        FeatureError: the backbone cannot take a row, under `stop`.
        ValueError: `bad_rows` is neither.
    """
    if bad_rows not in ("stop", "drop"):
        raise ValueError(f"`bad_rows` must be 'stop' or 'drop'; got {bad_rows!r}")
    counts = Drops() if drops is None else drops
    kept = list(rows)
    with rows_of(path):
        if bad_rows == "drop":
            kept = usable_rows(model.backbone, rows, counts, path=path)
        scores = model.score([c for row in kept for c in conversations_of(row)], progress=progress)
    counts.add_truncated(path, TRUNCATED, count_truncated(kept, scores.n_truncated))
    rest = iter(scores)
    return [_written(row, rest) for row in kept]


@contextlib.contextmanager
def rows_of(path: str) -> Generator[None]:
    """Say in the errors of a backbone, which knows no files, where the rows are from.

    Args:
        path: As the user gave it.

    Yields:
        Nothing.

    Raises:
        FeatureError: the one that was raised, with the path before it.
    """
    try:
        yield
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from error


def count_truncated(
    rows: Sequence[Conversation | RatedResponse | PreferencePair], n_truncated: Tensor
) -> int:
    """Count the rows that were not seen whole.

    Args:
        rows: n rows; a pair is one row of two conversations.
        n_truncated: Tokens cut from each conversation, in the order of the rows.

    Returns:
        Rows of which at least one conversation lost a token.

    Raises:
        ValueError: another number of conversations than the rows have.
    """
    owners = [i for i, row in enumerate(rows) for _ in conversations_of(row)]
    check_shape("n_truncated", n_truncated, "n", n=len(owners))
    cut = zip(owners, n_truncated.tolist(), strict=True)
    return len({owner for owner, n_tokens in cut if n_tokens})


def _written(row: Row, scores: Iterator[Explanation]) -> dict[str, Any]:
    """The JSON object of a row."""
    if isinstance(row, Conversation):
        return next(scores).as_dict()
    chosen, rejected = next(scores), next(scores)
    margin = shortest(chosen.score - rejected.score)
    sides = {"chosen": chosen.as_dict(), "rejected": rejected.as_dict()}
    return {"id": row.id, **sides, "margin": margin}


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

    Raises:
        DataError: there were rows, and none is left.
    """
    conversations = [c for row in rows for c in conversations_of(row)]
    lenient = copy(backbone)  # a row that the chat template refuses is counted as well
    lenient.options = replace(backbone.options, bad_rows="drop")
    tokenized = iter(lenient.tokenize(conversations, cuts=lenient.cuts(conversations)))
    kept: list[AnyRow] = []
    first_reason = ""
    for row in rows:
        sides = [next(tokenized) for _ in conversations_of(row)]
        reasons = [side.reason for side in sides if isinstance(side, Unused)]
        if reasons:
            drops.add(path, reasons[0])
            first_reason = first_reason or reasons[0]
        else:
            kept.append(row)
    if rows and not kept:
        raise DataError(
            f"{path}: at least one row must be usable; all {len(rows):,} were dropped, the "
            f"first as {first_reason}"
        )
    return kept


def conversations_of(
    row: Conversation | RatedResponse | PreferencePair,
) -> tuple[Conversation, ...]:
    """Return the conversations of a row.

    Args:
        row: The row.

    Returns:
        One, or of a pair chosen and rejected.
    """
    if isinstance(row, PreferencePair):
        return row.conversations
    return (row,) if isinstance(row, Conversation) else (row.conversation,)
