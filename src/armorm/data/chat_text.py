"""Messages from the text of a chat template, as trainers and servers pass conversations on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from armorm.data.drops import RowProblem
from armorm.data.messages import parse_messages
from armorm.errors import DataError
from armorm.types import Message, Prompt

_ROLES = {"model": "assistant", "human": "user"}

# What tokenizers put before a text, once or twice, and pad it with.
_LEAD = re.compile(
    r"(?:\s|<\|begin_of_text\|>|<bos>|<s>|<\|endoftext\|>|<\|startoftext\|>|<pad>|<\|pad\|>|\[PAD\]"
    r"|<\|finetune_right_pad(?:_id)?\|>)*"
)

# A template writes it where a reasoning model is told not to think; it is nobody's words.
_NO_THOUGHT = re.compile(r"\A\s*<think>\s*</think>\s*")

_INSTRUCTION = re.compile(r"\s*\[INST\](.*?)\[/INST\](.*?)(?=\[INST\]|\Z)", re.DOTALL)
_SYSTEM_TAG = re.compile(r"\s*\[SYSTEM_PROMPT\](.*?)\[/SYSTEM_PROMPT\]", re.DOTALL)
_SYSTEM_BLOCK = re.compile(r"\s*<<SYS>>\n?(.*?)\n?<</SYS>>\s*", re.DOTALL)


class ResponseProblem(DataError):
    """A response, which is the policy's doing, is not one message; its prompt is in order."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How a family of templates marks its messages."""

    name: str
    """Of the family, for errors."""
    shown: str
    """What its first message begins with, for errors."""
    opener: re.Pattern[str]
    """Begins a message; group 1 is the role."""
    enders: tuple[str, ...]
    """What closes a message, and what a tokenizer puts after the last one."""
    needs: str = ""
    """Text that must follow somewhere, where the opener alone could be anybody's words."""
    tight: bool = True
    """Content stands between the markers as it is; else white space around it is the format's."""

    def begins(self, text: str) -> bool:
        """Say whether a text is of this family."""
        return self.opener.match(text) is not None and self.needs in text

    def parse(self, text: str) -> list[Message]:
        """Cut a text at its openers."""
        openers = list(self.opener.finditer(text))
        ends = [o.start() for o in openers[1:]] + [len(text)]
        found: list[Message] = []
        for number, (opener, end) in enumerate(zip(openers, ends, strict=True)):
            content = self.without_end(text[opener.end() : end], last=number + 1 == len(openers))
            role = opener[1].strip()
            found.append(Message(_ROLES.get(role.lower(), role.lower()), content))
        return found

    def without_end(self, text: str, *, last: bool) -> str:
        """Take off what closes a message; a last one that was cut off has nothing to take."""
        content, closed = text, False
        while ending := next((e for e in self.enders if content.rstrip().endswith(e)), None):
            content, closed = content.rstrip().removesuffix(ending), True
        if not self.tight:
            return content.strip()
        return content if closed or last else content.removesuffix("\n")


class _Instructions(_Format):
    """Mistral and Llama-2: `[INST]` around what the user says, nothing around the assistant."""

    __slots__ = ()

    def parse(self, text: str) -> list[Message]:
        """Cut a text at its instructions."""
        found: list[Message] = []
        if system := _SYSTEM_TAG.match(text):
            found.append(Message("system", system[1].strip()))
            text = text[system.end() :]
        place = 0
        for turn in _INSTRUCTION.finditer(text):
            if turn.start() != place:
                break
            place, said = turn.end(), turn[1]
            if not found and (system := _SYSTEM_BLOCK.match(said)):
                found.append(Message("system", system[1].strip()))
                said = said[system.end() :]
            found.append(Message("user", said.strip()))
            found.append(Message("assistant", self.without_end(turn[2], last=True)))
        if text[place:].strip():
            raise DataError(
                "chat text: every `[INST]` must be closed by `[/INST]`; got "
                f"{text[place:].strip()[:40]!r}"
            )
        return found


_FORMATS = (
    _Format(
        "llama3",
        "<|start_header_id|>",
        re.compile(r"\s*<\|start_header_id\|>([^<\n]*)<\|end_header_id\|>\n{0,2}"),
        ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"),
    ),
    _Format(
        "llama4",
        "<|header_start|>",
        re.compile(r"\s*<\|header_start\|>([^<\n]*)<\|header_end\|>\n{0,2}"),
        ("<|eot|>", "<|eom|>", "<|end_of_text|>"),
    ),
    _Format(
        "chatml",
        "<|im_start|>",
        re.compile(r"<\|im_start\|>([^<\n]*)(?:\n|<\|im_sep\|>)"),
        ("<|im_end|>", "<|endoftext|>"),
    ),
    _Format(
        "gemma",
        "<start_of_turn>",
        re.compile(r"<start_of_turn>([^<\n]*)\n"),
        ("<end_of_turn>", "<eos>"),
    ),
    _Format(
        "zephyr or phi",
        "<|user|>",
        re.compile(r"<\|(system|user|assistant)\|>\n?"),
        ("</s>", "<|end|>", "<|endoftext|>"),
    ),
    _Instructions(
        "mistral",
        "[INST]",
        re.compile(r"\s*\[(INST|SYSTEM_PROMPT)\]"),
        ("</s>", "<s>"),
        tight=False,
    ),
    _Format(
        "raw",
        "Human:",
        re.compile(r"(?:\A|\n\n)(Human|Assistant):"),
        ("</s>", "<|endoftext|>"),
        needs="\n\nAssistant:",
        tight=False,
    ),
)


