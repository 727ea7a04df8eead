"""PRM800K, phase 2: steps of solutions, rated -1, 0 or 1, turned into pairs of partial solutions.

Columns, ratings and how a solution is put together: README of openai/prm800k (arXiv
2305.20050). The definition of a pair is ours: where one step of a solution has completions
rated 1 and completions rated -1, every two of them make a pair. The prompt is the problem;
both responses are the chosen steps before, then the completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.ratings import short
from armorm.data.sources.fields import objects, one_turn, row_or_problem, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import make_pair, number
from armorm.types import PreferencePair, Prompt

_JOIN = "\n"
"""Between the steps of a solution; the data holds them apart and names no separator."""


def _convert(records: Sequence[Mapping[str, Any]]) -> list[PreferencePair | RowProblem]:
    """The pairs of labelled solutions."""
    rows: list[PreferencePair | RowProblem] = []
    for record in records:
        try:
            rows += _rows(record)
        except RowProblem as problem:
            rows.append(problem)
    return rows


def _rows(record: Mapping[str, Any]) -> list[PreferencePair | RowProblem]:
    """The pairs of one solution, step by step."""
    _check_use(record)
    prompt = one_turn(text(record, "question.problem"))
    rows: list[PreferencePair | RowProblem] = []
    before: list[str] = []
    for step in objects(record, "label.steps"):
        completions = objects(step, "completions")
        rows += _pairs(prompt, before, completions)
        taken = _taken(step, completions)
        if taken is None:
            break  # labelling ended here
        before.append(taken)
    if not rows:
        raise RowProblem(
            "no step rated both ways",
            "a solution must have a step with completions rated 1 and -1; got none",
        )
    return rows


def _check_use(record: Mapping[str, Any]) -> None:
    """Refuse what was labelled for another purpose, or cannot be solved."""
    for name in ("is_quality_control_question", "is_initial_screening_question"):
        if value(record, name):
            raise RowProblem(
                "given to every labeller", f"`{name}` must be false: all labellers rated the same"
            )
    if value(record, "label.finish_reason") == "bad_problem":
        raise RowProblem("broken problem", "`label.finish_reason` must not be 'bad_problem'")


def _pairs(
    prompt: Prompt, before: Sequence[str], completions: Sequence[Mapping[str, Any]]
) -> list[PreferencePair | RowProblem]:
    """Pair the good with the bad completions of a step."""
    rated: dict[float, list[str]] = {1: [], -1: []}
    for completion in completions:
        rating = number(completion, "rating")
        # A flagged step is one that the labeller could not judge.
        if rating in rated and not completion.get("flagged"):
            rated[rating].append(_JOIN.join([*before, text(completion, "text")]))
    return [row_or_problem(make_pair, prompt, good, bad) for good in rated[1] for bad in rated[-1]]


def _taken(step: Mapping[str, Any], completions: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the text with which the solution went on; None where labelling ended."""
    place = step.get("chosen_completion")
    if place is None:
        # Phase 1 only: the labeller wrote the step.
        human = step.get("human_completion")
        return None if human is None else text(human, "text")
    if place not in range(len(completions)):
        raise RowProblem(
            "chosen completion not there",
            f"`chosen_completion` must be a place below {len(completions)}; got {short(place)}",
        )
    return text(completions[int(place)], "text")


SETS = (
    PublishedSet(
        name="prm800k",
        kind="pairs",
        hub="plaguss/prm800k/phase2",
        split="train",
        licence="mit",
        link="https://github.com/openai/prm800k",
        n_rows=None,
        columns=(
            "is_quality_control_question",
            "is_initial_screening_question",
            "question.problem",
            "label.steps.completions.text",
            "label.steps.completions.rating",
            "label.steps.chosen_completion",
            "label.finish_reason",
        ),
        convert=_convert,
        note="Pairs of partial solutions that differ in their last step, rated 1 and -1; the "
        "paper's own 79,527 pairs, made in a way that is not documented, are `rlhflow-prm800k`; "
        "the original file is prm800k/data/phase2_train.jsonl of openai/prm800k (`--from`).",
    ),
)
