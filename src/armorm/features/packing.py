"""Lay conversations out in one sequence, each shared beginning once: pure planning.

Knows token ids and lengths; knows no model and no attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class PackableRow(Protocol):
    """A conversation as token ids."""

    @property
    def token_ids(self) -> Sequence[int]:
        """The whole conversation, shape (t,)."""
        ...

    @property
    def prompt_end(self) -> int:
        """Index of the last token of the prompt."""
        ...


class Group(NamedTuple):
    """Rows that begin with the same tokens."""

    rows: tuple[int, ...]
    """Row numbers, in the order given."""
    n_shared: int
    """Tokens that all of them begin with and that are computed once; 0 for a single row."""


class Span(NamedTuple):
    """Neighbouring tokens that see the same prefix and, causally, each other."""

    start: int
    """First token of the span in the packed sequence."""
    stop: int
    """One past its last token."""
    prefix_start: int
    """First token of the prefix; the positions of the span go on after it."""
    prefix_stop: int
    """One past its last token; equal to `prefix_start` where there is no prefix."""


class PackedBatch(NamedTuple):
    """Rows in one sequence without padding."""

    token_ids: Tensor
    """Shape (t,), int64."""
    positions: Tensor
    """Shape (t,), int64; position of every token in its own conversation."""
    spans: tuple[Span, ...]
    """Cover the sequence from left to right; a prefix is a span of its own before its users."""
    rows: tuple[int, ...]
    """Row numbers, shape (n,)."""
    last: Tensor
    """Shape (n,), int64; where the last token of each row lies."""
    end: Tensor
    """Shape (n,), int64; where the last token of each row's prompt lies."""
    shares: bool
    """Whether a token is computed for more than one row."""


def group_rows(rows: Sequence[PackableRow]) -> list[Group]:
    """Group rows by their prompt and find what each group begins with.

    Rows belong together where `token_ids[: prompt_end + 1]` is the same. The shared
    tokens are the longest common beginning of the rows (a template that opens the
    response is in it), less what each row needs to keep one token of its own.

    Args:
        rows: n rows, none of them empty.

    Returns:
        Groups in the order of their first rows; every row is in one of them.

    Example:
        >>> from armorm.features.chat import TokenizedConversation as Row
        >>> group_rows([Row((1, 2, 7, 8), 1), Row((5, 6), 0), Row((1, 2, 7, 9, 9), 1)])
        [Group(rows=(0, 2), n_shared=3), Group(rows=(1,), n_shared=0)]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(tuple(row.token_ids[: row.prompt_end + 1]), []).append(i)
    return [
        Group(tuple(members), _shared([tuple(rows[i].token_ids) for i in members]))
        for members in groups.values()
    ]


def unique_tokens(rows: Sequence[PackableRow]) -> int:
    """Count the tokens that are left where each shared beginning counts once.

    Args:
        rows: n rows, none of them empty.

    Returns:
        Tokens.

    Example:
        >>> from armorm.features.chat import TokenizedConversation as Row
        >>> unique_tokens([Row((1, 2, 7, 8), 1), Row((5, 6), 0), Row((1, 2, 7, 9, 9), 1)])
        8
    """
    return sum(
        group.n_shared + sum(len(rows[i].token_ids) - group.n_shared for i in group.rows)
        for group in group_rows(rows)
    )


def pack_rows(rows: Sequence[PackableRow], *, budget: int) -> list[PackedBatch]:
    """Lay rows out in as few sequences as their order and a token budget allow.

    Groups follow each other in the order of their first rows. A group that does not fit
    into the rest of a sequence opens the next one; one that does not fit into any is
    split, and its shared beginning repeated in each part. Depends on nothing but the
    arguments.

    Args:
        rows: n rows, none of them empty.
        budget: Largest number of tokens in a sequence; a longer row is one of its own.

    Returns:
        Sequences; every row is in one of them.

    Raises:
        ValueError: `budget` is not positive; a row is empty or its prompt does not end
            in it (the row's number is in the text).
    """
    if budget < 1:
        raise ValueError(f"`budget` must be 1 or more; got {budget}")
    for i, row in enumerate(rows):
        if not 0 <= row.prompt_end < len(row.token_ids):
            raise ValueError(
                f"`rows` must have their `prompt_end` among their tokens; row {i} has "
                f"{len(row.token_ids)} tokens and `prompt_end` {row.prompt_end}"
            )
    batches: list[list[Group]] = []
    room = 0
    for group in group_rows(rows):
        for part in _split(group, rows, budget):
            size = _size(part, rows)
            if size > room or not batches:
                batches.append([])
                room = budget
            batches[-1].append(part)
            room -= size
    return [_lay_out(batch, rows) for batch in batches]


def _shared(texts: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest common beginning that leaves each text a token; 0 for one text."""
    if len(texts) == 1:
        return 0
    low, high = min(texts), max(texts)  # what the extremes of the order share, all share
    limit = min(len(text) for text in texts) - 1
    for i in range(limit):
        if low[i] != high[i]:
            return i
    return limit


def _size(group: Group, rows: Sequence[PackableRow]) -> int:
    """Tokens of a group, what it shares once."""
    return group.n_shared + sum(len(rows[i].token_ids) - group.n_shared for i in group.rows)


def _split(group: Group, rows: Sequence[PackableRow], budget: int) -> Iterable[Group]:
    """Split a group into parts that keep the budget, one row at least in each."""
    parts: list[list[int]] = []
    room = 0
    for i in group.rows:
        own = len(rows[i].token_ids) - group.n_shared
        if not parts or own > room:
            parts.append([])
            room = budget - group.n_shared
        parts[-1].append(i)
        room -= own
    return [Group(tuple(part), group.n_shared if len(part) > 1 else 0) for part in parts]


def _lay_out(groups: Sequence[Group], rows: Sequence[PackableRow]) -> PackedBatch:
    """Write groups one after the other."""
    token_ids: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []
    places: list[tuple[int, int, int]] = []

    def write(tokens: Sequence[int], prefix_start: int, n_prefix: int) -> int:
        start = len(token_ids)
        token_ids.extend(tokens)
        positions.extend(range(n_prefix, n_prefix + len(tokens)))
        spans.append(Span(start, len(token_ids), prefix_start, prefix_start + n_prefix))
        return start

    for group in groups:
        n = group.n_shared
        base = len(token_ids)
        if n:
            write(rows[group.rows[0]].token_ids[:n], base, 0)
        for i in group.rows:
            row = rows[i]
            start = write(row.token_ids[n:], base, n)
            end = base + row.prompt_end if row.prompt_end < n else start + row.prompt_end - n
            places.append((i, len(token_ids) - 1, end))
    return PackedBatch(
        torch.tensor(token_ids),
        torch.tensor(positions),
        tuple(spans),
        tuple(i for i, _, _ in places),
        torch.tensor([last for _, last, _ in places]),
        torch.tensor([end for _, _, end in places]),
        any(group.n_shared for group in groups),
    )
