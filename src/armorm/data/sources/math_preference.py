"""Math-Preference: two responses to a mathematical task with a rating each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import one_turn, ratings, row_or_problem, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.types import RatedResponse, Scale

HUB = "argilla/distilabel-math-preference-dpo"
LINK = "https://huggingface.co/datasets/argilla/distilabel-math-preference-dpo"

SCALES = {"ultrafeedback-instruction_following": Scale(1, 10)}
"""Objective -> scale; the paper lets it share the head of UltraFeedback's."""

COLUMNS = (
    "instruction",
    "chosen_response",
    "chosen_rating",
    "rejected_response",
    "rejected_rating",
)
"""What a record must have."""


def _row(record: Mapping[str, Any], side: str) -> RatedResponse:
    """The response of one side, rated."""
    raw = value(record, f"{side}_rating")
    rated = ratings({"ultrafeedback-instruction_following": raw}, SCALES)
    prompt = one_turn(text(record, "instruction"))
    return RatedResponse("", prompt, text(record, f"{side}_response"), "", rated)


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse | RowProblem]:
    """A record is two rated responses."""
    for record in records:
        for side in ("chosen", "rejected"):
            yield row_or_problem(_row, record, side)


SETS = (
    PublishedSet(
        name="math-preference",
        kind="rated",
        hub=HUB,
        split="train",
        licence="apache-2.0",
        link=LINK,
        n_rows=4_836,
        columns=COLUMNS,
        convert=_convert,
        scales=SCALES,
        note="Its card states no scale; others filter it by ratings of at least 9 (card of "
        "mlabonne/orpo-dpo-mix-40k), which makes it 1 to 10.",
    ),
)
