"""The paraphrases that ship with the package: the same said twice, in words of its own."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import NamedTuple

from armorm.types import Conversation, Message

_FILE = Path(__file__).parent / "paraphrases.jsonl"


class Paraphrase(NamedTuple):
    """One response in two wordings."""

    original: Conversation
    """Prompt and response."""
    paraphrase: Conversation
    """The same prompt; the response in other words, of about the same length."""


@functools.cache
def paraphrases() -> tuple[Paraphrase, ...]:
    """Return the paraphrases, each on a prompt of its own."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return tuple(_paraphrase(json.loads(line)) for line in lines)


def _paraphrase(row: dict[str, str]) -> Paraphrase:
    """One line of the file."""
    prompt = (Message("user", row["prompt"]),)
    return Paraphrase(
        Conversation(prompt, row["response"], row["id"]),
        Conversation(prompt, row["paraphrase"], row["id"]),
    )
