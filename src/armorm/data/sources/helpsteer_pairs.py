"""HelpSteer and HelpSteer2 as pairs: by helpfulness, and by the preferences of HelpSteer2.

That helpfulness decides, and the columns of the preferences: card of nvidia/HelpSteer2
(arXiv 2406.08673, 2410.01257).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import ratings, row_or_problem, text, value
from armorm.data.sources.helpsteer import SCALES, prompt_of
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import comparisons, from_each, pair_by_strength
from armorm.types import PreferencePair

_DECIDES = "helpsteer-helpfulness"


def _judged(record: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """A response with its helpfulness."""
    return text(record, "response"), ratings({_DECIDES: value(record, "helpfulness")}, SCALES)


def _convert(records: Sequence[Mapping[str, Any]]) -> list[PreferencePair | RowProblem]:
    """Consecutive records with one prompt are the responses to it."""
    if len(records) < 2:
        raise RowProblem(
            "one response to its prompt", "a prompt must have two responses or more; got 1"
        )
    judged = [row_or_problem(_judged, record) for record in records]
    return list(comparisons(prompt_of(records[0]), judged))


def _preference(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one preference; below 0 means that the first response is better."""
    split = value(record, "split")
    if split != "train":
        raise RowProblem("not in the train split", f"`split` must be 'train'; got {split!r}")
    return pair_by_strength(
        prompt_of(record),
        text(record, "response_1"),
        text(record, "response_2"),
        value(record, "preference_strength"),
        name="preference_strength",
    )


def _rated(name: str, hub: str, n_rows: int | None, note: str) -> PublishedSet:
    """Return the pairs of one rated set."""
    return PublishedSet(
        name=name,
        kind="pairs",
        hub=hub,
        split="train",
        licence="cc-by-4.0",
        link=f"https://huggingface.co/datasets/{hub}",
        n_rows=n_rows,
        columns=("prompt", "response", "helpfulness"),
        convert=_convert,
        group_by=("prompt",),
        note=note,
    )


SETS = (
    _rated(
        "helpsteer-pairs",
        "nvidia/HelpSteer",
        37_131,
        "All comparisons of a prompt but ties in helpfulness; the size is that of arXiv "
        "2405.07863, which does not say which rating decides.",
    ),
    _rated(
        "helpsteer2-pairs",
        "nvidia/HelpSteer2",
        None,
        "10,162 prompts with two responses, ties in helpfulness dropped; not among the paper's "
        "data; its card advises `helpsteer2-preference`.",
    ),
    PublishedSet(
        name="helpsteer2-preference",
        kind="pairs",
        hub="nvidia/HelpSteer2/preference",
        split="train",
        licence="cc-by-4.0",
        link="https://huggingface.co/datasets/nvidia/HelpSteer2",
        n_rows=None,
        columns=("split", "prompt", "response_1", "response_2", "preference_strength"),
        convert=from_each(_preference),
        note="9,125 records, both splits in one file, of which `train` is used; ties dropped.",
    ),
)
