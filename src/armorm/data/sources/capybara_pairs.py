"""Capybara-Preferences as pairs: conversations of several turns, the better and the worse end.

Columns and sizes: cards of argilla/Capybara-Preferences and -Filtered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.sources.capybara import COLUMNS, FILTERED_HUB, HUB
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import check_order, from_each, pair_of_conversations
from armorm.types import PreferencePair


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record, whose ratings must agree with it."""
    check_order(record, "chosen_rating", "rejected_rating")
    return pair_of_conversations(record)


def _set(name: str, hub: str, n_rows: int | None, note: str) -> PublishedSet:
    """Return one of both versions."""
    return PublishedSet(
        name=name,
        kind="pairs",
        hub=hub,
        split="train",
        licence="apache-2.0",
        link=f"https://huggingface.co/datasets/{hub}",
        n_rows=n_rows,
        columns=COLUMNS,
        convert=from_each(_pair),
        note=note,
    )


SETS = (
    _set(
        "capybara-pairs",
        FILTERED_HUB,
        14_811,
        "The version of the paper; ties are dropped.",
    ),
    _set("capybara-all-pairs", HUB, None, "15,404 records; ties are dropped."),
)
