"""CodeUltraFeedback as pairs: all comparisons of four responses by their one rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.code_ultrafeedback import (
    COLUMNS,
    HUB,
    LINK,
    SCALES,
    objective_of,
    raw_ratings_of,
)
from armorm.data.sources.fields import objects, one_turn, ratings, row_or_problem, text
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import comparisons
from armorm.types import PreferencePair


def _judged(
    answer: Mapping[str, Any], objective: str, rated: Mapping[str, Any]
) -> tuple[str, Mapping[str, float]]:
    """A response with the rating of the model that gave it."""
    raw = rated.get(text(answer, "model"))
    return text(answer, "response"), ratings({objective: raw}, SCALES)


def _convert(records: Sequence[Mapping[str, Any]]) -> list[PreferencePair | RowProblem]:
    """A record is a task with its responses."""
    rows: list[PreferencePair | RowProblem] = []
    for record in records:
        objective, rated = objective_of(record), raw_ratings_of(record)
        judged = [
            row_or_problem(_judged, answer, objective, rated)
            for answer in objects(record, "responses")
        ]
        rows += comparisons(one_turn(text(record, "instruction")), judged)
    return rows


SETS = (
    PublishedSet(
        name="code-ultrafeedback-pairs",
        kind="pairs",
        hub=HUB,
        split="train",
        licence="mit",
        link=LINK,
        n_rows=50_156,
        columns=COLUMNS,
        convert=_convert,
        note="All comparisons of a task but ties, as the 50,156 of arXiv 2405.07863; each task is "
        "rated on one of five qualities.",
    ),
)
