"""One conversation from the forms that a caller may have it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.messages import parse_conversation, parse_prompt, parse_response
from armorm.errors import DataError
from armorm.types import Conversation


def as_conversation(value: Any, *, where: str = "conversation") -> Conversation:
    """Check a conversation and return it as one.

    Args:
        value: A `Conversation`; a mapping with `prompt` (text or messages) and `response`,
            or with `messages`, and perhaps `id`; or a list of messages.
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
    identity = ""
    try:
        if isinstance(value, Conversation):
            prompt = [{"role": m.role, "content": m.content} for m in value.prompt]
            value = {"prompt": prompt, "response": value.response, "id": value.id}
        if isinstance(value, Mapping):
            identity = str(value.get("id", ""))
            if "messages" in value:
                return Conversation(*parse_conversation(value["messages"], "messages"), identity)
            for name in ("prompt", "response"):
                if name not in value:
                    raise RowProblem("missing field", f"missing field {name!r}")
            parsed = parse_prompt(value["prompt"])
            response = parse_response(value["response"], "response", parsed)
            return Conversation(parsed, response, identity)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return Conversation(*parse_conversation(list(value), "messages"), identity)
    except RowProblem as problem:
        raise DataError(f"{where}: {problem.text}") from None
    raise DataError(
        f"{where}: must be a Conversation, a mapping with `prompt` and `response` or with "
        f"`messages`, or a list of messages; got {type(value).__name__}"
    )
