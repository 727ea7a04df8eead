"""The merged table behind the released ArmoRM: conversations with 19 normalised ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.sources import (
    beavertails,
    capybara,
    code_ultrafeedback,
    helpsteer,
    openorca,
    prometheus_feedback,
    ultrafeedback,
)
from armorm.data.sources.fields import conversation, ratings, value
from armorm.data.sources.interface import PublishedSet
from armorm.types import RatedResponse, Scale

OBJECTIVES = (
    *helpsteer.SCALES,
    *ultrafeedback.SCALES,
    *beavertails.SCALES,
    *prometheus_feedback.SCALES,
    *capybara.SCALES,
    *openorca.SCALES,
    *code_ultrafeedback.SCALES,
)
"""The columns, in the order of the released model."""

SCALES = {name: Scale(0, 1) for name in OBJECTIVES}
"""Objective -> scale: the table holds normalised ratings."""


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse]:
    """A record is a rated conversation; null means not rated."""
    for record in records:
        prompt, response = conversation(record, "messages")
        rated = ratings({name: value(record, name) for name in OBJECTIVES}, SCALES)
        yield RatedResponse("", prompt, response, "", rated)


SETS = (
    PublishedSet(
        name="armorm-merged",
        kind="rated",
        hub="RLHFlow/ArmoRM-Multi-Objective-Data-v0.1",
        split="train",
        licence="not stated",
        link="https://huggingface.co/datasets/RLHFlow/ArmoRM-Multi-Objective-Data-v0.1",
        n_rows=None,
        columns=("messages.role", "messages.content", *OBJECTIVES),
        convert=_convert,
        scales=SCALES,
        note="The sets above, merged by the authors of ArmoRM: use it or them, not both.",
    ),
)
