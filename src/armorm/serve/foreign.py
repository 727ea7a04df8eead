"""Bodies of other tools' contracts, and the conversations that are in them.

A field of theirs that means nothing here is let through, as they send many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from armorm.data.chat_text import (
    ResponseProblem,
    is_chat_text,
    parse_chat_text,
    split_chat_text,
)
from armorm.errors import DataError
from armorm.serve.errors import bad_row
from armorm.serve.service import Row, Service, Unscorable
from armorm.types import Message

EMPTY = "empty response"
"""Reason of a row in which the policy said nothing."""

_CHATML = "<|im_start|>user\nIs ice cold?<|im_end|>\n<|im_start|>assistant\n"
_SAID = "Yes, below 0 degrees."


class Foreign(BaseModel):
    """A body of another tool's contract."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class OpenRLHFBody(Foreign):
    """What OpenRLHF sends to `--reward.remote_url`."""

    query: list[str]
    prompts: list[str]
    labels: list[Any] | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": [f"{_CHATML}{_SAID}<|im_end|>\n"], "prompts": [_CHATML], "labels": [None]}
            ]
        }
    )


class SlimeBody(Foreign):
    """What slime sends to `--rm-url`."""

    prompt: str | list[dict[str, Any]]
    response: str
    label: Any = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": _CHATML, "response": _SAID, "label": None}]}
    )


class LlamaFactoryBody(Foreign):
    """What LLaMA-Factory sends to a reward model of type `api`."""

    model: str = ""
    messages: list[str]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "armorm", "messages": [_CHATML + _SAID]}]}
    )


class NemoGymBody(Foreign):
    """What NeMo Gym sends to `/verify`; all of it is sent back."""

    responses_create_params: dict[str, Any]
    response: dict[str, Any]

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "responses_create_params": {
                        "input": [{"role": "user", "content": "Is ice cold?"}]
                    },
                    "response": {
                        "output": [
                            {
                                "type": "message",
                                "role": "assistant",
                                "content": [{"type": "output_text", "text": _SAID}],
                            }
                        ]
                    },
                }
            ]
        },
    )


class PoolingBody(Foreign):
    """What clients of vLLM and SGLang send: a text in a chat template, texts, or messages."""

    model: str | None = None
    input: str | list[str] | None = None
    text: str | list[str] | None = None
    messages: list[dict[str, Any]] | None = None
    task: Literal["classify"] | None = None
    use_activation: bool | None = None
    encoding_format: Literal["float", "base64"] = "float"

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "armorm", "input": _CHATML + _SAID, "use_activation": False},
                {
                    "messages": [
                        {"role": "user", "content": "Is ice cold?"},
                        {"role": "assistant", "content": _SAID},
                    ]
                },
            ]
        }
    )


class PredictBody(Foreign):
    """What clients of text-embeddings-inference send to `/predict`."""

    inputs: str | list[str]
    raw_scores: bool = False

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": [_CHATML + _SAID], "raw_scores": True}]}
    )


class RerankBody(Foreign):
    """A prompt and its responses: `texts` in the form of TEI, `documents` in that of vLLM."""

    query: str
    texts: list[str] | None = None
    documents: list[str] | None = None
    raw_scores: bool = False
    return_text: bool = False
    top_n: int | None = Field(None, ge=0)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "Is ice cold?", "texts": [_SAID, "No."], "raw_scores": True},
                {"query": "Is ice cold?", "documents": [_SAID, "No."], "top_n": 1},
            ]
        }
    )


def row_of_query(service: Service, query: str, prompt: str, where: str) -> Row:
    """Read a rendered conversation whose rendered prompt is known.

    Args:
        service: Checks the conversation.
        query: Prompt and response in the policy's chat template.
        prompt: The prompt in the same template.
        where: Place in the request.

    Returns:
        The conversation; or why the policy's part of it cannot be scored.

    Raises:
        Refusal: the template is none that is known; the prompt does not end with a user's
            message.
    """
    try:
        messages, response = split_chat_text(query, prompt)
    except ResponseProblem:
        return Unscorable("response that begins another message")
    except DataError as error:
        raise bad_row(where, str(error)) from None
    return _joined(service, messages, response, where)


