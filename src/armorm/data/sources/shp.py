"""Stanford Human Preferences: two comments below one Reddit post, the preferred by votes.

Columns: card of stanfordnlp/SHP. The filter is that of arXiv 2405.07863, appendix B.1, which
counts 93,301 pairs of 31,003 prompts, the size that the ArmoRM paper reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import one_turn, text
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import index, make_pair, number
from armorm.types import PreferencePair

SCORE_RATIO = 2.0
"""The score of the preferred comment must be MORE than this many times the other's: with few
votes between them the label is mostly noise."""

PAIRS_OF_A_POST = 5
"""Pairs kept of one post, those with the largest ratios: some posts have dozens of pairs of
the same few comments, and a model would learn the post."""


def _convert(records: Sequence[Mapping[str, Any]]) -> list[PreferencePair | RowProblem]:
    """The pairs of one post, or why a record is none, in the order of the records."""
    rows: list[PreferencePair | RowProblem] = []
    ratios: dict[int, float] = {}
    for place, record in enumerate(records):
        try:
            ratio = _ratio(record)
            rows.append(_pair(record))
            ratios[place] = ratio
        except RowProblem as problem:
            rows.append(problem)
    # sorted() is stable, so that of equal ratios the first records stay.
    for place in sorted(ratios, key=lambda place: -ratios[place])[PAIRS_OF_A_POST:]:
        rows[place] = RowProblem(
            f"more than {PAIRS_OF_A_POST} pairs of one post",
            f"a post gives at most {PAIRS_OF_A_POST} pairs, those with the largest "
            f"`score_ratio`; got {len(ratios)}",
        )
    return rows


def _ratio(record: Mapping[str, Any]) -> float:
    """Return the ratio of the scores, which must be large enough."""
    ratio = number(record, "score_ratio")
    if ratio is None or ratio <= SCORE_RATIO:
        raise RowProblem(
            f"score ratio at most {SCORE_RATIO:g}",
            f"`score_ratio` must be above {SCORE_RATIO:g}; got {ratio}",
        )
    return ratio


def _pair(record: Mapping[str, Any]) -> PreferencePair:
    """Make the pair of one record; label 1 means that A is preferred."""
    sides = text(record, "human_ref_A"), text(record, "human_ref_B")
    label = index(record, "labels")
    a, b = number(record, "score_A"), number(record, "score_B")
    if a is not None and b is not None and (label == 1) != (a > b):
        raise RowProblem(
            "label against the scores",
            f"`labels` must prefer the higher score; got {label} with A {a:g} and B {b:g}",
        )
    chosen, rejected = sides if label == 1 else sides[::-1]
    return make_pair(one_turn(text(record, "history")), chosen, rejected)


SETS = (
    PublishedSet(
        name="shp",
        kind="pairs",
        hub="stanfordnlp/SHP",
        split="train",
        licence="not stated",
        link="https://huggingface.co/datasets/stanfordnlp/SHP",
        n_rows=93_301,
        columns=(
            "post_id",
            "history",
            "human_ref_A",
            "human_ref_B",
            "score_A",
            "score_B",
            "labels",
            "score_ratio",
        ),
        convert=_convert,
        group_by=("post_id",),
        note="Only pairs with a score ratio above 2, at most 5 of one post (arXiv 2405.07863); "
        "which 5 its authors kept is not known, here those with the largest ratios.",
    ),
)
