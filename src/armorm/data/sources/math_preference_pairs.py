"""Math-Preference as pairs: two responses to a mathematical task, the higher rated is chosen.

Columns: card of argilla/distilabel-math-preference-dpo.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.sources.fields import one_turn, text
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.math_preference import COLUMNS, HUB, LINK
from armorm.data.sources.pairing import check_order, from_each, make_pair
from armorm.types import PreferencePair


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record, whose ratings must agree with it."""
    check_order(record, "chosen_rating", "rejected_rating")
    prompt = one_turn(text(record, "instruction"))
    return make_pair(prompt, text(record, "chosen_response"), text(record, "rejected_response"))


SETS = (
    PublishedSet(
        name="math-preference-pairs",
        kind="pairs",
        hub=HUB,
        split="train",
        licence="apache-2.0",
        link=LINK,
        n_rows=2_418,
        columns=COLUMNS,
        convert=from_each(_pair),
        note="Records whose two ratings are equal, or contradict the order, are dropped.",
    ),
)
