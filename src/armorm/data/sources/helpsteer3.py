"""HelpSteer3: human preferences from -3 to 3 over conversations, code and other languages.

Columns and the sign of the preference: card of nvidia/HelpSteer3 (arXiv 2505.11475).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.messages import parse_messages
from armorm.data.sources.fields import ends_in_user, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import from_each, pair_by_strength
from armorm.types import PreferencePair


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record; below 0 means that the first response is better."""
    prompt = parse_messages(value(record, "context"), "context")
    return pair_by_strength(
        ends_in_user(prompt, "context"),
        text(record, "response1"),
        text(record, "response2"),
        value(record, "overall_preference"),
        name="overall_preference",
    )


SETS = (
    PublishedSet(
        name="helpsteer3",
        kind="pairs",
        hub="nvidia/HelpSteer3/preference",
        split="train",
        licence="cc-by-4.0",
        link="https://huggingface.co/datasets/nvidia/HelpSteer3",
        n_rows=None,
        columns=(
            "context.role",
            "context.content",
            "response1",
            "response2",
            "overall_preference",
        ),
        convert=from_each(_pair),
        note="40,476 records in both splits, 95% of them in train; an overall preference of 0 "
        "is a tie and dropped.",
    ),
)
