"""OpenOrca pairs, judged again by GPT-4: two responses to a prompt with a score each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.messages import parse_text
from armorm.data.ratings import short
from armorm.data.sources.fields import (
    one_turn,
    optional_text,
    ratings,
    row_or_problem,
    text,
    value,
)
from armorm.data.sources.interface import PublishedSet
from armorm.types import Prompt, RatedResponse, Scale

SCALES = {"argilla-judge_lm": Scale(1, 10)}
"""Objective -> scale."""


def scored(record: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Put the responses and their scores together.

    `rating` follows `generations`, which were shuffled for the judge, not `chosen` and
    `rejected`; `order` says which is which.

    Args:
        record: A record.

    Returns:
        A response and its score, each as it was found, in the order of `generations`.

    Raises:
        RowProblem: one of the two is no list, or they are not of one length.
    """
    responses, scores = value(record, "generations"), value(record, "rating")
    if scores is None:
        raise RowProblem("no rating", "a rated row must have at least one rating; got none")
    if not isinstance(responses, list) or not isinstance(scores, list):
        raise RowProblem(
            "generations not a list",
            f"`generations` and `rating` must be lists; got {short(responses)} and {short(scores)}",
        )
    if len(responses) != len(scores):
        raise RowProblem(
            "ratings do not fit the responses",
            f"`rating` must have a score for each of the {len(responses)} `generations`; "
            f"got {len(scores)}",
        )
    return list(zip(responses, scores, strict=True))


def _row(prompt: Prompt, response: Any, score: Any) -> RatedResponse:
    """One response with its score."""
    rated = ratings({"argilla-judge_lm": score}, SCALES)
    return RatedResponse("", prompt, parse_text(response, "generations"), "", rated)


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse | RowProblem]:
    """A record is a prompt with two responses."""
    for record in records:
        prompt = one_turn(text(record, "input"), optional_text(record, "system"))
        for response, score in scored(record):
            yield row_or_problem(_row, prompt, response, score)


SETS = (
    PublishedSet(
        name="openorca",
        kind="rated",
        hub="argilla/distilabel-intel-orca-dpo-pairs",
        split="train",
        licence="apache-2.0",
        link="https://huggingface.co/datasets/argilla/distilabel-intel-orca-dpo-pairs",
        n_rows=25_718,
        columns=("system", "input", "generations", "rating"),
        convert=_convert,
        scales=SCALES,
        note="Scores follow `generations`; ties are kept, as both responses are rated.",
    ),
)
