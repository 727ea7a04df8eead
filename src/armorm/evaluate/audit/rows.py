"""The rows of an audit as plain conversations, and the edited ones that go with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from armorm.data import (
    BadRows,
    Drops,
    as_source,
    group_of,
    read_conversations,
    read_pairs,
    read_rated,
)
from armorm.evaluate.audit.edits import Edit
from armorm.evaluate.audit.figures import FileFacts, Shared
from armorm.evaluate.counts import NO_SOURCE, source_of
from armorm.features.interface import Backbone, Unused
from armorm.model.rows import usable_rows
from armorm.types import Conversation, PreferencePair, RatedResponse

SHOWN_IDS = 5
"""Ids of rows that are listed for one fact."""


@dataclass(frozen=True, slots=True)
class AuditRows:
    """Conversations with all that an audit knows of them."""

    conversations: tuple[Conversation, ...]
    """Rated rows, then both sides of every pair, chosen first."""
    groups: tuple[str, ...]
    """Prompt of each, up to case and white space."""
    sources: tuple[str, ...]
    """Source of each."""
    ratings: tuple[Mapping[str, float], ...]
    """Raw ratings of each; empty for sides of pairs."""
    n_rated: int
    """How many come first that are rated rows; the others are sides of pairs."""
    files: tuple[FileFacts, ...]
    """What was read."""
    groups_of_file: Mapping[str, Mapping[str, str]]
    """File -> prompt -> id of its first row."""
    drops: Drops
    """Rows that were left out."""


@dataclass(frozen=True, slots=True)
class EditedRow:
    """One row after one edit."""

    edit: Edit
    """The edit."""
    row: int
    """Position of the row among the conversations."""
    conversation: Conversation
    """The edited one."""


def read_audit_rows(
    backbone: Backbone, *, rated: str | None, pairs: str | None, bad_rows: BadRows
) -> AuditRows:
    """Read the rows of an audit.

    Args:
        backbone: Decides which rows are usable, under `drop`.
        rated: File, folder or hub id of rated rows.
        pairs: File, folder or hub id of preference pairs.
        bad_rows: `stop`, or `drop` bad rows and count them.

    Returns:
        The rows.

    Raises:
        DataError: a bad row under `stop`; all rows of a file were dropped.
        ValueError: neither file is given.
    """
    if rated is None and pairs is None:
        raise ValueError("`rated` or `pairs` must be given; both are None")
    drops = Drops()
    rated_rows: list[RatedResponse] = []
    pair_rows: list[PreferencePair] = []
    if rated is not None:
        # No scales: ratings serve as an order within a prompt alone, where any scale will do.
        rated_rows = read_rated([as_source(rated)], None, bad_rows=bad_rows, drops=drops)
        if bad_rows == "drop":
            rated_rows = usable_rows(backbone, rated_rows, drops, path=rated)
    if pairs is not None:
        pair_rows = read_pairs([as_source(pairs)], bad_rows=bad_rows, drops=drops)
        if bad_rows == "drop":
            pair_rows = usable_rows(backbone, pair_rows, drops, path=pairs)
    return _joined(rated_rows, pair_rows, rated=rated, pairs=pairs, drops=drops)


def plan_edits(
    rows: AuditRows, edits: Sequence[Edit], *, n_rows: int, seed: int
) -> list[EditedRow]:
    """Choose rows and edit them.

    One response of every prompt is taken before a second one of any, in an order that
    depends on prompts, responses and seed alone.

    Args:
        rows: The rows.
        edits: The edits; one that leaves a row as it is is not made.
        n_rows: Rows that are edited; all of them where there are fewer.
        seed: Another number takes other rows.

    Returns:
        Rows in the order chosen, edits in the order given.
    """
    made: list[EditedRow] = []
    for i in _spread_over_prompts(rows, seed)[:n_rows]:
        row = rows.conversations[i]
        for edit in edits:
            changed = edit.apply(row.response)
            if changed is not None and changed != row.response:
                made.append(EditedRow(edit, i, replace(row, response=changed)))
    return made


def fitting(backbone: Backbone, conversations: Sequence[Conversation]) -> list[bool]:
    """Say which conversations a backbone can take.

    Args:
        backbone: Tokenises them.
        conversations: n conversations.

    Returns:
        n answers.
    """
    lenient = copy(backbone)
    lenient.options = replace(backbone.options, bad_rows="drop")
    tokenized = lenient.tokenize(conversations, cuts=lenient.cuts(conversations))
    return [not isinstance(row, Unused) for row in tokenized]


def shared_prompts(rows: AuditRows, training: Sequence[str]) -> tuple[Shared, ...]:
    """Return which files have prompts in common.

    Args:
        rows: The audited rows; two files are compared with each other.
        training: Files, folders or hub ids of rows that the heads were fitted on.

    Returns:
        Pairs of files with at least one prompt in common.

    Raises:
        DataError: a training file cannot be read.
    """
    names = list(rows.groups_of_file)
    found = [
        _shared(rows, first, second, set(rows.groups_of_file[second]), is_training=False)
        for i, first in enumerate(names)
        for second in names[i + 1 :]
    ]
    for path in training:
        theirs = {group_of(row.prompt) for row in read_conversations(path)}
        found += [_shared(rows, name, path, theirs, is_training=True) for name in names]
    return tuple(one for one in found if one.n_prompts)


def _shared(
    rows: AuditRows, first: str, second: str, theirs: set[str], *, is_training: bool
) -> Shared:
    """The prompts of one audited file that another file has."""
    ours = rows.groups_of_file[first]
    both = [identity for group, identity in ours.items() if group in theirs]
    return Shared(
        first=first,
        second=second,
        is_training=is_training,
        n_prompts=len(both),
        share=len(both) / len(ours),
        ids=tuple(both[:SHOWN_IDS]),
    )


def _joined(
    rated_rows: Sequence[RatedResponse],
    pair_rows: Sequence[PreferencePair],
    *,
    rated: str | None,
    pairs: str | None,
    drops: Drops,
) -> AuditRows:
    """Conversations of both files in one order."""
    conversations = [row.conversation for row in rated_rows]
    ratings: list[Mapping[str, float]] = [row.ratings for row in rated_rows]
    sources = [row.source or NO_SOURCE for row in rated_rows]
    for pair in pair_rows:
        for side, one in zip(("chosen", "rejected"), pair.conversations, strict=True):
            conversations.append(replace(one, id=f"{pair.id} ({side})"))
            ratings.append({})
            sources.append(source_of(pair))
    groups = [group_of(one.prompt) for one in conversations]
    by_file: dict[str, dict[str, str]] = {}
    files: list[FileFacts] = []
    for path, kind, rows, own in (
        (rated, "rated", rated_rows, groups[: len(rated_rows)]),
        (pairs, "pairs", pair_rows, groups[len(rated_rows) :: 2]),
    ):
        if path is None:
            continue
        first: dict[str, str] = {}
        for group, row in zip(own, rows, strict=True):
            first.setdefault(group, row.id)
        by_file[path] = first
        files.append(
            FileFacts(
                path=path,
                kind="rated" if kind == "rated" else "pairs",
                n_rows=len(rows),
                n_prompts=len(first),
            )
        )
    return AuditRows(
        conversations=tuple(conversations),
        groups=tuple(groups),
        sources=tuple(sources),
        ratings=tuple(ratings),
        n_rated=len(rated_rows),
        files=tuple(files),
        groups_of_file=by_file,
        drops=drops,
    )


def _spread_over_prompts(rows: AuditRows, seed: int) -> list[int]:
    """Positions of rows, one of every prompt before a second of any."""

    def draw(*texts: str) -> bytes:
        return hashlib.blake2b("\x00".join([str(seed), *texts]).encode(), digest_size=8).digest()

    keys = [
        (draw(group, row.response), i)
        for i, (group, row) in enumerate(zip(rows.groups, rows.conversations, strict=True))
    ]
    turn: dict[str, int] = {}
    order: list[tuple[int, bytes, int]] = []
    for _, i in sorted(keys):
        group = rows.groups[i]
        turn[group] = turn.get(group, -1) + 1
        order.append((turn[group], draw(group), i))
    return [i for *_, i in sorted(order)]
