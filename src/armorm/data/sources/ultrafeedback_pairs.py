"""UltraFeedback as pairs: all comparisons by the mean aspect, and Argilla's binarised version.

Columns of the binarised version: card of argilla/ultrafeedback-binarized-preferences-cleaned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import one_turn, row_or_problem, text
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import check_order, comparisons, from_each, pair_of_conversations
from armorm.data.sources.ultrafeedback import COLUMNS, HUB, LINK, completions_of, ratings_of
from armorm.types import PreferencePair


def _judged(completion: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """A response with the ratings of its aspects; the overall score is another judgement."""
    return text(completion, "response"), ratings_of({**completion, "overall_score": None})


def _convert(records: Sequence[Mapping[str, Any]]) -> list[PreferencePair | RowProblem]:
    """A record is an instruction with its responses."""
    rows: list[PreferencePair | RowProblem] = []
    for record in records:
        judged = [row_or_problem(_judged, completion) for completion in completions_of(record)]
        rows += comparisons(one_turn(text(record, "instruction")), judged)
    return rows


def _cleaned(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record of the binarised version."""
    check_order(record, "chosen-rating", "rejected-rating")
    return pair_of_conversations(record)


SETS = (
    PublishedSet(
        name="ultrafeedback-pairs",
        kind="pairs",
        hub=HUB,
        split="train",
        licence="mit",
        link=LINK,
        n_rows=340_025,
        columns=COLUMNS,
        convert=_convert,
        note="All comparisons of a prompt but ties, by the mean of the aspects rated for both "
        "responses; the prompt is the instruction alone, as each response was written under "
        "another system prompt.",
    ),
    PublishedSet(
        name="ultrafeedback-cleaned",
        kind="pairs",
        hub="argilla/ultrafeedback-binarized-preferences-cleaned",
        split="train",
        licence="mit",
        link="https://huggingface.co/datasets/argilla/ultrafeedback-binarized-preferences-cleaned",
        n_rows=60_917,
        columns=(
            "chosen.role",
            "chosen.content",
            "chosen-rating",
            "rejected.role",
            "rejected.content",
            "rejected-rating",
        ),
        convert=from_each(_cleaned),
        note="The reference set of the debias according to the authors' blog (the README of "
        "their code names `rlhflow-ultrafeedback`); without TruthfulQA's prompts.",
    ),
)
