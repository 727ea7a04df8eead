"""PKU-SafeRLHF: two responses, the more helpful and the safer one, and whether each is safe.

Contents and licence: cards of PKU-Alignment/PKU-SafeRLHF and -30K (arXiv 2406.15513); column
names as used by the projects that train on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.ratings import short
from armorm.data.sources.fields import one_turn, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import from_each, index, make_pair
from armorm.types import PreferencePair

_LABELS = ("better_response_id", "safer_response_id")
_FLAGS = ("is_response_0_safe", "is_response_1_safe")


def _merged(record: Mapping[str, Any]) -> int:
    """Choose by safety where safety is in question, else by helpfulness."""
    safe = [_flag(record, name) for name in _FLAGS]
    if all(safe):
        return index(record, "better_response_id")
    return safe.index(True) if any(safe) else index(record, "safer_response_id")


def _pair(
    record: Mapping[str, Any], *, choose: Callable[[Mapping[str, Any]], int]
) -> PreferencePair:
    """The pair of one record."""
    sides = text(record, "response_0"), text(record, "response_1")
    chosen = choose(record)
    return make_pair(one_turn(text(record, "prompt")), sides[chosen], sides[1 - chosen])


def _flag(record: Mapping[str, Any], name: str) -> bool:
    """Return whether a response is safe."""
    found = value(record, name)
    if isinstance(found, str):  # a table of text
        found = {"true": True, "false": False}.get(found.lower(), found)
    if not isinstance(found, bool):
        raise RowProblem(
            "flag not true or false", f"`{name}` must be true or false; got {short(found)}"
        )
    return found


def _set(
    name: str,
    hub: str,
    choose: Callable[[Mapping[str, Any]], int],
    note: str,
    n_rows: int | None = 26_874,
) -> PublishedSet:
    """Return one set."""
    return PublishedSet(
        name=name,
        kind="pairs",
        hub=f"PKU-Alignment/{hub}",
        split="train",
        licence="cc-by-nc-4.0",
        link=f"https://huggingface.co/datasets/PKU-Alignment/{hub}",
        n_rows=n_rows,
        columns=("prompt", "response_0", "response_1", *_FLAGS, *_LABELS),
        convert=from_each(partial(_pair, choose=choose)),
        note=note,
    )


_RULE = (
    "chosen is the safe response where one is, the safer of two unsafe ones, the more helpful "
    "of two safe ones"
)

SETS = (
    _set(
        "pku-saferlhf",
        "PKU-SafeRLHF",
        _merged,
        f"83,400 records in both splits, later than the paper; {_RULE}.",
        n_rows=None,
    ),
    _set(
        "pku-saferlhf-30k",
        "PKU-SafeRLHF-30K",
        _merged,
        f"The paper's version; {_RULE}; which label the paper took is not known "
        "(`-helpful` and `-safe` take one).",
    ),
    _set(
        "pku-saferlhf-30k-helpful",
        "PKU-SafeRLHF-30K",
        partial(index, name="better_response_id"),
        "Chosen is the more helpful response, safe or not.",
    ),
    _set(
        "pku-saferlhf-30k-safe",
        "PKU-SafeRLHF-30K",
        partial(index, name="safer_response_id"),
        "Chosen is the safer response, helpful or not.",
    ),
)