def row_of_text(service: Service, text: str, where: str) -> Row:
    """Read a rendered conversation.

    Args:
        service: Checks the conversation.
        text: Prompt and response in a chat template.
        where: Place in the request.

    Returns:
        The conversation; or why there is none: it ends in no response.

    Raises:
        Refusal: the template is none that is known.
    """
    try:
        messages = parse_chat_text(text)
    except DataError as error:
        raise bad_row(where, str(error)) from None
    if messages[-1].role != "assistant":
        return Unscorable(EMPTY)
    return _joined(service, tuple(messages[:-1]), messages[-1].content, where)


def row_of_response(service: Service, prompt: Any, response: str, where: str) -> Row:
    """Join a prompt, rendered, plain or of messages, and a response.

    Args:
        service: Checks the conversation.
        prompt: Text, which is parsed where it begins as a chat template does, or messages.
        response: What the policy said.
        where: Place in the request.

    Returns:
        The conversation; or that the response is empty.

    Raises:
        Refusal: the prompt is none.
    """
    if isinstance(prompt, str) and is_chat_text(prompt):
        try:
            messages: Any = [m._asdict() for m in parse_chat_text(prompt)]
        except DataError as error:
            raise bad_row(where, str(error)) from None
    else:
        messages = prompt
    if not response.strip():
        return Unscorable(EMPTY)
    return service.conversation({"prompt": messages, "response": response}, where)


def _joined(service: Service, messages: tuple[Message, ...], response: str, where: str) -> Row:
    """A conversation from messages and what the policy said."""
    if not response.strip():
        return Unscorable(EMPTY)
    prompt = [m._asdict() for m in messages]
    return service.conversation({"prompt": prompt, "response": response}, where)


def row_of_episode(service: Service, body: Mapping[str, Any]) -> Row:
    """Read the conversation of a NeMo Gym task in the form of OpenAI's Responses.

    Args:
        service: Checks the conversation.
        body: `responses_create_params` and `response`.

    Returns:
        The conversation; or why the policy's part of it cannot be scored.

    Raises:
        Refusal: the parameters hold no prompt of text.
    """
    asked, where = body["responses_create_params"], "responses_create_params.input"
    messages: list[dict[str, Any]] = []
    if instructions := asked.get("instructions"):
        messages.append({"role": "system", "content": instructions})
    given = asked.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list):
        raise bad_row(where, "must be text or a list of messages")
    for i, item in enumerate(items):
        text = _item_text(item, ("input_text", "output_text", "text"))
        if text is None:
            raise bad_row(f"{where}[{i}]", "must be a message of text")
        role = "system" if item.get("role") == "developer" else item.get("role")
        messages.append({"role": role, "content": text})
    service.conversation({"prompt": messages, "response": "-"}, where)
    output = body["response"].get("output")
    said = [item for item in output if _type(item) != "reasoning"] if output else []
    if not isinstance(output, list) or not said:
        return Unscorable(EMPTY)
    texts = [_item_text(item, ("output_text", "text")) for item in said]
    if len(said) > 1 or texts[0] is None:
        return Unscorable("output that is more than one message of text")
    if not texts[0].strip():
        return Unscorable(EMPTY)
    return service.conversation({"prompt": messages, "response": texts[0]}, "response.output")


def _type(item: Any) -> Any:
    """What an item of OpenAI's Responses is; a message where it does not say."""
    return item.get("type", "message") if isinstance(item, Mapping) else None


def _item_text(item: Any, kinds: tuple[str, ...]) -> str | None:
    """The text of a message; None where it is none, or holds more than text."""
    if _type(item) != "message":
        return None
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts: list[str] = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") not in kinds:
            return None
        text = part.get("text")
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "".join(texts)
