"""CodeUltraFeedback: four responses to a coding task, rated on one of five qualities a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import objects, one_turn, ratings, row_or_problem, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.errors import nearest
from armorm.types import RatedResponse, Scale

HUB = "coseal/CodeUltraFeedback"
LINK = "https://huggingface.co/datasets/coseal/CodeUltraFeedback"

PREFERENCES = ("complexity", "style", "explanation", "instruction-following", "readability")
"""Values of `preference`, in the order of the released model."""

SCALES = {f"code-{name}": Scale(1, 5) for name in PREFERENCES}
"""Objective -> scale."""

COLUMNS = (
    "instruction",
    "preference",
    "responses.model",
    "responses.response",
    "annotations.model",
    "annotations.rating",
)
"""What a record must have."""


def objective_of(record: Mapping[str, Any]) -> str:
    """Name the objective that the ratings of a record are about.

    Args:
        record: A record.

    Returns:
        `code-` and its `preference`.

    Raises:
        RowProblem: the preference is none of the five.
    """
    name = text(record, "preference")
    if name not in PREFERENCES:
        raise RowProblem(
            "unknown preference", f"unknown preference {name!r}{nearest(name, PREFERENCES)}"
        )
    return f"code-{name}"


def raw_ratings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Find the rating of each model's response; the two lists need not have one order.

    Args:
        record: A record.

    Returns:
        Model -> rating as it is written.

    Raises:
        RowProblem: an annotation names no model; a model is rated twice.
    """
    found: dict[str, Any] = {}
    for annotation in objects(record, "annotations"):
        model = text(annotation, "model")
        if model in found:
            raise RowProblem("model rated twice", f"model {model!r} must be rated once; is twice")
        found[model] = value(annotation, "rating")
    return found


def _row(
    record: Mapping[str, Any], answer: Mapping[str, Any], objective: str, rated: dict[str, Any]
) -> RatedResponse:
    """One response with the rating of the model that gave it."""
    model = text(answer, "model")
    read = ratings({objective: rated.get(model)}, SCALES)
    return RatedResponse(
        "", one_turn(text(record, "instruction")), text(answer, "response"), "", read
    )


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse | RowProblem]:
    """A record is a task with its responses."""
    for record in records:
        objective, rated = objective_of(record), raw_ratings_of(record)
        for answer in objects(record, "responses"):
            yield row_or_problem(_row, record, answer, objective, rated)


SETS = (
    PublishedSet(
        name="code-ultrafeedback",
        kind="rated",
        hub=HUB,
        split="train",
        licence="mit",
        link=LINK,
        n_rows=40_000,
        columns=COLUMNS,
        convert=_convert,
        scales=SCALES,
        note="A task is rated on one of the five objectives; the other four are missing there.",
    ),
)
