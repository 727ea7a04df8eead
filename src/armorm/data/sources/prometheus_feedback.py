"""Prometheus Feedback-Collection: GPT-4's scores by a rubric that differs from row to row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.sources.fields import one_turn, ratings, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.types import RatedResponse, Scale

SCALES = {"prometheus-score": Scale(1, 5)}
"""Objective -> scale."""


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse]:
    """A record is a rated response; `instruction` and `output` are the judge's, not these."""
    for record in records:
        rated = ratings({"prometheus-score": value(record, "orig_score")}, SCALES)
        prompt = one_turn(text(record, "orig_instruction"))
        yield RatedResponse("", prompt, text(record, "orig_response"), "", rated)


SETS = (
    PublishedSet(
        name="prometheus",
        kind="rated",
        hub="prometheus-eval/Feedback-Collection",
        split="train",
        licence="cc-by-4.0",
        link="https://huggingface.co/datasets/prometheus-eval/Feedback-Collection",
        n_rows=100_000,
        columns=("orig_instruction", "orig_response", "orig_score"),
        convert=_convert,
        scales=SCALES,
        note="The rubric (`orig_criteria`) is another one in each row and is not kept, so that a "
        "score is relative to what the row does not say.",
    ),
)
