"""Scores on disk by scorer and text: whole files that are only ever added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from armorm.errors import DataError
from armorm.storage import json_bytes, storage_errors, write_bytes
from armorm.types import Conversation

Progress = Callable[[int, int], None]
"""Called with (conversations done, conversations in all)."""

_SCHEMA = 1


def content_key(conversation: Conversation) -> str:
    """Return the SHA-256 of the messages of a conversation; the id is not part of it.

    Args:
        conversation: The conversation.

    Returns:
        64 hexadecimal digits.
    """
    turns = [[m.role, m.content] for m in conversation.prompt]
    text = json.dumps([*turns, ["assistant", conversation.response]])
    return hashlib.sha256(text.encode()).hexdigest()


def conversation_keys(conversations: Sequence[Conversation], *, joint: bool) -> list[str]:
    """Return what the score of each conversation is kept under.

    Args:
        conversations: n conversations.
        joint: Whether all responses to a prompt decide about each; then they are part of
            the key.

    Returns:
        n keys; equal texts have equal keys.
    """
    keys = [content_key(row) for row in conversations]
    if not joint:
        return keys
    siblings: dict[object, set[str]] = {}
    for row, key in zip(conversations, keys, strict=True):
        siblings.setdefault(row.prompt, set()).add(key)
    together = {
        prompt: hashlib.sha256("".join(sorted(of)).encode()).hexdigest()
        for prompt, of in siblings.items()
    }
    return [f"{key}:{together[row.prompt]}" for row, key in zip(conversations, keys, strict=True)]


def read_cache(folder: Path) -> dict[str, float]:
    """Return all scores that one scorer has in a cache.

    Args:
        folder: Folder of the scorer; need not exist.

    Returns:
        Score by key.

    Raises:
        DataError: a file is not what was written under its name.
    """
    known: dict[str, float] = {}
    with storage_errors(folder):
        files = sorted(folder.glob("[0-9a-f]*.json")) if folder.is_dir() else []
    for file in files:
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != file.stem:
            raise DataError(
                f"{file}: the digest of the file must be its name; it is {digest[:12]}…: the "
                "file is damaged, and none of its scores is used. Remove it and run the same "
                "command again"
            )
        known |= _scores_of(file, content)
    return known


def _scores_of(file: Path, content: bytes) -> dict[str, float]:
    """The scores of a file whose bytes are as they were written."""
    stored: Any = json.loads(content)
    if stored.get("schema") != _SCHEMA:
        raise DataError(
            f"{file}: the schema must be {_SCHEMA}; got {stored.get('schema')!r}: another "
            "version of armorm has written it"
        )
    return stored["scores"]


def write_chunk(folder: Path, scorer: str, scores: Mapping[str, float]) -> None:
    """Add a file of scores.

    Args:
        folder: Folder of the scorer; made when absent.
        scorer: Its name, for a person who opens the file.
        scores: Score by key.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    content = json_bytes({"schema": _SCHEMA, "scorer": scorer, "scores": dict(scores)})
    write_bytes(folder / f"{hashlib.sha256(content).hexdigest()}.json", content)
