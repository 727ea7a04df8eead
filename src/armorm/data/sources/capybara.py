"""Capybara-Preferences: conversations of several turns, two last responses with a rating each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import conversation, ratings, row_or_problem, value
from armorm.data.sources.interface import PublishedSet
from armorm.types import RatedResponse, Scale

HUB = "argilla/Capybara-Preferences"
"""Before filtering."""

FILTERED_HUB = "argilla/Capybara-Preferences-Filtered"
"""The one that the authors of ArmoRM name."""

LINK = f"https://huggingface.co/datasets/{HUB}"
"""Documents the columns of both."""

SCALES = {"argilla-overall_quality": Scale(1, 5)}
"""Objective -> scale."""

COLUMNS = (
    "chosen.role",
    "chosen.content",
    "chosen_rating",
    "rejected.role",
    "rejected.content",
    "rejected_rating",
)
"""What a record must have."""


def _row(record: Mapping[str, Any], side: str) -> RatedResponse:
    """The last message of one side, rated."""
    prompt, response = conversation(record, side)
    rated = ratings({"argilla-overall_quality": value(record, f"{side}_rating")}, SCALES)
    return RatedResponse("", prompt, response, "", rated)


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse | RowProblem]:
    """A record is two rated responses."""
    for record in records:
        for side in ("chosen", "rejected"):
            yield row_or_problem(_row, record, side)


def _set(name: str, hub: str, n_records: int, note: str) -> PublishedSet:
    """One of the two sizes in which the set is published."""
    return PublishedSet(
        name=name,
        kind="rated",
        hub=hub,
        split="train",
        licence="apache-2.0",
        link=f"https://huggingface.co/datasets/{hub}",
        n_rows=2 * n_records,
        columns=COLUMNS,
        convert=_convert,
        scales=SCALES,
        note=note,
    )


SETS = (
    _set(
        "capybara",
        FILTERED_HUB,
        14_811,
        "The one that the authors of ArmoRM name.",
    ),
    _set(
        "capybara-all",
        HUB,
        15_404,
        "Before filtering; it holds the rows of `capybara`: use it or that, not both.",
    ),
)
