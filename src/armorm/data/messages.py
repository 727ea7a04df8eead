"""From the values of a record to prompts and responses; every refusal is a `RowProblem`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from armorm.data.drops import RowProblem
from armorm.types import Message, Prompt

_ROLES = ("system", "user", "assistant")

_LOOKS_LIKE_MESSAGES = re.compile(r"\s*\[\s*\{\s*['\"](role|content)['\"]\s*:")


def parse_text(value: object, name: str) -> str:
    """Check one text.

    Args:
        value: What was found.
        name: The field, for messages.

    Returns:
        The text, unchanged.

    Raises:
        RowProblem: it is not text, is empty or white space, or holds half a surrogate
            pair, which no encoding can write.
    """
    if not isinstance(value, str):
        raise RowProblem(f"{name} not text", f"`{name}` must be text; got {_kind(value)}")
    if not value or value.isspace():
        raise RowProblem(f"empty {name}", f"`{name}` must not be empty; got {value[:20]!r}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise RowProblem(
                f"{name} not text",
                f"`{name}` must be Unicode text; got half a surrogate pair ({half}) "
                f"at character {error.start + 1}",
            ) from None
    return value


def parse_messages(value: object, name: str) -> Prompt:
    """Check a list of messages.

    The order of user and assistant messages is free: data holds openings by the
    assistant and two messages of one side in a row, and Llama-3, ChatML and Zephyr
    templates take them. Templates that refuse them (Gemma, Mistral) speak for
    themselves, with the features.

    Args:
        value: What was found.
        name: The field, for messages.

    Returns:
        The messages.

    Raises:
        RowProblem: not a non-empty list; a message is not an object with `role` and
            `content`; an unknown role; `system` behind the first place; an empty content.
    """
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else _kind(value)
        raise RowProblem(f"{name} not messages", f"`{name}` must be text or messages; got {found}")
    return tuple(_parse_message(item, f"{name}[{i}]", name) for i, item in enumerate(value))


def _parse_message(item: object, place: str, name: str) -> Message:
    """Check one message."""
    if not isinstance(item, Mapping) or "role" not in item or "content" not in item:
        found = ", ".join(map(repr, item)) if isinstance(item, Mapping) else _kind(item)
        raise RowProblem(
            f"{name} not messages", f"`{place}` must have 'role' and 'content'; got {found}"
        )
    role, content = item["role"], item["content"]
    if role not in _ROLES:
        raise RowProblem(
            "unknown role", f"`{place}.role` must be 'system', 'user' or 'assistant'; got {role!r}"
        )
    if role == "system" and not place.endswith("[0]"):
        raise RowProblem("system not first", f"`{place}`: only the first message may be 'system'")
    try:
        return Message(role, parse_text(content, f"{place}.content"))
    except RowProblem as problem:
        # The reason is counted, so the place in the list must not be in it.
        reason = problem.reason.replace(f"{place}.content", f"message in {name}")
        raise RowProblem(reason, problem.text) from None


def parse_prompt(value: object, name: str = "prompt") -> Prompt:
    """Check a prompt: text becomes one user message, messages must end with a user's.

    Args:
        value: What was found.
        name: The field, for messages.

    Returns:
        The messages before the response.

    Raises:
        RowProblem: as `parse_text` and `parse_messages`; the last message is not a user's.
    """
    if isinstance(value, str):
        return (Message("user", parse_text(value, name)),)
    messages = parse_messages(value, name)
    if messages[-1].role != "user":
        raise RowProblem(
            "prompt without last user message",
            f"`{name}` must end with a 'user' message; got {messages[-1].role!r}",
        )
    return messages


def parse_conversation(value: object, name: str) -> tuple[Prompt, str]:
    """Split messages into the prompt and the response they end in.

    Args:
        value: What was found.
        name: The field, for messages.

    Returns:
        Prompt and response.

    Raises:
        RowProblem: as `parse_messages`; the last message is not the assistant's; nothing
            or no user message stands before it.
    """
    messages = parse_messages(value, name)
    if messages[-1].role != "assistant":
        raise RowProblem(
            "no response at the end",
            f"`{name}`: a conversation must end in a response; "
            f"the last message is a {messages[-1].role!r} message",
        )
    if len(messages) == 1:
        raise RowProblem("no prompt", f"`{name}` must hold a prompt before the response; got none")
    prompt = messages[:-1]
    if prompt[-1].role != "user":
        raise RowProblem(
            "prompt without last user message",
            f"`{name}` must have a 'user' message before the response; got {prompt[-1].role!r}",
        )
    return prompt, messages[-1].content


def parse_response(value: object, name: str, prompt: Prompt) -> str:
    """Check a response to a known prompt: text, its one message, or the whole conversation.

    Args:
        value: What was found.
        name: The field, for messages.
        prompt: The prompt of the row.

    Returns:
        The text of the response.

    Raises:
        RowProblem: as `parse_text` and `parse_messages`; the message is not the
            assistant's; the messages before the response are not the prompt.
    """
    if not isinstance(value, list):
        return parse_text(value, name)
    if len(value) > 1:
        history, response = parse_conversation(value, name)
        check_same_history(prompt, history, "prompt", name)
        return response
    (message,) = parse_messages(value, name)
    if message.role != "assistant":
        raise RowProblem(
            "no response at the end",
            f"`{name}` must be one 'assistant' message; got {message.role!r}",
        )
    return message.content


def check_same_history(first: Prompt, second: Prompt, first_name: str, second_name: str) -> None:
    """Check that two fields agree on the messages before the response.

    Args:
        first: Messages of the first field.
        second: Messages of the second field.
        first_name: Its name, for the message.
        second_name: Its name, for the message.

    Raises:
        RowProblem: they differ (the first place is named).
    """
    if first != second:
        place = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
            min(len(first), len(second)),
        )
        raise RowProblem(
            "different histories",
            f"`{first_name}` and `{second_name}` must share the messages before the response; "
            f"they differ from message {place} on",
        )


def read_cell(cell: str, name: str) -> object:
    """Return messages written as JSON in a table cell, or the text itself.

    Args:
        cell: Text of the cell.
        name: The field, for messages.

    Returns:
        A list when the cell holds one of messages, else the cell.

    Raises:
        RowProblem: it looks like messages but is not JSON (Python's own notation).
    """
    if not _LOOKS_LIKE_MESSAGES.match(cell):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise RowProblem(
            "malformed JSON",
            f"`{name}` must hold messages as JSON with double quotes; got {cell[:24]!r}",
        ) from None


def _kind(value: object) -> str:
    """Name what a value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return repr(value)
    return {"dict": "an object", "list": "a list", "str": "text"}.get(
        type(value).__name__, type(value).__name__
    )
