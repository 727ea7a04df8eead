"""A prompt with its candidates, and how prompts are cut into parts; it does not know files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from armorm.types import Conversation, Prompt

PART_ROWS = 1024
"""Candidates a part, where nothing else is asked for."""

CHOSEN, REJECTED = "chosen", "rejected"
"""What the input says of the two candidates of a preference pair."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response to the prompt of a group."""

    id: str
    """Identifier of the input row that it stands in."""
    number: int
    """Its place among the candidates as the input has them, from 0."""
    response: str
    """The text."""
    given: str | None = None
    """`chosen` or `rejected` where the input is a preference pair; else None."""


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt and the candidates to be compared."""

    number: int
    """Number of the prompt among those that are labelled, from 0."""
    where: str
    """Name of the file that it comes from."""
    prompt: Prompt
    """The messages before the responses."""
    candidates: tuple[Candidate, ...]
    """One or more; numbers are missing where a candidate could not be used."""

    @property
    def id(self) -> str:
        """Identifier of its first input row."""
        return self.candidates[0].id

    @property
    def conversations(self) -> list[Conversation]:
        """The prompt with each candidate."""
        return [Conversation(self.prompt, c.response, c.id) for c in self.candidates]


def cut_parts(groups: Iterable[Group], rows: int) -> Iterator[list[Group]]:
    """Cut groups into parts, the unit that is scored, written and shared out.

    A part depends on the groups before it and on nothing else, so that every process and
    every restart cuts the same ones.

    Args:
        groups: Groups in the order of the input.
        rows: Most candidates of a part; more only where one prompt has more.

    Yields:
        One group or more.

    Example:
        >>> one = Candidate("a", 0, "Yes."), Candidate("a", 1, "No.")
        >>> groups = [Group(i, "a.jsonl", (), one) for i in range(5)]
        >>> [[group.number for group in part] for part in cut_parts(groups, 4)]
        [[0, 1], [2, 3], [4]]
    """
    part: list[Group] = []
    n = 0
    for group in groups:
        if part and n + len(group.candidates) > rows:
            yield part
            part, n = [], 0
        part.append(group)
        n += len(group.candidates)
    if part:
        yield part


def part_digest(groups: Sequence[Group]) -> str:
    """Return the SHA-256 of everything that the scores of a part depend on but the model.

    Args:
        groups: The groups of the part.

    Returns:
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for group in groups:
        rows = [(c.id, c.number, c.response, c.given) for c in group.candidates]
        sha.update(json.dumps([group.number, group.prompt, rows]).encode() + b"\n")
    return sha.hexdigest()
