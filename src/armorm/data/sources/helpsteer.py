"""HelpSteer and HelpSteer2: people's ratings of five qualities, several responses to a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import ends_in_user, ratings, text, turns, value
from armorm.data.sources.interface import PublishedSet
from armorm.types import Prompt, RatedResponse, Scale

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""Rated columns, in the order of the released model."""

SCALES = {f"helpsteer-{name}": Scale(0, 4, offset=0.5, divisor=5) for name in ATTRIBUTES}
"""Objective -> scale; 0 to 4 become 0.1 to 0.9 (model card of RLHFlow/ArmoRM-Llama3-8B-v0.1)."""

COLUMNS = ("prompt", "response", *ATTRIBUTES)
"""Columns of both data sets."""

_MARK = "<extra_id_1>"
_TURNS = {f"{_MARK}User\n": "user", f"{_MARK}Assistant\n": "assistant"}


def prompt_of(record: Mapping[str, Any]) -> Prompt:
    r"""Read the prompt, whose later turns HelpSteer2 marks with `<extra_id_1>User` lines.

    Args:
        record: A record of either data set.

    Returns:
        One message, or several that end with a user's.

    Raises:
        RowProblem: no text; a marker of another speaker; an empty turn; the last turn is the
            assistant's.

    Example:
        >>> told = "Hi\n<extra_id_1>Assistant\nYes?\n<extra_id_1>User\nBye"
        >>> [message.content for message in prompt_of({"prompt": told})]
        ['Hi', 'Yes?', 'Bye']
    """
    prompt = turns(text(record, "prompt"), _TURNS, first="user")
    left = next((m.content for m in prompt if _MARK in m.content), None)
    if left is not None:
        found = left[left.index(_MARK) :][:24]
        raise RowProblem(
            "unknown turn marker",
            f"`prompt` must mark turns of User and Assistant only; got {found!r}",
        )
    return ends_in_user(prompt)


def ratings_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Read the five ratings.

    Args:
        record: A record of either data set.

    Returns:
        Raw rating by objective.

    Raises:
        RowProblem: a column is missing or holds no rating from 0 to 4; nothing is rated.
    """
    return ratings({f"helpsteer-{name}": value(record, name) for name in ATTRIBUTES}, SCALES)


def _convert(records: Sequence[Mapping[str, Any]]) -> Iterator[RatedResponse]:
    """A record is a rated response."""
    for record in records:
        yield RatedResponse("", prompt_of(record), text(record, "response"), "", ratings_of(record))


SETS = (
    PublishedSet(
        name="helpsteer",
        kind="rated",
        hub="nvidia/HelpSteer",
        split="train",
        licence="cc-by-4.0",
        link="https://huggingface.co/datasets/nvidia/HelpSteer",
        n_rows=35_331,
        columns=COLUMNS,
        convert=_convert,
        scales=SCALES,
    ),
    PublishedSet(
        name="helpsteer2",
        kind="rated",
        hub="nvidia/HelpSteer2",
        split="train",
        licence="cc-by-4.0",
        link="https://huggingface.co/datasets/nvidia/HelpSteer2",
        n_rows=20_324,
        columns=COLUMNS,
        convert=_convert,
        scales=SCALES,
        note="Not among the data of the paper; its objectives share the heads of HelpSteer.",
    ),
)
