"""Conversations by which an export is held against the bundle, whatever its objectives are."""

from __future__ import annotations

from dataclasses import dataclass

from armorm.data import Drops
from armorm.errors import DataError, FeatureError
from armorm.features.chat import TokenizedConversation
from armorm.features.interface import Backbone, Unused
from armorm.model.rows import usable_rows
from armorm.types import Conversation, Message

_SYSTEM = Message("system", "Be brief.")
_TURNS = (
    Message("user", "Hi, 2+2?"),
    Message("assistant", "4."),
    Message("user", "And 3+3?"),
)


def _one(prompt: str) -> tuple[Message, ...]:
    """A prompt of one message."""
    return (Message("user", prompt),)


# Prompts of one message and of several, with and without system message; responses that begin
# with a letter, a digit, white space, a bracket or a tag, and end in letters or white space.
PROBES = tuple(
    Conversation(prompt, response, id=f"probe-{i}")
    for i, (prompt, response) in enumerate(
        (
            (_one("What is ice?"), "Frozen water."),
            (_one("What is ice?"), "No idea"),
            (_one("Name a prime."), "7"),
            (_one("Name a prime."), "\nSeven is one.\n"),
            (_one("Write code!"), "    print(1)\n\n"),
            (_one("Write code!"), "```\nx = [1]\n```"),
            (_one("Où est la gare ?"), "Là-bas, à côté."),
            (_one("你好\n"), "你好!"),
            (_one("Is it so?"), "<think>\nHm.\n</think>\n\nYes."),
            (_TURNS, "6."),
            (_TURNS, " Six."),
            ((_SYSTEM, *_one("Who are you?")), "A model."),
            ((_SYSTEM, *_TURNS), "(6)"),
        )
    )
)


@dataclass(frozen=True, slots=True)
class Probes:
    """Conversations that a decoder takes, as messages and as token ids."""

    conversations: tuple[Conversation, ...]
    """n conversations."""
    rows: tuple[TokenizedConversation, ...]
    """The same as token ids."""

    def __len__(self) -> int:
        """Return the number of conversations."""
        return len(self.rows)


def usable_probes(backbone: Backbone) -> list[Conversation]:
    """Return the probe conversations that a backbone takes.

    Args:
        backbone: A decoder or an encoder.

    Returns:
        Those that its chat template does not refuse and that are not too long.

    Raises:
        DataError: it takes none of them.
    """
    try:
        kept = usable_rows(backbone, PROBES, Drops(), path="probe conversations")
    except DataError as error:
        raise DataError(f"{backbone.name}: cannot be exported unchecked: {error}") from error
    return [row for row in kept if isinstance(row, Conversation)]


def probes_for(backbone: Backbone) -> Probes:
    """Return the probe conversations that a backbone takes whole.

    Args:
        backbone: A decoder.

    Returns:
        Those of `usable_probes` that it does not cut.

    Raises:
        DataError: as `usable_probes`.
    """
    found = tokenized(backbone, usable_probes(backbone))
    whole = [i for i, row in enumerate(found.rows) if not row.n_truncated]
    return Probes(tuple(found.conversations[i] for i in whole), tuple(found.rows[i] for i in whole))


def tokenized(backbone: Backbone, conversations: list[Conversation]) -> Probes:
    """Return conversations with their token ids, as the backbone computes them.

    Args:
        backbone: A decoder.
        conversations: Rows.

    Returns:
        All of them, in the order given.

    Raises:
        FeatureError: it does not take one of them.
    """
    kept: list[TokenizedConversation] = []
    rows = backbone.tokenize(conversations, cuts=backbone.cuts(conversations))
    for conversation, row in zip(conversations, rows, strict=True):
        if not isinstance(row, TokenizedConversation):
            reason = row.reason if isinstance(row, Unused) else type(row).__name__
            raise FeatureError(f"conversation {conversation.id!r}: cannot be compared: {reason}")
        kept.append(row)
    return Probes(tuple(conversations), tuple(kept))
