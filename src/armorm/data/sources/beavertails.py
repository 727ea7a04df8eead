"""BeaverTails-30k: whether a response to a question that invites harm is safe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.sources.fields import one_turn, ratings, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.types import RatedResponse, Scale

SCALES = {"beavertails-is_safe": Scale(0, 1)}
"""Objective -> scale; true is 1, false is 0."""


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse]:
    """A record is one annotation of a response."""
    for record in records:
        rated = ratings({"beavertails-is_safe": value(record, "is_safe")}, SCALES)
        yield RatedResponse(
            "", one_turn(text(record, "prompt")), text(record, "response"), "", rated
        )


SETS = (
    PublishedSet(
        name="beavertails",
        kind="rated",
        hub="PKU-Alignment/BeaverTails",
        split="30k_train",
        licence="cc-by-nc-4.0",
        link="https://huggingface.co/datasets/PKU-Alignment/BeaverTails",
        n_rows=27_186,
        columns=("prompt", "response", "is_safe"),
        convert=_convert,
        scales=SCALES,
        note="Not for commercial use; several people may have rated one response, and each of "
        "their ratings is a row.",
    ),
)
