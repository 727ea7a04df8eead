"""One conversation from the forms that a caller may have it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.messages import parse_conversation, parse_prompt, parse_response
from armorm.errors import DataError
from armorm.types import Conversation, Message


def as_conversation(value: Any, *, where: str = "conversation") -> Conversation:
    """Check a conversation and return it as one.

    Args:
        value: A `Conversation`; a mapping with `prompt` (text or messages) and `response`,
            or with `messages`, and perhaps `id`; or a list or tuple of messages. A message
            is a `Message` or a mapping with `role` and `content`.
        where: Starts the error message.

    Returns:
        The conversation.

    Raises:
        DataError: it is none of these; it does not end in a response; prompt or response
            is empty.

    Example:
        >>> as_conversation({"prompt": "2+2?", "response": "4."}).response
        '4.'
    """
    try:
        if isinstance(value, Conversation):
            value = {"prompt": value.prompt, "response": value.response, "id": value.id}
        if isinstance(value, Mapping):
            return _from_mapping(value)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | Message):
            return Conversation(*parse_conversation(_as_rows_have_it(value), "messages"))
    except RowProblem as problem:
        raise DataError(f"{where}: {problem.text}") from None
    raise DataError(
        f"{where}: must be a Conversation, a mapping with `prompt` and `response` or with "
        f"`messages`, or a list of messages; got {type(value).__name__}"
    )


def _from_mapping(value: Mapping[str, Any]) -> Conversation:
    """A conversation from `prompt` and `response`, or from `messages`."""
    given = value.get("id")
    identity = "" if given is None else str(given)
    if "messages" in value:
        messages = _as_rows_have_it(value["messages"])
        return Conversation(*parse_conversation(messages, "messages"), identity)
    for name in ("prompt", "response"):
        if name not in value:
            raise RowProblem("missing field", f"missing field {name!r}")
    prompt = parse_prompt(_as_rows_have_it(value["prompt"]))
    response = parse_response(_as_rows_have_it(value["response"]), "response", prompt)
    return Conversation(prompt, response, identity)


def _as_rows_have_it(value: Any) -> Any:
    """A list of mappings from any sequence of messages; everything else unchanged."""
    if isinstance(value, Message) or not isinstance(value, list | tuple):
        return value
    return [m._asdict() if isinstance(m, Message) else m for m in value]
