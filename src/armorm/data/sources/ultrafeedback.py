"""UltraFeedback: four responses to a prompt, GPT-4's ratings of four aspects and overall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import (
    objects,
    one_turn,
    optional_text,
    ratings,
    row_or_problem,
    text,
    value,
)
from armorm.data.sources.interface import PublishedSet
from armorm.types import RatedResponse, Scale

HUB = "openbmb/UltraFeedback@40b436560ca83a8dba36114c22ab3c66e43f6d5e"
"""The revision of 2023-12-29, in which the overall scores that were 10 for 1 are put right."""

LINK = "https://github.com/OpenBMB/UltraFeedback"

ASPECTS = ("instruction_following", "truthfulness", "honesty", "helpfulness")
"""Rated aspects, in the order of the released model."""

SCALES = {
    "ultrafeedback-overall_score": Scale(1, 10),
    **{f"ultrafeedback-{name}": Scale(1, 5) for name in ASPECTS},
}
"""Objective -> scale."""

COLUMNS = (
    "instruction",
    "completions.response",
    *(f"completions.annotations.{name}.Rating" for name in ASPECTS),
)
"""What a record must have, for pairs too."""


def completions_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the responses of a record, each with its ratings.

    Args:
        record: A record.

    Returns:
        Objects with `response`, `custom_system_prompt`, `annotations`, `overall_score`.

    Raises:
        RowProblem: there is no list of objects.
    """
    return objects(record, "completions")


def ratings_of(completion: Mapping[str, Any]) -> dict[str, float]:
    """Read the ratings of one response, which are texts and may be `N/A`.

    Args:
        completion: One of `completions_of`.

    Returns:
        Raw rating by objective; those that are `N/A` are left out.

    Raises:
        RowProblem: an aspect is missing; a text is no number on its scale; nothing is rated.
    """
    found = {"ultrafeedback-overall_score": completion.get("overall_score")}
    for name in ASPECTS:
        aspect = value(completion, f"annotations.{name}")
        found[f"ultrafeedback-{name}"] = None if aspect is None else value(aspect, "Rating")
    return ratings(found, SCALES)


def _row(record: Mapping[str, Any], completion: Mapping[str, Any]) -> RatedResponse:
    """One response, under the system prompt that it was written for."""
    system = optional_text(completion, "custom_system_prompt")
    prompt = one_turn(text(record, "instruction"), system)
    return RatedResponse("", prompt, text(completion, "response"), "", ratings_of(completion))


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse | RowProblem]:
    """A record is a prompt with its responses."""
    for record in records:
        for completion in completions_of(record):
            yield row_or_problem(_row, record, completion)


SETS = (
    PublishedSet(
        name="ultrafeedback",
        kind="rated",
        hub=HUB,
        split="train",
        licence="mit",
        link=LINK,
        n_rows=255_868,
        columns=(*COLUMNS, "completions.overall_score", "completions.custom_system_prompt"),
        convert=_convert,
        scales=SCALES,
        note="Each response was written under a system prompt of its own, which is kept; "
        "prompts of TruthfulQA and FalseQA are in it.",
    ),
)
