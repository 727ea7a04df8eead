"""OpenOrca pairs, judged again by GPT-4: the better of two responses by the new judgement.

Columns: card of argilla/distilabel-intel-orca-dpo-pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import one_turn, optional_text, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import from_each, make_pair, number
from armorm.types import PreferencePair


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """The pair of one record; `chosen` and `rejected` follow the new judgement already."""
    if value(record, "status") == "tie":
        raise RowProblem("tie", "`status` must not be 'tie'")
    if number(record, "chosen_score") is None:
        raise RowProblem("no rating", "`chosen_score` must be a number; got none")
    prompt = one_turn(text(record, "input"), optional_text(record, "system"))
    return make_pair(prompt, text(record, "chosen"), text(record, "rejected"))


SETS = (
    PublishedSet(
        name="openorca-pairs",
        kind="pairs",
        hub="argilla/distilabel-intel-orca-dpo-pairs",
        split="train",
        licence="apache-2.0",
        link="https://huggingface.co/datasets/argilla/distilabel-intel-orca-dpo-pairs",
        n_rows=None,
        columns=("system", "input", "chosen", "rejected", "status", "chosen_score"),
        convert=from_each(_pair),
        note="12,859 records, ties dropped; not among the paper's pairs (arXiv 2405.07863 keeps "
        "6,926); some prompts are of the training part of GSM8K.",
    ),
)
