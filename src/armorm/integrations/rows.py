"""From what a trainer holds to conversations: texts, messages, rendered prompts, completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.chat_text import is_chat_text, parse_chat_text
from armorm.data.drops import RowProblem
from armorm.data.messages import parse_conversation, parse_prompt
from armorm.errors import DataError
from armorm.features.interface import Unused
from armorm.types import Conversation, Message, Prompt

EMPTY = "empty response"
"""Reason of a row in which the policy said nothing."""


def as_prompt(value: Any, *, where: str) -> Prompt:
    """Turn the prompt of a trainer's row into messages.

    Args:
        value: Text, which becomes one user message, or is parsed where it begins as a chat
            template does; or messages (list, tuple or array of mappings), the content of each
            a text or a list of `{"type": "text"}` parts.
        where: Starts the error message.

    Returns:
        The messages before the response.

    Raises:
        DataError: no prompt, or none that ends with a user's message; a part that is no text.
    """
    try:
        if isinstance(value, str):
            return _from_text(value, where)
        return parse_prompt(as_messages(value, where=where), "prompt")
    except RowProblem as problem:
        raise DataError(f"{where}: {problem.text}") from None


def as_messages(value: Any, *, where: str) -> list[dict[str, str]]:
    """Turn a trainer's messages into role and content, both text.

    Args:
        value: A list, tuple or array of mappings or of `Message`.
        where: Starts the error message.

    Returns:
        A new list.

    Raises:
        DataError: it is no sequence of messages; a part of a content is no text.
    """
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise DataError(f"{where}: must be text or messages; got {type(value).__name__}")
    found: list[dict[str, str]] = []
    for i, item in enumerate(value):
        message = item._asdict() if isinstance(item, Message) else item
        if not isinstance(message, Mapping) or "role" not in message:
            raise DataError(f"{where}[{i}]: must have 'role' and 'content'; got {item!r:.60}")
        content = _text_of(message.get("content"), f"{where}[{i}].content")
        found.append({"role": str(message["role"]), "content": content})
    return found


def conversation_of(prompt: Prompt, completion: Any) -> Conversation | Unused:
    """Join a prompt and what a policy answered.

    Args:
        prompt: The messages before it.
        completion: Text, or messages of which the last one is the response.

    Returns:
        The conversation; or why it cannot be scored: nothing was said, the last message is
        not the assistant's, or a message has a role that reward models do not know.
    """
    if completion is None:
        return Unused(EMPTY)
    if isinstance(completion, str):
        return Conversation(prompt, completion) if completion.strip() else Unused(EMPTY)
    try:
        said = as_messages(completion, where="completion")
    except DataError:
        return Unused("completion that is neither text nor messages of text")
    if not said or (said[-1]["role"] == "assistant" and not said[-1]["content"].strip()):
        return Unused(EMPTY)
    try:
        before = [m._asdict() for m in prompt]
        return Conversation(*parse_conversation([*before, *said], "completion"))
    except RowProblem as problem:
        return Unused(problem.reason)


def _from_text(text: str, where: str) -> Prompt:
    """A prompt from a text, rendered or plain."""
    if not is_chat_text(text):
        return parse_prompt(text, "prompt")
    try:
        messages = parse_chat_text(text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return parse_prompt([m._asdict() for m in messages], "prompt")


def _text_of(content: Any, where: str) -> str:
    """A content as text; nothing at all (a tool call, say) is an empty one."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise DataError(f"{where}: must be text; got {type(content).__name__}")
    texts: list[str] = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            raise DataError(f"{where}: every part must be a text; got {part!r:.60}")
        texts.append(str(part.get("text", "")))
    return "".join(texts)
