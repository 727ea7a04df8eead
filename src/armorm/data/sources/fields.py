"""Fields of a foreign record: texts, ratings, turns; every refusal is a `RowProblem`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from armorm.data.drops import RowProblem
from armorm.data.messages import parse_conversation, parse_text
from armorm.data.ratings import parse_rating, short
from armorm.types import Message, Prompt, Scale

NOT_RATED = frozenset({"", "n/a", "na", "none", "null"})
"""Texts that published tables write, in any case, where nobody rated."""

_MOST_NAMES = 8

_Row = TypeVar("_Row")


def row_or_problem(make: Callable[..., _Row], *arguments: Any) -> _Row | RowProblem:
    """Make one of several rows of a record, so that a bad one does not take the others along.

    Args:
        make: Makes a row, or raises a `RowProblem`.
        *arguments: Its arguments.

    Returns:
        The row, or the problem.
    """
    try:
        return make(*arguments)
    except RowProblem as problem:
        return problem


def value(record: Any, name: str) -> Any:
    """Return the value of a field that must be there; it may be null.

    Args:
        record: A record, or an object inside one.
        name: The field; dots walk into objects.

    Returns:
        What was found.

    Raises:
        RowProblem: there is no such field, or no object that could have it.

    Example:
        >>> value({"annotations": {"honesty": {"Rating": "4"}}}, "annotations.honesty.Rating")
        '4'
    """
    if not isinstance(record, Mapping):
        raise RowProblem("not an object", f"{name!r} must be in an object; got {short(record)}")
    found: Any = record
    for part in [name] if name in record else name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            names = [repr(key) for key in record]
            more = ", ..." if len(names) > _MOST_NAMES else ""
            shown = ", ".join(names[:_MOST_NAMES]) or "none"
            raise RowProblem("missing field", f"missing field {name!r}; found {shown}{more}")
        found = found[part]
    return found


def text(record: Mapping[str, Any], name: str) -> str:
    """Return a text that must be there and not be empty, unchanged.

    Args:
        record: A record, or an object inside one.
        name: The field; dots walk into objects.

    Returns:
        The text.

    Raises:
        RowProblem: there is no such field; it is no text, or an empty one.
    """
    return parse_text(value(record, name), name)


def objects(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a list of objects that must be there; it may be empty.

    Args:
        record: A record, or an object inside one.
        name: The field; dots walk into objects.

    Returns:
        The objects.

    Raises:
        RowProblem: there is no such field; it is no list; an item is no object.
    """
    found = value(record, name)
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise RowProblem(
            f"{name} not objects", f"`{name}` must be a list of objects; got {short(found)}"
        )
    return found


def optional_text(record: Mapping[str, Any], name: str) -> str | None:
    """Return a text that may be absent, null or empty.

    Args:
        record: A record, or an object inside one.
        name: The field.

    Returns:
        The text, or None.

    Raises:
        RowProblem: it is there and no text.
    """
    found = record.get(name)
    if found is None or (isinstance(found, str) and not found.strip()):
        return None
    return parse_text(found, name)


def rating(raw: Any, scale: Scale, name: str) -> float | None:
    """Return a rating as published tables write it: a number, a text, true or false.

    Args:
        raw: What was found. Null, NaN, an empty text and `N/A` mean not rated.
        scale: Its scale; true and false count as 1 and 0 on a scale from 0 to 1 only.
        name: The objective, for messages.

    Returns:
        The raw rating, or None where nobody rated.

    Raises:
        RowProblem: no number; outside the scale.

    Example:
        >>> rating("4", Scale(1, 5), "honesty"), rating("N/A", Scale(1, 5), "honesty")
        (4.0, None)
    """
    if isinstance(raw, str) and raw.strip().lower() in NOT_RATED:
        return None
    if raw is None or (isinstance(raw, float) and raw != raw):
        return None
    return parse_rating(raw, name, scale, textual=True)


def ratings(found: Mapping[str, Any], scales: Mapping[str, Scale]) -> dict[str, float]:
    """Return the ratings of one response by objective, those that nobody gave left out.

    Args:
        found: Objective -> what was found.
        scales: Objective -> its scale.

    Returns:
        At least one rating.

    Raises:
        RowProblem: as `rating`; nothing is rated.
    """
    read = {name: rating(raw, scales[name], name) for name, raw in found.items()}
    rated = {name: number for name, number in read.items() if number is not None}
    if not rated:
        raise RowProblem("no rating", "a rated row must have at least one rating; got none")
    return rated


def one_turn(instruction: str, system: str | None = None) -> Prompt:
    """Return a prompt of one user message, a system message before it where there is one.

    Args:
        instruction: The user's text.
        system: The system message; None means none.

    Returns:
        One or two messages.
    """
    user = Message("user", instruction)
    return (user,) if system is None else (Message("system", system), user)


def turns(
    written: str, markers: Mapping[str, str], *, first: str | None = None, name: str = "prompt"
) -> Prompt:
    r"""Split a conversation that is written as one text with a marker before each turn.

    White space around a turn is taken off. What a turn quotes cannot be told from a
    marker; markers that include the line breaks around them make that rare.

    Args:
        written: The text.
        markers: Marker -> role, e.g. `{"\n\nHuman:": "user"}`; of two that fit in one
            place the longer is meant.
        first: Role of what stands before the first marker; None means that nothing may.
        name: The field, for messages.

    Returns:
        The messages, at least one.

    Raises:
        RowProblem: text before the first marker where none may be; no marker and no
            `first`; a turn without text.

    Example:
        >>> said = turns("Hi\nBOT: Yes?", {"\nBOT:": "assistant"}, first="user")
        >>> [(message.role, message.content) for message in said]
        [('user', 'Hi'), ('assistant', 'Yes?')]
    """
    longest_first = sorted(markers, key=len, reverse=True)
    pieces = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", written)
    roles = [first, *(markers[marker] for marker in pieces[1::2])]
    spoken = list(zip(roles, (piece.strip() for piece in pieces[::2]), strict=True))
    role, opening = spoken[0]
    if role is None:
        if opening or len(spoken) == 1:
            raise RowProblem(
                "text before the first marker",
                f"`{name}` must start with a marker of a turn; got {written[:24]!r}",
            )
        spoken = spoken[1:]
    for number, (_, content) in enumerate(spoken):
        if not content:
            raise RowProblem(
                "empty turn", f"`{name}`: turn {number + 1} must have a text; got none"
            )
    return tuple(Message(role, parse_text(content, name)) for role, content in spoken if role)


def ends_in_user(prompt: Prompt, name: str = "prompt") -> Prompt:
    """Return a prompt after a check that a user speaks last in it.

    Args:
        prompt: Its messages.
        name: The field, for messages.

    Returns:
        The same prompt.

    Raises:
        RowProblem: it is empty, or its last message is not a user's.
    """
    role = prompt[-1].role if prompt else "no message"
    if role != "user":
        raise RowProblem(
            "prompt without last user message",
            f"`{name}` must end with a 'user' message; got {role!r}",
        )
    return prompt


def conversation(record: Mapping[str, Any], name: str) -> tuple[Prompt, str]:
    """Split a field of messages into the prompt and the response they end in.

    Args:
        record: A record, or an object inside one.
        name: The field.

    Returns:
        Prompt and response.

    Raises:
        RowProblem: there is no such field; not messages; the last one is not the
            assistant's, or no user's stands before it.
    """
    return parse_conversation(value(record, name), name)