def is_chat_text(text: str) -> bool:
    r"""Say whether a text begins as a chat template does.

    Args:
        text: Any text.

    Returns:
        True where `parse_chat_text` knows the format.

    Example:
        >>> is_chat_text("<|im_start|>user\n2+2?<|im_end|>\n"), is_chat_text("2+2?")
        (True, False)
    """
    return _format_of(_after_lead(text)) is not None


def parse_chat_text(text: str) -> list[Message]:
    r"""Read the messages out of a conversation that a chat template has rendered.

    Known are Llama-3 and -4, ChatML (Qwen, Phi-4), Gemma, Mistral and Llama-2, Zephyr and
    Phi-3, and raw `Human:` / `Assistant:` text. Any number of BOS and padding tokens before
    it, and end tokens after it, are taken off; a generation prompt without words, an empty
    system message and an empty `<think>` block are left out. A marker that somebody typed
    inside a message cannot be told from the template's own; a template that writes the system
    message into the first user message (Mistral) leaves it there.

    Args:
        text: A conversation, or a prompt with or without generation prompt.

    Returns:
        At least one message; the last one is the assistant's where it has words.

    Raises:
        DataError: the text begins with no marker that is known; a marker is not closed; a
            role is not system, user or assistant; a message is empty.

    Example:
        >>> parse_chat_text("<|user|>\n2+2?</s>\n<|assistant|>\n4.</s>")[-1]
        Message(role='assistant', content='4.')
    """
    body = _after_lead(text)
    return _checked(_known_format(body).parse(body))


def split_chat_text(query: str, prompt: str) -> tuple[Prompt, str]:
    r"""Split a rendered conversation into messages and response, where its prompt is known.

    What follows the prompt is the response, whatever markers it holds; only where the query
    does not begin with the prompt (it was cut, or rendered once more) is the query parsed.

    Args:
        query: Prompt and response, rendered, special tokens included.
        prompt: The prompt as it was rendered, with the generation prompt.

    Returns:
        The messages before the response, and the response; empty where the policy said
        nothing.

    Raises:
        DataError: as `parse_chat_text`.
        ResponseProblem: the response begins another message.

    Example:
        >>> prompt = "<|user|>\n2+2?</s>\n<|assistant|>\n"
        >>> split_chat_text(prompt + "4.</s>", prompt)[1]
        '4.'
    """
    body, start = _after_lead(query), _after_lead(prompt)
    rest = body[len(start) :]
    known = _known_format(start or body)
    if not start or not body.startswith(start):
        return _last_taken(_checked(known.parse(body)))
    messages = _checked(known.parse(start))
    if known.opener.match(rest.lstrip()):
        try:
            return _last_taken(_checked(known.parse(body)))
        except DataError as error:
            raise ResponseProblem(str(error)) from None
    # Some generation prompts begin the response, with `<think>` for instance.
    before, prefix = _last_taken(messages)
    response = _NO_THOUGHT.sub("", prefix + known.without_end(rest, last=True))
    if opened := known.opener.search(response):
        raise ResponseProblem(
            "chat text: a response must be one message; it begins another with "
            f"{opened[0].strip()!r}"
        )
    return before, response


def _last_taken(messages: list[Message]) -> tuple[Prompt, str]:
    """Messages without what the assistant said last, and that; empty where it said nothing."""
    if messages[-1].role != "assistant":
        return tuple(messages), ""
    return tuple(messages[:-1]), messages[-1].content


def _after_lead(text: str) -> str:
    """A text without the BOS and padding tokens before it."""
    lead = _LEAD.match(text)
    return text[lead.end() :] if lead else text


def _format_of(body: str) -> _Format | None:
    """The family whose marker a text begins with."""
    return next((f for f in _FORMATS if f.begins(body)), None)


def _known_format(body: str) -> _Format:
    """The family of a text, or an error that names what was looked for."""
    found = _format_of(body)
    if found is None:
        known = ", ".join(f"{f.shown!r} ({f.name})" for f in _FORMATS)
        raise DataError(f"chat text: must begin with a message marker: {known}; got {body[:40]!r}")
    return found


def _checked(messages: list[Message]) -> list[Message]:
    """Leave out what only a template wrote, and refuse what is no conversation."""
    kept = [
        m._replace(content=_NO_THOUGHT.sub("", m.content)) if m.role == "assistant" else m
        for m in messages
    ]
    if kept and kept[-1].role == "assistant" and not kept[-1].content.strip():
        kept.pop()
    if kept and kept[0].role == "system" and not kept[0].content.strip():
        kept.pop(0)
    try:
        return list(parse_messages([m._asdict() for m in kept], "messages"))
    except RowProblem as problem:
        raise DataError(f"chat text: {problem.text}") from None
