"""What scores conversations, and scoring that pays for no text twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from armorm.errors import DataError
from armorm.evaluate.own_scorers import (
    RANDOM,
    SHORTER,
    BundleScorer,
    LengthScorer,
    RandomScorer,
    VariantScores,
)
from armorm.evaluate.score_cache import (
    Progress,
    content_key,
    conversation_keys,
    read_cache,
    write_chunk,
)
from armorm.types import Conversation

__all__ = [
    "CHUNK",
    "RANDOM",
    "SHORTER",
    "BundleScorer",
    "LengthScorer",
    "Progress",
    "RandomScorer",
    "Scorer",
    "VariantScores",
    "cached_scores",
    "content_key",
]

CHUNK = 512
"""Conversations scored between two writes: what a crash can lose."""


@runtime_checkable
class Scorer(Protocol):
    """Anything that gives a conversation one number, the larger the better.

    A scorer whose score of one conversation depends on the other responses to its prompt
    in the same call has an attribute `joint` that is True; its scores are kept by all of
    them.
    """

    @property
    def name(self) -> str:
        """Shown in tables."""
        ...

    @property
    def identity(self) -> str:
        """SHA-256 of everything that decides a score; key of the cache together with the text."""
        ...

    def score(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Score conversations.

        Args:
            conversations: n conversations.
            progress: Called with (conversations done, conversations in all).

        Returns:
            Shape (n,), float64, in the order given.
        """
        ...


def cached_scores(
    scorer: Scorer,
    conversations: Sequence[Conversation],
    *,
    cache: Path | None,
    progress: Progress | None = None,
    chunk: int = CHUNK,
) -> np.ndarray:
    """Score conversations, each text once, and keep the scores on disk.

    Texts whose scores are kept are not scored again, whatever file they come from; the
    others are scored `chunk` at a time, all responses to a prompt in one call, and written
    before the next chunk begins. Under `cache` each scorer has a folder, named by its
    identity, and each chunk a file, named by the SHA-256 of its bytes, so that files are
    only added, never changed, and several processes may share a cache.

    Args:
        scorer: What scores.
        conversations: n conversations; ids do not matter.
        cache: Folder of the cache, made when absent; None keeps nothing.
        progress: Called with (conversations done, conversations in all), kept ones included.
        chunk: Conversations a file; more when one prompt has more responses.

    Returns:
        Shape (n,), float64, in the order given; finite.

    Raises:
        DataError: a score is NaN or infinite; a file of the cache is damaged (it is named,
            and nothing of it is used).
        StorageError: the disk is full or cannot be written; finished chunks stay.
        ValueError: the scorer returns another number of scores; `chunk` is not positive.
    """
    if chunk < 1:
        raise ValueError(f"`chunk` must be at least 1; got {chunk}")
    keys = conversation_keys(conversations, joint=bool(getattr(scorer, "joint", False)))
    folder = None if cache is None else cache / scorer.identity
    known = {} if folder is None else read_cache(folder)
    missing = {key: i for i, key in enumerate(keys) if key not in known}
    n_texts, n_done = len(set(keys)), len(set(keys)) - len(missing)
    if progress is not None and n_done:
        progress(n_done, n_texts)
    for part in _chunks(conversations, list(missing.values()), chunk):
        rows = [conversations[i] for i in part]
        scores = _score(scorer, rows, _shifted(progress, n_done, n_texts))
        found = dict(zip((keys[i] for i in part), scores.tolist(), strict=True))
        if folder is not None:
            write_chunk(folder, scorer.name, found)
        known |= found
        n_done += len(part)
    return np.array([known[key] for key in keys], dtype=np.float64)


def _score(scorer: Scorer, rows: Sequence[Conversation], progress: Progress | None) -> np.ndarray:
    """Scores of some rows, checked to be one finite number a row."""
    scores = np.asarray(scorer.score(rows, progress=progress), dtype=np.float64)
    if scores.shape != (len(rows),):
        raise ValueError(
            f"scorer {scorer.name!r} must return {len(rows)} scores; got shape {scores.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        first = int(bad[0])
        name = f"{rows[first].id!r}" if rows[first].id else "without an id"
        raise DataError(
            f"scorer {scorer.name!r}: scores must be finite; {bad.size} of {len(rows)} are not, "
            f"the first is {float(scores[first])!r}, of conversation {name}"
        )
    return scores


def _chunks(
    conversations: Sequence[Conversation], indices: Sequence[int], chunk: int
) -> Iterator[list[int]]:
    """Some rows in parts of about `chunk`; responses to one prompt stay together."""
    by_prompt: dict[object, list[int]] = {}
    for i in indices:
        by_prompt.setdefault(conversations[i].prompt, []).append(i)
    part: list[int] = []
    for rows in by_prompt.values():
        if part and len(part) + len(rows) > chunk:
            yield part
            part = []
        part.extend(rows)
    if part:
        yield part


def _shifted(progress: Progress | None, n_done: int, n_all: int) -> Progress | None:
    """Progress of a chunk as progress of the whole."""
    if progress is None:
        return None
    return lambda done, _total: progress(n_done + done, n_all)
