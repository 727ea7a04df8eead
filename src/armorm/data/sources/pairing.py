"""What the pair sets share: two responses and how they were judged -> a preference pair.

Pairs come without id and source, which `armorm.data.sources.convert` fills in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from armorm.data.drops import RowProblem
from armorm.data.messages import check_same_history
from armorm.data.ratings import parse_rating, short
from armorm.data.sources.fields import NOT_RATED, conversation, row_or_problem, value
from armorm.data.sources.interface import Convert, PublishedSet
from armorm.types import PreferencePair, Prompt, Scale

STRENGTH = Scale(-3, 3)
"""How much the second of two responses is preferred to the first; 0 is a tie."""

Judged: TypeAlias = tuple[str, Mapping[str, float]] | RowProblem
"""A response with its ratings, or why there is none."""

_ROUNDING = 1e-9
"""Sums of decimal ratings miss their written value by less than this."""


def from_each(make: Callable[[Mapping[str, Any]], PreferencePair]) -> Convert:
    """Return the converter of a set whose every record is one pair.

    Args:
        make: Makes the pair of a record, or raises the `RowProblem` why it is none.

    Returns:
        The converter.
    """
    return lambda records: [row_or_problem(make, record) for record in records]


def make_pair(prompt: Prompt, chosen: str, rejected: str) -> PreferencePair:
    """Return a pair without id and source.

    Args:
        prompt: The messages before the responses.
        chosen: The preferred response.
        rejected: The other response.

    Returns:
        The pair.

    Raises:
        RowProblem: the responses are equal but for white space around them.
    """
    if chosen.strip() == rejected.strip():
        raise RowProblem(
            "equal sides", f"`chosen` and `rejected` must differ; both are {short(chosen)}"
        )
    return PreferencePair("", prompt, chosen, rejected)


def pair_of_conversations(record: Mapping[str, Any]) -> PreferencePair:
    """Return the pair of two conversations, `chosen` and `rejected`, with a common prompt.

    Args:
        record: The record; both fields hold lists of messages.

    Returns:
        The pair.

    Raises:
        RowProblem: a field is missing or no conversation; the messages before the last
            one differ; the responses are equal.
    """
    prompt, chosen = conversation(record, "chosen")
    other, rejected = conversation(record, "rejected")
    check_same_history(prompt, other, "chosen", "rejected")
    return make_pair(prompt, chosen, rejected)


def conversation_set(name: str, hub: str, n_rows: int | None, note: str) -> PublishedSet:
    """Return a set whose records are two whole conversations, `chosen` and `rejected`.

    Args:
        name: On our command line.
        hub: `owner/name`; its card states no licence.
        n_rows: Pairs that are expected; None where no source says.
        note: What a user must know.

    Returns:
        The set.
    """
    return PublishedSet(
        name=name,
        kind="pairs",
        hub=hub,
        split="train",
        licence="not stated",
        link=f"https://huggingface.co/datasets/{hub}",
        n_rows=n_rows,
        columns=("chosen.role", "chosen.content", "rejected.role", "rejected.content"),
        convert=from_each(pair_of_conversations),
        note=note,
    )


def number(record: Mapping[str, Any], name: str) -> float | None:
    """Return a number that a published table may also write as text or leave out.

    Args:
        record: The record.
        name: The field; dots walk into objects.

    Returns:
        The number; None for null, NaN, an empty text and `N/A`.

    Raises:
        RowProblem: there is no such field; it is neither a number nor one of these.

    Example:
        >>> number({"score": "4.5"}, "score"), number({"score": "N/A"}, "score")
        (4.5, None)
    """
    raw = value(record, name)
    if isinstance(raw, str) and raw.strip().lower() in NOT_RATED:
        return None
    if raw is None or (isinstance(raw, float) and math.isnan(raw)):
        return None
    return parse_rating(raw, name, None, textual=True)


def index(record: Mapping[str, Any], name: str) -> int:
    """Return a label that says which of two responses is meant.

    Args:
        record: The record.
        name: The field.

    Returns:
        0 or 1.

    Raises:
        RowProblem: there is no such field; it is another number or no number.
    """
    found = value(record, name)
    if isinstance(found, bool) or found not in (0, 1, "0", "1"):  # a table of text has texts
        raise RowProblem("label not 0 or 1", f"`{name}` must be 0 or 1; got {short(found)}")
    return int(found)


def check_order(record: Mapping[str, Any], chosen: str, rejected: str) -> None:
    """Check that the published ratings agree with the published order.

    Args:
        record: The record.
        chosen: Field of the rating of the chosen response.
        rejected: Field of the rating of the rejected response.

    Raises:
        RowProblem: a rating is missing; both are equal; the rejected response is rated
            higher.
    """
    better, worse = _rating(record, chosen), _rating(record, rejected)
    if better == worse:
        raise RowProblem("tie", f"`{chosen}` must be above `{rejected}`; both are {better:g}")
    if better < worse:
        raise RowProblem(
            "ratings against the order",
            f"`{chosen}` must be above `{rejected}`; got {better:g} and {worse:g}",
        )


def _rating(record: Mapping[str, Any], name: str) -> float:
    """Return a number that must be there."""
    rating = number(record, name)
    if rating is None:
        raise RowProblem("no rating", f"`{name}` must be a number; got none")
    return rating


def pair_by_strength(
    prompt: Prompt, first: str, second: str, strength: object, *, name: str
) -> PreferencePair:
    """Return the pair that a preference from -3 to 3 makes.

    Args:
        prompt: The messages before the responses.
        first: The response that a negative strength prefers.
        second: The response that a positive strength prefers.
        strength: What was found.
        name: Its field, for messages.

    Returns:
        The pair.

    Raises:
        RowProblem: no number from -3 to 3; 0, which is a tie; equal responses.

    Example:
        >>> pair_by_strength((), "a", "b", -1, name="s").chosen
        'a'
    """
    read = parse_rating(strength, name, STRENGTH, textual=True)
    if read == 0:
        raise RowProblem("tie", f"`{name}` must prefer one response; got 0")
    chosen, rejected = (first, second) if read < 0 else (second, first)
    return make_pair(prompt, chosen, rejected)


def comparisons(
    prompt: Prompt, responses: Sequence[Judged]
) -> Iterator[PreferencePair | RowProblem]:
    """Compare every two responses to one prompt by the mean of their common ratings.

    Only objectives that are rated for both count, so that a response is not better for
    what nobody rated of it. The scales of all objectives must be the same.

    Args:
        prompt: The messages before the responses.
        responses: The responses with their ratings.

    Yields:
        For each two of them a pair, or why they are none: a tie, no common rating, equal
        responses, one of them unusable.
    """
    for first, second in combinations(responses, 2):
        if isinstance(first, RowProblem):
            yield first
        elif isinstance(second, RowProblem):
            yield second
        else:
            yield row_or_problem(_compare, prompt, first, second)


def _compare(
    prompt: Prompt,
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
) -> PreferencePair:
    """Return the pair of two judged responses."""
    common = [name for name in first[1] if name in second[1]]
    if not common:
        raise RowProblem(
            "no common rating", "two responses must be rated on one same objective; got none"
        )
    gap = math.fsum(first[1][name] - second[1][name] for name in common)
    if abs(gap) <= _ROUNDING:
        raise RowProblem("tie", f"two responses must differ in rating; gap on {common}: 0")
    better, worse = (first, second) if gap > 0 else (second, first)
    return make_pair(prompt, better[0], worse[0])
