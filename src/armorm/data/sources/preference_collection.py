"""Prometheus 2's Preference-Collection: two responses judged by one rubric, A or B.

Columns: card of prometheus-eval/Preference-Collection (arXiv 2405.01535) for the size and the
template, the `orig_` columns as used by the projects that read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.ratings import short
from armorm.data.sources.fields import one_turn, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import from_each, make_pair
from armorm.types import PreferencePair


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record; the prompt is the instruction, not the judge's template around it."""
    sides = text(record, "orig_response_A"), text(record, "orig_response_B")
    prefers = value(record, "orig_preference")
    letter = prefers.strip() if isinstance(prefers, str) else prefers
    if letter not in ("A", "B"):
        raise RowProblem(
            "preference not A or B", f"`orig_preference` must be 'A' or 'B'; got {short(prefers)}"
        )
    chosen, rejected = sides if letter == "A" else sides[::-1]
    return make_pair(one_turn(text(record, "orig_instruction")), chosen, rejected)


SETS = (
    PublishedSet(
        name="preference-collection",
        kind="pairs",
        hub="prometheus-eval/Preference-Collection",
        split="train",
        licence="cc-by-4.0",
        link="https://huggingface.co/datasets/prometheus-eval/Preference-Collection",
        n_rows=200_000,
        columns=("orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"),
        convert=from_each(_pair),
        note="The preference follows a rubric of its own in each record, which the pair does not "
        "show; `instruction` and `output` hold the judge's template and are not used.",
    ),
)
