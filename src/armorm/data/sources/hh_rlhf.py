r"""Anthropic's HH-RLHF: two transcripts with `\n\nHuman:` and `\n\nAssistant:` before each turn.

Columns and format: README of anthropics/hh-rlhf and card of Anthropic/hh-rlhf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.messages import check_same_history
from armorm.data.sources.fields import ends_in_user, text, turns
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import from_each, make_pair
from armorm.types import PreferencePair, Prompt

MARKERS = {"\n\nHuman:": "user", "\n\nAssistant:": "assistant"}
"""With the empty line before them: `Human:` inside a line is text."""


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record.

    A response that goes on with invented turns cannot be told from a transcript with more
    turns; its history differs from that of the other side and the record is dropped.
    """
    prompt, chosen = _transcript(record, "chosen")
    other, rejected = _transcript(record, "rejected")
    check_same_history(prompt, other, "chosen", "rejected")
    return make_pair(prompt, chosen, rejected)


def _transcript(record: Mapping[str, Any], name: str) -> tuple[Prompt, str]:
    """Split a transcript into its prompt and its response."""
    *prompt, last = turns(text(record, name), MARKERS, name=name)
    if last.role != "assistant":
        raise RowProblem(
            "no response at the end",
            f"`{name}` must end with an 'assistant' turn; got {last.role!r}",
        )
    return ends_in_user(tuple(prompt), name), last.content


SETS = (
    PublishedSet(
        name="hh-rlhf",
        kind="pairs",
        hub="Anthropic/hh-rlhf",
        split="train",
        licence="mit",
        link="https://huggingface.co/datasets/Anthropic/hh-rlhf",
        n_rows=157_000,
        columns=("chosen", "rejected"),
        convert=from_each(_pair),
        note="160,800 records, helpful and harmless together, of which the paper keeps about "
        "157,000; transcripts that do not share their history, have an empty turn or equal "
        "responses are dropped.",
    ),
)
